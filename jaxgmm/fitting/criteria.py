"""Criteria to compare fitted mixtures by."""

import math

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from .. import checks
from ..covariance.families import Family
from ..mixture.density import responsibilities
from ..steps.expectation import e_step
from ..types import GMMParams, NoisyGMMParams


def n_parameters(params: GMMParams, family: Family | None = None) -> int:
    r"""Free parameters of a mixture.

    .. math:: \nu = (k - 1) + k d + \nu_\Sigma(k, d)

    Args:
        params: the mixture, k components in d features.
        family: its covariance family; by default what the shape of ``params.covariances`` says: full, tied, diagonal,
            spherical or shared forms of these.

    Returns:
        The count, an int known at trace time.

    Raises:
        TypeError: if ``params`` are no :class:`GMMParams`.
        ValueError: if shapes do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> n_parameters(GMMParams(jnp.ones(3) / 3, jnp.zeros((3, 4)), jnp.ones((3, 4, 4))))
        44

    Reference:
        Celeux & Govaert (1995), Gaussian parsimonious clustering models, table 1.
    """
    params = checks.as_params(params)
    k, d = params.means.shape
    if family is not None:
        of_covariances = checks.family_of(family, params).n_parameters(k, d)
    elif params.covariances.ndim == 3:
        of_covariances = params.covariances.shape[0] * d * (d + 1) // 2
    else:
        of_covariances = math.prod(params.covariances.shape)
    of_noise = 2 if isinstance(params, NoisyGMMParams) else 0  # its weight and its volume
    return k - 1 + k * d + of_covariances + of_noise


def score(params: GMMParams, x: ArrayLike, weights: ArrayLike | None = None) -> Array:
    r"""Mean log-likelihood per unit weight.

    .. math:: \frac{1}{\sum_i w_i} \sum_i w_i \log p(x_i)

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights >= 0; default one each.

    Returns:
        ``()`` in nats.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1)))
        >>> round(float(score(params, jnp.array([-1.0, 1.0]))), 3)
        -1.419
    """
    stats = e_step(params, x, weights)
    return stats.log_likelihood / _total_weight(x, weights, stats.log_likelihood)


def aic(params: GMMParams, x: ArrayLike, weights: ArrayLike | None = None, *, family: Family | None = None) -> Array:
    r"""Akaike information criterion; smaller is better.

    .. math:: \mathrm{AIC} = 2 \nu - 2 l

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights >= 0, counted as repetitions; default one each.
        family: see :func:`n_parameters`.

    Returns:
        ``()`` in nats, doubled.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1)))
        >>> round(float(aic(params, jnp.array([-1.0, 1.0]))), 3)
        9.676

    Reference:
        Akaike (1974), A new look at the statistical model identification.
    """
    return 2 * n_parameters(params, family) - 2 * e_step(params, x, weights).log_likelihood


def bic(params: GMMParams, x: ArrayLike, weights: ArrayLike | None = None, *, family: Family | None = None) -> Array:
    r"""Bayesian information criterion; smaller is better (scikit-learn's sign, the negative of mclust's).

    .. math:: \mathrm{BIC} = \nu \log \sum_i w_i - 2 l

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights >= 0, counted as repetitions; default one each.
        family: see :func:`n_parameters`.

    Returns:
        ``()`` in nats, doubled.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1)))
        >>> round(float(bic(params, jnp.array([-1.0, 1.0]))), 3)
        7.062

    Reference:
        Schwarz (1978), Estimating the dimension of a model.
    """
    log_likelihood = e_step(params, x, weights).log_likelihood
    return n_parameters(params, family) * jnp.log(_total_weight(x, weights, log_likelihood)) - 2 * log_likelihood


def icl(params: GMMParams, x: ArrayLike, weights: ArrayLike | None = None, *, family: Family | None = None) -> Array:
    r"""Integrated complete-data likelihood criterion: BIC, and a price for rows between components; smaller is better.

    .. math:: \mathrm{ICL} = \mathrm{BIC} - 2 \sum_i w_i \log \max_j r_{ij}

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights >= 0, counted as repetitions; default one each.
        family: see :func:`n_parameters`.

    Returns:
        ``()`` in nats, doubled.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1)))
        >>> bool(icl(params, jnp.array([-1.0, 1.0])) == bic(params, jnp.array([-1.0, 1.0])))
        True

    Reference:
        Biernacki, Celeux & Govaert (2000), Assessing a mixture model for clustering with the integrated completed
        likelihood.
    """
    x = checks.as_rows(x)
    weights = checks.as_row_weights(weights, x)
    certainty = jnp.log(responsibilities(params, x).max(1))
    unsure = jnp.where(weights > 0, weights.astype(certainty.dtype) * certainty, 0).sum()
    return bic(params, x, weights, family=family) - 2 * unsure


def _total_weight(x: ArrayLike, weights: ArrayLike | None, like: Array) -> Array:
    return checks.as_row_weights(weights, checks.as_rows(x)).sum().astype(like.dtype)
