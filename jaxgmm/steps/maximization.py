"""The M-step: the parameters that maximise the expected log-likelihood."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from .. import checks, linalg
from ..covariance.families import FULL, Family, as_family
from ..covariance.ridge import Ridge, added, as_ridge, least_variances
from ..mixture import priors
from ..padding import pad_rows
from ..programs import program
from ..types import GMMParams, Prior, Stats


def maximize(family: Family, ridge: Any, prior: Prior | None, params: GMMParams, stats: Stats) -> GMMParams:
    """The M-step of a family, ridge and prior."""
    tiny = np.finfo(params.means.dtype).tiny
    alive = stats.counts > np.sqrt(tiny) * stats.counts.sum()
    with_mean = stats if prior is None else priors.with_prior_mean(params, stats, prior, alive)

    # Means
    counts = jnp.where(alive, with_mean.counts, tiny)  # never zero, so that a dead component makes no NaN
    shift = jnp.where(alive[:, None], with_mean.first / counts[:, None], 0)

    # Covariances: the scatter about the new means, with the ridge and the prior in it
    second = _recentred(with_mean.second, jnp.where(alive, counts, 0), shift)
    scatter_counts, means = jnp.where(alive, stats.counts, tiny), params.means + shift
    pooled_counts = linalg.pool_counts(scatter_counts, second.shape)[:, None]
    least = least_variances(as_ridge(ridge), means - means[scatter_counts.argmax()][None], second.shape)
    in_ridge = added(as_ridge(ridge), linalg.stored_variances(second) / pooled_counts, least)
    second = linalg.add_to_diagonal(second, pooled_counts * in_ridge)
    if prior is not None:
        second = second + linalg.to_storage_shape(prior.scale, second.shape)
        of_prior = priors.count_of_covariance(prior, alive, second.shape)
        scatter_counts = scatter_counts + jnp.where(alive, of_prior, 0)
    covariances = family.estimate(second, scatter_counts, params.covariances)

    # A dead component keeps its covariance, and all keep theirs where the means jump
    keep = _is_jump(params, with_mean, second, counts).any()  # all or none: families share between components
    if second.shape[0] > 1:
        keep = (keep | ~alive).reshape(-1, *(1,) * (covariances.ndim - 1))

    # Mixing proportions
    shares = jnp.where(alive, stats.counts if prior is None else stats.counts + prior.concentration - 1, 0)
    return GMMParams(
        weights=shares / shares.sum(),
        means=means,
        covariances=jnp.where(keep, params.covariances, covariances),
    )


def moments(params: GMMParams, stats: Stats, ridge: Any) -> GMMParams:
    """Shares, means and covariances as an M-step without prior or constraints gives them, stored as ``params`` is."""
    return maximize(FULL, ridge, None, params, stats)


def _is_jump(params: GMMParams, stats: Stats, second: Array, counts: Array) -> Array:
    """Where a mean moves by more than the old standard deviation, and rounding hides the new one, ``(k|1,)``."""
    d, eps = params.means.shape[1], np.finfo(second.dtype).eps
    about_old = linalg.variances(stats.second, d)
    previous = linalg.variances(params.covariances, d) * linalg.pool_counts(counts, second.shape)[:, None]
    cancelled = linalg.variances(second, d) < np.sqrt(eps) * about_old
    return (cancelled & (about_old > previous)).any(1)


def _recentred(second: Array, counts: Array, shift: Array) -> Array:
    """Second moments about means moved by ``shift`` ``(k, d)``, which took the first moments to zero."""
    between = linalg.outer_square(shift, second.ndim)
    between = between * counts.reshape(-1, *(1,) * (between.ndim - 1))
    return second - linalg.pool_moments(between, second.shape)


def from_responsibilities(
    x: ArrayLike,
    responsibilities: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    family: Family = FULL,
    ridge: ArrayLike | Ridge = 0.0,
) -> GMMParams:
    r"""Maximum-likelihood parameters given how much each row belongs to each component.

    One M-step. With one-hot responsibilities (known classes) this is the complete-data estimate

    .. math::
        \phi_j = \frac{N_j}{\sum_i w_i}, \quad
        \mu_j = \frac{1}{N_j} \sum_i w_i 1\{z_i = j\} x_i, \quad
        \Sigma_j = \frac{1}{N_j} \sum_i w_i 1\{z_i = j\} (x_i - \mu_j)(x_i - \mu_j)^T, \quad
        N_j = \sum_i w_i 1\{z_i = j\}

    Args:
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        responsibilities: ``(n, k)``, non-negative, rows summing to one.
        weights: ``(n,)`` row weights >= 0; default one each.
        family: the covariance family; static under ``jit``.
        ridge: added to each variance, relative to it.

    Returns:
        :class:`GMMParams`. A component without rows gets weight zero, the overall mean and the overall covariance.

    Raises:
        TypeError: if an argument is not numeric, or ``family`` is no :class:`Family`.
        ValueError: if shapes do not fit together, or ``ridge`` is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([0, 0, 1, 1])
        >>> from_responsibilities(jnp.array([1.0, 3.0, 8.0, 8.0]), jnp.eye(2)[labels]).means.tolist()
        [[2.0], [8.0]]

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, section 9.2.2.
    """
    x = checks.as_rows(x)
    weights = checks.as_row_weights(weights, x)
    responsibilities = checks.as_float_array(responsibilities, "responsibilities")
    if responsibilities.ndim != 2 or responsibilities.shape[0] != x.shape[0] or responsibilities.shape[1] == 0:
        raise ValueError(f"responsibilities: expected shape ({x.shape[0]}, k), got {responsibilities.shape}")
    as_family(family)
    expected = responsibilities.astype(x.dtype) * weights.astype(x.dtype)[:, None]
    return _from_responsibilities(*pad_rows((x, expected)), as_ridge(ridge), family)


@program("family")
def _from_responsibilities(x: Array, expected: Array, ridge: Any, family: Family) -> GMMParams:
    params, stats = first_estimate(x, expected, ridge, family)
    return maximize(family, ridge, None, params, stats) if family.constrained else params  # some maximisers iterate


def first_estimate(x: Array, expected: Array, ridge: Any, family: Family) -> tuple[GMMParams, Stats]:
    """Where EM begins, given weighted responsibilities ``(n, k)``, and the statistics it is estimated from."""
    total = expected.sum(1)
    x = jnp.where((total != 0)[:, None], x, 0)
    params = _all_alike(x, total, expected.shape[1], ridge, family)  # what components without rows keep

    # Means, about the origin or about the mean of all rows, whichever is closer: the other may leave them no digits
    counts = expected.sum(0)
    alive = counts > np.sqrt(np.finfo(x.dtype).tiny) * counts.sum()
    shares = jnp.where(alive, expected / linalg.safe_divisor(counts)[None], 0)
    means, shift = (linalg.einsum("nk,nd->kd", shares, rows) for rows in (x, x - params.means[:1]))
    means = jnp.where(abs(means) < abs(shift), means, params.means + shift)
    params = params._replace(means=jnp.where(alive[:, None], means, params.means))

    # Covariances about them
    stats = complete_stats(params, x, expected)
    return maximize(replace(family, estimate=family.begin or family.estimate), ridge, None, params, stats), stats


def _all_alike(x: Array, total: Array, k: int, ridge: Any, family: Family) -> GMMParams:
    """A mixture whose k components all have the mean and covariance of all rows, of weights ``total`` ``(n,)``."""
    d = x.shape[1]
    shape, centre = family.structure(k, d), linalg.einsum("n,nd->d", total / total.sum(), x)[None]
    spheres = linalg.add_to_diagonal(jnp.zeros(shape, x.dtype), jnp.ones((1, 1), x.dtype))
    params = GMMParams(jnp.full(k, 1 / k, x.dtype), jnp.broadcast_to(centre, (k, d)), spheres)

    # One M-step on the same statistics for every component
    one = params._replace(means=centre, covariances=params.covariances[:1])
    shared = jax.tree.map(lambda leaf: leaf / k, complete_stats(one, x, total[:, None]))
    second = jnp.broadcast_to(shared.second * (k / shape[0]), shape)
    stats = Stats(shared.log_likelihood, jnp.tile(shared.counts, k), jnp.tile(shared.first, (k, 1)), second)
    return moments(params, stats, ridge)  # covariances that are all alike are in every family


def complete_stats(params: GMMParams, x: Array, expected: Array) -> Stats:
    """Stats about ``params.means`` of rows whose weighted responsibilities ``(n, k)`` are given."""
    moments = "n,nd->d" if params.covariances.ndim == 2 else "n,nd,ne->de"

    def component(mean_and_responsibilities: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        mean, responsibilities = mean_and_responsibilities
        residuals = x - mean[None]
        operands = (residuals**2,) if params.covariances.ndim == 2 else (residuals, residuals)
        first = linalg.einsum("n,nd->d", responsibilities, residuals)
        return responsibilities.sum(), first, linalg.einsum(moments, responsibilities, *operands)

    counts, first, second = jax.lax.map(component, (params.means, expected.T))
    second = linalg.pool_moments(second, params.covariances.shape)
    return Stats(jnp.zeros((), x.dtype), counts, first, second)
