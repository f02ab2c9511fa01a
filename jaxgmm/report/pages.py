"""A search as one page: what the data are, which models were tried, and what the best of them looks like."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from .. import __version__, checks, linalg, plotting
from ..files.saved import as_saved_fit
from ..fitting.selection import Selection
from ..types import GMMParams
from . import text as display
from .text import Section

Picture = tuple[str, str]  # HTML, caption

_WIDTH = 9.8  # inches


def _classification(*arguments: Any, **options: Any) -> None:
    plotting.classification(*arguments, **options).legend(title="component", frameon=False)


_ACROSS_TWO = (
    (_classification, "Rows by most probable component, and each component's ellipse one deviation about it."),
    (plotting.density, "The density over both features: regions of highest density."),
    (plotting.uncertainty, "The larger and darker a row, the less certain its component."),
)


def page(
    found: Selection,
    x: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    feature_names: Sequence[str] | None = None,
    title: str = "Gaussian mixtures",
) -> str:
    """One HTML page that needs no other file: the data, the models tried, and the best of them in numbers and pictures.

    Args:
        found: from :func:`jaxgmm.select`.
        x: ``(n, d)`` the rows it was fitted to, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights; default one each.
        feature_names: d names; default x1, x2, ...
        title: what the page is called.

    Returns:
        The page.

    Raises:
        ValueError: if shapes and names do not go together.
        ModuleNotFoundError: without jinja2 or matplotlib.

    Example:
        >>> import jax
        >>> import jaxgmm
        >>> x = jaxgmm.datasets.load_faithful().x
        >>> text = page(jaxgmm.select(jax.random.key(0), x, [2, 3], ["EEE", "EEI"], n_init=2), x)
        >>> text[:15], text.count("<img")
        ('<!DOCTYPE html>', 5)
    """
    from jinja2 import Environment, PackageLoader

    saved = as_saved_fit(found, x, weights, feature_names=feature_names)
    names, rows = list(saved.feature_names), np.asarray(checks.as_rows(x))
    tried, ranking, ending, components = display.sections(found, saved, most_features=len(names))
    chapters = [
        ("Data", [_moments(rows, weights, names)], []),
        ("Search", [tried, ranking], [_of_search(found)]),
        ("Best model", [ending, components], [_of_trace(found)]),
        ("Components and rows", [], list(_of_components(found.best.params, rows, names))),
    ]
    environment = Environment(loader=PackageLoader("jaxgmm", ""), autoescape=True)
    environment.filters["html"] = lambda section: display.html([section])
    return environment.get_template("report.html").render(
        title=title, subtitle=f"{display.size(rows)}. Made by jaxgmm {__version__}.", chapters=chapters
    )


def _moments(rows: np.ndarray, weights: ArrayLike | None, names: Sequence[str]) -> Section:
    """Mean, spread and quartiles of each feature."""
    share = np.ones(len(rows)) if weights is None else np.asarray(weights, float)
    rows, share = rows[share > 0], share[share > 0]
    mean = np.average(rows, axis=0, weights=share)
    deviation = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=share))
    quantiles = np.quantile(rows, [0, 0.25, 0.5, 0.75, 1], axis=0, weights=share, method="inverted_cdf")
    header = ["feature", "mean", "standard deviation", "least", "first quartile", "median", "third quartile", "largest"]
    numbers = np.stack([mean, deviation, *quantiles], axis=1)
    body = [[name, *(f"{number:.5g}" for number in row)] for name, row in zip(names, numbers.tolist(), strict=True)]
    return Section([header, *body], "each feature, over all rows with weight")


def _drawn(draw: Callable[..., Any], caption: str, height: float = 5.5) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    draw(figure)
    return display.image(figure, caption), caption


def _of_search(found: Selection) -> Picture:
    caption = f"{found.criterion.upper()} of every model, the best circled; smaller is better."
    return _drawn(lambda figure: plotting.criteria(found, ax=figure.subplots()), caption)


def _of_trace(found: Selection) -> Picture:
    caption = "Log-likelihood after each iteration of the best restart."
    return _drawn(lambda figure: plotting.trace(found.best, ax=figure.subplots()), caption, 3)


def _of_components(params: GMMParams, rows: np.ndarray, names: list[str]) -> Iterator[Picture]:
    d = len(names)
    if d == 1:

        def draw(figure: Any) -> None:
            plotting.density_1d(params, rows, names=names, ax=figure.subplots()).legend(frameon=False)

        yield _drawn(draw, "The mixture's density, and each component's part of it, over a histogram of the rows.")
        return
    if 2 < d <= plotting.MOST_FEATURES:
        caption = "Every pair of features: rows by most probable component; each feature on the diagonal."
        yield _drawn(lambda figure: plotting.pairs(params, rows, names=names, figure=figure), caption, _WIDTH)
    features = _telling(params)
    of_many = f" The two of {d} features in which components differ most." if d > 2 else ""
    for plot, caption in _ACROSS_TWO:
        yield _drawn(
            lambda figure, plot=plot: plot(params, rows, features=features, names=names, ax=figure.subplots()),
            caption + of_many,
        )


def _telling(params: GMMParams) -> list[int]:
    """The two features in which the spread between components is largest beside that within them."""
    weights, means = np.asarray(params.weights)[:, None], np.asarray(params.means)
    within = (weights * np.broadcast_to(linalg.variances(params.covariances, means.shape[1]), means.shape)).sum(0)
    between = (weights * (means - (weights * means).sum(0)) ** 2).sum(0)
    return sorted(np.argsort(-between / within, kind="stable")[:2].tolist())
