r"""Maximum-likelihood covariances :math:`\Sigma_j = \lambda_j D_j A_j D_j^T` under constraints on each factor.

Volume :math:`\lambda_j`, shape :math:`A_j` (diagonal, of determinant one) and orientation :math:`D_j` may be equal or
variable, shape and orientation also the identity (Celeux & Govaert 1995, Gaussian parsimonious clustering models).
Every estimate here is ``(scatters, counts, previous) -> covariances``, with scatters :math:`W_j = \sum_i r_{ij} (x_i -
\mu_j)(x_i - \mu_j)^T` stored as the covariances are and counts :math:`n_j = \sum_i r_{ij}`, and maximises the expected
log-likelihood :math:`-\frac12 \sum_j [n_j \log |\Sigma_j| + \mathrm{tr}(W_j \Sigma_j^{-1})]`. Where the maximum has no
closed form, the function improves on the ``previous`` covariances.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import linalg
from ..linalg import factorize, matmul, pool_counts, safe_divisor, symmetrize

# Improvements in each M-step where the maximum has no closed form. More make an M-step dearer and EM steps fewer; EM is
# monotone with any number, as no improvement lowers the expected log-likelihood. No benchmark chose the number.
INNER_STEPS = 3

Estimate = Callable[[Array, Array, Array], Array]
# Variances along the axes of each component, from the diagonals (k, d) of scatters in the coordinates of the axes
Variances = Callable[[Array, Array, Array], Array]  # (diagonals, counts, volumes (k,)) -> (k, d)


def average(scatters: Array, counts: Array, previous: Array) -> Array:
    """Scatter over count, ``W_j / n_j``; where components share a covariance, both are sums over components."""
    counts = pool_counts(counts, scatters.shape)
    return scatters / counts.reshape(-1, *(1,) * (scatters.ndim - 1))


def equal_variances(diagonals: Array, counts: Array, volumes: Array) -> Array:
    """Variances along the axes with equal volume and shape: pooled over components."""
    return jnp.broadcast_to(diagonals.sum(0) / counts.sum(), diagonals.shape)


def free_variances(diagonals: Array, counts: Array, volumes: Array) -> Array:
    """Variances along the axes with variable volume and shape: ``W_j / n_j`` of each component."""
    return diagonals / counts[:, None]


def equal_volume(diagonals: Array, counts: Array, volumes: Array) -> Array:
    """Variances along the axes with equal volume and variable shape."""
    diagonals = jnp.maximum(diagonals, np.finfo(diagonals.dtype).tiny)
    sizes = jnp.exp(jnp.log(diagonals).mean(1))
    return diagonals / sizes[:, None] * (sizes.sum() / counts.sum())


def equal_shape(diagonals: Array, counts: Array, volumes: Array) -> Array:
    """Variances along the axes with variable volume and equal shape: the volumes and the shape, in turn."""

    def improve(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        volumes, _shape = carry
        shape = (diagonals / safe_divisor(volumes)[:, None]).sum(0)
        shape = shape / jnp.exp(jnp.log(shape).mean())
        return (diagonals / shape[None]).mean(1) / counts, shape

    volumes, shape = lax.fori_loop(0, INNER_STEPS, improve, (volumes, jnp.ones_like(diagonals[0])))
    return volumes[:, None] * shape[None]


def along_features(variances: Variances, scatters: Array, counts: Array, previous: Array) -> Array:
    """Diagonal covariances ``(k, d)``: the axes are the features."""
    return variances(scatters, counts, jnp.exp(jnp.log(previous).mean(1)))


def along_own_axes(variances: Variances, scatters: Array, counts: Array, previous: Array) -> Array:
    """Covariances with variable orientation: the axes are the eigenvectors of each scatter, ordered by eigenvalue."""
    values, axes = linalg.eigh(scatters)
    return _compose(variances(jnp.maximum(values, 0), counts, _volumes(previous)), axes)


def along_common_axes(variances: Variances, scatters: Array, counts: Array, previous: Array) -> Array:
    """Covariances with equal orientation: axes for known variances along them, and the reverse, in turn."""

    def variances_along(rotated: Array) -> Array:
        diagonal = jnp.maximum(jnp.diagonal(rotated, axis1=1, axis2=2), np.finfo(rotated.dtype).tiny)
        return variances(diagonal, counts, jnp.ones_like(counts))

    def improve(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rotated, axes = carry
        return linalg.rotate_common_axes(rotated, variances_along(rotated), axes)

    # Begin with the axes of the previous covariances
    axes = _common_axes(previous, counts)
    rotated = matmul(matmul(axes.T[None], scatters), axes[None])
    rotated, axes = lax.fori_loop(0, INNER_STEPS, improve, (rotated, axes))
    return _compose(variances_along(rotated), axes[None])


def along_best_common_axes(variances: Variances, scatters: Array, counts: Array, previous: Array) -> Array:
    """Covariances with equal orientation for the start of EM: the best of several first axes.

    The expected log-likelihood has several maxima over common axes, and the one that a start reaches decides where EM
    ends. The first axes are those of the previous covariances and those of each component's scatter.
    """
    shape = (len(scatters), *previous.shape)
    starts = jnp.concatenate([previous[None], jnp.broadcast_to(scatters[:, None], shape)])
    improve: Any = jax.vmap(lambda covariances: along_common_axes(variances, scatters, counts, covariances))
    candidates = improve(improve(starts))
    values = jax.vmap(lambda covariances: _expected_log_likelihood(scatters, counts, covariances))(candidates)
    return candidates[jnp.argmax(jnp.where(jnp.isnan(values), -jnp.inf, values))]


def _expected_log_likelihood(scatters: Array, counts: Array, covariances: Array) -> Array:
    """The expected log-likelihood as a function of covariances, up to a constant, ``()`` in nats."""
    factor = factorize(covariances, scatters.shape[-1])
    distances = (matmul(factor.inverse, scatters) * factor.inverse).sum((1, 2))
    return -(counts * factor.log_det).sum() - distances.sum() / 2


def equal_shape_and_axes(scatters: Array, counts: Array, previous: Array) -> Array:
    """Covariances with variable volume, equal shape and orientation: volumes and the common matrix, in turn."""
    d = scatters.shape[-1]

    def improve(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        volumes, _common = carry
        common = (scatters / safe_divisor(volumes)[:, None, None]).sum(0, keepdims=True)
        factor = factorize(common, d)
        size = jnp.exp(2 * factor.log_det / d)
        whitened = matmul(factor.inverse, scatters)
        return (whitened * factor.inverse).sum((1, 2)) * size / (d * counts), common / size[:, None, None]

    volumes, common = lax.fori_loop(0, INNER_STEPS, improve, (_volumes(previous), scatters[:1]))
    return volumes[:, None, None] * common


def _volumes(covariances: Array) -> Array:
    """Volumes ``(k|1,)`` of covariances stored as matrices: ``|Sigma_j|^(1/d)``."""
    d = covariances.shape[-1]
    return jnp.exp(2 * factorize(covariances, d).log_det / d)


def _common_axes(covariances: Array, counts: Array) -> Array:
    """Axes ``(d, d)`` that diagonalise several commuting matrices: the eigenvectors of a weighted sum of the matrices.

    Shares in the sum are unequal, so that differences between the matrices do not cancel, and zero for components
    without rows.
    """
    shares = 1 + np.modf(np.arange(1, len(covariances) + 1) * (np.sqrt(5) - 1) / 2)[0]
    shares = jnp.asarray(shares, covariances.dtype) / jnp.trace(covariances, axis1=1, axis2=2)
    shares = jnp.where(counts > np.finfo(counts.dtype).tiny, shares, 0)
    return linalg.eigh((shares[:, None, None] * covariances).sum(0, keepdims=True))[1][0]


def _compose(variances: Array, axes: Array) -> Array:
    """Covariances ``D_j diag(v_j) D_j^T`` from variances along axes and axes, exactly symmetric."""
    return symmetrize(matmul(axes * variances[:, None, :], axes.swapaxes(-1, -2)))
