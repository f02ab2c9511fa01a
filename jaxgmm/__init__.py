"""Gaussian mixture models fitted by EM: pure functions over immutable values, in JAX."""

__version__ = "0.1.0"  # first: what is written to files says it

from . import acceleration, classification, datasets, interop, plotting, seeding
from .covariance.families import DIAG, FAMILIES, FULL, SPHERICAL, TIED, Family, get_family
from .files.archives import load, read_table, save
from .files.saved import Model, as_model
from .fitting.criteria import aic, bic, icl, n_parameters, score
from .fitting.from_data import fit
from .fitting.selection import Selection, select
from .loop.driver import em
from .mixture.density import joint_log_prob, log_prob, predict, responsibilities, sample
from .mixture.noise import box_noise, hull_noise, with_noise
from .mixture.priors import default_prior, log_prior
from .report import summary
from .steps.expectation import e_step
from .steps.maximization import from_responsibilities, m_step
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
    "Model",
    "Noise",
    "NoisyGMMParams",
    "Prior",
    "Selection",
    "Stats",
    "Status",
    "acceleration",
    "aic",
    "as_model",
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
    "load",
    "log_prior",
    "log_prob",
    "m_step",
    "n_parameters",
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
    "summary",
    "with_noise",
]
