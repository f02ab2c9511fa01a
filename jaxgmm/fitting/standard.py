"""The problem of fitting a Gaussian mixture in standard units, and its answer in the features' own."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from ..checks import mixture_of
from ..covariance.families import Family
from ..covariance.ridge import Ridge
from ..loop.driver import Task, task_of
from ..mixture.priors import power_of_units
from ..mixture.units import (
    Scale,
    is_representable,
    restore_params,
    standardisation,
    standardise_prior,
    standardise_rows,
)
from ..steps.gaussian import gaussian_steps
from ..steps.one_step import steps_for
from ..types import EMResult, FitResult, GMMParams, Noise, NoisyGMMParams, Observations, Prior, Status, is_usable
from .spurious import SpuriousLimits, spurious

# A least standard deviation, over the interquartile range of all rows: far above what float64 resolves, so that nothing
# overflows, and far below that of clusters a million standard deviations apart.
LEAST_DEVIATION = 1e-9
TIE = 1e-3  # share by which weights differ from one restart to another that converged to the same maximum

# What grows with the weights
OF_WEIGHTS = ("log_likelihood", "total_weight", "history", "log_likelihoods", "objectives", "terms", "excess")


class StandardProblem(NamedTuple):
    """Rows, their weights, ridge and prior in standard units, and the units."""

    observations: Observations
    weights: Array  # (n,)
    ridge: Ridge
    prior: Prior | None
    units: Scale


def standard_problem(
    x: Array,
    weights: Array,
    ridge: Array,
    prior: Prior | None,
    structure: tuple[int, ...],
    per_feature: bool | Array,
    is_relative: bool = True,
) -> StandardProblem:
    """Rows ``(n, d)``, a ridge and a prior in standard units.

    Args:
        x: ``(n, d)`` rows.
        weights: ``(n,)`` row weights >= 0.
        ridge: ``()`` relative to each variance of each component, or in units squared of all features.
        prior: in the features' own units.
        structure: the shape that covariances are stored in.
        per_feature: whether each feature has a unit of its own; otherwise one serves all.
        is_relative: what the ridge is.
    """
    units = standardisation(x, weights, per_feature)
    observations = standardise_rows(Observations(x), weights, units)
    prior = None if prior is None else standardise_prior(prior, units)
    return StandardProblem(observations, weights, _ridge(ridge, units, structure, is_relative), prior, units)


def _ridge(ridge: Array, units: Scale, structure: tuple[int, ...], is_relative: bool) -> Ridge:
    """The ridge in standard units, no less than what can be told from none in this dtype; none where it is zero."""
    eps = np.finfo(units.scale.dtype).eps
    least = jnp.where(ridge > 0, max(LEAST_DEVIATION, 4 * eps), 0)
    if not is_relative:
        return Ridge(0.0, jnp.asarray(ridge, units.scale.dtype) / units.scale[0] ** 2, least)
    if len(structure) == 3:  # a matrix can be singular unnoticed, see linalg.is_positive_definite
        ridge = jnp.where(ridge == 0, 0, jnp.maximum(ridge, 4 * len(units.scale) * eps))
    return Ridge(ridge, least=least)


def gaussian_task(
    problem: StandardProblem, family: Family, tol: Array, chunk_size: int | None, has_noise: bool = False
) -> Task:
    """EM of a family on a problem, spurious maxima told from others."""
    total = problem.weights.sum()
    limits = SpuriousLimits(problem.ridge, total, 1 / ((problem.weights / total) ** 2).sum())
    steps = gaussian_steps(family, problem.ridge, problem.prior, chunk_size)
    steps = steps_for(has_noise, steps._replace(spurious=Partial(spurious, limits)), problem.prior)
    return task_of(steps, problem.observations, problem.weights, tol)


def in_nats_of_weights(result: Any, unit: float) -> Any:
    """A result with weights in a unit, its log-likelihoods as of the weights themselves; those of numpy in float64."""

    def times(name: str, value: Any) -> Any:
        if isinstance(value, EMResult):
            return in_nats_of_weights(value, unit)
        if name not in OF_WEIGHTS:
            return value
        return (value.astype(np.float64) if isinstance(value, np.ndarray) else value) * unit

    return result if unit == 1 else result._make(map(times, result._fields, result))


def restore(result: FitResult, problem: StandardProblem, sort: bool, noise: Noise | None = None) -> FitResult:
    """A result in the features' own units, its components by decreasing weight if asked for.

    It is NON_FINITE where the dtype does not hold its parameters in these units. The noise comes back as the caller
    gave it: there and back, rounding would move its edge over a row.
    """
    best, log_units = result.best, jnp.log(problem.units.scale).sum()
    mixture, log_jacobian = mixture_of(best.params), problem.weights.sum() * log_units
    of_prior = 0 if problem.prior is None else power_of_units(mixture, problem.prior) * log_units
    params: Any = restore_params(mixture, problem.units)
    excess, status = result.excess, best.status
    is_lost = is_usable(status) & ~is_representable(params)
    if sort:
        order = order_of(mixture)
        params, excess = _in_order(params, order), excess[order]
    if isinstance(best.params, NoisyGMMParams):
        params = NoisyGMMParams(params, best.params.noise_weight, best.params.noise if noise is None else noise)
    best = best._replace(
        params=params,
        excess=excess,
        log_likelihood=best.log_likelihood - log_jacobian,
        history=best.history - log_jacobian + of_prior,
        status=jnp.where(is_lost, jnp.int32(Status.NON_FINITE), status),
    )
    return FitResult(best, result.log_likelihoods - log_jacobian, result.statuses)


def order_of(params: GMMParams) -> Array:
    """The order of components by decreasing weight, ``(k,)``; of weights that a fit hardly tells apart, by their means.

    So every key leads to the same order: where weights tie, rounding and the restart would decide.
    """
    weights = params.weights
    n_heavier = (weights[None] * (1 - TIE) > weights[:, None]).sum(1)
    halves = jnp.exp2(-jnp.arange(params.means.shape[1], dtype=weights.dtype))  # the first features count most
    place = jnp.where(weights > 0, (params.means * halves[None]).sum(1), 0)
    return jnp.lexsort((place, n_heavier))


def _in_order(params: GMMParams, order: Array) -> GMMParams:
    """The same mixture, its components in another order."""
    is_shared = params.covariances.shape[0] == 1
    covariances = params.covariances if is_shared else params.covariances[order]
    return GMMParams(params.weights[order], params.means[order], covariances)
