"""Pictures of a mixture and the rows it was fitted to.

After mclust's: Scrucca et al. (2016), mclust 5, The R Journal 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .. import checks, linalg
from ..mixture.density import joint_log_prob, log_prob, predict, responsibilities
from ..types import GMMParams
from . import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Names = Sequence[str] | None


MOST_FEATURES = 8  # side by side in pairs
_UNCERTAINTY = (("below 75 %", "0.75", 6), ("75 % to 95 %", "0.45", 16), ("above 95 %", "0", 40))  # label, grey, size


def classification(
    params: GMMParams,
    x: ArrayLike | None = None,
    *,
    features: Sequence[int] = (0, 1),
    names: Names = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Rows by most probable component, and every weighted component as an ellipse with its axes.

    .. math:: (x - \mu_j)^\top \Sigma_j^{-1} (x - \mu_j) = 1 \quad \text{over the two features}

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows; where there are many, a sample of them is drawn. Default none: the ellipses alone.
        features: the two in 0..d-1 to draw.
        names: d names of features.
        ax: where to draw; default the current axes.

    Returns:
        The axes. Points are labelled with their component, for a legend; those of none, -1, are small and grey.

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
    _draw_ellipses(ax, _marginal(params, plane), zorder=3)
    return ax


def uncertainty(
    params: GMMParams, x: ArrayLike, *, features: Sequence[int] = (0, 1), names: Names = None, ax: Axes | None = None
) -> Axes:
    r"""Rows the larger and darker the less certain their component, in steps at quantiles 75 % and 95 %.

    .. math:: u_i = 1 - \max_j r_{ij}

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows; where there are many, a sample of them is drawn.
        features: the two in 0..d-1 to draw.
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
    unsure = 1 - np.asarray(responsibilities(params, rows)).max(1)
    middle, high = np.nanquantile(unsure, (0.75, 0.95))
    _draw_ellipses(ax, _marginal(params, plane), zorder=0.5)
    steps = (unsure <= middle, (unsure > middle) & (unsure <= high), unsure > high)
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
    r"""Contours of the density over two features F, each the highest-density region of a share of the rows.

    .. math:: p(x_F) = \sum_j \phi_j N(x_F \mid \mu_{jF}, \Sigma_{jFF})

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows; where there are many, a sample of them is drawn.
        features: the two in 0..d-1 to draw.
        names: d names of features.
        levels: shares of the rows to enclose.
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
    rows, marginal = canvas.finite(rows[:, plane]), _marginal(params, plane)
    at_rows = np.asarray(log_prob(marginal, rows))
    shares = {float(np.quantile(at_rows, 1 - share)): f"{100 * share:g} %" for share in levels}

    margin = 0.15 * np.where(np.ptp(rows, 0) > 0, np.ptp(rows, 0), 1)
    sides = np.linspace(rows.min(0) - margin, rows.max(0) + margin, canvas.RESOLUTION, dtype=rows.dtype)
    grid = np.stack(np.meshgrid(*sides.T), axis=-1)
    on_grid = np.asarray(log_prob(marginal, grid.reshape(-1, 2))).reshape(canvas.RESOLUTION, canvas.RESOLUTION)

    canvas.scatter(ax, canvas.sample(rows), color="0.7", s=6)
    heights, shades = sorted(shares), colormaps["Blues"](np.linspace(0.4, 1, len(shares)))
    contours = ax.contour(sides[:, 0], sides[:, 1], on_grid, heights, colors=shades, linestyles="solid")
    # Beside the plot: numbers on the lines collide where components are narrow.
    labels = [shares[height] for height in heights]
    canvas.legend_above(
        ax, len(labels), handles=contours.legend_elements()[0], labels=labels, title="share of the rows enclosed"
    )
    return ax


def density_1d(
    params: GMMParams, x: ArrayLike | None = None, *, feature: int = 0, names: Names = None, ax: Axes | None = None
) -> Axes:
    r"""Histogram of a feature f, the mixture's density over it, and below that each weighted component's part.

    .. math:: p(x_f) = \sum_j \phi_j N(x_f \mid \mu_{jf}, \Sigma_{jff})

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1. Default none: the curves alone.
        feature: the one in 0..d-1 to draw.
        names: d names of features.
        ax: where to draw; default the current axes.

    Returns:
        The axes. Lines are labelled with their component, for a legend.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes, ``feature`` or ``names`` do not fit, or no row is finite.

    Example:
        >>> from matplotlib.figure import Figure
        >>> params = GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
        >>> density_1d(params, np.array([-1.0, 1.0]), names=["height"], ax=Figure().subplots())
        <Axes: xlabel='height', ylabel='density'>
    """
    params, rows, names = canvas.arguments(params, x, names)
    if checks.as_integer(feature, "feature", 0) >= len(names):
        raise ValueError(f"feature: expected one of 0..{len(names) - 1}, got {feature}")
    marginal, ax = _marginal(params, [feature]), canvas.axes(ax)
    # Points around each mean, in units of its own deviation, so that no component is too narrow to be seen.
    means, deviations = np.asarray(marginal.means), np.sqrt(marginal.covariances[:, 0])
    low, high = (means - 4 * deviations).min(), (means + 4 * deviations).max()
    around = means + deviations * np.linspace(-8, 8, 2 * canvas.RESOLUTION + 1)
    grid = np.sort(np.clip(around, low, high), axis=None)
    parts = np.exp(joint_log_prob(marginal, grid))

    if len(rows):
        values = canvas.finite(rows[:, [feature]])[:, 0]
        ax.hist(values, bins=canvas.bins(values), density=True, color="0.85", edgecolor="white", linewidth=0.5)
    for component, part in zip(np.flatnonzero(params.weights > 0).tolist(), parts.T, strict=True):
        ax.plot(grid, part, color=canvas.style(component)["color"], linewidth=1, label=str(component))
    ax.plot(grid, parts.sum(1), color="black", linewidth=1.5, label="mixture")
    ax.set(xlabel=names[feature], ylabel="density")
    return ax


def pairs(params: GMMParams, x: ArrayLike, *, names: Names = None, figure: Figure | None = None) -> np.ndarray:
    """Every pair of features as :func:`classification`, each feature on the diagonal as :func:`density_1d`.

    Args:
        params: the mixture, k components in d <= 8 features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1; where there are many, a sample of them is drawn.
        names: d names of features.
        figure: where to draw; default a new one.

    Returns:
        ``(d, d)`` axes, sharing their feature across in a column and, off the diagonal, upwards in a row.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes or ``names`` do not fit, d > 8, or no value of a feature is finite.

    Example:
        >>> from matplotlib.figure import Figure
        >>> params = GMMParams(np.ones(1), np.zeros((1, 3)), np.ones((1, 1)))
        >>> pairs(params, np.eye(3), figure=Figure()).shape
        (3, 3)
    """
    params, rows, names = canvas.arguments(params, x, names)
    d = len(names)
    if d > MOST_FEATURES:
        raise ValueError(
            f"x: expected at most {MOST_FEATURES} features, got {d}: choose columns and fit those, "
            "or draw two features at a time with classification"
        )
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(2 * d + 1, 2 * d + 1), layout="constrained")
    grid: Any = figure.subplots(d, d, sharex="col", squeeze=False)
    for row, column in np.ndindex(d, d):
        ax, first = grid[row, column], grid[row, int(row == 0) % d]
        if row == column:
            density_1d(params, rows, feature=row, names=names, ax=ax).set(ylabel=names[row], yticks=[])
        else:
            if ax is not first:
                ax.sharey(first)
            classification(params, rows, features=(column, row), names=names, ax=ax)
        ax.label_outer()
    # The first row has its scale on the right: a density's stands on the left.
    grid[0, -1].tick_params(axis="y", left=False, right=True, labelright=True)
    figure.align_ylabels(grid[:, 0])
    return grid


def _marginal(params: GMMParams, features: list[int]) -> GMMParams:
    """The weighted components over some of the features, their covariances as matrices whatever the structure."""
    (k, d), chosen = params.means.shape, np.array(features)
    blocks = linalg.as_matrices(params.covariances, d)[:, chosen][:, :, chosen]
    blocks = jnp.broadcast_to(blocks, (k, *blocks.shape[1:]))
    weights = params.weights[:k]  # without that of a noise component
    alive = np.asarray(weights > 0)
    return GMMParams(weights[alive], params.means[alive][:, chosen], blocks[alive])


def _draw_ellipses(ax: Axes, marginal: GMMParams, zorder: float) -> None:
    """The contour of each component at Mahalanobis distance 1, and its axes through the mean."""
    from matplotlib.patches import Ellipse

    style: dict[str, Any] = {"color": "black", "linewidth": 1, "zorder": zorder}
    for mean, covariance in zip(np.asarray(marginal.means), np.asarray(marginal.covariances), strict=True):
        variances, directions = np.linalg.eigh(covariance)
        radii = np.sqrt(np.maximum(variances, 0))
        angle = np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))
        ax.add_patch(Ellipse(mean, 2 * radii[0], 2 * radii[1], angle=angle, fill=False, **style))
        across, up = mean[:, None, None] + np.array([[-1], [1]]) * (radii * directions)[:, None]
        ax.plot(across, up, linestyle="dashed", **style)
