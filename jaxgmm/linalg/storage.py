"""Covariances and second moments by how they are stored: matrices or diagonals, shared or not.

Throughout, ``covariances`` is stored as in :class:`jaxgmm.GMMParams`.
"""

import jax
import jax.numpy as jnp
from jax import Array


def pool(values: Array, shape: tuple[int, ...]) -> Array:
    """Bring ``(k, d)`` or ``(k, d, ...)`` moments to a storage shape.

    Components that share a covariance are summed, features that share a variance averaged.
    """
    if shape[0] == 1:
        values = values.sum(0, keepdims=True)
    if len(shape) == 2 and shape[1] == 1:
        values = values.mean(1, keepdims=True)
    return values


def pool_counts(counts: Array, shape: tuple[int, ...]) -> Array:
    """Bring ``(k,)`` counts to ``(k|1,)``, beside second moments pooled to a storage shape."""
    return counts.sum(keepdims=True) if shape[0] == 1 else counts


def outer_square(vectors: Array, ndim: int) -> Array:
    """``v_j v_j^T`` of vectors ``(k, d)``, or its diagonal where the structure has rank 2."""
    return vectors**2 if ndim == 2 else vectors[:, :, None] * vectors[:, None, :]


def variances(covariances: Array, n_features: int) -> Array:
    """The diagonals, ``(k|1, d)``, whatever the structure."""
    if covariances.ndim == 3:
        return jnp.diagonal(covariances, axis1=1, axis2=2)
    return jnp.broadcast_to(covariances, (covariances.shape[0], n_features))


def add_to_diagonal(covariances: Array, values: Array) -> Array:
    """Add ``values`` ``(k|1,)`` to the diagonal of each covariance."""
    if covariances.ndim == 2:
        return covariances + values[:, None]
    return covariances + values[:, None, None] * jnp.eye(covariances.shape[-1], dtype=covariances.dtype)[None]


def stored(matrix: Array, shape: tuple[int, ...]) -> Array:
    """A matrix ``(d, d)`` brought to a storage shape: itself, its diagonal, or the mean of that; leading 1."""
    return matrix[None] if len(shape) == 3 else pool(jnp.diagonal(matrix)[None], (1, *shape[1:]))


def as_matrices(covariances: Array, n_features: int) -> Array:
    """Covariances as ``(k|1, d, d)``, whatever the structure."""
    return covariances if covariances.ndim == 3 else jax.vmap(jnp.diag)(variances(covariances, n_features))


def rescale(covariances: Array, scale: Array) -> Array:
    """The covariances of ``scale * x`` for ``scale`` ``(d,)``; one number where features share a variance."""
    if covariances.ndim == 3:
        return covariances * (scale[:, None] * scale[None, :])[None]
    return covariances * (scale[: covariances.shape[1]] ** 2)[None]
