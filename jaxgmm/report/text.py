"""What is said of a fit: facts, the models of a search, and a table of the components."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..arrays import columns_in_order
from ..checks import mixture_of
from ..covariance.families import Family, letters
from ..files.saved import FitLike, SavedFit, as_saved_fit
from ..fitting.criteria import parameter_count
from ..fitting.selection import Selection
from ..mixture.noise import all_weights
from ..types import EMResult, FitResult, GMMParams, Status, describe
from .layout import Facts as Facts
from .layout import Section as Section
from .layout import components, shortened, with_deviation
from .layout import html as html
from .layout import image as image
from .layout import text as text

_LONGEST_TABLE = 8  # models listed of a search
_IN_MCLUST = ("bic", "icl")  # criteria that mclust reports too, with the opposite sign


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
        x: ``(n, d)`` the rows it was fitted to, or ``(n,)`` for d = 1: they add their number.
        weights: ``(n,)`` row weights; default one each.
        family: the covariance family, or its name, for which free parameters are counted; by default that of the fit,
            or what the shape of the covariances says.
        feature_names: d names; by default those of the table that ``x`` is or that was fitted, or x1, x2, ...

    Returns:
        The text; of a batch of fits, how many of them ended in which way.

    Raises:
        TypeError: if ``fit`` is none of these.
        ValueError: if shapes, family and names do not go together.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgmm import GMMParams
        >>> print(summary(GMMParams(jnp.ones(1), jnp.zeros((1, 2)), jnp.full((1, 2), 4.0))))
        model           1 component, diag covariances
        <BLANKLINE>
        mean ± standard deviation of each component:
        component  weight     x1     x2
                0  1.0000  0 ± 2  0 ± 2
    """
    if is_batch(fit):
        return text(batch(fit))
    data = [] if x is None else [("data", size(checks.as_rows(columns_in_order(x, fit)), weights))]
    return text(sections(fit, as_saved_fit(fit, x, weights, family=family, feature_names=feature_names), data))


def sections(
    fit: FitLike, saved: SavedFit, data: Facts = (), most_features: int = 6, most_components: int | None = None
) -> list[Section]:
    """The parts of a report on a fit: facts of its ``data``, its criteria, its restarts or rivals, its components.

    ``saved`` is what :func:`as_saved_fit` makes of ``fit``.
    """
    ending = [*_ending(saved), *_collapsed(fit)]
    components = components_of(saved.params, saved.feature_names, most_features, most_components)
    if isinstance(fit, Selection):
        return [Section([*data, *_numbers_of_models(fit)]), _best_models(fit), Section(ending), components]
    restarts = _restarts(fit) if isinstance(fit, FitResult) else []
    return [Section([*data, *ending, *restarts]), components]


def size(x: Any, weights: ArrayLike | None = None) -> str:
    """Number of rows and of features, in words; and the sum of the row weights, which BIC takes for n."""
    of_weights = "" if weights is None else f"; weights sum to {float(np.sum(np.asarray(weights))):.10g}"
    return f"n = {x.shape[0]}, d = {x.shape[1]}{of_weights}"


def is_batch(fit: Any) -> bool:
    """Whether a result holds many fits, as ``vmap`` makes it."""
    return isinstance(fit, EMResult | FitResult) and getattr(fit.status, "ndim", 0) > 0


def batch(fit: Any) -> list[Section]:
    """How many fits of a batch ended in which way."""
    statuses = np.asarray(fit.status)
    counts = Counter(statuses.ravel().tolist())
    endings = [(Status(status).name.lower(), str(counts[status])) for status in sorted(counts)]
    return [Section([("fits", str(statuses.size)), *endings])]


def _ending(saved: SavedFit) -> Facts:
    """Facts of a fit: its model, its criteria, and why it stopped."""
    facts = [("model", f"{components(len(mixture_of(saved.params).means))}, {saved.family} covariances")]
    for name, value in saved.criteria.items():
        sign = f"; mclust's sign: {-value:.4f}" if name in _IN_MCLUST else ""
        is_likelihood = name == "log_likelihood"
        words = f"{value:.4f} nats" if is_likelihood else f"{value:.4f} (smaller is better{sign})"
        facts.append(("log-likelihood" if is_likelihood else name.upper(), words))
    if saved.status is not None:
        facts.append(("stopped", f"{describe(saved.status)} ({saved.n_iter} iterations)"))
    return facts


