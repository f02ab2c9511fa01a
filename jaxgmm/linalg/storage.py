"""Covariances and second moments by how they are stored: matrices or diagonals, shared or not.

Throughout, ``covariances`` is stored as in :class:`jaxgmm.GMMParams`, and a storage shape is the shape of such an
array: ``(k, d, d)``, ``(1, d, d)``, ``(k, d)``, ``(1, d)``, ``(k, 1)`` or ``(1, 1)``.
"""

import jax.numpy as jnp
from jax import Array


def pool_moments(values: Array, shape: tuple[int, ...]) -> Array:
    """Moments ``(k, d)`` or ``(k, d, d)`` of each component, pooled to a storage shape.

    Moments of components that share a covariance are summed, those of features that share a variance averaged.
    """
    if shape[0] == 1:
        values = values.sum(0, keepdims=True)
    if len(shape) == 2 and shape[1] == 1:
        values = values.mean(1, keepdims=True)
    return values


def pool_counts(counts: Array, shape: tuple[int, ...]) -> Array:
    """Counts ``(k,)`` of each component, pooled to the ``(k|1,)`` that go with moments of a storage shape."""
    return counts.sum(keepdims=True) if shape[0] == 1 else counts


def outer_square(vectors: Array, ndim: int) -> Array:
    """``v_j v_j^T`` of vectors ``(k, d)``; its diagonal where covariances are stored in ``ndim`` = 2 axes."""
    return vectors**2 if ndim == 2 else vectors[:, :, None] * vectors[:, None, :]


def variances(covariances: Array, n_features: int) -> Array:
    """The variance of each feature, ``(k|1, d)``, however the covariances are stored."""
    if covariances.ndim == 3:
        return jnp.diagonal(covariances, axis1=1, axis2=2)
    return jnp.broadcast_to(covariances, (covariances.shape[0], n_features))


def stored_variances(covariances: Array) -> Array:
    """The variances as they are stored, ``(k|1, d|1)``."""
    return covariances if covariances.ndim == 2 else jnp.diagonal(covariances, axis1=1, axis2=2)


def add_to_diagonal(covariances: Array, values: Array) -> Array:
    """Covariances with ``values`` ``(k|1, d|1)`` added to their variances."""
    if covariances.ndim == 2:
        return covariances + values
    return covariances + values[:, :, None] * jnp.eye(covariances.shape[-1], dtype=covariances.dtype)[None]


def to_storage_shape(matrix: Array, shape: tuple[int, ...]) -> Array:
    """One matrix ``(d, d)`` in a storage shape with leading 1: whole, its diagonal, or the mean of its diagonal."""
    return matrix[None] if len(shape) == 3 else pool_moments(jnp.diagonal(matrix)[None], (1, *shape[1:]))


def rescale(covariances: Array, scale: Array) -> Array:
    """The covariances of ``scale * x`` for ``scale`` ``(d,)``, all equal where features share a variance."""
    if covariances.ndim == 3:
        return covariances * (scale[:, None] * scale[None, :])[None]
    return covariances * (scale[: covariances.shape[1]] ** 2)[None]
