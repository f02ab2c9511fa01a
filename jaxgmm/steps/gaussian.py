"""EM of Gaussian mixtures, with noise or without, as ``Steps``."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from .. import checks, linalg
from ..covariance.families import FULL, Family, as_family
from ..covariance.ridge import Ridge, added, as_ridge, least_variances, without
from ..mixture import coordinates, density, priors
from ..mixture.density import Prepared
from ..mixture.units import Scale, restore_params, standardise_params
from ..static import Bound
from ..types import GMMParams, Prior, Stats
from .contract import Coordinates, Steps, all_sound, no_prior, rounded_nats
from .expectation import expect
from .expectation import rounding as roundings_of_a_row
from .maximization import maximize, moments

ROUNDINGS = 4  # of a mean, that steps of EM at rest still move it by


def gaussian_steps(
    family: Family = FULL, ridge: Any = 0.0, prior: Prior | None = None, chunk_size: int | None = None
) -> Steps:
    r"""EM of a Gaussian mixture, as :func:`jaxgmm.em` runs it by default.

    Args:
        family: the covariance family; static under ``jit``.
        ridge: added to each variance, relative to it; see :func:`jaxgmm.m_step`.
        prior: a conjugate prior; None for maximum likelihood.
        chunk_size: rows in a chunk of the E-step; by default chosen from shapes and backend. Static under ``jit``.

    Returns:
        :class:`Steps` over :class:`GMMParams` and :class:`Observations`, to use or to change with ``_replace``. They
        refuse parameters that are not stored as the family stores them.

    Raises:
        TypeError: if ``family`` is no :class:`Family`, or ``prior`` no :class:`Prior`.
        ValueError: if ``ridge`` is negative, or ``chunk_size`` < 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxgmm
        >>> steps = gaussian_steps(jaxgmm.DIAG)
        >>> frozen = steps._replace(maximize=lambda params, stats: steps.maximize(params, stats)._replace(
        ...     means=params.means))
        >>> start = jaxgmm.GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1)))
        >>> result = jaxgmm.em(start, jnp.array([1.0, 3.0]), steps=frozen)
        >>> result.params.means.tolist(), result.params.covariances.tolist()
        ([[0.0]], [[1.0]])

    Reference:
        Dempster, Laird & Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm.
    """
    if prior is not None and not isinstance(prior, Prior):
        raise TypeError(f"prior: expected a Prior (see jaxgmm.default_prior), got {type(prior).__name__}")
    family, ridge = as_family(family), as_ridge(ridge)
    size = None if chunk_size is None else checks.as_integer(chunk_size, "chunk_size", 1)
    return Steps(
        prepare=Partial(prepare),
        expect=Partial(Bound(expect, size)),
        maximize=Partial(_maximize, family, ridge, prior),
        log_prior=Partial(no_prior) if prior is None else Partial(_log_prior, prior),
        is_valid=Partial(density.is_resolved),
        rounding=Partial(_rounding),
        penalty=Partial(_penalty_of_ridge, ridge),
        step_nats=Partial(_step_nats),
        first_step_may_fall=family.constrained,
        spurious=Partial(all_sound),
        coordinates=gaussian_coordinates(ridge),
    )


def prepare(params: GMMParams) -> Prepared:
    """Factors and constants of a mixture; log-densities are NaN where its weights are no mixing proportions."""
    prepared = density.prepare(params)
    return prepared._replace(log_scale=jnp.where(is_mixture(params), prepared.log_scale, jnp.nan))


def is_mixture(params: GMMParams) -> Array:
    """Whether the weights are mixing proportions, ``()``."""
    return checks.are_shares(params.weights)


def _maximize(family: Family, ridge: Ridge, prior: Prior | None, params: GMMParams, stats: Stats) -> GMMParams:
    return maximize(as_family(family, params), ridge, prior, params, stats)


def _log_prior(prior: Prior, params: GMMParams) -> Array:
    return priors.log_prior(params, prior)


def _rounding(prepared: Prepared, stats: Stats) -> tuple[Array, Array]:
    """A row's log-density sums squares and logarithms, each rounded: d of them, or as many as conditioning makes."""
    d, log_likelihood = stats.first.shape[1], abs(stats.log_likelihood)
    at_most = jnp.sum(stats.counts * roundings_of_a_row(prepared))
    return rounded_nats(log_likelihood + d * stats.counts.sum()), rounded_nats(log_likelihood + at_most)


