"""Acceleration of EM: from where its steps have led, a guess at where they are going.

EM is a fixed-point iteration on the expected statistics: an M-step and an E-step take one set of them to the next. An
:class:`Accelerator` sees the sets as vectors, and proposes one to hand to the M-step instead of the last. So what an
M-step guarantees (a family, a prior, parameters held fixed) holds for guesses too. :func:`jaxgmm.em` takes a guess only
if the likelihood there is no lower, and else goes on with plain EM: a guess costs one E-step and can lose nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from .. import checks, linalg
from ..steps.maximization import moments
from ..types import GMMParams, Stats


@dataclass(frozen=True)
class Accelerator:
    """A way to extrapolate, as pure functions; static under ``jit``.

    Attributes:
        start: ``vector -> memory``, an empty memory for vectors ``(p,)`` like the one given.
        propose: ``(memory, u, g) -> (proposal, is_useful, memory)``, where an M-step and an E-step took u to g; g
            itself is used where the proposal is not useful.
        forget: ``memory -> memory`` after a proposal that was refused.
    """

    start: Callable[[Array], Any]
    propose: Callable[[Any, Array, Array], tuple[Array, Array, Any]]
    forget: Callable[[Any], Any]


class Run(NamedTuple):
    """Steps since momentum last began from rest."""

    length: Array  # ()
    image: Array  # (p,) the last


@cache
def momentum() -> Accelerator:
    r"""Nesterov's momentum: beyond the last step by a growing share of the last move, from rest again when refused.

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

    def propose(run: Run, point: Array, image: Array) -> tuple[Array, Array, Run]:
        share = run.length / (run.length + 3)
        return image + share * (image - run.image), run.length > 0, Run(run.length + 1, image)

    return Accelerator(
        start=lambda vector: Run(jnp.full_like(vector[0], -1), jnp.zeros_like(vector)),
        propose=propose,
        forget=lambda run: run._replace(length=jnp.zeros_like(run.length)),
    )


class Pair(NamedTuple):
    """The first of two EM steps in a row."""

    is_first: Array  # () whether ``point`` is known
    point: Array  # (p,) where it began


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

    def propose(pair: Pair, point: Array, image: Array) -> tuple[Array, Array, Pair]:
        r = point - pair.point
        v = image - point - r
        length = jnp.sqrt((r**2).sum() / linalg.or_one((v**2).sum()))
        useful = pair.is_first & (length > 1)
        return pair.point + 2 * length * r + length**2 * v, useful, Pair(~useful, point)

    return Accelerator(
        start=lambda vector: Pair(jnp.asarray(False), jnp.zeros_like(vector)),
        propose=propose,
        forget=lambda pair: pair._replace(is_first=jnp.zeros_like(pair.is_first)),
    )


class Window(NamedTuple):
    """The last few points and steps of Anderson's method, as differences."""

    n_seen: Array  # () int, differences seen since the window was emptied; -1 before the first point
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

    As it looks for a point that EM leaves where it is, be that a maximum or a saddle, its guesses are often refused
    before it is near one.

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

    def start(vector: Array) -> Window:
        nothing, differences = jnp.zeros_like(vector), jnp.zeros((size, *vector.shape), vector.dtype)
        return Window(jnp.int32(-1), nothing, nothing, differences, differences)

    def propose(window: Window, point: Array, image: Array) -> tuple[Array, Array, Window]:
        step = image - point
        places = jnp.arange(size, dtype=window.n_seen.dtype)
        is_new = (places == window.n_seen % size) & (window.n_seen >= 0)
        is_known = places < window.n_seen

        def remember(differences: Array, new: Array) -> Array:
            known = jnp.where(is_known[:, None], differences, 0)
            return jnp.where(is_new[:, None], new[None], known)

        points, steps = remember(window.points, point - window.point), remember(window.steps, step - window.step)
        mixing = _least_squares(steps, step)
        proposal = image - linalg.matmul(mixing, points + steps)
        return proposal, window.n_seen >= 0, Window(window.n_seen + 1, point, step, points, steps)

    return Accelerator(start, propose, lambda window: window._replace(n_seen=jnp.full_like(window.n_seen, -1)))


