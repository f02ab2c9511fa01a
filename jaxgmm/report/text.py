"""A fit as text, and as HTML with a picture in notebooks: the same facts and tables."""

import base64
import io as streams
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from .. import checks, linalg, plotting
from ..checks import mixture_of
from ..covariance.families import Family, letters
from ..files.saved import FitLike, SavedFit, as_saved_fit
from ..fitting.criteria import n_parameters
from ..fitting.selection import Selection
from ..mixture.noise import all_weights
from ..types import EMResult, FitResult, Status, describe

_LONGEST_TABLE = 8  # models listed of a search
_IN_MCLUST = ("bic", "icl")  # criteria that mclust reports too, with the opposite sign

Facts = Sequence[tuple[str, str]]  # name, value


class Section(NamedTuple):
    """Part of a report: facts, each a name and a value; or, where there is a title, a table under a header."""

    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""


def summary(
    fit: FitLike,
    x: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    *,
    family: Family | str | None = None,
    feature_names: Sequence[str] | None = None,
) -> str:
    """Describe a fit in text: why it stopped, criteria, and each component's weight, means and standard deviations.

    Args:
        fit: from :func:`jaxgmm.em`, :func:`jaxgmm.fit` or :func:`jaxgmm.select`; parameters; or a loaded fit.
        x: ``(n, d)`` the rows it was fitted to, or ``(n,)`` for d = 1: they add BIC.
        weights: ``(n,)`` row weights; default one each.
        family: the covariance family, or its name, for which free parameters are counted; by default that of a
            selection, or what the shape of the covariances says.
        feature_names: d names; default x1, x2, ...

    Returns:
        The text; of a batch of fits, how many of them ended in which way.

    Raises:
        TypeError: if ``fit`` is none of these.
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
    if _is_batch(fit):
        return text(_batch(fit))
    data = [] if x is None else [("data", size(checks.as_rows(x)))]
    return text(sections(fit, as_saved_fit(fit, x, weights, family=family, feature_names=feature_names), data))


def sections(fit: FitLike, saved: SavedFit, data: Facts = (), most_features: int = 6) -> list[Section]:
    """The parts of a report on a fit: facts of its ``data``, its criteria, its restarts or rivals, its components.

    ``saved`` is what :func:`as_saved_fit` makes of ``fit``.
    """
    ending, components = _ending(saved), _components(saved, most_features)
    if isinstance(fit, Selection):
        return [Section([*data, *_numbers_of_models(fit)]), _best_models(fit), Section(ending), components]
    restarts = [("restarts", _of_which_failed(fit.statuses))] if isinstance(fit, FitResult) else []
    return [Section([*data, *ending, *restarts]), components]


def size(x: Any) -> str:
    """Number of rows and of features, in words."""
    return f"n = {x.shape[0]}, d = {x.shape[1]}"


def text(content: Sequence[Section]) -> str:
    """Sections of a report as plain text: one fact on each line, columns of tables aligned."""

    def lines(section: Section) -> list[str]:
        if not section.title:
            return [f"{name:<16}{value}" for name, value in section.rows]
        widths = [max(map(len, column)) for column in zip(*section.rows, strict=True)]
        table = ("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in section.rows)
        return [f"{section.title}:", *(line.rstrip() for line in table), *([section.note] if section.note else [])]

    return "\n\n".join("\n".join(lines(section)) for section in content)


def html(content: Sequence[Section]) -> str:
    """Sections of a report as HTML tables, with all names and values escaped."""

    def line(cells: Sequence[str], tag: str, align: str) -> str:
        first, *others = (escape(cell) for cell in cells)
        style = f' style="text-align: {align}"'  # for each cell, as notebooks style cells themselves
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


def _in_notebook(fit: Any) -> str | None:
    """A fit as HTML for notebooks; None, for the plain repr, where its fields hold no numbers, as inside ``jit``."""
    try:
        if _is_batch(fit):
            return html(_batch(fit))
        saved = as_saved_fit(fit)
        return f"<div>{html(sections(fit, saved))}\n{_picture(fit, saved)}</div>"
    except (AttributeError, TypeError, ValueError):
        return None


# Set here, not written as methods: the layers below import neither HTML nor pictures.
for _kind in (EMResult, FitResult, Selection, SavedFit):
    setattr(_kind, "_repr_html_", _in_notebook)  # noqa: B010 - mypy knows of no such attribute


def _picture(fit: FitLike, saved: SavedFit) -> str:
    """The components, beside the log-likelihood of the fit or the criterion of the search; empty without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return ""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw = plotting.density_1d if len(saved.feature_names) == 1 else plotting.classification
    draw(saved.params, names=saved.feature_names, ax=left)
    if isinstance(fit, Selection):
        plotting.criteria(fit, ax=right)
    elif isinstance(fit, EMResult | FitResult):
        plotting.trace(fit, ax=right)
    else:
        right.remove()
    return image(figure, "the components, and how the fit went")