def _penalty_of_ridge(ridge: Ridge, prepared: Prepared, stats: Stats) -> tuple[Array, Array]:
    r"""What an M-step that adds a to variances subtracts, :math:`\sum_j N_j a_j^T \mathrm{diag} \Sigma_j^{-1} / 2`."""
    shape = stats.second.shape
    counts = linalg.safe_divisor(linalg.pool_counts(stats.counts, shape))[:, None]
    between = linalg.pool_moments(stats.first**2 / linalg.safe_divisor(stats.counts)[:, None], (shape[0], *shape[2:]))
    variances = (linalg.stored_variances(stats.second) - between) / counts
    in_ridge = added(ridge, variances, least_variances(ridge, prepared.offsets, shape))
    nats = (counts * in_ridge * linalg.precision_diagonals(prepared.factor)).sum(1) / 2
    rounding = rounded_nats(linalg.conditioning(prepared.factor, prepared.covariances) * nats)
    return jnp.sum(nats), jnp.sum(rounding)


def _step_nats(prepared: Prepared, stats: Stats, before: GMMParams, after: GMMParams) -> Array:
    r"""Half the squared length of a step, with :math:`\Sigma_j = L_j L_j^T` and :math:`\phi_j` after it.

    .. math:: \sum_j N_j \left[ |L_j^{-1} \Delta\mu_j|^2 / 2 + |L_j^{-1} \Delta\Sigma_j L_j^{-T}|^2 / 4
        + (\Delta\phi_j / \phi_j)^2 / 2 \right]

    Zero where it is within what the rounding of means makes of it.
    """
    moves, factor = jax.tree.map(jnp.subtract, after, before), prepared.factor
    of_means, of_covariances = linalg.whitened_squares(factor, moves.means, moves.covariances)
    of_weights = (moves.weights / linalg.safe_divisor(after.weights)) ** 2
    step = jnp.sum(stats.counts * ((of_means + of_weights) / 2 + of_covariances / 4))
    rounded = (ROUNDINGS * np.finfo(step.dtype).eps * after.means) ** 2
    least = jnp.sum(stats.counts * (rounded * linalg.precision_diagonals(factor)).sum(1))
    return jnp.where(step > least, step, 0)


def gaussian_coordinates(ridge: Ridge) -> Coordinates:
    """Log weights, means and Cholesky factors of the mixture with these statistics, in units of the start."""
    return Coordinates(Partial(_units_of), Partial(_encode, ridge), Partial(_decode, ridge))


def _units_of(params: GMMParams) -> Scale:
    """The mean and standard deviations of a mixture; one where features share a variance."""
    k, d = params.means.shape
    shares = params.weights / params.weights.sum()
    centre = linalg.einsum("k,kd->d", shares, params.means)
    within = jnp.broadcast_to(linalg.variances(params.covariances, d), (k, d))
    spread = linalg.einsum("k,kd->d", shares, within + (params.means - centre[None]) ** 2)
    if params.covariances.shape[1] == 1:
        spread = jnp.broadcast_to(spread.mean(), (d,))
    return Scale(centre, jnp.sqrt(linalg.safe_divisor(spread)))


def _encode(ridge: Ridge, units: Scale, params: GMMParams, stats: Stats | None) -> Array:
    mixture = params if stats is None else moments(params, stats, ridge)
    free = coordinates.to_unconstrained(standardise_params(mixture, units))
    return ravel_pytree(free._replace(weights=jnp.where(jnp.isneginf(free.weights), 0, free.weights)))[0]


def _decode(ridge: Ridge, units: Scale, vector: Array, params: GMMParams, stats: Stats) -> Stats:
    """The statistics about ``params`` whose moments have these coordinates; a component of weight zero keeps it."""
    alive = moments(params, stats, ridge).weights > 0
    free: Any = ravel_pytree(params)[1](vector)
    free = free._replace(weights=jnp.where(alive, free.weights, -jnp.inf))
    return _stats_of(restore_params(coordinates.from_unconstrained(free), units), params, stats, ridge)


def _stats_of(mixture: GMMParams, about: GMMParams, like: Stats, ridge: Ridge) -> Stats:
    """The statistics about one mixture's means whose :func:`moments` are another mixture."""
    counts = like.counts.sum() * mixture.weights
    shift = mixture.means - about.means
    scatter = without(ridge, mixture.covariances)
    column = (-1, *(1,) * (scatter.ndim - 1))
    within = scatter * linalg.pool_counts(counts, scatter.shape).reshape(column)
    between = linalg.outer_square(shift, scatter.ndim) * counts.reshape(column)
    return like._replace(
        counts=counts, first=counts[:, None] * shift, second=within + linalg.pool_moments(between, scatter.shape)
    )
