"""Gaussian mixture models fitted by EM: pure functions over immutable values, in JAX."""

__version__ = "0.1.0"  # first: what is written to files says it

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import acceleration, datasets, seeding
from .caching import enable_compilation_cache
from .covariance.families import DIAG, FAMILIES, FULL, SPHERICAL, TIED, Family, get_family
from .fitting.criteria import aic, bic, icl, n_parameters, score
from .fitting.from_data import fit
from .fitting.search import Criterion
from .fitting.selection import Selection, select
from .loop.batching import em_batch
from .loop.em import em
from .mixture.density import joint_log_prob, log_prob, predict, responsibilities
from .mixture.noise import box_noise, hull_noise, with_noise
from .mixture.priors import default_prior, log_prior
from .mixture.sampling import sample
from .steps.chunks import sum_over_chunks
from .steps.contract import Coordinates, Spurious, Steps, chunked
from .steps.gaussian import gaussian_steps
from .steps.maximization import from_responsibilities
from .steps.noisy import noisy_steps
from .steps.one_step import e_step, m_step
from .types import (
    EMResult,
    FitError,
    FitResult,
    GMMParams,
    Noise,
    NoisyGMMParams,
    NoisyStats,
    Observations,
    Prior,
    Stats,
    Status,
    describe,
    is_usable,
    raise_if_failed,
    trimmed_history,
)

if TYPE_CHECKING:
    from . import classification, interop, plotting
    from . import io as io
    from . import report as report
    from . import sklearn as sklearn
    from .files.archives import load, read_table, save
    from .files.saved import SavedFit, as_saved_fit
    from .report import summary

__all__ = [
    "DIAG",
    "FAMILIES",
    "FULL",
    "SPHERICAL",
    "TIED",
    "Coordinates",
    "Criterion",
    "EMResult",
    "Family",
    "FitError",
    "FitResult",
    "GMMParams",
    "Noise",
    "NoisyGMMParams",
    "NoisyStats",
    "Observations",
    "Prior",
    "SavedFit",
    "Selection",
    "Spurious",
    "Stats",
    "Status",
    "Steps",
    "acceleration",
    "aic",
    "as_saved_fit",
    "bic",
    "box_noise",
    "chunked",
    "classification",
    "datasets",
    "default_prior",
    "describe",
    "e_step",
    "em",
    "em_batch",
    "enable_compilation_cache",
    "fit",
    "from_responsibilities",
    "gaussian_steps",
    "get_family",
    "hull_noise",
    "icl",
    "interop",
    "is_usable",
    "joint_log_prob",
    "load",
    "log_prior",
    "log_prob",
    "m_step",
    "n_parameters",
    "noisy_steps",
    "plotting",
    "predict",
    "raise_if_failed",
    "read_table",
    "responsibilities",
    "sample",
    "save",
    "score",
    "seeding",
    "select",
    "sum_over_chunks",
    "summary",
    "trimmed_history",
    "with_noise",
]

# What a fit does not need is loaded on first use: it takes half of the time that jaxgmm adds to importing JAX.
_LATER = {
    "SavedFit": ".files.saved",
    "as_saved_fit": ".files.saved",
    "classification": ".classification",
    "interop": ".interop",
    "io": ".io",
    "load": ".files.archives",
    "plotting": ".plotting",
    "read_table": ".files.archives",
    "report": ".report",
    "save": ".files.archives",
    "sklearn": ".sklearn",
    "summary": ".report",
}

if not TYPE_CHECKING:  # type checkers read the imports above, and know a name that does not exist

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(_LATER[name], __name__)
        value = globals()[name] = module if _LATER[name] == f".{name}" else getattr(module, name)
        return value

    def __dir__() -> list[str]:
        return sorted({"__version__", *__all__, *_LATER})