def _least_squares(rows: Array, target: Array) -> Array:
    """Coefficients ``(m,)`` of rows ``(m, p)`` that sum to the target ``(p,)`` best; those of zero rows are zero."""
    gram = linalg.matmul(rows, rows.T)
    limits = np.finfo(gram.dtype)
    gram = linalg.add_to_diagonal(gram[None], (10 * limits.eps * jnp.trace(gram) + limits.tiny)[None])
    inverse = linalg.factorize(gram, len(rows)).inverse[0]
    return linalg.matmul(inverse.T, linalg.matmul(inverse, linalg.matmul(rows, target)))


class Units(NamedTuple):
    """Where and how wide the data lie, so that no feature's units weigh in what is short."""

    origin: Array  # (d,)
    scale: Array  # (d,)


class Course(NamedTuple):
    """What an accelerated loop carries beside its answer."""

    units: Units  # of the start
    is_guess: Array  # () whether the candidate comes from a proposal
    tried: Array  # (p,) what the candidate comes from
    memory: Any


def begin(accelerate: Accelerator, params: GMMParams) -> Course:
    """Nothing known but the start."""
    units = _units_of(params)
    vector = _to_vector(units, params)
    return Course(units, jnp.asarray(False), vector, accelerate.start(vector))


def extrapolate(
    accelerate: Accelerator,
    course: Course,
    params: GMMParams,
    stats: Stats,
    ridge: Array,
    was_refused: Array,
) -> tuple[Stats, Course]:
    """The statistics to go on from, about ``params``: a proposal, where there is a useful one, else ``stats``."""
    now, units = moments(params, stats, ridge), course.units
    reached = _to_vector(units, now)
    proposal, is_useful, memory = accelerate.propose(course.memory, course.tried, reached)
    guess = _to_stats(_to_params(units, proposal, now), params, stats, ridge)
    is_finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(guess)]).all()
    is_guess = is_useful & ~was_refused & is_finite
    memory = jax.tree.map(partial(jnp.where, was_refused), accelerate.forget(course.memory), memory)
    chosen = jax.tree.map(partial(jnp.where, is_guess), guess, stats)
    return chosen, Course(units, is_guess, jnp.where(is_guess, proposal, reached), memory)


def _units_of(params: GMMParams) -> Units:
    """The mean and standard deviations of a mixture; one where features share a variance."""
    k, d = params.means.shape
    shares = params.weights[:k] / params.weights[:k].sum()
    origin = linalg.einsum("k,kd->d", shares, params.means)
    within = jnp.broadcast_to(linalg.variances(params.covariances, d), (k, d))
    spread = linalg.einsum("k,kd->d", shares, within + (params.means - origin[None]) ** 2)
    if params.covariances.shape[1] == 1:
        spread = jnp.broadcast_to(spread.mean(), (d,))
    return Units(origin, jnp.sqrt(linalg.or_one(spread)))


def _to_vector(units: Units, params: GMMParams) -> Array:
    """Coordinates ``(p,)`` in which any vector is a mixture: log weights, means, Cholesky factors.

    The diagonals of the factors are logarithms.
    """
    weights = jnp.log(linalg.or_one(params.weights))
    means = (params.means - units.origin[None]) / units.scale[None]
    covariances = linalg.rescale(params.covariances, 1 / units.scale)
    return ravel_pytree((weights, means, linalg.log_root(covariances)))[0]


def _to_params(units: Units, vector: Array, like: GMMParams) -> GMMParams:
    """The mixture at coordinates ``(p,)``; what has weight zero in ``like`` keeps it."""
    logs, means, root = ravel_pytree((like.weights, like.means, like.covariances))[1](vector)
    alive = like.weights > 0
    return like._replace(
        weights=jnp.where(alive, jax.nn.softmax(jnp.where(alive, logs, -jnp.inf)), 0),
        means=units.scale[None] * means + units.origin[None],
        covariances=linalg.rescale(linalg.from_log_root(root), units.scale),
    )


def _to_stats(of: GMMParams, about: GMMParams, like: Stats, ridge: Array) -> Stats:
    """The statistics about one mixture's means whose :func:`moments` are another mixture."""
    k = len(of.means)
    counts = like.counts.sum() * of.weights
    shift = of.means - about.means
    scatter = linalg.add_to_diagonal(of.covariances, -ridge[None])
    within = scatter * linalg.pool_counts(counts[:k], scatter.shape).reshape(-1, *(1,) * (scatter.ndim - 1))
    between = linalg.outer_square(shift, scatter.ndim) * counts[:k].reshape(-1, *(1,) * (scatter.ndim - 1))
    return like._replace(
        counts=counts, first=counts[:k, None] * shift, second=within + linalg.pool(between, scatter.shape)
    )
