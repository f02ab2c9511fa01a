"""Pictures of how fits went: the log-likelihood along a run, and a criterion over all models of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..covariance.families import letters
from ..types import EMResult, FitResult, describe
from . import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def trace(result: EMResult | FitResult, *, ax: Axes | None = None) -> Axes:
    """Log-likelihood after each iteration, and why the fit stopped.

    Args:
        result: from :func:`jaxgmm.em`, or from :func:`jaxgmm.fit` for its best restart.
        ax: where to draw; default the current axes.

    Returns:
        The axes.

    Raises:
        ValueError: if ``result`` is a batch of fits.

    Example:
        >>> from matplotlib.figure import Figure
        >>> import jaxgmm
        >>> start = GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
        >>> trace(jaxgmm.em(start, np.array([-1.0, 1.0])), ax=Figure().subplots())
        <Axes: xlabel='iteration', ylabel='log-likelihood (nats)'>
    """
    best = result.best if isinstance(result, FitResult) else result
    if best.n_iter.ndim:
        raise ValueError(f"result: expected one fit, got a batch of shape {best.n_iter.shape}: choose one of them")
    # At max_iter the history ends one short: the log-likelihood of what the last iteration left stands by itself.
    values = [*np.asarray(best.history)[: int(best.n_iter)], float(best.log_likelihood)]
    ax = canvas.axes(ax)
    ax.plot(values, color=canvas.COLOURS[0], marker=".")
    ax.annotate(
        describe(best.status).partition(":")[0], (0.97, 0.05), xycoords="axes fraction", ha="right", va="bottom"
    )
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="iteration", ylabel="log-likelihood (nats)")
    return ax


def criteria(selection: Any, *, ax: Axes | None = None) -> Axes:
    """Criterion against number of components, a line for each family, the best circled.

    Args:
        selection: its ``table`` ``(len(families), len(n_components))`` of the ``criterion``, NaN where no fit was
            usable; the ``families``, ``n_components`` and name of the ``criterion``; and ``family`` and ``k`` of the
            best.
        ax: where to draw; default the current axes.

    Returns:
        The axes; the circle is their last line.

    Example:
        >>> from types import SimpleNamespace
        >>> from matplotlib.figure import Figure
        >>> import jaxgmm
        >>> best = {"criterion": "bic", "family": jaxgmm.FULL, "k": 2}
        >>> selection = SimpleNamespace(
        ...     families=(jaxgmm.FULL,), n_components=(1, 2), table=np.array([[9.0, 7.0]]), **best
        ... )
        >>> criteria(selection, ax=Figure().subplots())
        <Axes: xlabel='components', ylabel='BIC (smaller is better)'>
    """
    ax = canvas.axes(ax)
    for index, (family, values) in enumerate(zip(selection.families, selection.table, strict=True)):
        ax.plot(selection.n_components, values, label=letters(family), linewidth=1, markersize=5, **canvas.style(index))
    best = selection.families.index(selection.family), selection.n_components.index(selection.k)
    ax.plot(selection.k, selection.table[best], marker="o", markersize=14, fillstyle="none", color="black")
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="components", ylabel=f"{selection.criterion.upper()} (smaller is better)")
    canvas.legend_above(ax, max(1, 64 // (6 + max(len(letters(family)) for family in selection.families))))
    return ax
