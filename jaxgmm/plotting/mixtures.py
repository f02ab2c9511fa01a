"""Pictures over two features of a mixture and of the rows that it was fitted to, after those of mclust.

Reference: Scrucca et al. (2016), mclust 5, The R Journal 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from ..mixture.density import log_prob, predict, responsibilities
from ..types import GMMParams
from . import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Names = Sequence[str] | None


_UNCERTAINTY = (("below 75 %", "0.75", 6), ("75 % to 95 %", "0.45", 16), ("above 95 %", "0", 40))  # label, grey, size


def classification(
    params: GMMParams,
    x: ArrayLike | None = None,
    *,
    features: Sequence[int] = (0, 1),
    names: Names = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw rows by most probable component, and each component of positive weight as an ellipse with its axes.

    .. math:: (x - \mu_j)^\top \Sigma_j^{-1} (x - \mu_j) = 1 \quad \text{over the two features}

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows; where there are many, a sample of them is drawn. Default none: the ellipses alone.
        features: which two features to draw, each in 0..d-1.
        names: d names of features.
        ax: where to draw; default the current axes.

    Returns:
        The axes. Points are labelled with their component, for a legend; rows without one, -1, are small and grey.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes, ``features`` or ``names`` do not fit, or d = 1.

    Example:
        >>> from matplotlib.figure import Figure
        >>> params = GMMParams(np.ones(1), np.zeros((1, 2)), np.ones((1, 1)))
        >>> classification(params, np.eye(2), ax=Figure().subplots())
        <Axes: xlabel='feature 0', ylabel='feature 1'>
    """
    ax, params, rows, plane = canvas.stage(params, x, features, names, ax)
    rows = canvas.sample(rows)
    labels = np.asarray(predict(params, rows)) if len(rows) else np.zeros(0, int)
    for label in np.unique(labels).tolist():
        style = {"color": "0.6", "s": 4} if label < 0 else {**canvas.style(label), "s": 16, "alpha": 0.8}
        canvas.scatter(ax, rows[np.ix_(labels == label, plane)], label=str(label), **style)
    _draw_ellipses(ax, canvas.marginal(params, plane), zorder=3)
    return ax


def uncertainty(
    params: GMMParams, x: ArrayLike, *, features: Sequence[int] = (0, 1), names: Names = None, ax: Axes | None = None
) -> Axes:
    r"""Draw rows larger and darker where their component is less certain, in steps at quantiles 75 % and 95 %.

    .. math:: u_i = 1 - \max_j r_{ij}

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows; where there are many, a sample of them is drawn.
        features: which two features to draw, each in 0..d-1.
        names: d names of features.
        ax: where to draw; default the current axes.

    Returns:
        The axes.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes, ``features`` or ``names`` do not fit, or d = 1.

    Example:
        >>> from matplotlib.figure import Figure
        >>> params = GMMParams(np.ones(1), np.zeros((1, 2)), np.ones((1, 1)))
        >>> uncertainty(params, np.eye(2), ax=Figure().subplots())
        <Axes: xlabel='feature 0', ylabel='feature 1'>
    """
    ax, params, rows, plane = canvas.stage(params, x, features, names, ax)
    rows = canvas.sample(rows)
    uncertain = 1 - np.asarray(responsibilities(params, rows)).max(1)
    middle, high = np.nanquantile(uncertain, (0.75, 0.95))
    _draw_ellipses(ax, canvas.marginal(params, plane), zorder=0.5)
    steps = (uncertain <= middle, (uncertain > middle) & (uncertain <= high), uncertain > high)
    for step, (label, grey, size) in zip(steps, _UNCERTAINTY, strict=True):
        canvas.scatter(ax, rows[np.ix_(step, plane)], color=grey, s=size, label=label)
    canvas.legend_above(ax, 3, title="uncertainty, by quantile")
    return ax


