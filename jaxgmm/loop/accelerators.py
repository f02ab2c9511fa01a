"""Accelerators of EM: from the last few steps, a proposal that lies further along.

EM is a fixed-point iteration on the expected statistics: an M-step and an E-step take one set of them to the next. An
:class:`Accelerator` sees the sets as vectors, and proposes one for the next M-step. So what an M-step guarantees (a
family, a prior, parameters held fixed) holds for proposals too. The loop accepts a proposal only if the objective is no
lower, and otherwise continues with plain EM: a proposal costs one E-step and can lose nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import checks, linalg
from ..static import Bound


@dataclass(frozen=True)
class Accelerator:
    """A way to extrapolate, as pure functions; static under ``jit``.

    Attributes:
        init: ``vector -> state``, the state before the first step, for vectors ``(p,)``.
        update: ``(state, u, g) -> (proposal, is_useful, state)``, where an M-step and an E-step took u to g; g itself
            is used where the proposal is not useful.
        reset: ``state -> state`` after a proposal that was rejected.
        name: what it prints as.
    """

    init: Callable[[Array], Any]
    update: Callable[[Any, Array, Array], tuple[Array, Array, Any]]
    reset: Callable[[Any], Any]
    name: str = ""

    def __repr__(self) -> str:
        return self.name or "Accelerator(...)"


class MomentumState(NamedTuple):
    """How long momentum has been building up."""

    n_steps: Array  # () since it was zero
    image: Array  # (p,) where the last EM step led


@cache
def momentum() -> Accelerator:
    r"""Nesterov's momentum: beyond the last step by a growing share of the last move, from zero after a rejection.

    .. math::
        u_{t+1} = g(u_t) + \frac{t}{t + 3} \, (g(u_t) - g(u_{t-1}))

    Every E-step makes progress, and where EM's rate is q, the number of steps grows with 1 / sqrt(1 - q) instead of
    1 / (1 - q).

    Returns:
        The :class:`Accelerator`.

    Example:
        >>> import jaxgmm
        >>> x = jaxgmm.datasets.load_faithful().x
        >>> start = jaxgmm.seeding.from_labels(x, (x[:, 0] > 2.2).astype(int) + (x[:, 0] > 4.2), 3)
        >>> plain, faster = (jaxgmm.em(start, x, accelerate=a) for a in (None, momentum()))
        >>> bool(2 * faster.n_iter < plain.n_iter), bool(faster.log_likelihood > plain.log_likelihood - 0.01)
        (True, True)

    Reference:
        Nesterov (1983), A method of solving a convex programming problem with convergence rate O(1/k^2); O'Donoghue &
        Candes (2015), Adaptive restart for accelerated gradient schemes.
    """
    return Accelerator(_begin_momentum, _extend_move, _reset_momentum, "momentum()")


def _begin_momentum(vector: Array) -> MomentumState:
    return MomentumState(jnp.full_like(vector[0], -1), jnp.zeros_like(vector))


def _extend_move(state: MomentumState, point: Array, image: Array) -> tuple[Array, Array, MomentumState]:
    share = state.n_steps / (state.n_steps + 3)
    proposal = image + share * (image - state.image)
    return proposal, state.n_steps > 0, MomentumState(state.n_steps + 1, image)


def _reset_momentum(state: MomentumState) -> MomentumState:
    return state._replace(n_steps=jnp.zeros_like(state.n_steps))


class SquaremState(NamedTuple):
    """The first of two successive EM steps."""

    is_known: Array  # () whether ``point`` is known
    point: Array  # (p,) where the first step started


@cache
def squarem() -> Accelerator:
    r"""Squared extrapolation: two EM steps, then one as long as the two suggest.

    .. math::
        r = u_1 - u_0, \quad v = (u_2 - u_1) - r, \quad \alpha = -\|r\| / \|v\|, \quad
        u' = u_0 - 2 \alpha r + \alpha^2 v

    Returns:
        The :class:`Accelerator`.

    Example:
        >>> import jaxgmm
        >>> x = jaxgmm.datasets.load_faithful().x
        >>> start = jaxgmm.seeding.from_labels(x, (x[:, 0] > 2.2).astype(int) + (x[:, 0] > 4.2), 3)
        >>> plain, faster = (jaxgmm.em(start, x, accelerate=a) for a in (None, squarem()))
        >>> bool(2 * faster.n_iter < plain.n_iter), bool(faster.log_likelihood > plain.log_likelihood - 0.01)
        (True, True)

    Reference:
        Varadhan & Roland (2008), Simple and globally convergent methods for accelerating the convergence of any EM
        algorithm, scheme S3.
    """
    return Accelerator(_begin_squarem, _square_steps, _reset_squarem, "squarem()")


def _begin_squarem(vector: Array) -> SquaremState:
    return SquaremState(jnp.asarray(False), jnp.zeros_like(vector))


def _square_steps(state: SquaremState, point: Array, image: Array) -> tuple[Array, Array, SquaremState]:
    r = point - state.point
    v = image - point - r
    length = jnp.sqrt((r**2).sum() / linalg.safe_divisor((v**2).sum()))
    is_useful = state.is_known & (length > 1)
    return state.point + 2 * length * r + length**2 * v, is_useful, SquaremState(~is_useful, point)


def _reset_squarem(state: SquaremState) -> SquaremState:
    return state._replace(is_known=jnp.zeros_like(state.is_known))


class AndersonState(NamedTuple):
    """The last few points and steps of Anderson's method, as differences."""

    n_seen: Array  # () int, differences seen since the last reset; -1 before the first point
    point: Array  # (p,) the last
    step: Array  # (p,) the EM step from it
    points: Array  # (m, p) differences of successive points
    steps: Array  # (m, p) differences of their EM steps


