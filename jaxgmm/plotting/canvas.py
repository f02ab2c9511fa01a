"""What pictures share: axes, colours, markers, legends and the rows worth drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from .. import checks
from ..types import GMMParams

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Names = Sequence[str] | None


MOST_POINTS = 20_000  # of a scatter: more take long to draw and show no more
RESOLUTION = 200  # points along each side of a density
# Okabe & Ito's palette for all kinds of sight, less its yellow, too pale for a point. The two cycles differ in length,
# so that colour and marker together tell 56 apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def arguments(params: GMMParams, x: ArrayLike | None, names: Names) -> tuple[GMMParams, np.ndarray, list[str]]:
    """The mixture, the rows, of which there may be none, and a name for every feature."""
    if x is None:
        params = checks.as_params(params)
        x = params.means[:0]
    else:
        params, x, _ = checks.arguments(params, x)
    d = x.shape[1]
    names = [f"feature {index}" for index in range(d)] if names is None else list(names)
    if len(names) != d:
        raise ValueError(f"names: expected {d}, one for each feature, got {len(names)}")
    return params, np.asarray(x), names


def stage(
    params: GMMParams, x: ArrayLike | None, features: Sequence[int], names: Names, ax: Axes | None
) -> tuple[Axes, GMMParams, np.ndarray, list[int]]:
    """The named axes of two features, the mixture, the rows, and the two."""
    params, rows, names = arguments(params, x, names)
    if len(names) == 1:
        raise ValueError("x: expected at least two features, got 1: draw it with density_1d")
    plane = [checks.as_integer(feature, "features", 0) for feature in features]
    if len(plane) != 2 or len(set(plane)) != 2 or max(plane) >= len(names):
        raise ValueError(f"features: expected two different ones of 0..{len(names) - 1}, got {tuple(features)}")
    ax = axes(ax)
    ax.set(xlabel=names[plane[0]], ylabel=names[plane[1]])
    return ax, params, rows, plane


def axes(ax: Axes | None) -> Axes:
    """The given axes, or the current ones."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.gca()


def finite(rows: np.ndarray) -> np.ndarray:
    """The rows without NaN or infinite entries, of which there must be one."""
    finite = rows[np.isfinite(rows).all(1)]
    if not finite.size:
        raise ValueError(f"x: expected at least one finite row, got none of {len(rows)}")
    return finite


def bins(values: np.ndarray) -> int:
    """Freedman and Diaconis' number of bins, no less than Sturges', and not the millions that an outlier asks for."""
    width = 2 * np.ptp(np.quantile(values, (0.25, 0.75))) / len(values) ** (1 / 3)
    number = np.ptp(values) / width if width > 0 else 0
    return int(np.ceil(np.clip(number, np.log2(len(values)) + 1, RESOLUTION)))


def sample(rows: np.ndarray) -> np.ndarray:
    """All rows, or as many of them as are worth drawing, the same ones each time."""
    if len(rows) <= MOST_POINTS:
        return rows
    return rows[np.random.default_rng(0).choice(len(rows), MOST_POINTS, replace=False)]


def scatter(ax: Axes, points: np.ndarray, **style: Any) -> None:
    """Draw points ``(n, 2)`` without outlines."""
    ax.scatter(points[:, 0], points[:, 1], linewidths=0, **style)


def style(index: int) -> dict[str, Any]:
    """Colour and marker of a component."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def legend_above(ax: Axes, columns: int, **options: Any) -> None:
    """Put the legend above the axes, in columns."""
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "borderaxespad": 0.2}
    ax.legend(ncols=columns, fontsize="small", columnspacing=1, frameon=False, **place, **options)