def density(
    params: GMMParams,
    x: ArrayLike,
    *,
    features: Sequence[int] = (0, 1),
    names: Names = None,
    levels: Sequence[float] = (0.25, 0.5, 0.75, 0.9, 0.95),
    ax: Axes | None = None,
) -> Axes:
    r"""Draw contours of the density over two features F, each the highest-density region of a share of the rows.

    .. math:: p(x_F) = \sum_j \phi_j N(x_F \mid \mu_{jF}, \Sigma_{jFF})

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows; where there are many, a sample of them is drawn.
        features: which two features to draw, each in 0..d-1.
        names: d names of features.
        levels: shares of the rows, in (0, 1), each to be enclosed by a contour.
        ax: where to draw; default the current axes.

    Returns:
        The axes.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes, ``features``, ``names`` or ``levels`` do not fit, d = 1, or no row is finite.

    Example:
        >>> from matplotlib.figure import Figure
        >>> params = GMMParams(np.ones(1), np.zeros((1, 2)), np.ones((1, 1)))
        >>> density(params, np.eye(2), ax=Figure().subplots())
        <Axes: xlabel='feature 0', ylabel='feature 1'>

    Reference:
        Hyndman (1996), Computing and graphing highest density regions, The American Statistician 50.
    """
    from matplotlib import colormaps

    if not all(0 < share < 1 for share in levels):
        raise ValueError(f"levels: expected shares between 0 and 1, got {tuple(levels)}")
    ax, params, rows, plane = canvas.stage(params, x, features, names, ax)
    rows, marginal = canvas.finite(rows[:, plane]), canvas.marginal(params, plane)

    # The density that each share of the rows exceeds; there is none where the weight of noise is one.
    at_rows = np.asarray(log_prob(marginal, rows))
    if not np.isfinite(at_rows).any():
        canvas.scatter(ax, canvas.sample(rows), color="0.7", s=6)
        return ax
    shares = {float(np.quantile(at_rows, 1 - share)): f"{100 * share:g} %" for share in levels}

    # The density on a grid.
    margin = 0.15 * np.where(np.ptp(rows, 0) > 0, np.ptp(rows, 0), 1)
    sides = np.linspace(rows.min(0) - margin, rows.max(0) + margin, canvas.RESOLUTION, dtype=rows.dtype)
    grid = np.stack(np.meshgrid(*sides.T), axis=-1)
    on_grid = np.asarray(log_prob(marginal, grid.reshape(-1, 2))).reshape(canvas.RESOLUTION, canvas.RESOLUTION)

    # Rows, and contours over them.
    canvas.scatter(ax, canvas.sample(rows), color="0.7", s=6)
    heights, shades = sorted(shares), colormaps["Blues"](np.linspace(0.4, 1, len(shares)))
    contours = ax.contour(sides[:, 0], sides[:, 1], on_grid, heights, colors=shades, linestyles="solid")
    # In a legend, as numbers on the lines collide where components are narrow.
    labels = [shares[height] for height in heights]
    canvas.legend_above(
        ax, len(labels), handles=contours.legend_elements()[0], labels=labels, title="share of the rows enclosed"
    )
    return ax


def _draw_ellipses(ax: Axes, marginal: GMMParams, zorder: float) -> None:
    """Draw the contour of each component at Mahalanobis distance 1, and its axes through the mean."""
    from matplotlib.patches import Ellipse

    style: dict[str, Any] = {"color": "black", "linewidth": 1, "zorder": zorder}
    for mean, covariance in zip(np.asarray(marginal.means), np.asarray(marginal.covariances), strict=True):
        variances, directions = np.linalg.eigh(covariance)
        radii = np.sqrt(np.maximum(variances, 0))
        angle = np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))
        ax.add_patch(Ellipse(mean, 2 * radii[0], 2 * radii[1], angle=angle, fill=False, **style))
        across, up = mean[:, None, None] + np.array([[-1], [1]]) * (radii * directions)[:, None]
        ax.plot(across, up, linestyle="dashed", **style)
