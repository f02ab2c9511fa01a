"""Axes, colours, markers, legends and samples of rows, as all pictures use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .. import checks, linalg
from ..mixture.noise import all_weights
from ..types import GMMParams

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Names = Sequence[str] | None


MOST_POINTS = 20_000  # rows in a scatter plot: more take long to draw and look the same
RESOLUTION = 200  # points along each side of a density
# Okabe & Ito's palette, which colour-blind readers can tell apart, without its yellow, too pale for a point. The two
# cycles differ in length, so that colour and marker together tell 56 components apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def arguments(params: GMMParams, x: ArrayLike | None, names: Names) -> tuple[GMMParams, np.ndarray, list[str]]:
    """Check what a picture is drawn of: the mixture, its rows, possibly none, and a name for every feature."""
    if x is None:
        params = checks.as_params(params)
        x = checks.mixture_of(params).means[:0]
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
    """Check what is drawn over two features and label the axes: axes, mixture, rows, and the two features."""
    params, rows, names = arguments(params, x, names)
    if len(names) == 1:
        raise ValueError("x: expected at least two features, got 1: draw it with density_1d")
    plane = [checks.as_integer(feature, "features", 0) for feature in features]
    if len(plane) != 2 or len(set(plane)) != 2 or max(plane) >= len(names):
        raise ValueError(f"features: expected two different ones of 0..{len(names) - 1}, got {tuple(features)}")
    ax = axes(ax)
    ax.set(xlabel=names[plane[0]], ylabel=names[plane[1]])
    return ax, params, rows, plane


def marginal(params: GMMParams, features: list[int]) -> GMMParams:
    """The components of positive weight over some of the features, with covariances as matrices; no noise."""
    mixture, chosen = checks.mixture_of(params), np.array(features)
    k, d = mixture.means.shape
    blocks = linalg.as_matrices(mixture.covariances, d)[:, chosen][:, :, chosen]
    blocks = jnp.broadcast_to(blocks, (k, *blocks.shape[1:]))
    weights = all_weights(params)[:k]  # without that of the noise
    alive = np.asarray(mixture.weights > 0)
    return GMMParams(weights[alive], mixture.means[alive][:, chosen], blocks[alive])


def axes(ax: Axes | None) -> Axes:
    """The axes of the caller, or else the current ones of matplotlib."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.gca()


def finite(rows: np.ndarray) -> np.ndarray:
    """The rows without NaN or infinite entries; at least one is required."""
    finite = rows[np.isfinite(rows).all(1)]
    if not finite.size:
        raise ValueError(f"x: expected at least one finite row, got none of {len(rows)}")
    return finite


def bins(values: np.ndarray) -> int:
    """Number of bins of a histogram: the larger of Freedman and Diaconis' and Sturges', limited against outliers."""
    width = 2 * np.ptp(np.quantile(values, (0.25, 0.75))) / len(values) ** (1 / 3)
    number = np.ptp(values) / width if width > 0 else 0
    return int(np.ceil(np.clip(number, np.log2(len(values)) + 1, RESOLUTION)))


def sample(rows: np.ndarray) -> np.ndarray:
    """All rows, or a sample of 20,000, the same at each call."""
    if len(rows) <= MOST_POINTS:
        return rows
    return rows[np.random.default_rng(0).choice(len(rows), MOST_POINTS, replace=False)]


def scatter(ax: Axes, points: np.ndarray, **style: Any) -> None:
    """Draw points ``(n, 2)``, each without an outline."""
    ax.scatter(points[:, 0], points[:, 1], linewidths=0, **style)


def style(index: int) -> dict[str, Any]:
    """Colour and marker of a component."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def legend_above(ax: Axes, columns: int, **options: Any) -> None:
    """Put the legend above the axes, in columns."""
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "borderaxespad": 0.2}
    ax.legend(ncols=columns, fontsize="small", columnspacing=1, frameon=False, **place, **options)
