"""Pictures of runs and searches: the climb of EM, how restarts ended, and a criterion for every model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..covariance.families import letters
from ..types import EMResult, FitResult, Status, agree, describe, is_usable, trimmed_history
from . import canvas
from .subject import failure_of, run_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def trace(result: Any, *, ax: Axes | None = None) -> Axes:
    """Draw what EM climbs, before each iteration of a fit, and say how much it gained and why it stopped.

    That is the log-likelihood, plus the log prior density if there is a prior, see :func:`jaxgmm.trimmed_history`.
    A start far below all that follows is cut off, with a mark.

    Args:
        result: from :func:`jaxgmm.em`; or from :func:`jaxgmm.fit` or :func:`jaxgmm.select`, for the best run.
        ax: where to draw; default the current axes.

    Returns:
        The axes; the history is their first line.

    Raises:
        TypeError: if ``result`` has no history.
        ValueError: if it is a batch of fits.

    Example:
        >>> from matplotlib.figure import Figure
        >>> import jaxgmm
        >>> start = jaxgmm.GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
        >>> ax = trace(jaxgmm.em(start, np.array([-1.0, 1.0])), ax=Figure().subplots())
        >>> ax.get_title(), ax.get_xlabel(), ax.get_ylabel()
        ('0 nats gained in 2 iterations: converged', 'iteration', 'objective (nats)')
    """
    best = run_of(result)
    if not isinstance(best, EMResult):
        raise TypeError(f"result: expected what em, fit or select returned, got {type(result).__name__}")
    values, ax = np.asarray(trimmed_history(best), float), canvas.axes(ax)
    ax.plot(values, color=canvas.COLOURS[0], marker=".", label="before each iteration")
    known, climb = values[np.isfinite(values)], "no objective was finite"
    if known.size:
        canvas.focus(ax, np.arange(len(values)), values, known[-1], known[:2][-1], -1)
        climb = f"{known[-1] - known[0]:.4g} nats gained in {int(best.n_iter)} iterations"
    ended = describe(best.status).partition(":")[0]
    _label(ax, "iteration", "objective (nats)")
    canvas.caption(ax, f"{climb}: {ended}", "the parameters are not usable" if failure_of(best) else "")
    return ax


def restarts(result: FitResult, *, ax: Axes | None = None) -> Axes:
    """Draw where the restarts of a fit ended, the highest first, and which of them agree with the best.

    Many that agree are a sign, though no proof, that the best is the highest maximum. Those that were given up after a
    brief run might have climbed further. Where some ended far below the others they are cut off, with a mark.

    Args:
        result: from :func:`jaxgmm.fit`.
        ax: where to draw; default the current axes.

    Returns:
        The axes.

    Raises:
        TypeError: if ``result`` is no :class:`jaxgmm.FitResult`.
        ValueError: if it is a batch of fits.

    Example:
        >>> from matplotlib.figure import Figure
        >>> import jax
        >>> import jaxgmm
        >>> result = jaxgmm.fit(jax.random.key(0), jaxgmm.datasets.load_faithful().x, 2)
        >>> ax = restarts(result, ax=Figure().subplots())
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('restart, the highest first', 'log-likelihood (nats)')
    """
    if not isinstance(result, FitResult):
        raise TypeError(f"result: expected a FitResult, from jaxgmm.fit, got {type(result).__name__}")
    best, statuses = float(run_of(result).log_likelihood), np.asarray(result.statuses)
    values, usable = np.asarray(result.log_likelihoods, float), np.asarray(is_usable(statuses))
    order = np.lexsort((-values, ~usable))
    marks = values, usable, agree(values, statuses, best), statuses == Status.MAX_ITER
    values, usable, agrees, is_short = (mark[order] for mark in marks)

    # Usable ones where they ended, failed ones at the lower edge, as their log-likelihoods do not compare
    ax, ranks = canvas.axes(ax), np.arange(1, len(values) + 1)
    if usable.any():
        typical = np.quantile(values[usable], 0.25)
        canvas.focus(ax, ranks[usable], values[usable], values[usable].max(), typical, -1)
    looks: dict[str, Any] = {"linestyle": "none", "markersize": 6}
    for label, chosen, marker, colour, fill in (
        ("agree", agrees, "o", canvas.COLOURS[0], "full"),
        ("ended lower", usable & ~agrees & ~is_short, "s", canvas.COLOURS[1], "full"),
        ("stopped early", usable & ~agrees & is_short, "s", canvas.COLOURS[1], "none"),
    ):
        if chosen.any():
            ax.plot(ranks[chosen], values[chosen], label=label, marker=marker, color=colour, fillstyle=fill, **looks)
    _label(ax, "restart, the highest first", "log-likelihood (nats)")
    if not usable.all():
        edge, failed = ax.get_xaxis_transform(), ranks[~usable]
        ax.plot(failed, 0 * failed, "kx", transform=edge, clip_on=False, label="failed", markersize=7)
        ax.yaxis.set_visible(bool(usable.any()))
    ax.set_xlim(0.5, len(values) + 0.5)
    title = f"{np.count_nonzero(agrees)} of {len(values)} restarts agree with the best"
    title = title if usable.any() else f"{len(values)} of {len(values)} restarts failed"
    canvas.caption(ax, title, failure_of(result.best))
    return ax


def criteria(selection: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the criterion of a search against the number of components, one line for each family, the best circled.

    The range is three times that of the better half of the models; where others lie above it, a mark says so.

    Args:
        selection: from :func:`jaxgmm.select`, or any value with its ``table`` ``(len(families), len(n_components))``
            of the criterion, NaN where no fit was usable; its ``families``, ``n_components`` and ``criterion``.
        ax: where to draw; default the current axes.

    Returns:
        The axes; the circle is their last line.

    Example:
        >>> from types import SimpleNamespace
        >>> from matplotlib.figure import Figure
        >>> import jaxgmm
        >>> table = np.array([[9.0, 7.0]])
        >>> selection = SimpleNamespace(criterion="bic", families=(jaxgmm.FULL,), n_components=(1, 2), table=table)
        >>> criteria(selection, ax=Figure().subplots()).get_title()
        'Best by BIC: VVV, 2 components (7.00)'
    """
    ax, name = canvas.axes(ax), selection.criterion.upper()
    order = np.argsort(selection.n_components)
    numbers, table = np.array(selection.n_components)[order], np.asarray(selection.table)[:, order]
    lines = [
        ax.plot(numbers, values, label=letters(family), linewidth=1, markersize=5, **canvas.point_style(index))[0]
        for index, (family, values) in enumerate(zip(selection.families, table, strict=True))
    ]
    n_failed = np.count_nonzero(np.isnan(table))
    failures = f"{n_failed} of {table.size} models came to no usable end" if n_failed else ""
    title = f"No model to choose by {name}"
    if n_failed < table.size:
        row, column = np.unravel_index(np.nanargmin(table), table.shape)
        least, k = table[row, column], int(numbers[column])
        canvas.focus(ax, numbers, table, least, np.nanmedian(table), 1)
        lines[row].set(linewidth=2.5, zorder=3)
        ax.plot(k, least, marker="o", markersize=14, fillstyle="none", color="black", markeredgewidth=1.5)
        title = f"Best by {name}: {letters(selection.families[row])}, {k} component{'s' * (k > 1)} ({least:.2f})"
    _label(ax, "components", f"{name} (smaller is better)")
    canvas.caption(ax, title, failures)
    return ax


def _label(ax: Axes, across: str, up: str) -> None:
    """Name the axes, and write their numbers in full: whole ones across, none up as an offset from another."""
    ax.locator_params(axis="x", integer=True)
    ax.ticklabel_format(axis="y", useOffset=False, style="plain")
    ax.set(xlabel=across, ylabel=up)
