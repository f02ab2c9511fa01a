"""Tables of a page beside those of a summary: the data, the components' rows and correlations, and its making."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import jax
import numpy as np

from .. import __version__
from ..covariance.families import letters
from ..fitting.selection import Selection
from ..mixture.density import predict
from ..types import GMMParams
from .layout import Facts, Section, shortened, to_spread, with_deviation

_MOST_PAIRS = 20  # of features


def of_data(rows: np.ndarray, row_weights: np.ndarray, names: Sequence[str]) -> Section:
    """The mean, standard deviation and quartiles of each feature, over the rows with weight."""
    digits = np.finfo(rows.dtype).precision + 2
    rows, row_weights = rows[row_weights > 0].astype(float), row_weights[row_weights > 0]
    means = np.average(rows, axis=0, weights=row_weights)
    deviations = np.sqrt(np.average((rows - means) ** 2, axis=0, weights=row_weights))
    quartiles = np.quantile(rows, [0, 0.25, 0.5, 0.75, 1], axis=0, weights=row_weights, method="inverted_cdf")
    table = [["feature", "mean ± sd", "least", "first quartile", "median", "third quartile", "largest"]]
    for name, mean, deviation, column in zip(names, means.tolist(), deviations.tolist(), quartiles.T, strict=True):
        numbers = (to_spread(number, deviation, digits) for number in column.tolist())
        table.append([shortened(name), with_deviation(mean, deviation, digits), *numbers])
    return Section(table, "each feature, over all rows with weight")


def of_rows(params: GMMParams, rows: np.ndarray, row_weights: np.ndarray, is_weighted: bool) -> Section:
    """How many rows have each component as their most probable one, and what they weigh."""
    counted = row_weights > 0
    labels, share = np.asarray(predict(params, rows))[counted], row_weights[counted]
    numbers = np.bincount(labels, minlength=params.k)
    weights = np.bincount(labels, share, minlength=params.k)
    table = [["component", "rows", "sum of weights", "share"]]
    for j, (number, weight) in enumerate(zip(numbers.tolist(), weights.tolist(), strict=True)):
        table.append([str(j), str(number), f"{weight:.6g}", f"{weight / share.sum():.4f}"])
    if not is_weighted:
        table = [[*row[:2], row[-1]] for row in table]
    return Section(table, "rows by most probable component")


def of_correlations(params: GMMParams, names: Sequence[str]) -> list[Section]:
    """The correlations of each component, one pair of features on each line, the strongest first; none for d = 1."""
    covariances = np.asarray(params.covariances, float)
    d = len(names)
    if d == 1:
        return []
    if covariances.ndim == 2:
        return [Section([("correlations", "none: in this family the axes of components lie along the features")])]
    deviations = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    first, second = np.triu_indices(d, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlations = covariances[:, first, second] / deviations[:, first] / deviations[:, second]
    strength = np.nan_to_num(abs(correlations).max(0))
    order = np.argsort(-strength, kind="stable")
    header = ["in each"] if len(covariances) < params.k else [f"in {j}" for j in range(params.k)]
    table = [["features", *header]]
    for pair in order[:_MOST_PAIRS]:
        both = f"{shortened(names[first[pair]])}, {shortened(names[second[pair]])}"
        table.append([both, *(f"{correlation:.3f}" for correlation in correlations[:, pair].tolist())])
    rest = order[_MOST_PAIRS:]
    more = f"and {len(rest)} more pairs, none beyond ±{strength[rest[0]]:.3f}" if len(rest) else ""
    return [Section(table, "correlations of features in each component", more)]


def of_making(selection: Selection, origin: Facts) -> Section:
    """Where the data come from, what was searched, with which programs, and when."""
    families = ", ".join(letters(family) for family in selection.families)
    numbers = ", ".join(map(str, selection.n_components))
    dtype: Any = selection.params.means.dtype
    programs = {"jaxgmm": __version__, "jax": jax.__version__, "Python": platform.python_version()}
    software = ", ".join(f"{name} {version}" for name, version in programs.items())
    return Section(
        [
            *origin,
            ("searched", f"families {families} with {numbers} components, by {selection.criterion.upper()}"),
            ("software", f"{software}; {dtype} on {jax.default_backend()}"),
            ("made", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"),
        ]
    )
