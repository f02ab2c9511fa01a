"""Cholesky factors of covariances, and what is computed with them; the only caller of ``cholesky``.

Rows of data lie component-major, ``(k, d, n)``: products of whole contiguous vectors.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .products import LARGEST_ELIMINATED, einsum, matmul, side_by_side, symmetrize
from .storage import as_matrices, pool, variances

BLOCK = 16  # rows eliminated at a time where there are more features


class Factor(NamedTuple):
    """Covariances as L L^T: lower triangles, or standard deviations where they are diagonal."""

    root: Array  # L, (k|1, d, d) or (k|1, d)
    inverse: Array  # L^-1, likewise
    log_det: Array  # (k|1,) log |L|


def factorize(covariances: Array, n_features: int) -> Factor:
    """Cholesky factors; NaN or infinite where a covariance is not positive definite."""
    if covariances.ndim == 2:
        root = jnp.sqrt(jnp.broadcast_to(covariances, (covariances.shape[0], n_features)))
        return Factor(root, 1 / root, jnp.log(root).sum(1))
    root, inverse = _cholesky_with_inverse(symmetrize(covariances))
    return Factor(root, inverse, jnp.log(jnp.diagonal(root, axis1=1, axis2=2)).sum(1))


@jax.custom_jvp
@jax.jit
def _cholesky_with_inverse(matrices: Array) -> tuple[Array, Array]:
    """``L`` and ``L^-1`` of symmetric matrices ``(k, d, d)``."""
    if matrices.shape[-1] <= LARGEST_ELIMINATED:
        return _eliminate(matrices)
    return lax.platform_dependent(matrices, cpu=_eliminate_by_blocks, default=_lapack)


@_cholesky_with_inverse.defjvp
def _cholesky_with_inverse_jvp(primals: Any, tangents: Any) -> Any:
    (matrices,), (moved,) = primals, tangents
    root, inverse = _cholesky_with_inverse(matrices)
    whitened = jnp.tril(matmul(matmul(inverse, moved), inverse.swapaxes(-1, -2)))
    whitened = whitened - jnp.eye(whitened.shape[-1], dtype=whitened.dtype)[None] * whitened / 2
    return (root, inverse), (matmul(root, whitened), -matmul(whitened, inverse))


@side_by_side
def _eliminate(matrices: Array) -> tuple[Array, Array]:
    """Symmetric Gaussian elimination: takes ``[A | I]`` to ``[L^T | L^-1]``, all matrices at once."""
    d = matrices.shape[-1]
    identity = jnp.broadcast_to(jnp.eye(d, dtype=matrices.dtype)[:, :, None], (d, d, len(matrices)))
    left, done = jnp.concatenate([jnp.moveaxis(matrices, 0, -1), identity], axis=1), []
    for index in range(d):
        done.append(left[0] / jnp.sqrt(left[0, index : index + 1]))
        left = left[1:] - done[-1][index + 1 : d, None] * done[-1][None]
    augmented = jnp.moveaxis(jnp.stack(done), -1, 0)
    return jnp.tril(augmented[..., :d].swapaxes(-1, -2)), augmented[..., d:]


@side_by_side
def _eliminate_by_blocks(matrices: Array) -> tuple[Array, Array]:
    """The same in loops: of each block of rows, then of each row in it, is taken what the rows above it say of it."""
    d = matrices.shape[1]
    n_blocks = -(-d // BLOCK)
    size = n_blocks * BLOCK
    spare = jnp.diag((jnp.arange(size) >= d).astype(matrices.dtype))
    matrices = jnp.pad(matrices, ((0, 0), (0, size - d), (0, size - d))) + spare[None]
    identity = jnp.broadcast_to(jnp.eye(size, dtype=matrices.dtype), matrices.shape)
    augmented = jnp.concatenate([matrices, identity], axis=2)

    def eliminate_block(block: Array, done: Array) -> Array:
        first = block * BLOCK
        above = lax.dynamic_slice_in_dim(done, first, BLOCK, axis=2)
        rows = lax.dynamic_slice_in_dim(augmented, first, BLOCK, axis=1) - matmul(above.swapaxes(1, 2), done)

        def eliminate_row(index: Array, rows: Array) -> Array:
            above = jnp.where(jnp.arange(BLOCK)[None] < index, rows[:, :, first + index], 0)
            row = rows[:, index] - jnp.squeeze(matmul(above[:, None], rows), 1)
            return rows.at[:, index].set(row / jnp.sqrt(row[:, first + index])[:, None])

        return lax.dynamic_update_slice_in_dim(done, lax.fori_loop(0, BLOCK, eliminate_row, rows), first, axis=1)

    done = lax.fori_loop(0, n_blocks, eliminate_block, jnp.zeros_like(augmented))
    return jnp.tril(done[:, :d, :d].swapaxes(1, 2)), done[:, :d, size : size + d]


def _lapack(matrices: Array) -> tuple[Array, Array]:
    root = jnp.linalg.cholesky(matrices)
    identity = jnp.broadcast_to(jnp.eye(root.shape[-1], dtype=root.dtype), root.shape)
    return root, lax.linalg.triangular_solve(root, identity, left_side=True, lower=True)


def whiten(factor: Factor, rows: Array, offsets: Array) -> Array:
    """``L_j^-1 (row - offset_j)`` for rows ``(d, n)`` and offsets ``(k, d)``, as ``(k, d, n)``."""
    if factor.root.ndim == 2:
        return (rows[None] - offsets[:, :, None]) * factor.inverse[:, :, None]
    inverse = factor.inverse
    origin = -matmul(inverse, offsets[:, :, None])
    if inverse.shape[0] < offsets.shape[0]:
        return matmul(inverse, rows[None]) + origin
    # One product for all components, the origin a column beside L^-1: no second pass over the residuals.
    affine = jnp.concatenate([origin, inverse], axis=2).reshape(-1, rows.shape[0] + 1)
    return matmul(affine, jnp.concatenate([jnp.ones_like(rows[:1]), rows])).reshape(*offsets.shape, -1)


def unwhiten(factor: Factor, vectors: Array) -> Array:
    """``L_j v_j`` for ``vectors`` ``(k, d)``."""
    if factor.root.ndim == 2:
        return factor.root * vectors
    return jnp.squeeze(matmul(factor.root, vectors[:, :, None]), 2)


def whitened_scatter(factor: Factor, residuals: Array, expected: Array, rows: Array) -> tuple[Array, Array]:
    """First and second moments of whitened residuals z ``(k, d, n)`` under responsibilities ``(k, n)``.

    ``sum_n r_jn z_jn`` ``(k, d)``, and ``sum_n r_jn z_jn z_jn^T``; but where covariances are matrices, the
    half-whitened ``sum_n r_jn z_jn row_n^T``, which is one plain product for all components instead of k small ones.
    :func:`unwhiten_scatter` sets it right at the end. As only one of its two factors is about a common centre, its
    rounding error still grows only linearly with distance.
    """
    k, d, n = residuals.shape
    weighted, one = (residuals * expected[:, None, :]).reshape(k * d, n), jnp.ones((1, n), residuals.dtype)
    if len(factor.root) == k and factor.root.ndim == 3:
        both = matmul(weighted, jnp.concatenate([one, rows]).T).reshape(k, d, d + 1)
        return both[:, :, 0], both[:, :, 1:]
    first = matmul(weighted, one.T).reshape(k, d)
    if factor.root.ndim == 2:
        return first, einsum("kdn,kdn->kd", weighted.reshape(k, d, n), residuals)
    return first, matmul(weighted.reshape(k, d, n).sum(0), rows.T)[None]


def unwhiten_scatter(factor: Factor, first: Array, second: Array, offsets: Array) -> Array:
    """Second moments of residuals from the sums of :func:`whitened_scatter`, symmetric exactly."""
    if factor.root.ndim == 2:
        return factor.root**2 * second
    moved = pool(first[:, :, None] * offsets[:, None, :], second.shape)
    return symmetrize(matmul(factor.root, second - moved))


def precisions(factor: Factor) -> Array:
    """``Sigma_j^-1``, ``(k|1, d, d)``, or its diagonal ``(k|1, d)``."""
    if factor.inverse.ndim == 2:
        return factor.inverse**2
    return matmul(factor.inverse.swapaxes(1, 2), factor.inverse)


def trace_inverse(factor: Factor) -> Array:
    """``tr Sigma_j^-1``, ``(k|1,)``."""
    return (factor.inverse**2).sum(tuple(range(1, factor.inverse.ndim)))


def trace_of_ratio(matrix: Array, factor: Factor) -> Array:
    """``tr(M Sigma_j^-1)`` for a matrix ``(d, d)``, ``(k|1,)``."""
    if factor.root.ndim == 2:
        return (jnp.diagonal(matrix)[None] * factor.inverse**2).sum(1)
    return (matmul(factor.inverse, matrix[None]) * factor.inverse).sum((1, 2))


def is_positive_definite(factor: Factor, covariances: Array) -> Array:
    """Whether each covariance, ``(k|1,)``, is positive definite beyond the rounding of its Cholesky factor.

    A squared pivot is the variance of a feature given those before it; one below ``d eps`` times the feature's own
    variance cannot be told from zero (Higham 2002, Accuracy and Stability, section 10.1).
    """
    root, d = factor.root, factor.root.shape[1]
    if root.ndim == 2:
        return (jnp.isfinite(root) & (root > 0)).all(1)
    pivots = jnp.diagonal(root, axis1=1, axis2=2) ** 2
    least = d * np.finfo(root.dtype).eps * variances(covariances, d)
    return (pivots > least).all(1) & jnp.isfinite(root).all((1, 2))


def conditioning(factor: Factor, covariances: Array) -> Array:
    """How much rounding the Cholesky pivots amplify, ``(k|1,)``: the number of features where these are uncorrelated.

    The sum over features of variance over squared pivot, the variance given the features before it.
    """
    root, d = factor.root, factor.root.shape[1]
    if root.ndim == 2:
        return jnp.full(root.shape[0], d, root.dtype)
    pivots = jnp.diagonal(root, axis1=1, axis2=2) ** 2
    return (variances(covariances, d) / pivots).sum(1)


def dominates(covariances: Array, least: Array) -> Array:
    """Whether each covariance, ``(k|1,)``, exceeds ``least`` ``(k|1, d, d)`` in every direction."""
    d = least.shape[-1]
    return jnp.isfinite(factorize(as_matrices(covariances, d) - least, d).root).all((1, 2))


def log_root(covariances: Array) -> Array:
    """Cholesky factors, stored as the covariances are, with the logarithm of their diagonal."""
    root = factorize(covariances, covariances.shape[1]).root
    if root.ndim == 2:
        return jnp.log(root)
    on = jnp.eye(root.shape[-1], dtype=bool)[None]
    return jnp.where(on, jnp.log(jnp.where(on, root, 1)), root)


def from_log_root(root: Array) -> Array:
    """The covariances of :func:`log_root`; entries above the diagonal do not count."""
    if root.ndim == 2:
        return jnp.exp(2 * root)
    on = jnp.eye(root.shape[-1], dtype=bool)[None]
    root = jnp.tril(jnp.where(on, jnp.exp(jnp.where(on, root, 0)), root))
    return symmetrize(matmul(root, root.swapaxes(-1, -2)))
