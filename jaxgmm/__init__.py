"""Gaussian mixture models fitted by EM: pure functions over immutable values, in JAX."""

from . import acceleration, classification, datasets, interop, plotting, seeding
from .criteria import aic, bic, icl, n_parameters, score
from .driver import em
from .expectation import e_step
from .families import DIAG, FAMILIES, FULL, SPHERICAL, TIED, Family, get_family
from .fitting import fit
from .maximization import from_responsibilities, m_step
from .mixture import joint_log_prob, log_prob, predict, responsibilities, sample
from .noise import box_noise, hull_noise, with_noise
from .priors import default_prior, log_prior
from .selection import Selection, select
from .types import (
    EMResult,
    FitError,
    FitResult,
    GMMParams,
    Noise,
    NoisyGMMParams,
    Prior,
    Stats,
    Status,
    describe,
    raise_if_failed,
)

__version__ = "0.1.0"

__all__ = [
    "DIAG",
    "FAMILIES",
    "FULL",
    "SPHERICAL",
    "TIED",
    "EMResult",
    "Family",
    "FitError",
    "FitResult",
    "GMMParams",
    "Noise",
    "NoisyGMMParams",
    "Prior",
    "Selection",
    "Stats",
    "Status",
    "acceleration",
    "aic",
    "bic",
    "box_noise",
    "classification",
    "datasets",
    "default_prior",
    "describe",
    "e_step",
    "em",
    "fit",
    "from_responsibilities",
    "get_family",
    "hull_noise",
    "icl",
    "interop",
    "joint_log_prob",
    "log_prior",
    "log_prob",
    "m_step",
    "n_parameters",
    "plotting",
    "predict",
    "raise_if_failed",
    "responsibilities",
    "sample",
    "score",
    "seeding",
    "select",
    "with_noise",
]