def components_of(
    params: Any, names: Sequence[str], most_features: int = 6, most_components: int | None = None
) -> Section:
    """A table of the components: weight, and mean and standard deviation of each feature."""
    mixture = mixture_of(params)
    k, d = mixture.means.shape
    of_components, of_noise = np.split(np.asarray(all_weights(params), float), [k])
    most_components = k if most_components is None else min(k, most_components)
    means = np.asarray(mixture.means)[:most_components, :most_features]
    deviations = _deviations(mixture, means.shape)
    digits = np.finfo(means.dtype).precision + 2
    rows = [["component", "weight", *map(shortened, names[:most_features])]]
    for j, row in enumerate(zip(means.tolist(), deviations.tolist(), strict=True)):
        cells = [with_deviation(*both, digits) for both in zip(*row, strict=True)]
        rows.append([str(j), f"{of_components[j]:.4f}", *cells])
    rows += [["noise", f"{weight:.4f}", *("" for _ in rows[0][2:])] for weight in of_noise.tolist()]
    hidden = [(k - most_components, "components"), (d - most_features, "features")]
    more = " and ".join(f"{count} more {things}" for count, things in hidden if count > 0)
    return Section(rows, "mean ± standard deviation of each component", f"and {more}" if more else "")


def _deviations(params: GMMParams, shape: tuple[int, int]) -> np.ndarray:
    """Standard deviations of the first components and features, without a copy of the others."""
    covariances = np.asarray(params.covariances)[: shape[0]]
    if covariances.ndim == 3:
        covariances = np.diagonal(covariances, axis1=1, axis2=2)
    with np.errstate(invalid="ignore"):  # a variance that is negative has no root
        return np.broadcast_to(np.sqrt(covariances[:, : shape[1]]), shape)


def _numbers_of_models(selection: Selection) -> Facts:
    """How many models and restarts a search had, and how many of them failed."""
    best = selection.families.index(selection.family), selection.n_components.index(selection.k)
    return [
        ("models", f"{selection.table.size}, of which {np.isnan(selection.table).sum()} came to no usable end"),
        ("restarts", f"{selection.failed.sum()} failed, over all models; {selection.failed[best]} of the best model"),
    ]


def _best_models(selection: Selection) -> Section:
    """A table of the best models of a search, one on each line."""
    name = selection.criterion.upper()
    rows = [["rank", "family", "components", "parameters", "log-likelihood", name, f"mclust's {name}", "difference"]]
    for rank, (family, k) in enumerate(selection.ranking[:_LONGEST_TABLE], start=1):
        place = selection.families.index(family), selection.n_components.index(k)
        count = parameter_count(family, k, selection.params.means.shape[1])
        value = selection.table[place]
        numbers = selection.log_likelihoods[place], value, -value, value - np.nanmin(selection.table)
        rows.append([str(rank), letters(family), str(k), str(count), *(f"{number:.2f}" for number in numbers)])
    if selection.criterion not in _IN_MCLUST:
        rows = [[*row[:-2], row[-1]] for row in rows]
    rest = len(selection.ranking) - _LONGEST_TABLE
    more = f"and {rest} more models" if rest > 0 else ""
    return Section(rows, f"best models by {name} (smaller is better)", more)


def _restarts(fit: FitResult) -> Facts:
    """How the restarts ended."""
    statuses, n_agree = np.asarray(fit.statuses), np.count_nonzero(fit.agrees)
    failed = sum(not Status(status).is_usable for status in statuses.tolist())
    return [("restarts", f"{len(statuses)}, of which {failed} failed; {n_agree} ended as high as the best")]


def _collapsed(fit: FitLike) -> Facts:
    """Which components have no spread of their own."""
    excess = getattr(fit, "excess", None)
    components = [] if excess is None else np.flatnonzero(np.asarray(excess) > 0).tolist()
    return [("without spread", f"components {components}")] if components else []
