"""The contour of a covariance as a matplotlib patch; the one file that loads matplotlib, on its first use."""

from typing import Any

import numpy as np
from matplotlib.patches import Patch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Transform


class Ellipse(Patch):
    r"""The points at Mahalanobis distance 1 from a mean, an affine image of the unit circle.

    .. math:: \mu + \mathrm{diag}(s) \, R^{1/2} u, \quad |u| = 1, \quad R = \begin{pmatrix} 1 & r \\ r & 1 \end{pmatrix}

    Its axes, eigenvectors of the correlation matrix R, are the same in all units; a width, a height and an angle in the
    features' own units would lose the smaller of two unlike deviations to rounding.
    """

    def __init__(self, mean: np.ndarray, deviations: np.ndarray, correlation: float, **style: Any) -> None:
        super().__init__(fill=False, **style)
        along, across = np.sqrt(np.maximum([1 + correlation, 1 - correlation], 0) / 2)
        matrix = np.eye(3)
        matrix[:2, :2] = deviations[:, None] * [[along, -across], [along, across]]
        matrix[:2, 2] = mean
        self.center, self._placed = tuple(mean), Affine2D(matrix)

    def get_path(self) -> Path:
        """The unit circle."""
        return Path.unit_circle()

    def get_patch_transform(self) -> Transform:
        """From the unit circle to the contour."""
        return self._placed
