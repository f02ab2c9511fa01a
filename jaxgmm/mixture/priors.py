"""Conjugate priors on a mixture: what they add to the statistics, to the objective, and mclust's default."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from numpy.typing import ArrayLike

from .. import checks, linalg
from ..covariance.families import FULL, Family
from ..fitted import Fitted
from ..types import GMMParams, Prior, Stats
from . import moments


def with_prior_mean(params: GMMParams, stats: Stats, prior: Prior, alive: Array) -> Stats:
    """Stats with the prior on each mean added as ``shrinkage`` rows at the prior mean."""
    ndim = stats.second.ndim
    away = prior.mean[None] - params.means
    shrinkage = jnp.where(alive, prior.shrinkage, 0)
    square = linalg.outer_square(away, ndim) * shrinkage.reshape(-1, *(1,) * (ndim - 1))
    return stats._replace(
        counts=stats.counts + shrinkage,
        first=stats.first + shrinkage[:, None] * away,
        second=stats.second + linalg.pool_moments(square, stats.second.shape),
    )


def count_of_covariance(prior: Prior, alive: Array, shape: tuple[int, ...]) -> Array:
    """What a prior adds to the count of each component in the estimate of its covariance, ``()``.

    One for the mean, whose prior has that covariance too, and the exponent of the inverse-Wishart, which components
    that share a covariance share.
    """
    exponent = prior.dof + prior.scale.shape[0] + 1
    return 1 + (exponent / alive.sum(dtype=exponent.dtype) if shape[0] == 1 else exponent)


def log_prior(params: GMMParams | Fitted, prior: Prior) -> Array:
    r"""Log density of a prior at a mixture, up to a constant.

    .. math::
        \sum_j \left[ (\alpha - 1) \log \phi_j - \tfrac12 \log |\Sigma_j|
        - \tfrac{\kappa}{2} (\mu_j - m)^T \Sigma_j^{-1} (\mu_j - m) \right]
        - \sum_\Sigma \left[ \tfrac{\nu + d + 1}{2} \log |\Sigma| + \tfrac12 \mathrm{tr}(\Lambda \Sigma^{-1}) \right]

    the last sum over distinct covariances. Components of weight zero do not count.

    Args:
        params: the mixture, k components in d features, or a result that holds one.
        prior: the :class:`Prior`.

    Returns:
        ``()`` in nats.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1)))
        >>> prior = Prior(jnp.array(1.0), jnp.array([2.0]), jnp.array(0.5), jnp.array(3.0), jnp.array([[1.0]]))
        >>> float(log_prior(params, prior))
        -1.5

    Reference:
        Fraley & Raftery (2007), Bayesian regularization for normal mixture estimation and model-based clustering.
    """
    mixture: GMMParams = checks.as_params(params)
    prior = checks.as_prior(prior, mixture.means)
    k, d = mixture.means.shape
    factor = linalg.factorize(mixture.covariances, d)
    alive = mixture.weights > 0
    away = linalg.whiten(factor, prior.mean[:, None], mixture.means)[:, :, 0]
    of_weights = (prior.concentration - 1) * jnp.log(jnp.where(mixture.weights > 0, mixture.weights, 1))
    of_means = jnp.broadcast_to(factor.log_det, (k,)) + prior.shrinkage / 2 * (away**2).sum(1)
    of_covariances = (prior.dof + d + 1) * factor.log_det + linalg.trace_of_ratio(prior.scale, factor) / 2
    counted = alive if factor.log_det.shape[0] == k else jnp.ones(1, bool)
    return of_weights.sum() - jnp.where(alive, of_means, 0).sum() - jnp.where(counted, of_covariances, 0).sum()


def power_of_units(params: GMMParams, prior: Prior) -> Array:
    """The power of the features' units that a prior density is in, as those of means and covariances are, ``()``."""
    k, d = params.means.shape
    n_alive = (params.weights > 0).sum(dtype=prior.dof.dtype)
    n_covariances = n_alive if params.covariances.shape[0] == k else 1
    return -(n_alive + n_covariances * (prior.dof + d + 1))


def default_prior(
    x: ArrayLike, n_components: ArrayLike, weights: ArrayLike | None = None, *, family: Family = FULL
) -> Prior:
    r"""The default prior of mclust: weak, and enough to keep covariances from collapsing.

    .. math:: m = \bar x, \quad \kappa = 0.01, \quad \nu = d + 2, \quad \Lambda = S / k^{2/d}

    with S the covariance of all rows; for diagonal and spherical families, the mean of its diagonal times the identity,
    and an inverse gamma instead of the inverse-Wishart, written as the :class:`Prior` that has the same mode.

    Args:
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        n_components: k; may be traced.
        weights: ``(n,)`` row weights >= 0; default one each.
        family: the covariance family it is for.

    Returns:
        The :class:`Prior`.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together, or weights sum to one or less.

    Example:
        >>> import jax.numpy as jnp
        >>> prior = default_prior(jnp.array([[0.0, 0.0], [2.0, 4.0]]), 2)
        >>> prior.mean.tolist(), prior.scale.tolist(), float(prior.dof)
        ([1.0, 2.0], [[1.0, 2.0], [2.0, 4.0]], 4.0)

    Reference:
        Fraley & Raftery (2007), Bayesian regularization for normal mixture estimation and model-based clustering.
    """
    x = checks.as_rows(x)
    d = x.shape[1]
    weights = checks.as_row_weights(weights, x).astype(x.dtype)
    if checks.is_concrete(weights) and not weights.sum() > 1:
        raise ValueError(f"weights: expected a sum above one, as a prior counts rows, got {float(weights.sum()):.3g}")
    total, rows = weights.sum(), moments.weighted(x, weights)
    scatter = total * moments.covariance(rows)
    scale = scatter / (total - 1) / jnp.asarray(n_components, x.dtype) ** (2 / d)
    dof: float = d + 2
    structure = family.structure(2, d)
    if len(structure) == 2:
        # The inverse gamma has variances to the power dof / 2 + 1, of each feature or of all d as one
        dof = (dof + 2) / d - d - 1 if structure[1] == 1 else dof + 1 - d
        shared = jnp.trace(scale) / d / (d if structure[1] == 1 else 1)
        scale = shared * jnp.eye(d, dtype=x.dtype)
    one = jnp.ones((), x.dtype)
    return Prior(one, rows.mean, 0.01 * one, dof * one, scale)
