"""A fit at a glance: its components, its restarts or rivals, and its climb, side by side."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..types import EMResult, FitResult
from .features import density_1d
from .fits import criteria, restarts, trace
from .mixtures import clusters, density
from .subject import Names, run_of, subject_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fit(
    result: Any, x: ArrayLike | None = None, *, feature_names: Names = None, figure: Figure | None = None
) -> np.ndarray:
    """Draw all there is to see of a fit: its components over the rows, its restarts or the models searched, its climb.

    Args:
        result: from :func:`jaxgmm.fit`, :func:`jaxgmm.select` or :func:`jaxgmm.em`.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1. Default none: the components alone.
        feature_names: d names; default those of a data frame's columns, or x1, x2, ...
        figure: where to draw; default a new one.

    Returns:
        The axes, ``(p,)``: for one feature :func:`density_1d`, for more :func:`clusters` and, with rows,
        :func:`density`; :func:`restarts` of a fit, :func:`criteria` of a search; :func:`trace`.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes or ``feature_names`` do not fit, or no row is finite.

    Example:
        >>> from matplotlib.figure import Figure
        >>> import jaxgmm
        >>> start = jaxgmm.GMMParams(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))
        >>> x = np.array([[-1.0, 0.0], [1.0, 2.0]])
        >>> [ax.get_ylabel() for ax in fit(jaxgmm.em(start, x, family=jaxgmm.DIAG), x, figure=Figure())]
        ['x2', 'x2', 'objective (nats)']
    """
    if not isinstance(run_of(result), EMResult):
        raise TypeError(f"result: expected what em, fit or select returned, got {type(result).__name__}")
    d = len(subject_of(result, x, feature_names).names)

    # What there is to draw
    over_rows: list[Any] = [density_1d] if d == 1 else [clusters] if x is None else [clusters, density]
    of_runs: list[Any] = [criteria] if hasattr(result, "table") else [restarts] if isinstance(result, FitResult) else []
    drawings = [partial(draw, result, x, feature_names=feature_names) for draw in over_rows]
    drawings += [partial(draw, result) for draw in [*of_runs, trace]]

    # Four in a square, fewer in a row
    columns = 2 if len(drawings) == 4 else len(drawings)
    rows = -(-len(drawings) // columns)
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(5.5 * columns, 4.5 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for draw, ax in zip(drawings, grid, strict=True):
        draw(ax=ax)
    return np.asarray(grid)
