"""Cholesky factors ``Sigma_j = L_j L_j^T`` of covariances: whitening, inverses, traces and tests by them.

Whitened rows are stored as ``(k, d, n)``, the rows last, so that operations run over contiguous vectors of length n.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..programs import traced_once
from .products import LARGEST_UNROLLED, einsum, matmul, mirror, stack_lanes, symmetrize
from .storage import pool_moments, variances

# Matrix rows eliminated as one block beyond LARGEST_UNROLLED features: larger blocks take fewer and larger products,
# but more sequential steps inside each. 8 matrices of 32 features on a CPU: .29 ms with 8, .19 with 16, .21 with 32.
BLOCK = 16


class Factor(NamedTuple):
    """Cholesky factors ``Sigma_j = L_j L_j^T``: lower triangles, or standard deviations of diagonal covariances."""

    root: Array  # L, (k|1, d, d) or (k|1, d)
    inverse: Array  # L^-1, of the same shape
    log_det: Array  # (k|1,) log |L|


def factorize(covariances: Array, n_features: int) -> Factor:
    """Cholesky factors of covariances; NaN or infinite where a covariance is not positive definite."""
    if covariances.ndim == 2:
        root = jnp.sqrt(jnp.broadcast_to(covariances, (covariances.shape[0], n_features)))
        return Factor(root, 1 / root, jnp.log(root).sum(1))
    root, inverse = _cholesky_with_inverse(symmetrize(covariances))
    return Factor(root, inverse, jnp.log(jnp.diagonal(root, axis1=1, axis2=2)).sum(1))


@jax.custom_jvp
@traced_once()
def _cholesky_with_inverse(matrices: Array) -> tuple[Array, Array]:
    """``L`` and ``L^-1`` of symmetric matrices ``(k, d, d)``."""
    if matrices.shape[-1] <= LARGEST_UNROLLED:
        return _eliminate(matrices)
    return lax.platform_dependent(matrices, cpu=_eliminate_by_blocks, default=_lapack)


@_cholesky_with_inverse.defjvp
def _cholesky_with_inverse_jvp(primals: Any, tangents: Any) -> Any:
    """``dL = L Phi(L^-1 dA L^-T)``, Phi the lower triangle with its diagonal halved (Murray 2016, arXiv:1602.07527)."""
    (matrices,), (tangent,) = primals, tangents
    root, inverse = _cholesky_with_inverse(matrices)
    whitened = jnp.tril(matmul(matmul(inverse, tangent), inverse.swapaxes(-1, -2)))
    whitened = whitened - jnp.eye(whitened.shape[-1], dtype=whitened.dtype)[None] * whitened / 2
    return (root, inverse), (matmul(root, whitened), -matmul(whitened, inverse))


@stack_lanes
def _eliminate(matrices: Array) -> tuple[Array, Array]:
    """``L`` and ``L^-1`` by symmetric Gaussian elimination of ``[A | I]`` to ``[L^T | L^-1]``, unrolled over rows."""
    d = matrices.shape[-1]
    identity = jnp.broadcast_to(jnp.eye(d, dtype=matrices.dtype)[:, :, None], (d, d, len(matrices)))
    remainder, rows = jnp.concatenate([jnp.moveaxis(matrices, 0, -1), identity], axis=1), []
    for index in range(d):
        rows.append(remainder[0] / jnp.sqrt(remainder[0, index : index + 1]))
        remainder = remainder[1:] - rows[-1][index + 1 : d, None] * rows[-1][None]
    augmented = jnp.moveaxis(jnp.stack(rows), -1, 0)
    return jnp.tril(augmented[..., :d].swapaxes(-1, -2)), augmented[..., d:]


@stack_lanes
def _eliminate_by_blocks(matrices: Array) -> tuple[Array, Array]:
    """``L`` and ``L^-1`` by symmetric Gaussian elimination, in loops over blocks of rows and the rows of a block."""
    # Pad with the identity to whole blocks
    d = matrices.shape[1]
    n_blocks = -(-d // BLOCK)
    size = n_blocks * BLOCK
    padding = jnp.diag((jnp.arange(size) >= d).astype(matrices.dtype))
    matrices = jnp.pad(matrices, ((0, 0), (0, size - d), (0, size - d))) + padding[None]
    identity = jnp.broadcast_to(jnp.eye(size, dtype=matrices.dtype), matrices.shape)
    augmented = jnp.concatenate([matrices, identity], axis=2)

    # Eliminate a block of rows: first with all rows above it, then row by row with those above inside the block
    def eliminate_block(block: Array, result: Array) -> Array:
        first = block * BLOCK
        above = lax.dynamic_slice_in_dim(result, first, BLOCK, axis=2)
        rows = lax.dynamic_slice_in_dim(augmented, first, BLOCK, axis=1) - matmul(above.swapaxes(1, 2), result)

        def eliminate_row(index: Array, rows: Array) -> Array:
            above = jnp.where(jnp.arange(BLOCK)[None] < index, rows[:, :, first + index], 0)
            row = rows[:, index] - (above[:, :, None] * rows).sum(1)
            return rows.at[:, index].set(row / jnp.sqrt(row[:, first + index])[:, None])

        return lax.dynamic_update_slice_in_dim(result, lax.fori_loop(0, BLOCK, eliminate_row, rows), first, axis=1)

    # Read L^T and L^-1 off the eliminated rows
    result = lax.fori_loop(0, n_blocks, eliminate_block, jnp.zeros_like(augmented))
    return jnp.tril(result[:, :d, :d].swapaxes(1, 2)), result[:, :d, size : size + d]


def _lapack(matrices: Array) -> tuple[Array, Array]:
    """``L`` and ``L^-1`` by the library of the device."""
    root = jnp.linalg.cholesky(matrices)
    identity = jnp.broadcast_to(jnp.eye(root.shape[-1], dtype=root.dtype), root.shape)
    return root, lax.linalg.triangular_solve(root, identity, left_side=True, lower=True)


def whiten(factor: Factor, rows: Array, offsets: Array) -> Array:
    """Whitened residuals ``L_j^-1 (row - offset_j)``, ``(k, d, n)``, for rows ``(d, n)`` and offsets ``(k, d)``."""
    if factor.root.ndim == 2:
        return (rows[None] - offsets[:, :, None]) * factor.inverse[:, :, None]
    inverse = factor.inverse
    origin = -matmul(inverse, offsets[:, :, None])
    if inverse.shape[0] < offsets.shape[0]:
        return matmul(inverse, rows[None]) + origin
    # One product for all components; with the origin as a further column of L^-1, no second pass adds it
    affine = jnp.concatenate([origin, inverse], axis=2).reshape(-1, rows.shape[0] + 1)
    return matmul(affine, jnp.concatenate([jnp.ones_like(rows[:1]), rows])).reshape(*offsets.shape, -1)


def whitened_squares(factor: Factor, vectors: Array, matrices: Array) -> tuple[Array, Array]:
    """Squares ``|L_j^-1 v_j|^2`` of vectors ``(k, d)`` and ``|L_j^-1 M_j L_j^-T|^2`` of matrices stored as covariances.

    ``(k,)`` and ``(k|1,)``.
    """
    inverse = factor.inverse
    if inverse.ndim == 2:
        return ((inverse * vectors) ** 2).sum(1), ((inverse**2 * matrices) ** 2).sum(1)
    whitened = matmul(matmul(inverse, matrices), inverse.swapaxes(1, 2))
    return (matmul(inverse, vectors[:, :, None]) ** 2).sum((1, 2)), (whitened**2).sum((1, 2))


def unwhiten(factor: Factor, vectors: Array) -> Array:
    """Whitened vectors ``(k, d)`` in the coordinates of the features, ``L_j v_j``."""
    if factor.root.ndim == 2:
        return factor.root * vectors
    return jnp.squeeze(matmul(factor.root, vectors[:, :, None]), 2)


def whitened_scatter(factor: Factor, residuals: Array, responsibilities: Array, rows: Array) -> tuple[Array, Array]:
    """First and second moments of whitened residuals z ``(k, d, n)`` under responsibilities ``(k, n)``.

    First moments are ``sum_n r_jn z_jn``, ``(k, d)``. Second moments of diagonal covariances are the diagonals of
    ``sum_n r_jn z_jn z_jn^T``. Where covariances are matrices, second moments are half-whitened,
    ``sum_n r_jn z_jn row_n^T``, with ``rows`` ``(d, n)`` about a centre that all components share: one product for all
    components instead of k small ones. As only one of its two factors is about the common centre, rounding errors still
    grow only linearly with a component's distance from it. :func:`unwhiten_scatter` takes either kind to second moments
    of residuals.
    """
    k, d, n = residuals.shape
    weighted = (residuals * responsibilities[:, None, :]).reshape(k * d, n)
    ones = jnp.ones((1, n), residuals.dtype)
    # A matrix for each component: both moments in one product
    if len(factor.root) == k and factor.root.ndim == 3:
        moments = matmul(weighted, jnp.concatenate([ones, rows]).T).reshape(k, d, d + 1)
        return moments[:, :, 0], moments[:, :, 1:]
    # Diagonal covariances, or one matrix for all components
    first = matmul(weighted, ones.T).reshape(k, d)
    if factor.root.ndim == 2:
        return first, einsum("kdn,kdn->kd", weighted.reshape(k, d, n), residuals)
    return first, matmul(weighted.reshape(k, d, n).sum(0), rows.T)[None]


def unwhiten_scatter(factor: Factor, first: Array, second: Array, offsets: Array) -> Array:
    """Second moments of residuals from the moments of :func:`whitened_scatter`, exactly symmetric."""
    if factor.root.ndim == 2:
        return factor.root**2 * second
    of_offsets = pool_moments(first[:, :, None] * offsets[:, None, :], second.shape)
    return mirror(symmetrize(matmul(factor.root, second - of_offsets)))


def precisions(factor: Factor) -> Array:
    """Precisions ``Sigma_j^-1``, ``(k|1, d, d)``, or their diagonals ``(k|1, d)``."""
    if factor.inverse.ndim == 2:
        return factor.inverse**2
    return matmul(factor.inverse.swapaxes(1, 2), factor.inverse)


def precision_diagonals(factor: Factor) -> Array:
    """Diagonals of the precisions ``Sigma_j^-1``, ``(k|1, d)``."""
    return (factor.inverse**2).sum(1) if factor.inverse.ndim == 3 else factor.inverse**2


def trace_of_ratio(matrix: Array, factor: Factor) -> Array:
    """Traces ``tr(M Sigma_j^-1)``, ``(k|1,)``, for one matrix M ``(d, d)``."""
    if factor.root.ndim == 2:
        return (jnp.diagonal(matrix)[None] * factor.inverse**2).sum(1)
    return (matmul(factor.inverse, matrix[None]) * factor.inverse).sum((1, 2))


def is_positive_definite(factor: Factor, covariances: Array) -> Array:
    """Whether each covariance, ``(k|1,)``, is positive definite beyond the rounding of its Cholesky factor.

    A squared pivot is the conditional variance of a feature, given the features before it; below ``d eps`` times the
    feature's marginal variance it cannot be told from zero (Higham 2002, Accuracy and Stability, section 10.1).
    """
    root, d = factor.root, factor.root.shape[1]
    if root.ndim == 2:
        return (jnp.isfinite(root) & (root > 0)).all(1)
    pivots = jnp.diagonal(root, axis1=1, axis2=2) ** 2
    least = d * np.finfo(root.dtype).eps * variances(covariances, d)
    return (pivots > least).all(1) & jnp.isfinite(root).all((1, 2))


def conditioning(factor: Factor, covariances: Array) -> Array:
    """How much each Cholesky factor amplifies rounding, ``(k|1,)``: d for uncorrelated features, else more.

    The sum over features of their marginal variance over their conditional variance, given the features before them.
    """
    root, d = factor.root, factor.root.shape[1]
    if root.ndim == 2:
        return jnp.full(root.shape[0], d, root.dtype)
    pivots = jnp.diagonal(root, axis1=1, axis2=2) ** 2
    return (variances(covariances, d) / pivots).sum(1)


def exceeds(covariances: Array, least: Array) -> Array:
    """Whether each covariance, ``(k|1,)``, exceeds another, stored alike, in every direction."""
    if covariances.ndim == 2:
        return (covariances > least).all(1)
    return jnp.isfinite(factorize(covariances - least, covariances.shape[-1]).root).all((1, 2))


def log_cholesky(covariances: Array) -> Array:
    """Unconstrained coordinates of covariances, stored alike: Cholesky factors with the logarithm of their diagonal.

    The log-Cholesky parametrisation of Pinheiro & Bates (1996), Unconstrained parametrizations for variance-covariance
    matrices.
    """
    root = factorize(covariances, covariances.shape[1]).root
    if root.ndim == 2:
        return jnp.log(root)
    diagonal = jnp.eye(root.shape[-1], dtype=bool)[None]
    return jnp.where(diagonal, jnp.log(jnp.where(diagonal, root, 1)), root)


def from_log_cholesky(coordinates: Array) -> Array:
    """The covariances with coordinates :func:`log_cholesky`; entries above the diagonal are ignored."""
    if coordinates.ndim == 2:
        return jnp.exp(2 * coordinates)
    diagonal = jnp.eye(coordinates.shape[-1], dtype=bool)[None]
    exponential = jnp.exp(jnp.where(diagonal, coordinates, 0))
    root = jnp.tril(jnp.where(diagonal, exponential, coordinates))
    return symmetrize(matmul(root, root.swapaxes(-1, -2)))