def _is_batch(fit: Any) -> bool:
    """Whether a result holds many fits, as ``vmap`` makes it."""
    result = fit.best if isinstance(fit, FitResult) else fit
    return isinstance(result, EMResult) and getattr(result.status, "ndim", 0) > 0


def _batch(fit: Any) -> list[Section]:
    """How many fits of a batch ended in which way."""
    statuses = np.asarray((fit.best if isinstance(fit, FitResult) else fit).status)
    counts = Counter(statuses.ravel().tolist())
    endings = [(Status(status).name.lower(), str(counts[status])) for status in sorted(counts)]
    return [Section([("fits", str(statuses.size)), *endings])]


def _ending(saved: SavedFit) -> Facts:
    """Facts of a fit: its model, its criteria, and why it stopped."""
    facts = [("model", f"{mixture_of(saved.params).means.shape[0]} components, {saved.family} covariances")]
    for name, value in saved.criteria.items():
        sign = f"; mclust's sign: {-value:.4f}" if name in _IN_MCLUST else ""
        is_likelihood = name == "log_likelihood"
        words = f"{value:.4f} nats" if is_likelihood else f"{value:.4f} (smaller is better{sign})"
        facts.append(("log-likelihood" if is_likelihood else name.upper(), words))
    if saved.status is not None:
        facts.append(("stopped", f"{describe(saved.status)} ({saved.n_iter} iterations)"))
    return facts


def _components(saved: SavedFit, most_features: int) -> Section:
    """A table of the components: weight, and mean and standard deviation of each feature."""
    params, names = mixture_of(saved.params), saved.feature_names
    listed = names[:most_features]
    means = np.asarray(params.means)
    deviations = np.sqrt(np.broadcast_to(linalg.variances(params.covariances, len(names)), means.shape))
    rows = [["component", "weight", *listed]]
    for j, weight in enumerate(np.asarray(all_weights(saved.params)).tolist()):
        if j < len(means):
            cells = [f"{mean:.5g} ± {deviation:.4g}" for mean, deviation in zip(means[j], deviations[j], strict=True)]
            rows.append([str(j), f"{weight:.4f}", *cells[: len(listed)]])
        else:
            rows.append(["noise", f"{weight:.4f}", *("" for _ in listed)])
    more = f"and {len(names) - len(listed)} more features" if len(names) > len(listed) else ""
    return Section(rows, "mean ± standard deviation of each component", more)


def _numbers_of_models(selection: Selection) -> Facts:
    """How many models and restarts a search had, and how many of them failed."""
    return [
        ("models", f"{selection.table.size}, of which {np.isnan(selection.table).sum()} came to no usable end"),
        ("restarts", f"{selection.failed.sum()} failed, over all models"),
    ]


def _best_models(selection: Selection) -> Section:
    """A table of the best models of a search, one on each line."""
    name = selection.criterion.upper()
    rows = [["rank", "family", "components", "parameters", "log-likelihood", name, f"mclust's {name}", "difference"]]
    for rank, (family, k) in enumerate(selection.ranking[:_LONGEST_TABLE], start=1):
        place = selection.families.index(family), selection.n_components.index(k)
        count = n_parameters(selection.results[family.name, k].params, family)
        value = selection.table[place]
        numbers = selection.log_likelihoods[place], value, -value, value - np.nanmin(selection.table)
        rows.append([str(rank), letters(family), str(k), str(count), *(f"{number:.2f}" for number in numbers)])
    if selection.criterion not in _IN_MCLUST:
        rows = [[*row[:-2], row[-1]] for row in rows]
    rest = len(selection.ranking) - _LONGEST_TABLE
    more = f"and {rest} more models" if rest > 0 else ""
    return Section(rows, f"best models by {name} (smaller is better)", more)


def _of_which_failed(statuses: Any) -> str:
    failed = sum(not Status(int(status)).is_usable for status in statuses)
    return f"{len(statuses)}, of which {failed} failed"
