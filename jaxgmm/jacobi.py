"""Eigen-decomposition by plane rotations, of many small matrices side by side, and its form for common axes.

A round turns disjoint pairs of axes at once; a sweep is as many rounds as it takes to pair each axis with every other.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .linalg import LARGEST_ELIMINATED, by_lapack, matmul

SWEEPS = 8  # what cold starts of up to LARGEST_ELIMINATED axes take in float64; convergence is quadratic


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


def _by_rotations(matrices: Array) -> tuple[Array, Array]:
    """Cyclic Jacobi: each rotation, of at most 45 degrees, takes one pair of entries to zero."""

    def angle(_: Array, gap: Array, cross: Array, first: Array) -> Array:
        sign = jnp.where(gap == 0, first[None], jnp.sign(gap))
        return jnp.arctan2(2 * cross * sign, abs(gap)) / 2

    d = matrices.shape[-1]
    axes = jnp.broadcast_to(jnp.eye(d, dtype=matrices.dtype), matrices.shape)
    sweeps = 1 if d <= 2 else SWEEPS
    turned, axes = lax.fori_loop(0, sweeps, lambda _, carry: _sweep(carry[0], carry[1], angle), (matrices, axes))
    values = jnp.diagonal(turned, axis1=1, axis2=2)
    order = jnp.argsort(values, axis=-1)
    return jnp.take_along_axis(values, order, -1), jnp.take_along_axis(axes, order[:, None, :], -1)


def turn_common_axes(scatters: Array, variances: Array, axes: Array) -> Array:
    r"""One sweep towards the axes that suit all scatters ``(k, d, d)`` best, given variances ``(k, d)`` along them.

    .. math:: \min_D \sum_j \mathrm{tr}(D \, \mathrm{diag}(v_j)^{-1} D^T W_j), \quad D^T D = I

    For two axes at a time the minimiser is known, so no rotation raises the sum (Flury & Gautschi 1986, An algorithm
    for simultaneous orthogonal transformation of several positive definite symmetric matrices to nearly diagonal form).
    """
    precisions = 1 / variances

    def angle(partner: Array, gap: Array, cross: Array, _: Array) -> Array:
        difference = precisions - matmul(precisions, partner)
        cross, gap = 2 * (difference * cross).sum(0), (difference * gap).sum(0)
        indifferent = (cross == 0) & (gap == 0)
        return jnp.arctan2(-cross, jnp.where(indifferent, 1, -gap))[None] / 2

    scatters = matmul(matmul(axes.T[None], scatters), axes[None])
    return _sweep(scatters, axes[None], angle)[1][0]


def _sweep(matrices: Array, axes: Array, angle: Callable[[Array, Array, Array, Array], Array]) -> tuple[Array, Array]:
    """Turn every pair of axes once. ``angle`` sees partners, differences of diagonal entries, and the entries between.

    What it returns for an axis is how far that one turns towards its partner; the partner turns as far away.
    """
    d = matrices.shape[-1]
    identity = jnp.eye(d, dtype=matrices.dtype)[None]

    def turn(carry: tuple[Array, Array], given: tuple[Array, ...]) -> tuple[tuple[Array, Array], None]:
        (matrices, axes), (partner, first) = carry, given
        own, paired = jnp.diagonal(matrices, axis1=1, axis2=2), partner.any(0)[None]
        gap = jnp.where(paired, own - matmul(own, partner), 0)
        cross = (matrices * partner[None]).sum(1)
        towards = jnp.where(paired, angle(partner, gap, cross, first), 0)[:, None, :]
        rotation = identity * jnp.cos(towards) + partner[None] * jnp.sin(towards)
        return (matmul(matmul(rotation.swapaxes(1, 2), matrices), rotation), matmul(axes, rotation)), None

    rounds = _rounds(d)
    first = np.sign(rounds @ np.arange(d) - np.arange(d))  # one of a pair: which, does not matter
    scanned = tuple(jnp.asarray(array, matrices.dtype) for array in (rounds, first))
    return lax.scan(turn, (matrices, axes), scanned)[0]


def _rounds(d: int) -> np.ndarray:
    """Who turns with whom in each round of a sweep, as symmetric permutations ``(rounds, d, d)``; zero: no partner.

    A round-robin tournament by the circle method: one player stays, the others move on by one seat.
    """
    seats = list(range(d + d % 2))
    rounds = np.zeros((max(len(seats) - 1, 0), d, d))
    for partners in rounds:
        for a, b in zip(seats[: len(seats) // 2], reversed(seats), strict=False):
            if max(a, b) < d:
                partners[a, b] = partners[b, a] = 1
        seats.insert(1, seats.pop())
    return rounds
