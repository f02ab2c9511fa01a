"""Axes, titles, legends, colours, markers and samples of rows, as all pictures use them."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from .subject import Components

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MOST_POINTS = 20_000  # rows in a scatter plot: more take long to draw and look the same
MOST_ENTRIES = 30  # of a legend
RESOLUTION = 200  # points along each side of a density
# Okabe & Ito's palette, which colour-blind readers can tell apart, without yellow, too pale for a point, and black, for
# what belongs to no component. The cycles' lengths have no common divisor, so that colour and marker together tell 42
# components apart, colour and line 30.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "<", "X")
LINES = ("solid", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (8, 1.5, 1, 1.5, 1, 1.5)))


def point_style(index: int) -> dict[str, Any]:
    """Colour and marker of a component or a family."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def line_style(index: int) -> dict[str, Any]:
    """Colour and dashes of a component."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}


def axes(ax: Axes | None) -> Axes:
    """The axes of the caller, or else the current ones of matplotlib."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.gca()


def make_room(figure: Any) -> None:
    """Let matplotlib make room for titles and legends, in a figure that has no layout of its own."""
    root = figure.figure
    if root.get_layout_engine() is None:
        root.set_layout_engine("constrained")


def finite(rows: np.ndarray) -> np.ndarray:
    """The rows without NaN or infinite entries; at least one is required."""
    finite = rows[np.isfinite(rows).all(1)]
    if not finite.size:
        raise ValueError(f"x: expected at least one finite row, got none of {len(rows)}")
    return finite


def sample(rows: np.ndarray) -> np.ndarray:
    """All rows, or a sample of 20,000, the same at each call."""
    if len(rows) <= MOST_POINTS:
        return rows
    return rows[np.random.default_rng(0).choice(len(rows), MOST_POINTS, replace=False)]


def shrinkage(rows: np.ndarray) -> float:
    """How much smaller points are drawn where there are many."""
    return float(np.clip(2000 / max(len(rows), 1), 0.4, 1))


def scatter(ax: Axes, points: np.ndarray, **style: Any) -> None:
    """Draw points ``(n, 2)``, each without an outline."""
    ax.scatter(points[:, 0], points[:, 1], linewidths=0, **style)


def ellipses(ax: Axes, components: Components, zorder: float) -> None:
    """Draw the contour of each component at Mahalanobis distance 1, and its number at its mean."""
    from matplotlib.patheffects import withStroke

    from .ellipse import Ellipse

    def halo(width: float) -> dict[str, Any]:
        return {"zorder": zorder, "path_effects": [withStroke(linewidth=width, foreground="white")]}

    for label, _, mean, deviations, correlation in zip(*components, strict=True):
        ax.add_patch(Ellipse(mean, deviations, correlation, **line_style(label), linewidth=1.5, **halo(3.5)))
        place: dict[str, Any] = {"ha": "center", "va": "center", "clip_on": True}
        ax.text(mean[0], mean[1], str(label), fontsize="small", fontweight="bold", **place, **halo(2.5))
        ax.update_datalim([mean - deviations, mean + deviations])
    ax.autoscale_view()


def focus(ax: Axes, across: np.ndarray, values: np.ndarray, best: float, typical: float, sign: int) -> None:
    """Limit the vertical axis to three times the way from the best value to a typical one; mark what lies beyond.

    The least range is one nat, or one of a criterion: less is no difference. ``values`` are ``(..., m)``, at ``across``
    ``(m,)``; those worse than the best lie above it where ``sign`` is 1, below it where it is -1.
    """
    worse = sign * (values - best)
    span = np.clip(3 * sign * (typical - best), 1, max(1, worse[np.isfinite(worse)].max()))
    beyond = (worse > span).reshape(-1, len(across)).any(0)
    ax.set_ylim(*sorted([best - sign * 0.08 * span, best + sign * 1.05 * span]))
    if beyond.any():
        marker, edge = ("^", 1) if sign > 0 else ("v", 0)
        place: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "clip_on": False, "linestyle": "none"}
        ax.plot(across[beyond], np.full(beyond.sum(), edge), marker, color="0.4", label="beyond", **place)


def caption(ax: Axes, title: str, *notes: str, handles: Sequence[Any] | None = None, about: str = "") -> None:
    """Put the title with its notes above the axes, and the legend below them, under a line ``about`` it.

    ``handles``, each with its label, are by default those of the axes.
    """
    from matplotlib.transforms import ScaledTranslation

    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    inch, labels = ax.figure.figure.dpi, ax.xaxis.get_tightbbox()
    width = 1.15 * 72 * ax.bbox.width / inch  # once laid out, axes side by side are wider
    drop = 0.05 + (ax.bbox.y0 - labels.y0) / inch if labels else 0.05
    below = ax.transAxes + ScaledTranslation(0, -drop, ax.figure.figure.dpi_scale_trans)
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": below}
    ax.legend(title=about or None, **place, **_entries(handles, width))
    ax.set_title(_lines(width, title, *notes), fontsize="medium")
    make_room(ax.figure)


def figure_caption(figure: Any, title: str, *notes: str, handles: Sequence[Any], about: str) -> None:
    """Put the title with its notes above all axes of a figure, and one legend for all below them."""
    make_room(figure)
    width = 72 * figure.figure.get_figwidth()
    figure.suptitle(_lines(width, title, *notes), fontsize="medium")
    figure.legend(title=about, loc="outside lower center", **_entries(handles, width))


def _entries(handles: Sequence[Any], width: float) -> dict[str, Any]:
    """The first entries of a legend, in as many columns as fit into ``width`` points."""
    from matplotlib.lines import Line2D

    if len(handles) > MOST_ENTRIES:
        more = Line2D([], [], linestyle="none", label=f"and {len(handles) - MOST_ENTRIES + 1} more")
        handles = [*handles[: MOST_ENTRIES - 1], more]
    widest = max((len(str(handle.get_label())) for handle in handles), default=0)
    rows = max(1, -(-len(handles) // max(1, int(width / (28 + 5 * widest)))))
    looks = {"fontsize": "small", "title_fontsize": "small", "frameon": False}
    looks |= {"columnspacing": 1, "handlelength": 1.5, "borderaxespad": 0.2}
    return {"handles": handles, "ncols": max(1, -(-len(handles) // rows)), **looks}


def _lines(width: float, *texts: str) -> str:
    """Texts below each other, each broken where it is longer than ``width`` points."""
    return "\n".join(fill(text, max(20, int(width / 5))) for text in texts if text)
