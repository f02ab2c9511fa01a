"""Standard units: the map ``x -> (x - shift) / scale``, and what it does to rows, mixtures and priors."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import checks, linalg
from ..padding import pad_rows
from ..programs import program
from ..types import GMMParams, NoisyGMMParams, Observations, Prior
from . import moments, noise


class Scale(NamedTuple):
    """The map ``x -> (x - shift) / scale`` to standard units."""

    shift: Array  # (d,)
    scale: Array  # (d,)


def standardisation(x: Array, weights: Array, per_feature: bool | Array) -> Scale:
    """Weighted median and spread, per feature; or one common spread, for families that need all features alike.

    The spread is the interquartile range, where that is zero the standard deviation: a few rows far out, or a code for
    missing entries, do not decide in which units the others lose their digits.
    """
    lower, median, upper = moments.quantiles(x, weights, np.array([0.25, 0.5, 0.75]))
    of_all = moments.standard_deviations(moments.weighted(x, weights))
    spread = jnp.where(upper > lower, upper - lower, of_all)
    largest = spread.max()
    common = largest * jnp.sqrt(jnp.mean((spread / linalg.safe_divisor(largest)) ** 2))
    return Scale(median, linalg.safe_divisor(jnp.where(per_feature, spread, common)))


def in_unit(weights: Any) -> tuple[Any, float]:
    """Row weights in a power of two as their unit, and the unit: one unless they near the ends of the dtype's range.

    What is too little beside the largest for squares and sums to hold becomes zero.
    """
    if not checks.is_concrete(weights):
        return weights, 1.0
    values = np.asarray(weights, np.float64)
    if 1e-20 < values.max() < 1e20:
        return weights, 1.0
    unit = 2.0 ** int(np.frexp(values.max())[1])
    least = np.finfo(weights.dtype).tiny / np.finfo(weights.dtype).eps
    return np.where(values / unit > least, values / unit, 0).astype(weights.dtype), unit


def units_of(x: Array, weights: Array, per_feature: bool) -> Scale:
    """:func:`standardisation` of rows that are not traced, by a program that serves other data sets too."""
    return _units_of(*pad_rows((x, weights)), per_feature)


@program("per_feature")
def _units_of(x: Array, weights: Array, per_feature: bool) -> Scale:
    return standardisation(x, weights, per_feature)


def standardise_rows(observations: Observations, weights: Array, units: Scale) -> Observations:
    """Rows in standard units; those of weight zero at zero."""
    x = (observations.x - units.shift[None]) / units.scale[None]
    return observations._replace(x=jnp.where((weights > 0)[:, None], x, 0))


def standardise_params(params: Any, units: Scale) -> Any:
    """A mixture in standard units, its noise too."""
    if isinstance(params, NoisyGMMParams):
        region = noise.rescaled(params.noise, units.shift, units.scale)
        return params._replace(mixture=standardise_params(params.mixture, units), noise=region)
    means = (params.means - units.shift[None]) / units.scale[None]
    return GMMParams(params.weights, means, linalg.rescale(params.covariances, 1 / units.scale))


def restore_params(params: GMMParams, units: Scale) -> GMMParams:
    """A mixture in the features' own units, from standard ones."""
    means = params.means * units.scale[None] + units.shift[None]
    return GMMParams(params.weights, means, linalg.rescale(params.covariances, units.scale))


def is_representable(params: GMMParams) -> Array:
    """Whether the dtype holds a mixture ``()``: neither a mean nor a variance is infinite, and no variance is zero."""
    variances = linalg.stored_variances(params.covariances)
    is_held = jnp.isfinite(variances) & (variances >= np.finfo(variances.dtype).tiny)
    is_held = is_held.all(1) & jnp.isfinite(params.means).all(1)
    return (is_held | (params.weights == 0)).all()


def standardise_prior(prior: Prior, units: Scale) -> Prior:
    """A prior in standard units."""
    covariance = linalg.rescale(prior.scale[None], 1 / units.scale)[0]
    return prior._replace(mean=(prior.mean - units.shift) / units.scale, scale=covariance)
