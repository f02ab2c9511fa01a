"""Pictures of a mixture feature by feature: its density over one, and all pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from . import canvas
from .mixtures import ELLIPSES, draw_clusters, handles_of, labels_of, notes_of, title_of
from .subject import Names, Subject, components_over, log_densities, subject_of, telling

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MOST_FEATURES = 8  # side by side in pairs


def density_1d(
    result: Any,
    x: ArrayLike | None = None,
    *,
    feature: int | None = None,
    feature_names: Names = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw a histogram of one feature f, the mixture's density over it, and each component's share of that density.

    .. math:: p(x_f) = \sum_j \phi_j N(x_f \mid \mu_{jf}, \Sigma_{jff})

    Args:
        result: a mixture of k components in d features, or a result that holds one; noise is left out.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1. Default none: the curves alone.
        feature: which feature to draw, in 0..d-1; default the one in which components differ most.
        feature_names: d names; default those of a data frame's columns, or x1, x2, ...
        ax: where to draw; default the current axes.

    Returns:
        The axes.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes, ``feature`` or ``feature_names`` do not fit, or no row is finite.

    Example:
        >>> from matplotlib.figure import Figure
        >>> import jaxgmm
        >>> params = jaxgmm.GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
        >>> density_1d(params, np.array([-1.0, 1.0]), feature_names=["height"], ax=Figure().subplots())
        <Axes: title={'center': 'Density of height'}, xlabel='height', ylabel='density'>
    """
    subject, note = subject_of(result, x, feature_names), ""
    d = len(subject.names)
    if feature is None:
        (feature,) = telling(subject, 1)
        note = f"the most telling of {d} features" if d > 1 else ""
    if checks.as_integer(feature, "feature", 0) >= d:
        raise ValueError(f"feature: expected one of 0..{d - 1}, got {feature}")
    ax = canvas.axes(ax)
    _draw_density(ax, subject, feature)
    ax.set(xlabel=subject.names[feature], ylabel="density")
    without = ", without the noise" if subject.noise_weight else ""
    title = f"Density of {subject.names[feature]}{without}"
    canvas.caption(ax, *notes_of(subject, title, note, every_row=True), about="component")
    return ax


def pairs(
    result: Any,
    x: ArrayLike,
    *,
    features: Sequence[int] | None = None,
    feature_names: Names = None,
    figure: Figure | None = None,
) -> np.ndarray:
    """Draw every pair of features as in :func:`clusters`, and each feature on the diagonal as in :func:`density_1d`.

    Args:
        result: a mixture of k components in d features, or a result that holds one.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1; where there are many, a sample of them is drawn.
        features: which features to draw, each in 0..d-1; default all, or of more than 8 those in which components
            differ most.
        feature_names: d names; default those of a data frame's columns, or x1, x2, ...
        figure: where to draw; default a new one.

    Returns:
        ``(f, f)`` axes of f features: those of a column share the horizontal feature, those of a row, off the diagonal,
        the vertical one.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes, ``features`` or ``feature_names`` do not fit, or no value of a feature is finite.

    Example:
        >>> from matplotlib.figure import Figure
        >>> import jaxgmm
        >>> params = jaxgmm.GMMParams(np.ones(1), np.zeros((1, 3)), np.ones((1, 1)))
        >>> pairs(params, np.eye(3), figure=Figure()).shape
        (3, 3)
    """
    subject = subject_of(result, x, feature_names)
    chosen, labels = _chosen(subject, features), labels_of(subject)
    f, d = len(chosen), len(subject.names)
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(max(5, 2 * f + 1), max(5, 2 * f + 2)))
    grid: Any = figure.subplots(f, f, sharex="col", squeeze=False)

    # One picture in each
    for row, column in np.ndindex(f, f):
        ax, first = grid[row, column], grid[row, int(row == 0) % f]
        if row == column:
            _draw_density(ax, subject, chosen[row])
            ax.set(xlabel=subject.names[chosen[row]], ylabel=subject.names[chosen[row]], yticks=[])
        else:
            if ax is not first:
                ax.sharey(first)
            draw_clusters(ax, subject, [chosen[column], chosen[row]], labels, size=16 if f < 4 else 6)
        ax.label_outer()
    # The first row has its scale on the right, as a density, which has another scale, stands on the left
    grid[0, -1].tick_params(axis="y", left=False, right=True, labelright=True)
    figure.align_ylabels(grid[:, 0])
    handles = handles_of(subject, components_over(subject, chosen[:1]), labels)
    note = f"the {f} most telling of {d} features" if features is None and f < d else ""
    canvas.figure_caption(figure, *notes_of(subject, title_of(subject), note), handles=handles, about=ELLIPSES)
    return grid


def _chosen(subject: Subject, features: Sequence[int] | None) -> list[int]:
    """The features to draw, checked, or else the most telling ones."""
    if features is None:
        return telling(subject, MOST_FEATURES)
    d = len(subject.names)
    chosen = [checks.as_integer(feature, "features", 0) for feature in features]
    if not chosen or len(set(chosen)) < len(chosen) or max(chosen) >= d:
        raise ValueError(f"features: expected different ones of 0..{d - 1}, got {tuple(features)}")
    return chosen


def _draw_density(ax: Axes, subject: Subject, feature: int) -> None:
    """Histogram, components and mixture."""
    if len(subject.rows):
        values = canvas.finite(subject.rows[:, [feature]])[:, 0]
        ax.hist(values, bins=bins(values), density=True, color="0.85", edgecolor="white", linewidth=0.5, label="rows")
    components = components_over(subject, [feature])
    if not components.labels:
        return

    # A grid around each mean, in units of its own standard deviation, so that no component is too narrow to be seen
    means, deviations = components.means[:, 0], components.deviations[:, 0]
    low, high = (means - 4 * deviations).min(), (means + 4 * deviations).max()
    around = means + deviations * np.linspace(-8, 8, 2 * canvas.RESOLUTION + 1)[:, None]
    grid = np.sort(np.clip(around, low, high), axis=None)
    parts = [np.exp(part) for part in log_densities(components, grid[:, None])]
    for component, part in zip(components.labels, parts, strict=True):
        ax.plot(grid, part, **canvas.line_style(component), linewidth=1.2, label=str(component))
    ax.plot(grid, np.sum(parts, axis=0), color="black", linewidth=2.5, zorder=1.5, label="mixture")


def bins(values: np.ndarray) -> int:
    """Number of bins of a histogram: the larger of Freedman and Diaconis' and Sturges', limited against outliers."""
    width = 2 * np.ptp(np.quantile(values, (0.25, 0.75))) / len(values) ** (1 / 3)
    number = np.ptp(values) / width if width > 0 else 0
    return int(np.ceil(np.clip(number, np.log2(len(values)) + 1, canvas.RESOLUTION)))
