"""The values that jaxgmm passes around: immutable, array-valued, valid pytrees."""

import enum
from typing import Any, NamedTuple

import numpy as np
from jax import Array


class GMMParams(NamedTuple):
    """A Gaussian mixture: ``p(x) = sum_j weights_j N(x | means_j, covariances_j)``.

    The shape of ``covariances`` carries its structure: rank 3 is a matrix, rank 2 a diagonal; a leading 1 is shared by
    all components, a trailing 1 (rank 2) by all features.
    """

    weights: Array  #: (k,) mixing proportions, non-negative, summing to one
    means: Array  #: (k, d) in the features' units
    covariances: Array  #: full (k, d, d) | tied (1, d, d) | diag (k, d) | spherical (k, 1), units squared


class Noise(NamedTuple):
    """A region over which noise is uniform: a box, or the part of it that the faces of a convex body enclose."""

    lower: Array  #: (d,)
    upper: Array  #: (d,)
    faces: Array  #: (m, d + 1) rows (a, b) of a x + b <= 0; m = 0 where the box is all
    log_volume: Array  #: ()


class NoisyGMMParams(NamedTuple):
    """A Gaussian mixture and uniform noise: ``p(x) = (1 - w) p(x | mixture) + w p(x | noise)``, w the noise weight."""

    mixture: GMMParams  #: its weights sum to one without the noise
    noise_weight: Array  #: () the share of noise, in 0..1
    noise: Noise  #: where it is


class Observations(NamedTuple):
    """What is known of each row; every leaf has the rows in front, so that chunks and devices cut them together.

    Functions take it in place of ``x``. Only ``x`` is used so far; the other fields are named for what is to come.
    """

    x: Array  #: (n, d)
    noise: Array | None = None  #: (n, d, d) or (n, d), covariance or variances of each row's measurement error
    allowed: Array | None = None  #: (n, k) bool, the components that a row may come from
    lower: Array | None = None  #: (n, d), an entry is only known to lie between it and upper
    upper: Array | None = None  #: (n, d)


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


class NoisyStats(NamedTuple):
    """Expected sufficient statistics of a mixture with noise; they add up like :class:`Stats`."""

    log_likelihood: Array  #: () total over weighted rows, in nats
    mixture: Stats  #: of rows, each counting by its probability of coming from the mixture
    noise_count: Array  #: () sum_i w_i p(noise | x_i)


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


class Status(enum.IntEnum):
    """Why a fit stopped."""

    RUNNING = -1
    CONVERGED = 0
    MAX_ITER = 1
    NON_FINITE = 2
    DEGENERATE = 3
    DECREASED = 4
    ISOLATED = 5  # converged, but for components without a spread of their own, apart from all others

    @property
    def is_usable(self) -> bool:
        """Whether the parameters can be used, as the fit converged or was still climbing at ``max_iter``."""
        return self in (Status.CONVERGED, Status.MAX_ITER, Status.ISOLATED)


def is_usable(status: Any) -> Any:
    """:attr:`Status.is_usable` of an array of statuses, of any shape; works under ``jit``.

    Args:
        status: ints, a :class:`Status` each.

    Returns:
        bool, of the same shape.

    Example:
        >>> import numpy as np
        >>> is_usable(np.array([Status.CONVERGED, Status.DEGENERATE])).tolist()
        [True, False]
    """
    return (status == Status.CONVERGED) | (status == Status.MAX_ITER) | (status == Status.ISOLATED)


class EMResult(NamedTuple):
    """What :func:`jaxgmm.em` found, and why it stopped."""

    params: Any  #: of the type of the start, the last good iterate; finite where the start was finite
    log_likelihood: Array  #: () of params, in nats
    history: Array  #: (max_iter,) what EM climbs, log-likelihood and log prior, before each iteration; NaN-padded
    n_iter: Array  #: () int, M-steps that led to params
    status: Array  #: () int, a Status


class FitResult(NamedTuple):
    """The best of several restarts, and how every one of them ended."""

    best: EMResult  #: the restart that ended highest of those that are usable
    log_likelihoods: Array  #: (n_init,) where each was left, in nats (estimated if on a sample); NaN where it failed
    statuses: Array  #: (n_init,) int, a Status each; MAX_ITER where it was left after the short run
    #: (k,) nats that components of best have by lacking a spread of their own, zero for sound ones; restarts were
    #: compared without
    excess: Any = None


class FitError(RuntimeError):
    """A fit ended without a usable answer; the message says why and what to try."""


_MESSAGES = {
    Status.RUNNING: "still running: give it more iterations",
    Status.CONVERGED: "converged: the estimated remaining gain in log-likelihood is below tol or rounding",
    Status.MAX_ITER: "stopped at max_iter before converging: raise max_iter, or tol",
    Status.NON_FINITE: (
        "the log-likelihood or a parameter is not finite: look for NaN or infinite values in x, for negative or "
        "all-zero weights, for a negative ridge or tol, for a start whose weights do not sum to one, or for rows so "
        "far out that their density underflows, or for units in which this dtype does not hold variances: divide x by "
        "a constant, or use float64"
    ),
    Status.DEGENERATE: (
        "a covariance collapsed, so that the likelihood belongs to the ridge or to rounding: look for features that "
        "others determine, constant features, equal rows, or no more rows than features; use fewer components, a "
        "simpler family, a prior such as jaxgmm.default_prior, or noise="
    ),
    Status.ISOLATED: (
        "converged, but for components that have no spread of their own and lie apart from all others, on outliers or "
        "on equal rows such as a code for missing entries: the others can be used; excess in the result names them"
    ),
    Status.DECREASED: (
        "the log-likelihood decreased beyond rounding: use float64, "
        "or check that a custom step maximises the expected log-likelihood"
    ),
}


def describe(status: Array | int) -> str:
    """Say in one sentence why a fit stopped and, where it went wrong, what to try.

    Args:
        status: ``()`` int, a :class:`Status`.

    Returns:
        The sentence.

    Raises:
        ValueError: if ``status`` is not a :class:`Status`.

    Example:
        >>> describe(Status.MAX_ITER)
        'stopped at max_iter before converging: raise max_iter, or tol'
    """
    return _MESSAGES[Status(int(status))]


def trimmed_history(result: EMResult) -> np.ndarray:
    """``history`` of one run without its padding: what EM climbs, before each iteration.

    Args:
        result: of one fit, from :func:`jaxgmm.em`.

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
    if np.ndim(result.n_iter):
        raise ValueError(f"result: expected one fit, got a batch of shape {np.shape(result.n_iter)}")
    return np.asarray(result.history)[: int(result.n_iter) + 1]


def raise_if_failed(result: EMResult | FitResult) -> EMResult | FitResult:
    """Return ``result`` unchanged, or raise if it (or any fit of a batch) failed.

    ``CONVERGED`` and ``MAX_ITER`` pass: their parameters are usable. Not for use under ``jit``, where the status is not
    known yet.

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
    status = np.atleast_1d(np.asarray(result.best.status if isinstance(result, FitResult) else result.status))
    failed = np.flatnonzero(~is_usable(status))
    if failed.size:
        first = failed[0]
        raise FitError(f"{failed.size} of {status.size} fits failed; fit {first}: {describe(status.flat[first])}")
    return result
