"""Eigenvectors of many small matrices by Jacobi's plane rotations, and axes common to several matrices.

Matrices are stored as ``(d, d, k)``, so that each operation runs over contiguous vectors of length k. A round rotates
disjoint pairs of axes at once; a sweep is as many rounds as it takes to pair each axis with every other.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .products import LARGEST_UNROLLED, call_lapack, matmul, safe_divisor, stack_lanes

# Sweeps of Jacobi's method at most. It converges quadratically: LARGEST_UNROLLED axes took so many sweeps in float64.
SWEEPS = 8

Rotation = Callable[[np.ndarray, Array, Array], tuple[Array, Array]]


@jax.custom_jvp
def eigh(matrices: Array) -> tuple[Array, Array]:
    """Eigenvalues ``(k, d)``, ascending, and eigenvectors, as columns ``(k, d, d)``, of symmetric matrices."""
    if matrices.shape[-1] <= LARGEST_UNROLLED:
        return _jacobi(matrices)
    return call_lapack(_lapack, matrices)


@eigh.defjvp
def _eigh_jvp(primals: Any, tangents: Any) -> Any:
    """First-order perturbation of eigenvalues and eigenvectors; axes of equal eigenvalues do not rotate."""
    (matrices,), (tangent,) = primals, tangents
    values, vectors = eigh(matrices)
    tangent = matmul(matmul(vectors.swapaxes(1, 2), tangent), vectors)
    gaps = values[:, None, :] - values[:, :, None]
    angles = jnp.where(gaps == 0, 0, tangent / jnp.where(gaps == 0, 1, gaps))
    return (values, vectors), (jnp.diagonal(tangent, axis1=1, axis2=2), matmul(vectors, angles))


def _lapack(matrices: Array) -> tuple[Array, Array]:
    vectors, values = lax.linalg.eigh(matrices, symmetrize_input=False)
    return values, vectors


@stack_lanes
def _jacobi(matrices: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors by cyclic Jacobi rotations, each of at most 45 degrees.

    Sweeps go on until every entry off the diagonal is within rounding of the diagonal entries of its row and column, so
    that small eigenvalues are accurate too (Demmel & Veselic 1992, Jacobi's method is more accurate than QR).
    """

    # The rotation that takes the entry between two axes to zero
    def rotation(partner: np.ndarray, gap: Array, between: Array) -> tuple[Array, Array]:
        sign_if_equal = np.sign(partner - np.arange(d)).astype(gap.dtype)[:, None]  # opposite for the two of a pair
        between = 2 * between * jnp.where(gap == 0, sign_if_equal, jnp.sign(gap))
        tangent = between / safe_divisor(abs(gap) + jnp.sqrt(gap**2 + between**2))
        cosine = 1 / jnp.sqrt(1 + tangent**2)
        return cosine, tangent * cosine

    d = matrices.shape[-1]
    start = jnp.moveaxis(matrices, 0, -1)
    axes = jnp.broadcast_to(jnp.eye(d, dtype=start.dtype)[:, :, None], start.shape)
    max_sweeps = 1 if d <= 2 else min(d + 2, SWEEPS)

    # Sweep until the matrices are diagonal
    def is_running(carry: tuple[Array, Array, Array]) -> Array:
        rotated, _, count = carry
        size = jnp.sqrt(abs(rotated[np.arange(d), np.arange(d)]))
        above_rounding = abs(rotated) > d * np.finfo(rotated.dtype).eps * size[:, None] * size[None]
        return (above_rounding & ~np.eye(d, dtype=bool)[:, :, None]).any() & (count < max_sweeps)

    def sweep(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rotated, axes, count = carry
        return *_sweep(rotated, axes, rotation), count + 1

    rotated, axes, _ = lax.while_loop(is_running, sweep, (start, axes, jnp.int32(0)))

    # Sort by eigenvalue
    values, axes = rotated[np.arange(d), np.arange(d)].T, axes.transpose(2, 1, 0)
    order = jnp.argsort(values, axis=-1)
    return jnp.take_along_axis(values, order, -1), jnp.take_along_axis(axes, order[:, None, :], -1)


def rotate_common_axes(scatters: Array, variances: Array, axes: Array) -> tuple[Array, Array]:
    r"""Axes that suit all scatters better, by one sweep of rotations, for known variances ``(k, d)`` along the axes.

    .. math:: \min_D \sum_j \mathrm{tr}(D \, \mathrm{diag}(v_j)^{-1} D^T W_j), \quad D^T D = I

    For two axes at a time the minimiser is known, so no rotation raises the sum (Flury & Gautschi 1986, An algorithm
    for simultaneous orthogonal transformation of several positive definite symmetric matrices to nearly diagonal form).

    Args:
        scatters: ``(k, d, d)`` scatters in the coordinates of the axes, :math:`D^T W_j D`.
        variances: ``(k, d)`` along the axes.
        axes: ``(d, d)``, as columns.

    Returns:
        The scatters in the coordinates of the new axes, and the new axes.
    """
    precisions = 1 / variances.T

    def rotation(partner: np.ndarray, gap: Array, between: Array) -> tuple[Array, Array]:
        difference = precisions - precisions[partner]
        between, gap = 2 * (difference * between).sum(1), (difference * gap).sum(1)
        is_flat = (between == 0) & (gap == 0)  # the sum is the same for every angle: do not rotate
        angle = jnp.arctan2(-between, jnp.where(is_flat, 1, -gap))[:, None] / 2
        return jnp.cos(angle), jnp.sin(angle)

    scatters, axes = _sweep(jnp.moveaxis(scatters, 0, -1), axes.T[:, :, None], rotation)
    return jnp.moveaxis(scatters, -1, 0), axes[:, :, 0].T


def _sweep(matrices: Array, axes: Array, rotation: Rotation) -> tuple[Array, Array]:
    """Rotate every pair of axes of matrices ``(d, d, k)`` once; here ``axes`` ``(d, d, k|1)`` are rows.

    ``rotation`` takes the partner ``(d,)`` of each axis, and for each pair the difference of diagonal entries and the
    entry between the axes, ``(d, k)`` each. It returns the cosine and sine of the angle by which each axis rotates
    towards its partner; the partner rotates away from it by the same angle.
    """
    d = len(matrices)
    for partner in _rounds(d):
        paired = (partner != np.arange(d))[:, None]
        # Angles, from entries of one triangle, so that the two axes of a pair have the same
        diagonal = jnp.stack([matrices[i, i] for i in range(d)])
        between = jnp.stack([matrices[max(i, j), min(i, j)] for i, j in enumerate(partner)])
        cosine, sine = rotation(partner, diagonal - diagonal[partner], jnp.where(paired, between, 0))
        cosine, sine = jnp.where(paired, cosine, 1)[:, None], jnp.where(paired, sine, 0)[:, None]
        # Rotate rows, columns and axes
        matrices = matrices * cosine + matrices[partner] * sine
        matrices = matrices * cosine.swapaxes(0, 1) + matrices[:, partner] * sine.swapaxes(0, 1)
        axes = axes * cosine + axes[partner] * sine
    return matrices, axes


def _rounds(d: int) -> np.ndarray:
    """The partner of each axis in each round of a sweep, ``(rounds, d)``; an axis without partner is its own.

    Pairs are those of a round-robin tournament by the circle method: one player stays, the others move on by one seat.
    """
    seats = list(range(d + d % 2))
    rounds = np.tile(np.arange(d), (max(len(seats) - 1, 0), 1))
    for partners in rounds:
        for a, b in zip(seats[: len(seats) // 2], reversed(seats), strict=False):
            if max(a, b) < d:
                partners[a], partners[b] = b, a
        seats.insert(1, seats.pop())
    return rounds