@cache
def anderson(size: int = 5) -> Accelerator:
    r"""Anderson's mixing: the combination of the last points whose EM step would be shortest.

    .. math::
        f_t = g(u_t) - u_t, \quad \gamma = \arg\min_\gamma \|f_t - \Delta F \gamma\|^2, \quad
        u_{t+1} = u_t + f_t - (\Delta U + \Delta F) \gamma

    As it looks for a point that EM leaves where it is, be that a maximum or a saddle, its proposals are often
    rejected before it is near one.

    Args:
        size: how many differences to remember, m.

    Returns:
        The :class:`Accelerator`.

    Raises:
        TypeError: if ``size`` is no integer.
        ValueError: if ``size`` < 1.

    Example:
        >>> import jaxgmm
        >>> x = jaxgmm.datasets.load_faithful().x
        >>> start = jaxgmm.seeding.from_labels(x, (x[:, 0] > 2.2).astype(int) + (x[:, 0] > 4.2), 3)
        >>> plain, faster = (jaxgmm.em(start, x, accelerate=a) for a in (None, anderson()))
        >>> bool(faster.n_iter < plain.n_iter), bool(faster.log_likelihood > plain.log_likelihood - 0.01)
        (True, True)

    Reference:
        Walker & Ni (2011), Anderson acceleration for fixed-point iterations.
    """
    size = checks.as_integer(size, "size", 1)
    return Accelerator(Bound(_begin_anderson, size), _mix_steps, _reset_anderson, f"anderson({size})")


def _begin_anderson(size: int, vector: Array) -> AndersonState:
    zeros, differences = jnp.zeros_like(vector), jnp.zeros((size, *vector.shape), vector.dtype)
    return AndersonState(jnp.int32(-1), zeros, zeros, differences, differences)


def _mix_steps(state: AndersonState, point: Array, image: Array) -> tuple[Array, Array, AndersonState]:
    # Remember the newest differences in place of the oldest
    step, size = image - point, len(state.points)
    places = jnp.arange(size, dtype=state.n_seen.dtype)
    is_new = (places == state.n_seen % size) & (state.n_seen >= 0)
    is_known = places < state.n_seen

    def remember(differences: Array, new: Array) -> Array:
        known = jnp.where(is_known[:, None], differences, 0)
        return jnp.where(is_new[:, None], new[None], known)

    points, steps = remember(state.points, point - state.point), remember(state.steps, step - state.step)

    # Propose the mixture of them whose step would be shortest
    mixing = _least_squares(steps, step)
    proposal = image - linalg.matmul(mixing, points + steps)
    return proposal, state.n_seen >= 0, AndersonState(state.n_seen + 1, point, step, points, steps)


def _reset_anderson(state: AndersonState) -> AndersonState:
    return state._replace(n_seen=jnp.full_like(state.n_seen, -1))


def _least_squares(rows: Array, target: Array) -> Array:
    """Coefficients ``(m,)`` of rows ``(m, p)`` that sum to the target ``(p,)`` best; those of zero rows are zero."""
    gram = linalg.matmul(rows, rows.T)
    limits = np.finfo(gram.dtype)
    gram = linalg.add_to_diagonal(gram[None], (10 * limits.eps * jnp.trace(gram) + limits.tiny)[None, None])
    inverse = linalg.factorize(gram, len(rows)).inverse[0]
    return linalg.matmul(inverse.T, linalg.matmul(inverse, linalg.matmul(rows, target)))
