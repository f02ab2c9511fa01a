"""The values that jaxgmm passes around: tuples of arrays, which go through ``jit``, ``vmap`` and ``grad`` as one."""

from typing import Any, NamedTuple

import numpy as np
from jax import Array
from jax.tree_util import register_static

from .printing import printed
from .status import Status as Status
from .status import describe as describe
from .status import is_usable as is_usable
from .status import known_status


@printed
class GMMParams(NamedTuple):
    """A Gaussian mixture: ``p(x) = sum_j weights_j N(x | means_j, covariances_j)``.

    The shape of ``covariances`` carries its structure: rank 3 is a matrix, rank 2 a diagonal; a leading 1 is shared by
    all components, a trailing 1 (rank 2) by all features.
    """

    weights: Array  #: (k,) mixing proportions, non-negative, summing to one
    means: Array  #: (k, d) in the features' units
    covariances: Array  #: full (k, d, d) | tied (1, d, d) | diag (k, d) | spherical (k, 1), units squared

    @property
    def k(self) -> int:
        """Number of components."""
        return int(np.shape(self.means)[-2])


@printed
class Noise(NamedTuple):
    """A region over which noise is uniform: a box, or the part of it that the faces of a convex body enclose."""

    lower: Array  #: (d,)
    upper: Array  #: (d,)
    faces: Array  #: (m, d + 1) rows (a, b) of a x + b <= 0; m = 0 where the box is all
    log_volume: Array  #: ()


@printed
class NoisyGMMParams(NamedTuple):
    """A Gaussian mixture and uniform noise: ``p(x) = (1 - w) p(x | mixture) + w p(x | noise)``, w the noise weight."""

    mixture: GMMParams  #: its weights sum to one without the noise
    noise_weight: Array  #: () the share of noise, in 0..1
    noise: Noise  #: where it is

    @property
    def k(self) -> int:
        """Number of components, without the noise."""
        return self.mixture.k


@printed
class Observations(NamedTuple):
    """What is known of each row; the first axis of every array counts rows, so that chunks cut all of them together.

    Functions take it in place of ``x``. In this version the other fields must be None.
    """

    x: Array  #: (n, d)
    noise: Array | None = None  #: (n, d, d) or (n, d), covariance or variances of each row's measurement error
    allowed: Array | None = None  #: (n, k) bool, the components that a row may come from
    lower: Array | None = None  #: (n, d), an entry is only known to lie between it and upper
    upper: Array | None = None  #: (n, d)


@printed
class Stats(NamedTuple):
    """Expected sufficient statistics, with moments about the means of the parameters that made them.

    Stats over rows A plus Stats over rows B, field by field, are the Stats over both.
    """

    log_likelihood: Array  #: () total over weighted rows, in nats
    counts: Array  #: (k,) sum_i w_i r_ij
    first: Array  #: (k, d) sum_i w_i r_ij (x_i - mean_j)
    #: sum_i w_i r_ij (x_i - mean_j)(x_i - mean_j)^T, shaped like covariances, summed over components that share one
    #: and averaged over features that share one
    second: Array


@printed
class NoisyStats(NamedTuple):
    """Expected sufficient statistics of a mixture with noise; they add up like :class:`Stats`."""

    log_likelihood: Array  #: () total over weighted rows, in nats
    mixture: Stats  #: of rows, each counting by its probability of coming from the mixture
    noise_count: Array  #: () sum_i w_i p(noise | x_i)


@printed
class Prior(NamedTuple):
    r"""A conjugate prior: Dirichlet on the weights, normal-inverse-Wishart on each mean and covariance.

    .. math::
        \phi \sim \mathrm{Dirichlet}(\alpha), \quad \mu_j \mid \Sigma_j \sim N(m, \Sigma_j / \kappa), \quad
        \Sigma_j \sim \mathrm{InverseWishart}(\nu, \Lambda)

    restricted to the covariance family; a covariance that components share has one inverse-Wishart.
    """

    concentration: Array  #: () alpha >= 1; 1 leaves the weights alone
    mean: Array  #: (d,) m
    shrinkage: Array  #: () kappa >= 0, how many rows the prior mean counts for
    dof: Array  #: () nu, in rows
    scale: Array  #: (d, d) Lambda, units squared


@register_static
class FeatureNames(tuple[str, ...]):
    """Names of the d features. It holds no arrays, so that it goes through ``jit`` and ``vmap`` beside those."""


