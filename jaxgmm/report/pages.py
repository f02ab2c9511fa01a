"""A page about a search: the data, the models tried, tables and pictures of the best of them, and how it was made."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import __version__, checks, plotting
from ..arrays import columns_in_order
from ..files.saved import as_saved_fit
from ..fitting.selection import Selection
from ..types import GMMParams
from . import tables
from . import text as display
from .layout import Facts, as_wide_as_paper

Picture = tuple[str, str]  # HTML, caption

_WIDTH, _HEIGHT = 7, 4.2  # inches of a picture, whose words can so be read on a telephone
_OF_PAIRS = 9.8  # inches of a picture of every pair of features

_ACROSS_TWO = (
    (plotting.clusters, "Rows by most probable component, and each component's ellipse one deviation about it."),
    (plotting.density, "The density over both features: regions of highest density."),
    (plotting.uncertainty, "The larger and darker a row, the less certain its component."),
)


def page(
    selection: Selection,
    x: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    feature_names: Sequence[str] | None = None,
    title: str = "Gaussian mixtures",
    origin: Facts = (),
) -> str:
    """Write a search as one HTML page that needs no other file: the data, the models tried, and the best of them.

    It reads on a telephone, in the dark and on paper.

    Args:
        selection: from :func:`jaxgmm.select`.
        x: ``(n, d)`` the rows that were searched, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights; default one each.
        feature_names: d names; by default those of the table that ``x`` is or that was searched, or x1, x2, ...
        title: what the page is called.
        origin: pairs of a name and a text, such as where the data come from, for the chapter on how the page was made.

    Returns:
        The page, as HTML.

    Raises:
        TypeError: if ``selection`` is no :class:`jaxgmm.Selection`.
        ValueError: if shapes and names do not go together.
        ModuleNotFoundError: without jinja2 or matplotlib.

    Example:
        >>> import jax
        >>> import jaxgmm
        >>> x = jaxgmm.datasets.load_faithful().x
        >>> text = page(jaxgmm.select(jax.random.key(0), x, [2, 3], families=["EEE", "EEI"], n_init=8), x)
        >>> text[:15], text.count("<img")
        ('<!DOCTYPE html>', 5)
    """
    from jinja2 import Environment, PackageLoader

    if not isinstance(selection, Selection):
        raise TypeError(f"selection: expected what jaxgmm.select returns, got {type(selection).__name__}")

    # Tables
    saved = as_saved_fit(selection, x, weights, feature_names=feature_names)
    names, rows = list(saved.feature_names), np.asarray(checks.as_rows(columns_in_order(x, selection)))
    row_weights = np.ones(len(rows)) if weights is None else np.asarray(weights, float)
    params = selection.params
    search, ranking, ending, components = display.sections(selection, saved, most_features=len(names))
    sizes = tables.of_rows(params, rows, row_weights, is_weighted=weights is not None)

    # Chapters: a heading, tables, pictures
    chapters = [
        ("Data", [tables.of_data(rows, row_weights, names)], []),
        ("Search", [search, ranking], [_search_picture(selection)]),
        (
            "Best model",
            [ending, components, *tables.of_correlations(params, names), sizes],
            [_trace_picture(selection)],
        ),
        ("Components and rows", [], list(_component_pictures(params, rows, names))),
        ("How this page was made", [tables.of_making(selection, origin)], []),
    ]

    # The page from its template, in which all text is escaped
    environment = Environment(loader=PackageLoader("jaxgmm", ""), autoescape=True)
    environment.filters["html"] = lambda sections: display.html(
        [part for section in sections for part in as_wide_as_paper(section)]
    )
    return environment.get_template("report.html").render(
        title=title, subtitle=f"{display.size(rows, weights)}. Made by jaxgmm {__version__}.", chapters=chapters
    )


def _picture(draw: Callable[..., Any], caption: str, width: float = _WIDTH, height: float = _HEIGHT) -> Picture:
    """A picture, so many inches wide and high, that ``draw`` makes on an empty figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    draw(figure)
    return display.image(figure, caption), caption


def _search_picture(selection: Selection) -> Picture:
    caption = f"{selection.criterion.upper()} of every model, the best circled; smaller is better."
    return _picture(lambda figure: plotting.criteria(selection, ax=figure.subplots()), caption)


def _trace_picture(selection: Selection) -> Picture:
    caption = "Log-likelihood, with the log prior if there is one, before each iteration of the best restart."
    return _picture(lambda figure: plotting.trace(selection.best, ax=figure.subplots()), caption, height=2.6)


def _component_pictures(params: GMMParams, rows: np.ndarray, names: list[str]) -> Iterator[Picture]:
    """Pictures of the best model and its rows, suited to the number of features."""
    d = len(names)
    # One feature: a density
    if d == 1:
        caption = "The mixture's density, and each component's part of it, over a histogram of the rows."
        draw = plotting.density_1d
        yield _picture(lambda figure: draw(params, rows, feature_names=names, ax=figure.subplots()), caption)
        return

    # A few: every pair of them
    if 2 < d <= plotting.MOST_FEATURES:
        caption = "Every pair of features: rows by most probable component; each feature on the diagonal."
        yield _picture(
            lambda figure: plotting.pairs(params, rows, feature_names=names, figure=figure),
            caption,
            *(_OF_PAIRS, _OF_PAIRS),
        )

    # Two or more: three pictures of the two that separate the components best
    which = f" The two of {d} features in which components differ most." if d > 2 else ""
    for plot, caption in _ACROSS_TWO:
        yield _picture(
            lambda figure, plot=plot: plot(params, rows, feature_names=names, ax=figure.subplots()), caption + which
        )
