"""Pictures over two features of a mixture and of the rows that it was fitted to, after those of mclust.

Reference: Scrucca et al. (2016), mclust 5, The R Journal 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..mixture.density import predict, responsibilities
from . import canvas
from .subject import Components, Names, Subject, components_over, log_densities, subject_of, telling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Features = Sequence[int] | None


ELLIPSES = "component; ellipses at 1 sd"  # what a legend says first
_UNCERTAINTY = ((0.05, "0.75", 6), (0.25, "0.45", 16), (1.0, "0", 40))  # upper limit, grey, size


def clusters(
    result: Any,
    x: ArrayLike | None = None,
    *,
    features: Features = None,
    feature_names: Names = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw rows by most probable component, and each component of positive weight as an ellipse, 1 sd about its mean.

    .. math:: (x - \mu_j)^\top \Sigma_j^{-1} (x - \mu_j) = 1 \quad \text{over the two features}

    Args:
        result: a mixture of k components in d features, or a result that holds one.
        x: ``(n, d)`` rows; where there are many, a sample of them is drawn. Default none: the ellipses alone.
        features: which two features to draw, each in 0..d-1; default the two in which components differ most.
        feature_names: d names; default those of a data frame's columns, or x1, x2, ...
        ax: where to draw; default the current axes.

    Returns:
        The axes. Rows without a component, of the noise or with missing entries, are small and grey.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes, ``features`` or ``feature_names`` do not fit, or d = 1.

    Example:
        >>> from matplotlib.figure import Figure
        >>> import jaxgmm
        >>> params = jaxgmm.GMMParams(np.ones(1), np.zeros((1, 2)), np.ones((1, 1)))
        >>> clusters(params, np.eye(2), ax=Figure().subplots())
        <Axes: title={'center': '1 component over the rows'}, xlabel='x1', ylabel='x2'>
    """
    subject = subject_of(result, x, feature_names)
    plane, note = plane_of(subject, features)
    labels, ax = labels_of(subject), canvas.axes(ax)
    draw_clusters(ax, subject, plane, labels)
    handles = handles_of(subject, components_over(subject, plane), labels)
    canvas.caption(ax, *notes_of(subject, title_of(subject), note), handles=handles, about=ELLIPSES)
    return ax


def uncertainty(
    result: Any, x: ArrayLike, *, features: Features = None, feature_names: Names = None, ax: Axes | None = None
) -> Axes:
    r"""Draw rows larger and darker where their component is less certain: to 5 %, to 25 %, and above.

    .. math:: u_i = 1 - \max_j r_{ij}

    Args:
        result: a mixture of k components in d features, or a result that holds one.
        x: ``(n, d)`` rows; where there are many, a sample of them is drawn.
        features: which two features to draw, each in 0..d-1; default the two in which components differ most.
        feature_names: d names; default those of a data frame's columns, or x1, x2, ...
        ax: where to draw; default the current axes.

    Returns:
        The axes. Rows with missing entries are left out.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes, ``features`` or ``feature_names`` do not fit, or d = 1.

    Example:
        >>> from matplotlib.figure import Figure
        >>> import jaxgmm
        >>> params = jaxgmm.GMMParams(np.ones(1), np.zeros((1, 2)), np.ones((1, 1)))
        >>> uncertainty(params, np.eye(2), ax=Figure().subplots())
        <Axes: title={'center': "Uncertainty of each row's component"}, xlabel='x1', ylabel='x2'>
    """
    subject = subject_of(result, x, feature_names)
    plane, note = plane_of(subject, features)
    ax = canvas.axes(ax)
    rows = canvas.sample(subject.rows)
    uncertain: Any = np.full(len(rows), np.nan)
    if np.isfinite(subject.mixture.weights).all():
        uncertain = 1 - np.asarray(responsibilities(subject.params, rows)).max(1)
    label_axes(ax, subject, plane)
    canvas.ellipses(ax, components_over(subject, plane), zorder=0.5)
    low, shrink = -np.inf, canvas.shrinkage(rows)
    for high, grey, size in _UNCERTAINTY:
        chosen = (uncertain > low) & (uncertain <= high)
        label = f"above {100 * low:g} %" if high == 1 else f"to {100 * high:g} %"
        canvas.scatter(ax, rows[np.ix_(chosen, plane)], color=grey, s=size * shrink, label=f"{label}: {chosen.sum():,}")
        low = high
    about = "1 - largest responsibility: number of rows; ellipses at 1 sd"
    canvas.caption(ax, *notes_of(subject, "Uncertainty of each row's component", note), about=about)
    return ax


