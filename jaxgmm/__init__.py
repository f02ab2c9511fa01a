"""Gaussian mixture models fitted by EM, in JAX: clusters, densities, and a reason why each fit stopped."""

__version__ = "0.1.0"  # first: what is written to files says it

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import acceleration, classification, datasets, interop, plotting, seeding
    from . import io as io
    from . import report as report
    from . import sklearn as sklearn
    from .caching import enable_compilation_cache
    from .covariance.families import DIAG, FAMILIES, FULL, SPHERICAL, TIED, Family, get_family
    from .files.archives import load, save
    from .files.saved import SavedFit, as_saved_fit
    from .files.tables import read_table
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
    from .report import summary
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

# Each is imported on its first use, so that the command line can answer before JAX is there
_PLACES = {
    "Coordinates": ".steps.contract",
    "Criterion": ".fitting.search",
    "DIAG": ".covariance.families",
    "EMResult": ".types",
    "FAMILIES": ".covariance.families",
    "FULL": ".covariance.families",
    "Family": ".covariance.families",
    "FitError": ".types",
    "FitResult": ".types",
    "GMMParams": ".types",
    "Noise": ".types",
    "NoisyGMMParams": ".types",
    "NoisyStats": ".types",
    "Observations": ".types",
    "Prior": ".types",
    "SPHERICAL": ".covariance.families",
    "SavedFit": ".files.saved",
    "Selection": ".fitting.selection",
    "Spurious": ".steps.contract",
    "Stats": ".types",
    "Status": ".types",
    "Steps": ".steps.contract",
    "TIED": ".covariance.families",
    "aic": ".fitting.criteria",
    "as_saved_fit": ".files.saved",
    "bic": ".fitting.criteria",
    "box_noise": ".mixture.noise",
    "chunked": ".steps.contract",
    "default_prior": ".mixture.priors",
    "describe": ".types",
    "e_step": ".steps.one_step",
    "em": ".loop.em",
    "em_batch": ".loop.batching",
    "enable_compilation_cache": ".caching",
    "fit": ".fitting.from_data",
    "from_responsibilities": ".steps.maximization",
    "gaussian_steps": ".steps.gaussian",
    "get_family": ".covariance.families",
    "hull_noise": ".mixture.noise",
    "icl": ".fitting.criteria",
    "is_usable": ".types",
    "joint_log_prob": ".mixture.density",
    "load": ".files.archives",
    "log_prior": ".mixture.priors",
    "log_prob": ".mixture.density",
    "m_step": ".steps.one_step",
    "n_parameters": ".fitting.criteria",
    "noisy_steps": ".steps.noisy",
    "predict": ".mixture.density",
    "raise_if_failed": ".types",
    "read_table": ".files.tables",
    "responsibilities": ".mixture.density",
    "sample": ".mixture.sampling",
    "save": ".files.archives",
    "score": ".fitting.criteria",
    "select": ".fitting.selection",
    "sum_over_chunks": ".steps.chunks",
    "summary": ".report",
    "trimmed_history": ".types",
    "with_noise": ".mixture.noise",
}

if not TYPE_CHECKING:  # type checkers read the imports above, and know a name that does not exist

    def __getattr__(name: str) -> Any:
        place = f"{__name__}{_PLACES.get(name, f'.{name}')}"
        try:
            if name.startswith("__"):
                raise ModuleNotFoundError(name=place)
            module = import_module(place)
        except ModuleNotFoundError as error:
            if error.name != place:
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
        value = globals()[name] = getattr(module, name) if name in _PLACES else module
        return value

    def __dir__() -> list[str]:
        # The three modules are not in ``__all__``, as ``import *`` would then need optional packages
        return sorted({"__version__", "io", "report", "sklearn", *__all__})
