"""The M-step: the parameters that maximise the expected log-likelihood."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from .. import checks, linalg
from ..covariance.families import FULL, Family
from ..mixture import priors
from ..types import GMMParams, Prior, Stats


def m_step(
    params: GMMParams, stats: Stats, *, family: Family = FULL, ridge: ArrayLike = 0.0, prior: Prior | None = None
) -> GMMParams:
    r"""Maximise the expected log-likelihood, or log posterior, given the statistics of an E-step.

    .. math::
        \phi_j = \frac{N_j}{\sum_l N_l}, \quad \mu_j = \frac{1}{N_j} \sum_i w_i r_{ij} x_i, \quad
        \Sigma_j = \frac{1}{N_j} \sum_i w_i r_{ij} (x_i - \mu_j)(x_i - \mu_j)^T + \rho I

    the last for the full family; ``family`` says how others share and constrain it. A component that no row belongs to
    keeps its mean and covariance at weight zero. Where the means jump so far that the moments about the old ones say
    nothing about spread, covariances stay for one iteration; the expected log-likelihood still rises.

    A ridge is no exact prior: near its fixed point the log-likelihood may dip by the order of the ridge.

    Args:
        params: the mixture that ``stats`` are about.
        stats: from :func:`e_step`, or any sum of such.
        family: the covariance family; static under ``jit``.
        ridge: added to the scatter per unit count, in the features' units squared, before the family sees it.
        prior: see :class:`Prior`; the result is then the maximum a posteriori estimate.

    Returns:
        The new :class:`GMMParams`, stored as ``params`` is.

    Raises:
        TypeError: if ``family`` is no :class:`Family`.
        ValueError: if ``params`` are not stored as ``family`` stores them, or ``ridge`` is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxgmm
        >>> start = GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1)))
        >>> fitted = m_step(start, jaxgmm.e_step(start, jnp.array([1.0, 3.0])))
        >>> fitted.means.tolist(), fitted.covariances.tolist()
        ([[2.0]], [[[1.0]]])

    Reference:
        Dempster, Laird & Rubin (1977); Celeux & Govaert (1995) for the families; Fraley & Raftery (2007) for the prior.
    """
    params = checks.as_params(params)
    checks.family_of(family, params)
    if prior is not None:
        prior = checks.as_prior(prior, params.means)
    return _m_step(params, stats, checks.non_negative(ridge, "ridge"), family, prior)


@partial(jax.jit, static_argnames="family")
def _m_step(params: GMMParams, stats: Stats, ridge: ArrayLike, family: Family, prior: Prior | None = None) -> GMMParams:
    dtype, k = params.means.dtype, params.means.shape[0]
    tiny = np.finfo(dtype).tiny
    alive = stats.counts > np.sqrt(tiny) * stats.counts.sum()  # of the noise component too, where there is one
    filled = alive[:k]
    given = stats if prior is None else priors.with_prior_mean(params, stats, prior, filled)
    counts = jnp.where(filled, given.counts[:k], tiny)  # never zero, so that a dead component makes no NaN

    shift = jnp.where(filled[:, None], given.first / counts[:, None], 0)
    second = _recentred(given.second, jnp.where(filled, counts, 0), shift)
    weighed = jnp.where(filled, stats.counts[:k], tiny)
    second = linalg.add_to_diagonal(second, linalg.pool_counts(weighed, second.shape) * jnp.asarray(ridge, dtype))
    if prior is not None:
        second = second + linalg.stored(prior.scale, second.shape)
        weighed = weighed + jnp.where(filled, priors.count_of_covariance(prior, filled, second.shape), 0)
    covariances = family.estimate(second, weighed, params.covariances)

    keep = _is_jump(params, given, second, counts).any()  # all or none: families share between components
    if second.shape[0] > 1:
        keep = (keep | ~filled).reshape(-1, *(1,) * (covariances.ndim - 1))
    drawn = jnp.where(alive, stats.counts if prior is None else stats.counts + prior.concentration - 1, 0)
    return params._replace(
        weights=drawn / drawn.sum(),
        means=params.means + shift,
        covariances=jnp.where(keep, params.covariances, covariances),
    )


def moments(params: GMMParams, stats: Stats, ridge: ArrayLike) -> GMMParams:
    """Shares, means and covariances as an M-step without prior or constraints gives them, stored as ``params`` is."""
    return _m_step(params, stats, ridge, FULL)


def _is_jump(params: GMMParams, stats: Stats, second: Array, counts: Array) -> Array:
    """Where moments about the old means are all shift and no spread, while not small themselves, ``(k|1,)``."""
    d, eps = params.means.shape[1], np.finfo(second.dtype).eps
    about_old = linalg.variances(stats.second, d)
    previous = linalg.variances(params.covariances, d) * linalg.pool_counts(counts, second.shape)[:, None]
    cancelled = linalg.variances(second, d) < np.sqrt(eps) * about_old
    return (cancelled & (about_old > np.sqrt(eps) * previous)).any(1)


def _recentred(second: Array, counts: Array, shift: Array) -> Array:
    """Second moments about means moved by ``shift`` ``(k, d)``, which took the first moments to zero."""
    between = linalg.outer_square(shift, second.ndim)
    between = between * counts.reshape(-1, *(1,) * (between.ndim - 1))
    return second - linalg.pool(between, second.shape)


class Penalty(NamedTuple):
    """What a ridge's penalty is made of, ``(k|1,)`` each."""

    trace: Array  # tr Sigma_j^-1
    rounding: Array  # what of it may be rounding