def density(
    result: Any,
    x: ArrayLike,
    *,
    features: Features = None,
    feature_names: Names = None,
    levels: Sequence[float] = (0.25, 0.5, 0.75, 0.9, 0.95),
    ax: Axes | None = None,
) -> Axes:
    r"""Draw contours of the density over two features F, each the highest-density region of a share of the rows.

    .. math:: p(x_F) = \sum_j \phi_j N(x_F \mid \mu_{jF}, \Sigma_{jFF})

    Args:
        result: a mixture of k components in d features, or a result that holds one; noise is left out.
        x: ``(n, d)`` rows; where there are many, a sample of them is drawn.
        features: which two features to draw, each in 0..d-1; default the two in which components differ most.
        feature_names: d names; default those of a data frame's columns, or x1, x2, ...
        levels: shares of the rows, in (0, 1), each to be enclosed by a contour.
        ax: where to draw; default the current axes.

    Returns:
        The axes.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes, ``features``, ``feature_names`` or ``levels`` do not fit, d = 1, or no row is finite.

    Example:
        >>> from matplotlib.figure import Figure
        >>> import jaxgmm
        >>> params = jaxgmm.GMMParams(np.ones(1), np.zeros((1, 2)), np.ones((1, 1)))
        >>> density(params, np.eye(2), ax=Figure().subplots())
        <Axes: title={'center': 'Density'}, xlabel='x1', ylabel='x2'>

    Reference:
        Hyndman (1996), Computing and graphing highest density regions, The American Statistician 50.
    """
    if not all(0 < share < 1 for share in levels):
        raise ValueError(f"levels: expected shares between 0 and 1, got {tuple(levels)}")
    subject = subject_of(result, x, feature_names)
    plane, note = plane_of(subject, features)
    rows, components = canvas.sample(canvas.finite(subject.rows[:, plane])), components_over(subject, plane)
    ax = canvas.axes(ax)
    label_axes(ax, subject, plane)
    canvas.scatter(ax, rows, color="0.7", s=6)
    handles = _contours(ax, components, rows, levels)
    title = "Density, without the noise" if subject.noise_weight else "Density"
    canvas.caption(ax, *notes_of(subject, title, note), handles=handles, about="share of the rows enclosed")
    return ax


def plane_of(subject: Subject, features: Features) -> tuple[list[int], str]:
    """The two features to draw, checked, or else the most telling two; and what is said of that choice."""
    d = len(subject.names)
    if d == 1:
        raise ValueError("x: expected at least two features, got 1: draw it with density_1d")
    if features is None:
        return telling(subject, 2), f"the two most telling of {d} features" if d > 2 else ""
    plane = [checks.as_integer(feature, "features", 0) for feature in features]
    if len(plane) != 2 or len(set(plane)) != 2 or max(plane) >= d:
        raise ValueError(f"features: expected two different ones of 0..{d - 1}, got {tuple(features)}")
    return plane, ""


def labels_of(subject: Subject) -> np.ndarray:
    """The component of each row that is drawn, -1 for none."""
    rows = canvas.sample(subject.rows)
    if not np.isfinite(subject.mixture.weights).all():  # of a fit that failed
        return np.full(len(rows), -1)
    return np.asarray(predict(subject.params, rows)) if len(rows) else np.zeros(0, int)


def label_axes(ax: Axes, subject: Subject, plane: Sequence[int]) -> None:
    """Name the two features."""
    ax.set(xlabel=subject.names[plane[0]], ylabel=subject.names[plane[1]])


