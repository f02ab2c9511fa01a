"""Pictures of mixtures, fits and selections, on matplotlib axes that the caller may bring."""

from .canvas import MOST_POINTS as MOST_POINTS
from .canvas import RESOLUTION as RESOLUTION
from .fits import criteria as criteria
from .fits import trace as trace
from .mixtures import MOST_FEATURES as MOST_FEATURES
from .mixtures import classification as classification
from .mixtures import density as density
from .mixtures import density_1d as density_1d
from .mixtures import pairs as pairs
from .mixtures import uncertainty as uncertainty

__all__ = ["classification", "criteria", "density", "density_1d", "pairs", "trace", "uncertainty"]
