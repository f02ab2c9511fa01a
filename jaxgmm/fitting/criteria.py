"""Criteria to compare fitted mixtures by."""

from __future__ import annotations

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from .. import checks
from ..arrays import columns_in_order
from ..covariance.families import Family, as_family, family_by_shape, get_family
from ..fitted import ParamsOrResult, levels_to_the_caller, parameters_of
from ..mixture.density import log_certainty
from ..padding import as_host_array, pad_rows
from ..programs import program
from ..steps.one_step import e_step
from ..types import GMMParams, NoisyGMMParams


def n_parameters(params: ParamsOrResult, family: Family | None = None) -> int:
    r"""Free parameters of a mixture.

    .. math:: \nu = (k - 1) + k d + \nu_\Sigma(k, d)

    Args:
        params: the mixture, k components in d features, or a result that holds one.
        family: its covariance family; by default that of the result, or what the shape of ``params.covariances`` says:
            full, tied, diagonal, spherical or shared forms of these.

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
    family = _family_of(params, family)
    params = checks.as_params(params)
    mixture = checks.mixture_of(params)
    k, d = mixture.means.shape
    if family is None:
        family = family_by_shape(mixture.covariances.shape, k, d)
    of_noise = 2 if isinstance(params, NoisyGMMParams) else 0  # its weight and its volume
    return parameter_count(as_family(family, mixture), k, d) + of_noise


def _family_of(params: Any, family: Family | None) -> Family | None:
    """``family``, by default that of a result."""
    known = getattr(params, "family", None) if family is None else family
    return get_family(known) if isinstance(known, str) else known


def parameter_count(family: Family, k: int, d: int) -> int:
    """Free parameters of a mixture of k components of a family in d features."""
    return k - 1 + k * d + family.n_parameters(k, d)


def aic_from(count: Any, log_likelihood: Any) -> Any:
    """AIC of models with ``count`` free parameters."""
    return 2 * count - 2 * log_likelihood


def bic_from(count: Any, log_likelihood: Any, log_n: Any) -> Any:
    """BIC of models with ``count`` free parameters, for rows whose total weight has the logarithm ``log_n``."""
    return count * log_n - 2 * log_likelihood


def warn_unless_counts(weights: Any) -> None:
    """Warn of row weights that are neither counts nor one on average, so that their sum is no number of observations.

    Doubling the weights doubles the evidence; weights that sum to one make log n zero, so BIC has no penalty.
    """
    if weights is None or not checks.is_concrete(weights):
        return
    values = np.asarray(weights, np.float64)
    total, n = values.sum(), np.count_nonzero(values)
    if (values % 1 != 0).any() and abs(total - n) > 1e-3 * n:
        warnings.warn(
            f"weights: expected counts, or one on average, as criteria take their sum for the number of observations; "
            f"got {n} rows with a sum of {total:.6g}. Unless that counts them, pass weights * {n} / weights.sum()",
            stacklevel=levels_to_the_caller(),
        )


@program()
def total_log_certainty(params: GMMParams | NoisyGMMParams, x: Array, weights: Array) -> Array:
    """``sum_i w_i log max_j r_ij``, ``()`` in nats: zero where every row surely belongs to one component."""
    certainty = log_certainty(params, x)
    return jnp.where(weights > 0, weights.astype(certainty.dtype) * certainty, 0).sum()


def score(params: ParamsOrResult, x: ArrayLike, weights: ArrayLike | None = None) -> Array:
    r"""Mean log-likelihood per unit weight.

    .. math:: \frac{1}{\sum_i w_i} \sum_i w_i \log p(x_i)

    Args:
        params: the mixture, k components in d features, or a result that holds one.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights >= 0; default one each.

    Returns:
        ``()`` in nats.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together, weights are negative or all zero, or mixing weights no proportions.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1)))
        >>> round(float(score(params, jnp.array([-1.0, 1.0]))), 3)
        -1.419
    """
    x = columns_in_order(x, params)
    stats = e_step(params, x, weights)
    return stats.log_likelihood / _total_weight(x, weights, stats.log_likelihood)


def aic(
    params: ParamsOrResult, x: ArrayLike, weights: ArrayLike | None = None, *, family: Family | None = None
) -> Array:
    r"""Akaike information criterion; smaller is better.

    .. math:: \mathrm{AIC} = 2 \nu - 2 l

    Args:
        params: the mixture, k components in d features, or a result that holds one.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights >= 0, counted as repetitions, with a warning where they are neither counts nor one
            on average; default one each.
        family: see :func:`n_parameters`.

    Returns:
        ``()`` on the scale of twice the log-likelihood.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together, weights are negative or all zero, or mixing weights no proportions.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1)))
        >>> round(float(aic(params, jnp.array([-1.0, 1.0]))), 3)
        9.676

    Reference:
        Akaike (1974), A new look at the statistical model identification.
    """
    x, family = columns_in_order(x, params), _family_of(params, family)
    params = parameters_of(params)
    log_likelihood = e_step(params, x, weights).log_likelihood
    _total_weight(x, weights, log_likelihood)
    warn_unless_counts(weights)
    return aic_from(n_parameters(params, family), log_likelihood)


def bic(
    params: ParamsOrResult, x: ArrayLike, weights: ArrayLike | None = None, *, family: Family | None = None
) -> Array:
    r"""Bayesian information criterion; smaller is better (scikit-learn's sign, the negative of mclust's).

    .. math:: \mathrm{BIC} = \nu \log \sum_i w_i - 2 l

    Args:
        params: the mixture, k components in d features, or a result that holds one.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights >= 0, counted as repetitions, with a warning where they are neither counts nor one
            on average; default one each.
        family: see :func:`n_parameters`.

    Returns:
        ``()`` on the scale of twice the log-likelihood.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together, weights are negative or all zero, or mixing weights no proportions.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1)))
        >>> round(float(bic(params, jnp.array([-1.0, 1.0]))), 3)
        7.062

    Reference:
        Schwarz (1978), Estimating the dimension of a model.
    """
    x, family = columns_in_order(x, params), _family_of(params, family)
    params = parameters_of(params)
    log_likelihood = e_step(params, x, weights).log_likelihood
    total_weight = _total_weight(x, weights, log_likelihood)
    warn_unless_counts(weights)
    log_n = jnp.log(total_weight)
    return bic_from(n_parameters(params, family), log_likelihood, log_n)


def icl(
    params: ParamsOrResult, x: ArrayLike, weights: ArrayLike | None = None, *, family: Family | None = None
) -> Array:
    r"""Integrated complete-data likelihood criterion: BIC, and a price for rows between components; smaller is better.

    .. math:: \mathrm{ICL} = \mathrm{BIC} - 2 \sum_i w_i \log \max_j r_{ij}

    Args:
        params: the mixture, k components in d features, or a result that holds one.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights >= 0, counted as repetitions, with a warning where they are neither counts nor one
            on average; default one each.
        family: see :func:`n_parameters`.

    Returns:
        ``()`` on the scale of twice the log-likelihood.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together, weights are negative or all zero, or mixing weights no proportions.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1)))
        >>> bool(icl(params, jnp.array([-1.0, 1.0])) == bic(params, jnp.array([-1.0, 1.0])))
        True

    Reference:
        Biernacki, Celeux & Govaert (2000), Assessing a mixture model for clustering with the integrated completed
        likelihood.
    """
    x, family = columns_in_order(x, params), _family_of(params, family)
    mixture = parameters_of(params)
    value, rows = bic(mixture, x, weights, family=family), checks.as_observations(x).x
    return value - 2 * total_log_certainty(mixture, *pad_rows((rows, checks.as_row_weights(weights, rows))))


def _total_weight(x: ArrayLike, weights: ArrayLike | None, like: Array) -> Array:
    """The sum of row weights, which are checked."""
    weights = checks.as_row_weights(weights, checks.as_observations(x).x)
    checks.weight_values(weights)
    return jnp.asarray(as_host_array(weights).sum(), like.dtype)
