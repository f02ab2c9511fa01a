"""What people see of a fit: the same facts and tables as text, and as HTML with a picture in notebooks."""

import base64
import io as streams
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from .. import checks, linalg, plotting
from ..covariance.families import Family, letters
from ..files.saved import FitLike, SavedFit, as_saved_fit
from ..fitting.criteria import n_parameters
from ..fitting.selection import Selection
from ..types import EMResult, FitResult, Status, describe

_LONGEST_TABLE = 8  # models
_IN_MCLUST = ("bic", "icl")  # with the opposite sign

Facts = Sequence[tuple[str, str]]


class Section(NamedTuple):
    """Facts, each a name and a value; or a table, which has a title and whose first row is its header."""

    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""


def summary(
    found: FitLike,
    x: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    *,
    family: Family | str | None = None,
    feature_names: Sequence[str] | None = None,
) -> str:
    """Say in text what was found: why it stopped, criteria, and each component's weight, means and spread.

    Args:
        found: from :func:`jaxgmm.em`, :func:`jaxgmm.fit` or :func:`jaxgmm.select`; parameters; or a loaded fit.
        x: ``(n, d)`` the rows it was fitted to, or ``(n,)`` for d = 1: they add BIC.
        weights: ``(n,)`` row weights; default one each.
        family: the covariance family, or its name, which parameters are counted by; by default what the shape of the
            covariances says, or that of a selection.
        feature_names: d names; default x1, x2, ...

    Returns:
        The text; of a batch of fits, how many of them ended in which way.

    Raises:
        TypeError: if ``found`` is none of these.
        ValueError: if shapes, family and names do not go together.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgmm import GMMParams
        >>> print(summary(GMMParams(jnp.ones(1), jnp.zeros((1, 2)), jnp.full((1, 2), 4.0))))
        model           1 components, diag covariances
        <BLANKLINE>
        mean ± standard deviation of each component:
        component  weight     x1     x2
                0  1.0000  0 ± 2  0 ± 2
    """
    if _is_batch(found):
        return text(_batch(found))
    data = [] if x is None else [("data", size(checks.as_rows(x)))]
    return text(sections(found, as_saved_fit(found, x, weights, family=family, feature_names=feature_names), data))


def sections(found: FitLike, saved: SavedFit, data: Facts = (), most_features: int = 6) -> list[Section]:
    """All there is to say of a fit: as :func:`as_saved_fit` gathers it, after facts of the ``data``."""
    ending, components = _ending(saved), _components(saved, most_features)
    if isinstance(found, Selection):
        return [Section([*data, *_tried(found)]), _ranked(found), Section(ending), components]
    restarts = [("restarts", _of_which_failed(found.statuses))] if isinstance(found, FitResult) else []
    return [Section([*data, *ending, *restarts]), components]


def size(x: Any) -> str:
    """Of rows, in words."""
    return f"n = {x.shape[0]}, d = {x.shape[1]}"


