"""Pictures of mixtures, fits and searches, on new matplotlib axes or on those of the caller."""

from .canvas import MOST_POINTS as MOST_POINTS
from .canvas import RESOLUTION as RESOLUTION
from .features import MOST_FEATURES as MOST_FEATURES
from .features import density_1d as density_1d
from .features import pairs as pairs
from .fits import criteria as criteria
from .fits import trace as trace
from .mixtures import classification as classification
from .mixtures import density as density
from .mixtures import uncertainty as uncertainty

__all__ = ["classification", "criteria", "density", "density_1d", "pairs", "trace", "uncertainty"]
