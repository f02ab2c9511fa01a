"""Results in place of parameters, and the names of features that they and tables know."""

import sys
import warnings
from typing import Any, Protocol

from .status import Status, known_status
from .types import FeatureNames, GMMParams, NoisyGMMParams, Observations


class Fitted(Protocol):
    """What functions take in place of parameters: a result, a selection, or a fit that was loaded."""

    @property
    def params(self) -> Any:
        """A mixture."""

    @property
    def status(self) -> Any:
        """Why the fit stopped, a :class:`Status`."""


Params = GMMParams | NoisyGMMParams
ParamsOrResult = Params | Fitted


def parameters_of(fitted: Any) -> Any:
    """The parameters that a result, a selection or a loaded fit holds; anything else as it is.

    Warns where its status is known and says that they are not usable.
    """
    if not (hasattr(fitted, "params") and hasattr(fitted, "status")):
        return fitted
    status = known_status(fitted.status)
    if isinstance(status, Status) and not status.is_usable:
        warnings.warn(f"these are parameters of a fit that failed. {status}", stacklevel=levels_to_the_caller())
    return fitted.params


def levels_to_the_caller() -> int:
    """How many calls up, from the function that asks, somebody called this package."""
    frame, levels = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("jaxgmm."):
        frame, levels = frame.f_back, levels + 1
    return levels


def default_names(d: int) -> list[str]:
    """Names x1, x2, ... of d features, which stand for no names."""
    return [f"x{feature}" for feature in range(1, d + 1)]


def feature_names_of(*sources: Any) -> FeatureNames | None:
    """The names of the features that the first of several tables or results knows; None where none does.

    Those of a data frame are the names of its columns, where all are text; of a series, its name.
    """
    for source in sources:
        source = source.x if isinstance(source, Observations) else source
        named = [getattr(source, name, None) for name in ("columns", "column_names", "feature_names")]
        if hasattr(source, "to_frame"):
            named.append([getattr(source, "name", None)])
        for names in named:
            if names is not None and len(names) and all(isinstance(name, str) for name in names):
                return FeatureNames(names)
    return None
