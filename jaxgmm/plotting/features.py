"""Pictures of a mixture feature by feature: its density over one, and all pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from .. import checks
from ..mixture.density import joint_log_prob
from ..types import GMMParams
from . import canvas
from .mixtures import classification

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Names = Sequence[str] | None


MOST_FEATURES = 8  # side by side in pairs


def density_1d(
    params: GMMParams, x: ArrayLike | None = None, *, feature: int = 0, names: Names = None, ax: Axes | None = None
) -> Axes:
    r"""Draw a histogram of one feature f, the mixture's density over it, and each component's share of that density.

    .. math:: p(x_f) = \sum_j \phi_j N(x_f \mid \mu_{jf}, \Sigma_{jff})

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1. Default none: the curves alone.
        feature: which feature to draw, in 0..d-1.
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
    marginal, ax = canvas.marginal(params, [feature]), canvas.axes(ax)
    # A grid around each mean, in units of its own standard deviation, so that no component is too narrow to be seen.
    means, deviations = np.asarray(marginal.means), np.sqrt(marginal.covariances[:, 0])
    low, high = (means - 4 * deviations).min(), (means + 4 * deviations).max()
    around = means + deviations * np.linspace(-8, 8, 2 * canvas.RESOLUTION + 1)
    grid = np.sort(np.clip(around, low, high), axis=None)
    parts = np.exp(joint_log_prob(marginal, grid))

    # Histogram, components and mixture.
    if len(rows):
        values = canvas.finite(rows[:, [feature]])[:, 0]
        ax.hist(values, bins=canvas.bins(values), density=True, color="0.85", edgecolor="white", linewidth=0.5)
    for component, part in zip(np.flatnonzero(checks.mixture_of(params).weights > 0).tolist(), parts.T, strict=True):
        ax.plot(grid, part, color=canvas.style(component)["color"], linewidth=1, label=str(component))
    ax.plot(grid, parts.sum(1), color="black", linewidth=1.5, label="mixture")
    ax.set(xlabel=names[feature], ylabel="density")
    return ax


def pairs(params: GMMParams, x: ArrayLike, *, names: Names = None, figure: Figure | None = None) -> np.ndarray:
    """Draw every pair of features as in :func:`classification`, and each feature on the diagonal as :func:`density_1d`.

    Args:
        params: the mixture, k components in d <= 8 features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1; where there are many, a sample of them is drawn.
        names: d names of features.
        figure: where to draw; default a new one.

    Returns:
        ``(d, d)`` axes: those of a column share the horizontal feature, those of a row, off the diagonal, the vertical
        one.

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

    # A grid of axes.
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(2 * d + 1, 2 * d + 1), layout="constrained")
    grid: Any = figure.subplots(d, d, sharex="col", squeeze=False)

    # One picture in each.
    for row, column in np.ndindex(d, d):
        ax, first = grid[row, column], grid[row, int(row == 0) % d]
        if row == column:
            density_1d(params, rows, feature=row, names=names, ax=ax).set(ylabel=names[row], yticks=[])
        else:
            if ax is not first:
                ax.sharey(first)
            classification(params, rows, features=(column, row), names=names, ax=ax)
        ax.label_outer()
    # The first row has its scale on the right, as a density, which has another scale, stands on the left.
    grid[0, -1].tick_params(axis="y", left=False, right=True, labelright=True)
    figure.align_ylabels(grid[:, 0])
    return grid
