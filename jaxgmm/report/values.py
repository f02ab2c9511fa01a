"""How values print, and what notebooks show of them: a screen, whatever their size."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from .. import plotting
from ..checks import is_concrete, mixture_of
from ..covariance.families import letters
from ..files.saved import SavedFit, family_of, gathered
from ..fitted import feature_names_of
from ..fitting.selection import Selection
from ..padding import as_host_array
from ..status import Status, known_status
from ..types import EMResult, FitResult, GMMParams
from . import layout
from .layout import Section, components, shortened
from .text import batch, components_of, is_batch, sections

_MOST_COMPONENTS, _MOST_FEATURES = 10, 6
_MOST_NUMBERS = 8  # of an array that is printed whole
_MOST_FIELDS = 24
_FITS = (EMResult, FitResult, Selection, SavedFit)


def printed(value: Any) -> str:
    """A value as text. It never raises: what makes no sense as what it is called is shown as the arrays it holds."""
    try:
        return layout.text(overview(value))
    except Exception:  # a debugger asks for anything
        return layout.text(_fields(value))


def in_notebook(value: Any) -> str | None:
    """A value as HTML, a fit with a picture; None, for the text instead, where its arrays are not known."""
    try:
        if not _is_known(value):
            return None
        content = overview(value)
        is_one = isinstance(value, _FITS) and len(content) > 1
        return f"<div>{layout.html(content)}\n{_picture(value) if is_one else ''}</div>"
    except Exception:
        return None


def overview(value: Any) -> list[Section]:
    """What is said of a value: of a fit what a summary says, of other values the arrays they hold."""
    if isinstance(value, Selection | SavedFit):
        return _fit(value)
    if not is_concrete(value):
        return _fields(value, "traced: its values are known once the program runs")
    params = mixture_of(getattr(value, "params", value))
    if not isinstance(params, GMMParams) or not _is_known(value):  # among others, a model of the user's own
        status = known_status(getattr(value, "status", None))
        return _fields(value, str(status) if isinstance(status, Status) else "")
    value = jax.tree.map(as_host_array, value)
    if is_batch(value) or params.means.ndim != 2:
        return _batch(value, params)
    if isinstance(value, EMResult | FitResult):
        return _fit(value)
    saved = gathered(value, family_of(value), None)
    facts = [
        (type(value).__name__, f"{components(params.k)}, {saved.family} covariances"),
        ("data", _size(params)),
    ]
    return [Section(facts), components_of(value, saved.feature_names, _MOST_FEATURES, _MOST_COMPONENTS)]


def _is_known(value: Any) -> bool:
    """Whether the leaves of a value are numbers that can be looked at."""
    if isinstance(value, Selection | SavedFit):
        return True
    numbers = np.ndarray | np.generic | jax.Array | int | float
    leaves = jax.tree.leaves(value)
    return bool(leaves) and is_concrete(leaves) and all(isinstance(leaf, numbers) for leaf in leaves)


def _fit(fit: Any) -> list[Section]:
    """What is said of a result, a selection or a saved fit; first, in a word, how it ended."""
    saved = fit if isinstance(fit, SavedFit) else gathered(fit, family_of(fit), feature_names_of(fit))
    run = fit.best if isinstance(fit, FitResult | Selection) else fit
    word = saved.status.name if saved.status is not None else "not said how it ended"
    if isinstance(fit, Selection):
        word = f"{letters(fit.family)}, {components(fit.k)}: the best of {fit.table.size} by {fit.criterion.upper()}"
    facts = [
        (type(fit).__name__, word),
        ("data", _size(mixture_of(saved.params), getattr(run, "total_weight", None))),
    ]
    return sections(fit, saved, facts, _MOST_FEATURES, _MOST_COMPONENTS)


def _size(params: GMMParams, total_weight: Any = None) -> str:
    n = "" if total_weight is None else f"n = {float(total_weight):.10g}, "
    return f"{n}d = {params.means.shape[-1]}"


def _batch(value: Any, params: GMMParams) -> list[Section]:
    """What is said of many fits, as ``vmap`` makes them: their shape, and how many ended in which way."""
    shape = np.shape(value.status) if is_batch(value) else None
    words = f"a batch of shape {params.means.shape[:-2] if shape is None else shape}"
    endings = [] if shape is None else batch(value)[0].rows
    return [Section([(type(value).__name__, words), ("each", f"{components(params.k)}, {_size(params)}"), *endings])]


def _fields(value: Any, words: str = "") -> list[Section]:
    """What a value holds, by name: numbers where they are few, shapes where they are many or not known."""
    named = list(_named(value, ""))
    more = [("", f"and {len(named) - _MOST_FIELDS} more")] if len(named) > _MOST_FIELDS else []
    return [Section([(type(value).__name__, words), *named[:_MOST_FIELDS], *more])]


def _named(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """The parts of a value, each with its name."""
    if hasattr(value, "_fields"):
        for field in value._fields:
            yield from _named(getattr(value, field), f"{name}.{field}".strip("."))
    elif parts := [] if callable(value) else jax.tree_util.tree_flatten_with_path(value)[0]:
        yield from ((name + jax.tree_util.keystr(path), _shown(part)) for path, part in parts)
    elif value is not None:
        yield name, _shown(value)


def _shown(part: Any) -> str:
    while callable(part) and hasattr(part, "func"):  # a Partial
        part = part.func
    if callable(part):
        return getattr(part, "__name__", type(part).__name__)
    if not (hasattr(part, "shape") and hasattr(part, "dtype")):
        return shortened(" ".join(str(part).split()))
    kind = f"{part.dtype}{list(part.shape)}"
    if not isinstance(part, np.ndarray | np.generic | jax.Array) or not is_concrete(part) or part.size > _MOST_NUMBERS:
        return kind
    numbers = " ".join(np.array2string(np.asarray(part), precision=6, separator=", ").split())
    return f"{numbers}  {kind}" if part.ndim else numbers


def _picture(fit: Any) -> str:
    """The components, beside the log-likelihood of the fit or the criterion of the search; empty without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return ""
    names = gathered(fit, family_of(fit), feature_names_of(fit)).feature_names
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw = plotting.density_1d if len(names) == 1 else plotting.clusters
    draw(fit.params, feature_names=names, ax=left)
    if isinstance(fit, Selection):
        plotting.criteria(fit, ax=right)
    elif isinstance(fit, EMResult | FitResult):
        plotting.trace(fit, ax=right)
    else:
        right.remove()
    return layout.image(figure, "the components, and how the fit went")
