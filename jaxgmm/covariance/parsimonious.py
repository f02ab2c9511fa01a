r"""Maximum-likelihood covariances :math:`\Sigma_j = \lambda_j D_j A_j D_j^T` under constraints on each factor.

Volume :math:`\lambda_j`, shape :math:`A_j` (diagonal, of determinant one) and orientation :math:`D_j` may be equal or
variable, shape and orientation also the identity (Celeux & Govaert 1995, Gaussian parsimonious clustering models).
Every function here is ``(scatters, counts, previous) -> covariances``, with scatters :math:`W_j = \sum_i r_{ij} (x_i -
\mu_j)(x_i - \mu_j)^T` stored as the covariances are, and maximises :math:`-\frac12 \sum_j [n_j \log |\Sigma_j| +
\mathrm{tr}(W_j \Sigma_j^{-1})]`; the iterative ones go up from ``previous``.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import linalg
from ..linalg import factorize, matmul, or_one, pool_counts, symmetrize

INNER_STEPS = 3  # of the iterative ones in each M-step: EM goes on anyway

Estimate = Callable[[Array, Array, Array], Array]
Variances = Callable[[Array, Array, Array], Array]  # (scatters along axes (k, d), counts, volumes (k,)) -> (k, d)


def average(scatters: Array, counts: Array, previous: Array) -> Array:
    """``W_j / n_j``, where components that share a covariance share their counts."""
    counts = pool_counts(counts, scatters.shape)
    return scatters / counts.reshape(-1, *(1,) * (scatters.ndim - 1))


def equal_variances(along: Array, counts: Array, volumes: Array) -> Array:
    """Equal volume and shape."""
    return jnp.broadcast_to(along.sum(0) / counts.sum(), along.shape)


def free_variances(along: Array, counts: Array, volumes: Array) -> Array:
    """Variable volume and shape."""
    return along / counts[:, None]


def equal_volume(along: Array, counts: Array, volumes: Array) -> Array:
    """Equal volume, variable shape."""
    along = jnp.maximum(along, np.finfo(along.dtype).tiny)
    sizes = jnp.exp(jnp.log(along).mean(1))
    return along / sizes[:, None] * (sizes.sum() / counts.sum())


def equal_shape(along: Array, counts: Array, volumes: Array) -> Array:
    """Variable volume, equal shape: one given the other, in turn."""

    def improve(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        volumes, _shape = carry
        shape = (along / or_one(volumes)[:, None]).sum(0)
        shape = shape / jnp.exp(jnp.log(shape).mean())
        return (along / shape[None]).mean(1) / counts, shape

    volumes, shape = lax.fori_loop(0, INNER_STEPS, improve, (volumes, jnp.ones_like(along[0])))
    return volumes[:, None] * shape[None]


def along_features(variances: Variances) -> Estimate:
    """Orientation along the features: diagonal covariances ``(k, d)``."""

    def estimate(scatters: Array, counts: Array, previous: Array) -> Array:
        return variances(scatters, counts, jnp.exp(jnp.log(previous).mean(1)))

    return estimate


def along_own_axes(variances: Variances) -> Estimate:
    """Variable orientation: the eigenvectors of each scatter, ordered by eigenvalue."""

    def estimate(scatters: Array, counts: Array, previous: Array) -> Array:
        values, axes = linalg.eigh(scatters)
        return _rotated(variances(jnp.maximum(values, 0), counts, _volumes(previous)), axes)

    return estimate


def along_common_axes(variances: Variances) -> Estimate:
    """Equal orientation: axes given variances along them and the other way round, in turn, from the previous axes."""

    def estimate(scatters: Array, counts: Array, previous: Array) -> Array:
        def along(turned: Array) -> Array:
            spread = jnp.maximum(jnp.diagonal(turned, axis1=1, axis2=2), np.finfo(turned.dtype).tiny)
            return variances(spread, counts, jnp.ones_like(counts))

        def improve(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            turned, axes = carry
            return linalg.turn_common_axes(turned, along(turned), axes)

        axes = _common_axes(previous, counts)
        turned = matmul(matmul(axes.T[None], scatters), axes[None])
        turned, axes = lax.fori_loop(0, INNER_STEPS, improve, (turned, axes))
        return _rotated(along(turned), axes[None])

    return estimate


def along_best_common_axes(variances: Variances) -> Estimate:
    """The same from the previous axes and from each scatter's own, whichever comes to more: for a start.

    Common axes have several maxima, of which the one they go up to decides where EM ends.
    """
    estimate = along_common_axes(variances)

    def from_any(scatters: Array, counts: Array, previous: Array) -> Array:
        begun = jnp.concatenate([previous[None], jnp.broadcast_to(scatters[:, None], (len(scatters), *previous.shape))])
        once: Any = jax.vmap(lambda covariances: estimate(scatters, counts, covariances))
        ended = once(once(begun))
        value = jax.vmap(lambda covariances: _expected_log_likelihood(scatters, counts, covariances))(ended)
        return ended[jnp.argmax(jnp.where(jnp.isnan(value), -jnp.inf, value))]

    return from_any


def _expected_log_likelihood(scatters: Array, counts: Array, covariances: Array) -> Array:
    """What estimates maximise, ``()`` in nats."""
    factor = factorize(covariances, scatters.shape[-1])
    distances = (matmul(factor.inverse, scatters) * factor.inverse).sum((1, 2))
    return -(counts * factor.log_det).sum() - distances.sum() / 2


def equal_shape_and_axes(scatters: Array, counts: Array, previous: Array) -> Array:
    """Variable volume, equal shape and orientation: volumes and the common matrix, in turn."""
    d = scatters.shape[-1]

    def improve(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        volumes, _common = carry
        common = (scatters / or_one(volumes)[:, None, None]).sum(0, keepdims=True)
        factor = factorize(common, d)
        size = jnp.exp(2 * factor.log_det / d)
        whitened = matmul(factor.inverse, scatters)
        return (whitened * factor.inverse).sum((1, 2)) * size / (d * counts), common / size[:, None, None]

    volumes, common = lax.fori_loop(0, INNER_STEPS, improve, (_volumes(previous), scatters[:1]))
    return volumes[:, None, None] * common


def _volumes(covariances: Array) -> Array:
    d = covariances.shape[-1]
    return jnp.exp(2 * factorize(covariances, d).log_det / d)


def _common_axes(covariances: Array, counts: Array) -> Array:
    """Axes ``(d, d)`` that diagonalise all of several commuting matrices: those of a combination of them.

    Unequal shares, so that differences between the matrices do not cancel; none for a component without rows.
    """
    shares = 1 + np.modf(np.arange(1, len(covariances) + 1) * (np.sqrt(5) - 1) / 2)[0]
    shares = jnp.asarray(shares, covariances.dtype) / jnp.trace(covariances, axis1=1, axis2=2)
    shares = jnp.where(counts > np.finfo(counts.dtype).tiny, shares, 0)
    return linalg.eigh((shares[:, None, None] * covariances).sum(0, keepdims=True))[1][0]


def _rotated(variances: Array, axes: Array) -> Array:
    """``D_j diag(v_j) D_j^T``, symmetric exactly."""
    return symmetrize(matmul(axes * variances[:, None, :], axes.swapaxes(-1, -2)))
