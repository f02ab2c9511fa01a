"""Why a fit stopped, as a number, a word and a sentence."""

import enum
from typing import Any

import numpy as np
from jax import Array, core


class Status(enum.IntEnum):
    """Why a fit stopped."""

    RUNNING = -1  #: not stopped yet
    CONVERGED = 0  #: the estimated remaining gain is below ``tol`` or rounding; the parameters are usable
    MAX_ITER = 1  #: the iterations ran out; the parameters are usable, but not at the maximum
    NON_FINITE = 2  #: the log-likelihood or a parameter is not finite; the parameters are the last good ones
    #: a covariance collapsed, so that the likelihood belongs to the ridge or to rounding; the parameters are the last
    #: good ones, of a spurious maximum
    DEGENERATE = 3
    DECREASED = 4  #: the log-likelihood fell beyond rounding; the parameters are the last good ones
    #: converged, but for components without a spread of their own that lie apart from all others; the parameters are
    #: usable, and :class:`FitResult`.excess names these components
    ISOLATED = 5

    @property
    def is_usable(self) -> bool:
        """Whether the parameters can be used, as the fit converged or was still climbing at ``max_iter``."""
        return bool(is_usable(self))

    def __str__(self) -> str:
        return f"{self.name}: {describe(self).removeprefix('converged: ')}"

    def __repr__(self) -> str:
        return f"<Status.{self}>"

    def __format__(self, spec: str) -> str:
        return format(int(self), spec) if spec else str(self)


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


def known_status(status: Any) -> Any:
    """``status`` as a :class:`Status`, which prints as a sentence; as it is where it is a batch or traced."""
    is_known = not isinstance(status, core.Tracer) and hasattr(status, "dtype") and np.ndim(status) == 0
    return Status(int(status)) if is_known else status


_MESSAGES = {
    Status.RUNNING: "still running: give it more iterations",
    Status.CONVERGED: "converged: the estimated remaining gain in log-likelihood is below tol or rounding",
    Status.MAX_ITER: "stopped at max_iter before converging: raise max_iter, or tol",
    Status.NON_FINITE: (
        "the log-likelihood or a parameter is not finite: look for NaN or infinite values in x, for negative or "
        "all-zero weights, for a negative ridge or tol, for a start whose weights do not sum to one, for rows so far "
        "out that their density underflows or their squares overflow, such as a code of 1e30 for missing entries, or "
        "for units in which this dtype does not hold variances: divide x by a constant, or use float64"
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
