"""Eigen-decomposition by plane rotations, of many small matrices side by side, and its form for common axes.

Matrices lie side by side, ``(d, d, k)``: a rotation is a few products of whole contiguous vectors. A round turns
disjoint pairs of axes at once; a sweep is as many rounds as it takes to pair each axis with every other.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .products import LARGEST_ELIMINATED, by_lapack, matmul, or_one, side_by_side

SWEEPS = 8  # at most, up to LARGEST_ELIMINATED axes in float64; convergence is quadratic

Rotation = Callable[[np.ndarray, Array, Array], tuple[Array, Array]]


@jax.custom_jvp
def eigh(matrices: Array) -> tuple[Array, Array]:
    """Eigenvalues ``(k, d)``, ascending, and eigenvectors, as columns ``(k, d, d)``, of symmetric matrices."""
    if matrices.shape[-1] <= LARGEST_ELIMINATED:
        return _by_rotations(matrices)
    return by_lapack(_lapack, matrices)


@eigh.defjvp
def _eigh_jvp(primals: Any, tangents: Any) -> Any:
    (matrices,), (moved,) = primals, tangents
    values, vectors = eigh(matrices)
    moved = matmul(matmul(vectors.swapaxes(1, 2), moved), vectors)
    gaps = values[:, None, :] - values[:, :, None]
    turned = jnp.where(gaps == 0, 0, moved / jnp.where(gaps == 0, 1, gaps))  # equal values: any axes will do
    return (values, vectors), (jnp.diagonal(moved, axis1=1, axis2=2), matmul(vectors, turned))


def _lapack(matrices: Array) -> tuple[Array, Array]:
    vectors, values = lax.linalg.eigh(matrices, symmetrize_input=False)
    return values, vectors


@side_by_side
def _by_rotations(matrices: Array) -> tuple[Array, Array]:
    """Cyclic Jacobi: each rotation, of at most 45 degrees, takes one pair of entries to zero.

    Until what is left beside the diagonal is rounding of it, entry by entry, so that small eigenvalues are accurate too
    (Demmel & Veselic 1992, Jacobi's method is more accurate than QR).
    """

    def rotation(partner: np.ndarray, gap: Array, cross: Array) -> tuple[Array, Array]:
        first = np.sign(partner - np.arange(d)).astype(gap.dtype)[:, None]  # one of a pair: which, does not matter
        cross = 2 * cross * jnp.where(gap == 0, first, jnp.sign(gap))
        tangent = cross / or_one(abs(gap) + jnp.sqrt(gap**2 + cross**2))  # of half the angle with this tangent
        cosine = 1 / jnp.sqrt(1 + tangent**2)
        return cosine, tangent * cosine

    d = matrices.shape[-1]
    start = jnp.moveaxis(matrices, 0, -1)
    axes = jnp.broadcast_to(jnp.eye(d, dtype=start.dtype)[:, :, None], start.shape)
    sweeps = 1 if d <= 2 else min(d + 2, SWEEPS)

    def goes_on(standing: tuple[Array, Array, Array]) -> Array:
        turned, _, count = standing
        size = jnp.sqrt(abs(turned[np.arange(d), np.arange(d)]))
        beside = abs(turned) > d * np.finfo(turned.dtype).eps * size[:, None] * size[None]
        return (beside & ~np.eye(d, dtype=bool)[:, :, None]).any() & (count < sweeps)

    def sweep(standing: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        return *_sweep(*standing[:2], rotation), standing[2] + 1

    turned, axes, _ = lax.while_loop(goes_on, sweep, (start, axes, jnp.int32(0)))
    values, axes = turned[np.arange(d), np.arange(d)].T, axes.transpose(2, 1, 0)
    order = jnp.argsort(values, axis=-1)
    return jnp.take_along_axis(values, order, -1), jnp.take_along_axis(axes, order[:, None, :], -1)


def turn_common_axes(turned: Array, variances: Array, axes: Array) -> tuple[Array, Array]:
    r"""One sweep towards the axes that suit all scatters best, given variances ``(k, d)`` along them.

    Takes and returns the scatters as they are along the axes, ``(k, d, d)``, and the axes, as columns ``(d, d)``.

    .. math:: \min_D \sum_j \mathrm{tr}(D \, \mathrm{diag}(v_j)^{-1} D^T W_j), \quad D^T D = I

    For two axes at a time the minimiser is known, so no rotation raises the sum (Flury & Gautschi 1986, An algorithm
    for simultaneous orthogonal transformation of several positive definite symmetric matrices to nearly diagonal form).
    """
    precisions = 1 / variances.T

    def rotation(partner: np.ndarray, gap: Array, cross: Array) -> tuple[Array, Array]:
        difference = precisions - precisions[partner]
        cross, gap = 2 * (difference * cross).sum(1), (difference * gap).sum(1)
        indifferent = (cross == 0) & (gap == 0)
        angle = jnp.arctan2(-cross, jnp.where(indifferent, 1, -gap))[:, None] / 2
        return jnp.cos(angle), jnp.sin(angle)

    turned, moved = _sweep(jnp.moveaxis(turned, 0, -1), axes.T[:, :, None], rotation)
    return jnp.moveaxis(turned, -1, 0), moved[:, :, 0].T


def _sweep(matrices: Array, axes: Array, rotation: Rotation) -> tuple[Array, Array]:
    """Turn every pair of axes of matrices ``(d, d, k)`` once; ``axes`` ``(d, d, k|1)`` are rows here.

    ``rotation`` sees partners ``(d,)``, differences of diagonal entries and the entries between, ``(d, k)``. It returns
    the cosine and sine of how far each axis turns towards its partner; the partner turns as far away.
    """
    d = len(matrices)
    for partner in _rounds(d):
        paired = (partner != np.arange(d))[:, None]
        own = jnp.stack([matrices[i, i] for i in range(d)])
        between = jnp.stack([matrices[max(i, j), min(i, j)] for i, j in enumerate(partner)])  # one entry for both
        cosine, sine = rotation(partner, own - own[partner], jnp.where(paired, between, 0))
        cosine, sine = jnp.where(paired, cosine, 1)[:, None], jnp.where(paired, sine, 0)[:, None]
        matrices = matrices * cosine + matrices[partner] * sine
        matrices = matrices * cosine.swapaxes(0, 1) + matrices[:, partner] * sine.swapaxes(0, 1)
        axes = axes * cosine + axes[partner] * sine
    return matrices, axes


def _rounds(d: int) -> np.ndarray:
    """Who turns with whom in each round of a sweep, ``(rounds, d)``; nobody with oneself.

    A round-robin tournament by the circle method: one player stays, the others move on by one seat.
    """
    seats = list(range(d + d % 2))
    rounds = np.tile(np.arange(d), (max(len(seats) - 1, 0), 1))
    for partners in rounds:
        for a, b in zip(seats[: len(seats) // 2], reversed(seats), strict=False):
            if max(a, b) < d:
                partners[a], partners[b] = b, a
        seats.insert(1, seats.pop())
    return rounds