def text(content: Sequence[Section]) -> str:
    """Sections as text: facts a line each, tables aligned."""

    def lines(section: Section) -> list[str]:
        if not section.title:
            return [f"{name:<16}{value}" for name, value in section.rows]
        widths = [max(map(len, column)) for column in zip(*section.rows, strict=True)]
        table = ("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in section.rows)
        return [f"{section.title}:", *(line.rstrip() for line in table), *([section.note] if section.note else [])]

    return "\n\n".join("\n".join(lines(section)) for section in content)


def html(content: Sequence[Section]) -> str:
    """Sections as HTML tables, everything in them escaped."""

    def line(cells: Sequence[str], tag: str, align: str) -> str:
        first, *others = (escape(cell) for cell in cells)
        style = f' style="text-align: {align}"'  # at every cell, as notebooks have a style of their own for cells
        return f"<tr><th{style}>{first}</th>" + "".join(f"<{tag}{style}>{cell}</{tag}>" for cell in others) + "</tr>"

    def table(section: Section) -> str:
        if not section.title:
            facts = "".join(line(row, "td", "left") for row in section.rows)
            return f'<table class="facts"><tbody>{facts}</tbody></table>'
        header, *body = section.rows
        style = "caption-side: top; text-align: left; white-space: nowrap"
        caption = f'<caption style="{style}">{escape(section.title)}</caption>'
        rows = "".join(line(row, "td", "right") for row in body)
        note = f"<p>{escape(section.note)}</p>" if section.note else ""
        return f"<table>{caption}<thead>{line(header, 'th', 'right')}</thead><tbody>{rows}</tbody></table>{note}"

    return "\n".join(table(section) for section in content)


def image(figure: Any, description: str) -> str:
    """A matplotlib figure as an HTML image that needs no other file, as wide as its place allows."""
    content = streams.BytesIO()
    figure.savefig(content, format="png", dpi=160)
    width = round(96 * figure.get_figwidth())
    source = f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
    return f'<img src="{source}" alt="{escape(description)}" style="width: 100%; max-width: {width}px">'


def _in_notebook(found: Any) -> str | None:
    """HTML for notebooks; None, for the plain repr, where fields hold something else, as inside ``jit``."""
    try:
        if _is_batch(found):
            return html(_batch(found))
        saved = as_saved_fit(found)
        return f"<div>{html(sections(found, saved))}\n{_picture(found, saved)}</div>"
    except (AttributeError, TypeError, ValueError):
        return None


# From here, not as methods: values know nothing of how they are shown, nor import what shows them.
for _kind in (EMResult, FitResult, Selection, SavedFit):
    setattr(_kind, "_repr_html_", _in_notebook)  # noqa: B010 - mypy knows of no such attribute


def _picture(found: FitLike, saved: SavedFit) -> str:
    """The components over the first features, beside how the fit or the search went; nothing without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return ""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw = plotting.density_1d if len(saved.feature_names) == 1 else plotting.classification
    draw(saved.params, names=saved.feature_names, ax=left)
    if isinstance(found, Selection):
        plotting.criteria(found, ax=right)
    elif isinstance(found, EMResult | FitResult):
        plotting.trace(found, ax=right)
    else:
        right.remove()
    return image(figure, "the components, and how the fit went")


def _is_batch(found: Any) -> bool:
    result = found.best if isinstance(found, FitResult) else found
    return isinstance(result, EMResult) and getattr(result.status, "ndim", 0) > 0


def _batch(found: Any) -> list[Section]:
    statuses = np.asarray((found.best if isinstance(found, FitResult) else found).status)
    counts = Counter(statuses.ravel().tolist())
    ended = [(Status(status).name.lower(), str(counts[status])) for status in sorted(counts)]
    return [Section([("fits", str(statuses.size)), *ended])]


def _ending(saved: SavedFit) -> Facts:
    """The model, and what is known of how it came about."""
    facts = [("model", f"{saved.params.means.shape[0]} components, {saved.family} covariances")]
    for name, value in saved.criteria.items():
        sign = f"; mclust's sign: {-value:.4f}" if name in _IN_MCLUST else ""
        is_likelihood = name == "log_likelihood"
        words = f"{value:.4f} nats" if is_likelihood else f"{value:.4f} (smaller is better{sign})"
        facts.append(("log-likelihood" if is_likelihood else name.upper(), words))
    if saved.status is not None:
        facts.append(("stopped", f"{describe(saved.status)} ({saved.n_iter} iterations)"))
    return facts


def _components(saved: SavedFit, most_features: int) -> Section:
    params, names = saved.params, saved.feature_names
    shown = names[:most_features]
    means = np.asarray(params.means)
    deviations = np.sqrt(np.broadcast_to(linalg.variances(params.covariances, len(names)), means.shape))
    rows = [["component", "weight", *shown]]
    for j, weight in enumerate(np.asarray(params.weights).tolist()):
        if j < len(means):
            cells = [f"{mean:.5g} ± {deviation:.4g}" for mean, deviation in zip(means[j], deviations[j], strict=True)]
            rows.append([str(j), f"{weight:.4f}", *cells[: len(shown)]])
        else:
            rows.append(["noise", f"{weight:.4f}", *("" for _ in shown)])
    more = f"and {len(names) - len(shown)} more features" if len(names) > len(shown) else ""
    return Section(rows, "mean ± standard deviation of each component", more)


def _tried(found: Selection) -> Facts:
    return [
        ("models", f"{found.table.size}, of which {np.isnan(found.table).sum()} came to no usable end"),
        ("restarts", f"{found.failed.sum()} failed, over all models"),
    ]


def _ranked(found: Selection) -> Section:
    """The best models, a line each."""
    name = found.criterion.upper()
    rows = [["rank", "family", "components", "parameters", "log-likelihood", name, f"mclust's {name}", "difference"]]
    for rank, (family, k) in enumerate(found.ranking[:_LONGEST_TABLE], start=1):
        place = found.families.index(family), found.n_components.index(k)
        count = n_parameters(found.results[family.name, k].params, family)
        value = found.table[place]
        numbers = found.log_likelihoods[place], value, -value, value - np.nanmin(found.table)
        rows.append([str(rank), letters(family), str(k), str(count), *(f"{number:.2f}" for number in numbers)])
    if found.criterion not in _IN_MCLUST:
        rows = [[*row[:-2], row[-1]] for row in rows]
    hidden = len(found.ranking) - _LONGEST_TABLE
    more = f"and {hidden} more models" if hidden > 0 else ""
    return Section(rows, f"best models by {name} (smaller is better)", more)


def _of_which_failed(statuses: Any) -> str:
    failed = sum(not Status(int(status)).is_usable for status in statuses)
    return f"{len(statuses)}, of which {failed} failed"