@printed
class EMResult(NamedTuple):
    """What :func:`jaxgmm.em` found, and why it stopped; functions of parameters take it in their place."""

    params: Any  #: of the type of the start, the last good iterate; finite where the start was finite
    log_likelihood: Array  #: () of params, in nats
    history: Array  #: (max_iter,) what EM climbs, log-likelihood and log prior, before each iteration; NaN-padded
    n_iter: Array  #: () int, M-steps that led to params
    status: Array  #: () int, a Status
    total_weight: Any = None  #: () sum of the row weights, so n where none were given
    family: Any = None  #: the covariance Family, where params are a Gaussian mixture
    feature_names: FeatureNames | None = None  #: of the columns, where the rows came as a table
    #: (k,) log-likelihood in nats that each component gains by collapsing, zero for sound ones; fit and select compare
    #: without it, and em does not compute it
    excess: Any = None

    @property
    def converged(self) -> Any:
        """Whether it converged, () bool."""
        return (self.status == Status.CONVERGED) | (self.status == Status.ISOLATED)

    @property
    def k(self) -> int:
        """Number of components."""
        return int(self.params.k)


@printed
class FitResult(NamedTuple):
    """The best of several restarts, and how every one of them ended; functions of parameters take it in their place."""

    best: EMResult  #: the restart that ended highest of those that are usable
    log_likelihoods: Array  #: (n_init,) where each was left, in nats (estimated if on a sample); NaN where it failed
    statuses: Array  #: (n_init,) int, a Status each; MAX_ITER where it was left after the brief run

    @property
    def params(self) -> Any:
        """Of the best restart."""
        return self.best.params

    @property
    def log_likelihood(self) -> Array:
        """Of the best restart, () in nats."""
        return self.best.log_likelihood

    @property
    def status(self) -> Any:
        """Of the best restart, a :class:`Status`; ints where it is a batch or traced."""
        return known_status(self.best.status)

    @property
    def converged(self) -> Any:
        """Whether the best restart converged, () bool."""
        return self.best.converged

    @property
    def excess(self) -> Any:
        """Of the best restart, nats that each component gains by collapsing, (k,)."""
        return self.best.excess

    @property
    def n_iter(self) -> Array:
        """M-steps of the best restart, () int."""
        return self.best.n_iter

    @property
    def k(self) -> int:
        """Number of components."""
        return self.best.k

    @property
    def family(self) -> Any:
        """The covariance :class:`Family`, where params are a Gaussian mixture."""
        return self.best.family

    @property
    def feature_names(self) -> FeatureNames | None:
        """Of the columns, where the rows came as a table."""
        return self.best.feature_names

    @property
    def agrees(self) -> Array:
        """Which restarts ended as high as the best, within a tenth of a nat and rounding, ``(n_init,)`` bool."""
        return agree(self.log_likelihoods, self.statuses, self.best.log_likelihood[..., None])


def agree(log_likelihoods: Any, statuses: Any, best: Any) -> Any:
    """Which restarts ended as high as the best, see :attr:`FitResult.agrees`."""
    return is_usable(statuses) & (abs(log_likelihoods - best) <= 0.1 + 1e-6 * abs(best))


class FitError(RuntimeError):
    """A fit ended without a usable answer; the message says why and what to try."""


def trimmed_history(result: EMResult | FitResult) -> np.ndarray:
    """``history`` of one run without its padding: what EM climbs, before each iteration.

    Args:
        result: of one fit, from :func:`jaxgmm.em`, or from :func:`jaxgmm.fit` for its best restart.

    Returns:
        ``(n_iter + 1,)`` in nats, the last of ``result.params``; where ``max_iter`` was reached, that one is missing.
        With a prior it is the log-likelihood plus the log prior density.

    Raises:
        ValueError: if ``result`` is a batch.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxgmm
        >>> start = jaxgmm.GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1)))
        >>> result = jaxgmm.em(start, jnp.array([1.0, 3.0]))
        >>> len(trimmed_history(result)) == int(result.n_iter) + 1
        True
    """
    result = result.best if isinstance(result, FitResult) else result
    if np.ndim(result.n_iter):
        raise ValueError(f"result: expected one fit, got a batch of shape {np.shape(result.n_iter)}")
    return np.asarray(result.history)[: int(result.n_iter) + 1]


def raise_if_failed(result: EMResult | FitResult) -> EMResult | FitResult:
    """Return ``result`` unchanged, or raise if it (or any fit of a batch) failed.

    ``CONVERGED``, ``MAX_ITER`` and ``ISOLATED`` pass: their parameters are usable. Not for use under ``jit``, where the
    status is not known yet.

    Args:
        result: from :func:`jaxgmm.em` (possibly under ``vmap``) or :func:`jaxgmm.fit`.

    Returns:
        The same ``result``.

    Raises:
        FitError: saying how many fits failed and why the first of them did.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxgmm
        >>> start = jaxgmm.GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1)))
        >>> raise_if_failed(jaxgmm.em(start, jnp.array([jnp.nan, 1.0])))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        jaxgmm.types.FitError: 1 of 1 fits failed; fit 0: the log-likelihood or a parameter is not finite: ...
    """
    status = np.atleast_1d(np.asarray(result.status))
    failed = np.flatnonzero(~is_usable(status))
    if failed.size:
        first = failed[0]
        raise FitError(f"{failed.size} of {status.size} fits failed; fit {first}: {describe(status.flat[first])}")
    return result