def draw_clusters(ax: Axes, subject: Subject, plane: list[int], labels: np.ndarray, size: float = 16) -> None:
    """Rows by component, and ellipses."""
    rows = canvas.sample(subject.rows)
    label_axes(ax, subject, plane)
    for label in np.unique(labels).tolist():
        style = {**canvas.point_style(label), "alpha": 0.8} if label >= 0 else {"color": "0.6"}
        style |= {"s": canvas.shrinkage(rows) * (size if label >= 0 else 4), "label": _name(subject, label)}
        canvas.scatter(ax, rows[np.ix_(labels == label, plane)], **style)
    canvas.ellipses(ax, components_over(subject, plane), zorder=3)


def handles_of(subject: Subject, components: Components, labels: np.ndarray) -> list[Any]:
    """Entries of a legend: the components, and the rows that belong to none."""
    from matplotlib.lines import Line2D

    styles = {label: canvas.line_style(label) | canvas.point_style(label) for label in components.labels}
    if (labels < 0).any():
        styles[-1] = {"color": "0.6", "marker": ".", "linestyle": "none"}
    return [Line2D([], [], label=_name(subject, label), markersize=5, **style) for label, style in styles.items()]


def _name(subject: Subject, label: int) -> str:
    """What a legend calls a component, and rows without one."""
    return str(label) if label >= 0 else "noise" if subject.noise_weight else "missing"


def title_of(subject: Subject) -> str:
    """How many components there are, and whether rows are drawn with them."""
    k = len(subject.mixture.weights)
    title = f"{k} component{'s' * (k > 1)}{' and noise' * (subject.noise_weight > 0)}"
    return title + " over the rows" * (len(subject.rows) > 0)


def notes_of(subject: Subject, title: str, note: str = "", every_row: bool = False) -> list[str]:
    """The title and what is said below it: that rows are a sample, that the fit failed."""
    n, most = len(subject.rows), canvas.MOST_POINTS
    sampled = f"a sample of {most:,} of {n:,} rows" if n > most and not every_row else ""
    return [title, note, sampled, subject.failure]


def _contours(ax: Axes, components: Components, rows: np.ndarray, levels: Sequence[float]) -> list[Any]:
    """Draw contours that enclose shares of the rows; returns their handles for a legend, none without a density."""
    from matplotlib import colormaps

    def log_density(points: np.ndarray) -> np.ndarray:
        return reduce(np.logaddexp, log_densities(components, points), np.full(len(points), -np.inf))

    # The density that each share of the rows exceeds; there is none where the weight of noise is one
    at_rows = log_density(rows)
    if not np.isfinite(at_rows).any():
        return []
    shares = {float(np.quantile(at_rows, 1 - share)): f"{100 * share:g} %" for share in levels}
    heights = sorted(shares)

    # A grid that holds them whole
    across, up = _grid(components, heights[0])
    points = np.stack(np.meshgrid(across, up), axis=-1)
    on_grid = log_density(points.reshape(-1, 2)).reshape(points.shape[:2])
    shades = colormaps["Blues"](np.linspace(0.4, 1, len(shares)))
    contours = ax.contour(across, up, on_grid, heights, colors=shades, linestyles="solid")
    ax.autoscale_view()
    handles = contours.legend_elements()[0]
    for handle, height in zip(handles, heights, strict=True):
        handle.set_label(shares[height])
    return list(handles)


def _grid(components: Components, height: float) -> list[np.ndarray]:
    """Points along each feature between which the log-density exceeds ``height``, closer where components are narrow.

    Where it does, one of m components has at least 1 / m of the density, which bounds its Mahalanobis distance.
    """
    m = len(components.weights)
    peaks = np.diag(list(log_densities(components, components.means)))
    radii = np.sqrt(2 * np.maximum(peaks - height + np.log(m), 0))[:, None] * components.deviations
    low, high = (components.means - radii).min(0), (components.means + radii).max(0)
    steps = np.linspace(-1, 1, max(4, canvas.RESOLUTION // m))[:, None, None]
    around = (components.means + radii * steps).reshape(-1, low.size)
    return [
        np.union1d(np.linspace(a, b, canvas.RESOLUTION), own) for a, b, own in zip(low, high, around.T, strict=True)
    ]
