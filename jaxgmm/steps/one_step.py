"""One E-step and one M-step of a Gaussian mixture, as functions that people call."""

from __future__ import annotations

from typing import Any

from jax import Array
from numpy.typing import ArrayLike

from .. import checks
from ..covariance.families import FULL, Family, as_family
from ..covariance.ridge import as_ridge
from ..fitted import ParamsOrResult
from ..mixture import density
from ..padding import pad_rows
from ..programs import program
from ..types import GMMParams, NoisyGMMParams, NoisyStats, Observations, Prior, Stats
from .contract import Steps
from .gaussian import gaussian_steps
from .noisy import noisy_steps


def steps_for(has_noise: bool, steps: Steps, prior: Prior | None = None) -> Steps:
    """``steps`` of a Gaussian mixture, for parameters with noise or without."""
    if not has_noise:
        return steps
    return noisy_steps(steps, 1.0 if prior is None else prior.concentration)


def e_step(
    params: ParamsOrResult,
    x: ArrayLike | Observations,
    weights: ArrayLike | None = None,
    *,
    chunk_size: int | None = None,
) -> Any:
    r"""Sum what rows say about the parameters: the E-step, with moments about the current means.

    .. math::
        r_{ij} = p(z_i = j \mid x_i), \quad N_j = \sum_i w_i r_{ij}, \quad
        \sum_i w_i r_{ij} (x_i - \mu_j), \quad \sum_i w_i r_{ij} (x_i - \mu_j)(x_i - \mu_j)^T

    Digits are kept however far from zero the rows lie: rounding errors grow linearly with a row's distance from a
    component over its standard deviation. A faster way to compute the same is used where a bound, computed before,
    shows that its rounding errors are no larger. Memory beside the rows stays bounded, as they are taken in chunks.
    Several devices, or the cores of a CPU as devices, share the rows under ``jax.set_mesh`` of a mesh with an automatic
    axis ``"rows"``, whose size divides n; they exchange only sums. Works under ``jit``, ``vmap`` and ``grad``.

    Args:
        params: the mixture, k components in d features, or a result that holds one.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights >= 0; default one each. A row of weight zero has no influence, even where it is
            NaN.
        chunk_size: rows per chunk; by default chosen from shapes and backend. Static under ``jit``.

    Returns:
        :class:`Stats`, which add over rows, the log-likelihood in nats; for a mixture with noise, :class:`NoisyStats`.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together, ``chunk_size`` < 1, or mixing weights do not sum to one.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1)))
        >>> e_step(params, jnp.array([1.0, 2.0])).first.tolist()
        [[3.0]]

    Reference:
        Dempster, Laird & Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm.
    """
    params, rows, row_weights = checks.arguments(params, x, weights)
    checks.proportions(params)
    size = None if chunk_size is None else checks.as_integer(chunk_size, "chunk_size", 1)
    rows, row_weights = pad_rows((rows, row_weights))
    return _e_step(params, rows, row_weights, size)


@program("chunk_size")
def _e_step(params: Any, x: Array, weights: Array, chunk_size: int | None) -> Any:
    steps = steps_for(
        isinstance(params, NoisyGMMParams), gaussian_steps(chunk_size=chunk_size)._replace(prepare=density.prepare)
    )
    return steps.expect(steps.prepare(params), Observations(x), weights)


def m_step(
    params: GMMParams | NoisyGMMParams,
    stats: Stats | NoisyStats,
    *,
    family: Family = FULL,
    ridge: ArrayLike = 0.0,
    prior: Prior | None = None,
) -> Any:
    r"""Maximise the expected log-likelihood, or log posterior, given the statistics of an E-step.

    .. math::
        \phi_j = \frac{N_j}{\sum_l N_l}, \quad \mu_j = \frac{1}{N_j} \sum_i w_i r_{ij} x_i, \quad
        \Sigma_j = \frac{1}{N_j} \sum_i w_i r_{ij} (x_i - \mu_j)(x_i - \mu_j)^T

    the last for the full family; ``family`` says how others share and constrain it. A component that no row belongs to
    keeps its mean and covariance at weight zero. Where the means jump so far that the moments about the old ones say
    nothing about spread, covariances stay for one iteration; the expected log-likelihood still rises.

    A ridge :math:`\rho` multiplies the variances of each scatter by :math:`1 + \rho`, so that correlations stay below
    one whatever the scale of a component; and no standard deviation falls below four roundings of its mean's distance
    from the heaviest component. With a ridge the log-likelihood itself is not quite what is maximised, so near the end
    of a fit it may dip by the order of the ridge.

    Args:
        params: the mixture that ``stats`` are about.
        stats: from :func:`e_step`, or any sum of such.
        family: the covariance family; static under ``jit``.
        ridge: added to the variances of each scatter, relative to them, before the family sees it.
        prior: see :class:`Prior`; the result is then the maximum a posteriori estimate.

    Returns:
        The new parameters, of the type of ``params`` and stored as they are.

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
    as_family(family, checks.mixture_of(params))
    if prior is not None:
        prior = checks.as_prior(prior, checks.mixture_of(params).means)
    return _m_step(params, stats, as_ridge(ridge), family, prior)


@program("family")
def _m_step(params: Any, stats: Any, ridge: Any, family: Family, prior: Prior | None) -> Any:
    return steps_for(isinstance(params, NoisyGMMParams), gaussian_steps(family, ridge, prior), prior).maximize(
        params, stats
    )