def penalty(factor: linalg.Factor, covariances: Array) -> Penalty:
    """What a ridge's penalty for these covariances is made of."""
    trace = linalg.trace_inverse(factor)
    return Penalty(trace, 4 * np.finfo(trace.dtype).eps * linalg.conditioning(factor, covariances) * trace)


def ridge_allowance(old: Penalty, new: Penalty, counts: Array, ridge: ArrayLike) -> Array:
    r"""How far the log-likelihood may fall in a step with a ridge, ``()`` in nats.

    The step maximises Q minus the penalty :math:`\frac{\rho}{2} \sum_j N_j \mathrm{tr} \Sigma_j^{-1}`, so the
    log-likelihood may fall by what the penalty fell, and by no more. What of that is rounding does not count;
    ``counts`` are ``(k,)``.
    """
    fallen = jnp.broadcast_to(old.trace - new.trace - old.rounding, counts.shape)
    return jnp.maximum(jnp.sum(counts * fallen) * ridge / 2, 0)


def from_responsibilities(
    x: ArrayLike,
    responsibilities: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    family: Family = FULL,
    ridge: ArrayLike = 0.0,
) -> GMMParams:
    r"""Maximum-likelihood parameters given how much each row belongs to each component.

    One M-step. With one-hot responsibilities (known classes) this is the complete-data estimate

    .. math::
        \phi_j = \frac{1}{m} \sum_i 1\{z_i = j\}, \quad
        \mu_j = \frac{\sum_i 1\{z_i = j\} x_i}{\sum_i 1\{z_i = j\}}, \quad
        \Sigma_j = \frac{\sum_i 1\{z_i = j\} (x_i - \mu_j)(x_i - \mu_j)^T}{\sum_i 1\{z_i = j\}}

    Args:
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        responsibilities: ``(n, k)``, non-negative, rows summing to one.
        weights: ``(n,)`` row weights >= 0; default one each.
        family: the covariance family; static under ``jit``.
        ridge: added to the scatter per unit count, in the features' units squared.

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
    checks.family_of(family)
    expected = responsibilities.astype(x.dtype) * weights.astype(x.dtype)[:, None]
    return _from_responsibilities(x, expected, checks.non_negative(ridge, "ridge"), family)


@partial(jax.jit, static_argnames="family")
def _from_responsibilities(x: Array, expected: Array, ridge: ArrayLike, family: Family) -> GMMParams:
    d, k = x.shape[1], expected.shape[1]
    shape, total = family.structure(k, d), expected.sum(1)
    x = jnp.where((total != 0)[:, None], x, 0)
    centre = linalg.einsum("n,nd->d", total / total.sum(), x)[None]

    # All rows under every component, for those that stay without rows; then the means; then the spread about them.
    round_centre = linalg.add_to_diagonal(jnp.zeros(shape, x.dtype), jnp.ones(1, x.dtype))
    params = GMMParams(jnp.full(k, 1 / k, x.dtype), jnp.broadcast_to(centre, (k, d)), round_centre)
    one = params._replace(means=centre, covariances=params.covariances[:1])
    of_all = jax.tree.map(lambda leaf: leaf / k, _complete_stats(one, x, total[:, None]))
    spread = jnp.broadcast_to(of_all.second * (k / shape[0]), shape)
    uniform = Stats(of_all.log_likelihood, jnp.tile(of_all.counts, k), jnp.tile(of_all.first, (k, 1)), spread)
    params = _m_step(params, uniform, ridge, family)

    counts, first = expected.sum(0), linalg.einsum("nk,nd->kd", expected, x - centre)
    filled = counts > np.sqrt(np.finfo(x.dtype).tiny) * counts.sum()
    params = params._replace(means=centre + jnp.where(filled[:, None], first / linalg.or_one(counts)[:, None], 0))
    stats = _complete_stats(params, x, expected)
    params = _m_step(params, stats, ridge, replace(family, estimate=family.begin or family.estimate))
    return _m_step(params, stats, ridge, family) if family.constrained else params  # iterative ones go further up


def _complete_stats(params: GMMParams, x: Array, expected: Array) -> Stats:
    """Stats about ``params.means`` of rows whose weighted responsibilities ``(n, k)`` are given."""
    moments = "n,nd->d" if params.covariances.ndim == 2 else "n,nd,ne->de"

    def component(given: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        mean, belonging = given
        residuals = x - mean[None]
        operands = (residuals**2,) if params.covariances.ndim == 2 else (residuals, residuals)
        first = linalg.einsum("n,nd->d", belonging, residuals)
        return belonging.sum(), first, linalg.einsum(moments, belonging, *operands)

    counts, first, second = jax.lax.map(component, (params.means, expected.T))
    second = linalg.pool(second, params.covariances.shape)
    return Stats(jnp.zeros((), x.dtype), counts, first, second)
