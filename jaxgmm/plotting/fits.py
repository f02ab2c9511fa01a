"""Pictures of runs and searches: the objective before each iteration, and a criterion for every model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..covariance.families import letters
from ..types import EMResult, FitResult, describe, trimmed_history
from . import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def trace(result: EMResult | FitResult, *, ax: Axes | None = None) -> Axes:
    """Draw what EM climbs, before each iteration of a fit, and say why it stopped.

    That is the log-likelihood, plus the log prior density if there is a prior, see :func:`jaxgmm.trimmed_history`.

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
        >>> import numpy as np
        >>> start = jaxgmm.GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
        >>> trace(jaxgmm.em(start, np.array([-1.0, 1.0])), ax=Figure().subplots())
        <Axes: xlabel='iteration', ylabel='objective (nats)'>
    """
    best = result.best if isinstance(result, FitResult) else result
    values = trimmed_history(best)
    ax = canvas.axes(ax)
    ax.plot(values, color=canvas.COLOURS[0], marker=".")
    ax.annotate(
        describe(best.status).partition(":")[0], (0.97, 0.05), xycoords="axes fraction", ha="right", va="bottom"
    )
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="iteration", ylabel="objective (nats)")
    return ax


def criteria(selection: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the criterion of a search against the number of components, one line for each family, the best circled.

    Args:
        selection: from :func:`jaxgmm.select`, or any value with its ``table`` ``(len(families), len(n_components))``
            of the criterion, NaN where no fit was usable; its ``families``, ``n_components`` and ``criterion``; and the
            best model's ``family`` and ``k``.
        ax: where to draw; default the current axes.

    Returns:
        The axes; the circle is their last line.

    Example:
        >>> from types import SimpleNamespace
        >>> from matplotlib.figure import Figure
        >>> import jaxgmm
        >>> import numpy as np
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
