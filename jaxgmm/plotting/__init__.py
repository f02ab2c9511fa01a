"""Pictures of mixtures, fits and searches, on matplotlib's current axes or on those of the caller (``ax=``).

Each draws a title and a legend, returns its axes and shows nothing. A figure without a layout of its own gets
matplotlib's constrained one, so that nothing is cut off. Ellipses are at one standard deviation. Where a mixture is
expected, a result that holds one does too.
"""

from .canvas import MOST_POINTS as MOST_POINTS
from .canvas import RESOLUTION as RESOLUTION
from .features import MOST_FEATURES as MOST_FEATURES
from .features import density_1d as density_1d
from .features import pairs as pairs
from .fits import criteria as criteria
from .fits import restarts as restarts
from .fits import trace as trace
from .mixtures import clusters as clusters
from .mixtures import density as density
from .mixtures import uncertainty as uncertainty
from .overview import fit as fit

__all__ = ["clusters", "criteria", "density", "density_1d", "fit", "pairs", "restarts", "trace", "uncertainty"]
