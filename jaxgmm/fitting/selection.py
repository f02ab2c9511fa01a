"""Search over covariance families and numbers of components for the model that a criterion likes best."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from .. import checks
from ..covariance.families import FAMILIES, FAMILIES_1D, Family, get_family, one_of
from ..loop.acceleration import momentum
from ..loop.driver import Options
from ..mixture.density import chunk_rows, log_prob, responsibilities
from ..progress import ticking
from ..seeding import hierarchy
from ..seeding.partitions import nested_partitions
from ..steps.maximization import from_responsibilities
from ..types import EMResult, FitError, FitResult, GMMParams, Prior, Status
from .from_data import (
    SEEDING_ROWS,
    restore,
    standardisation,
    standardise,
    standardise_prior,
    with_relative_ridge,
)
from .restarts import Rules, objective, race

CRITERIA = ("bic", "icl", "aic", "cv")
N_FOLDS = 10
# A dozen fill the vector units, more would wait for each other; from mclust's partition, the first, EM goes to the end.
WIDTH = 12
RULES = Rules(stretch=10, keep=3, width=WIDTH, trusted=1)

PriorRule = Callable[[Array, Array, Array, Family], Prior]  # (x, weights, n_components, family) -> Prior


@dataclass(frozen=True)
class Selection:
    """Every model of a search, and the best of them.

    Attributes:
        criterion: its name; smaller is better (scikit-learn's sign; mclust's BIC and ICL are the negative of it).
        families: the F families searched.
        n_components: the K numbers of components searched.
        table: ``(F, K)`` the criterion, doubled nats; NaN where no restart came to a usable end.
        log_likelihoods: ``(F, K)`` of the best restart, in nats.
        statuses: ``(F, K)`` int, a Status each, of the best restart.
        failed: ``(F, K)`` int, restarts that failed or degenerated.
        results: by family name and number of components, the best :class:`EMResult`, as :func:`jaxgmm.fit` gives it.
    """

    criterion: str
    families: tuple[Family, ...]
    n_components: tuple[int, ...]
    table: np.ndarray
    log_likelihoods: np.ndarray
    statuses: np.ndarray
    failed: np.ndarray
    results: dict[tuple[str, int], EMResult]

    @property
    def ranking(self) -> list[tuple[Family, int]]:
        """Families and numbers of components, best first, without those that came to no usable end."""
        order = np.argsort(self.table, axis=None, kind="stable")
        usable = order[: np.count_nonzero(~np.isnan(self.table))]
        places = (np.unravel_index(index, self.table.shape) for index in usable)
        return [(self.families[row], self.n_components[column]) for row, column in places]

    @property
    def family(self) -> Family:
        """The best model's."""
        return self.ranking[0][0]

    @property
    def k(self) -> int:
        """The best model's number of components."""
        return self.ranking[0][1]

    @property
    def best(self) -> EMResult:
        """The best model."""
        return self.results[self.family.name, self.k]


def select(
    key: Array,
    x: ArrayLike,
    n_components: Iterable[int] | int = range(1, 10),
    families: Sequence[Family | str] | None = None,
    weights: ArrayLike | None = None,
    *,
    criterion: str = "bic",
    n_init: int = 3,
    ridge: ArrayLike = 1e-6,
    prior: PriorRule | None = None,
    tol: ArrayLike = 1e-5,
    max_iter: int = 1000,
    progress: bool = False,
) -> Selection:
    r"""Fit every family with every number of components, and say which the criterion likes best.

    .. math:: \hat M = \arg\min_{f, k} \mathrm{BIC}(f, k)

    Families that are stored alike are one compiled program, for all numbers of components: what is beyond k has weight
    zero. Restarts begin from hierarchical clustering (:mod:`jaxgmm.seeding.hierarchy`), k-means++ and random rows, the
    same for every family; then, as what one family finds another often likes too, from where the other families ended.
    As the tree is built on the host and the result is a table of models, not for use under ``jit``.

    Args:
        key: a JAX random key.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        n_components: numbers of components.
        families: covariance families, or their names; default all fourteen, or the two that one feature has.
        weights: ``(n,)`` row weights >= 0; default one each.
        criterion: ``"bic"``, ``"icl"``, ``"aic"``, or ``"cv"``: minus twice the log-likelihood of rows held out, over
            ten folds.
        n_init: random restarts of each model beside the two from hierarchical clustering. As many again as all of
            these begin where the best other families with as many components ended, or at random where there are fewer.
        ridge: see :func:`jaxgmm.fit`.
        prior: ``(x, weights, n_components, family) -> Prior`` such as :func:`jaxgmm.default_prior`; default none.
        tol: see :func:`jaxgmm.fit`; models are told apart by less than it takes to settle one.
        max_iter: see :func:`jaxgmm.fit`.
        progress: whether to show a progress bar, by families, on stderr.

    Returns:
        :class:`Selection`.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: for values of ``x`` and ``weights`` as :func:`jaxgmm.fit` does; for an unknown family or criterion,
            an empty range, a number of components below one or beyond the number of rows, or a family that does not
            exist in so many dimensions.
        FitError: if no model came to a usable end.

    Example:
        >>> import jax
        >>> import jaxgmm
        >>> x = jaxgmm.datasets.load_faithful().x
        >>> found = select(jax.random.key(0), x, [2, 3], ["EEE", "EEI"], n_init=2)
        >>> found.family.letters, found.k, found.table.round().tolist()
        ('EEE', 3, [[2325.0, 2314.0], [2355.0, 2323.0]])

    Reference:
        Fraley & Raftery (2002), Model-based clustering, discriminant analysis, and density estimation; Scrucca, Fop,
        Murphy & Raftery (2016), mclust 5.
    """
    x = checks.as_rows(x)
    weights = checks.as_row_weights(weights, x).astype(x.dtype)
    checks.row_values(x, weights)
    numbers = _numbers(n_components)
    checks.enough_rows(x, weights, max(numbers))
    chosen = _families(families, x.shape[1])
    if criterion not in CRITERIA:
        raise ValueError(f"criterion: expected one of {', '.join(CRITERIA)}, got {criterion!r}")
    n_init = checks.as_integer(n_init, "n_init", 0)
    max_iter = checks.as_integer(max_iter, "max_iter", 0)
    ridge, tol = (jnp.asarray(checks.non_negative(v, name), x.dtype) for v, name in ((ridge, "ridge"), (tol, "tol")))

    size = 2 + n_init  # starts of each of two rounds
    sample, labels = _partitions(key, x, weights, numbers, n_init + size)
    fold_of = jax.random.permutation(key, jnp.arange(x.shape[0]) % N_FOLDS)
    alike: dict[tuple[int, ...], list[Family]] = {}
    for family in chosen:
        alike.setdefault(family.structure(max(numbers), x.shape[1]), []).append(family)

    def search(labels: np.ndarray, group: list[Family], which: int) -> _Found:
        with jax.enable_x64(x.dtype == np.float64):  # a setting of the caller's thread alone
            found: _Found = _search(
                *(x, weights, sample, jnp.asarray(labels), fold_of, ridge, tol, jnp.int32(which)),
                *(numbers, tuple(group), max_iter, criterion, prior),
            )
            return jax.device_get(found._replace(models=()))._replace(models=found.models)

    groups = sorted(alike.values(), key=len, reverse=True)
    collected = partial(_selection, criterion, chosen, numbers, x.shape[1], float(weights.sum()))
    line = ticking(total=2 * len(chosen), desc="families", unit="family") if progress else nullcontext()
    with line as bar:
        begun = _in_parallel(search, groups, dict.fromkeys(chosen, labels[:, :size]), bar)
        further = _where_others_ended(begun, collected(begun), labels[:, size:])
        ended = _in_parallel(search, groups, further, bar)
    selection = collected({family: _better(begun[family], ended[family]) for family in chosen})
    if not selection.ranking:
        raise FitError(
            f"none of {selection.table.size} models came to a usable end: raise the ridge, or use fewer components"
        )
    return selection


def _numbers(n_components: Iterable[int] | int) -> tuple[int, ...]:
    given = [n_components] if isinstance(n_components, int) else list(n_components)
    if not given:
        raise ValueError("n_components: expected at least one number of components, got none")
    return tuple(dict.fromkeys(checks.as_integer(number, "n_components", 1) for number in given))


def _families(families: Sequence[Family | str] | None, n_features: int) -> tuple[Family, ...]:
    existing = FAMILIES_1D if n_features == 1 else FAMILIES
    if families is None:
        return existing
    given = [families] if isinstance(families, str | Family) else list(families)
    if not given:
        raise ValueError("families: expected at least one covariance family, got none")
    chosen = tuple(dict.fromkeys(checks.family_of(get_family(family)) for family in given))
    for family in chosen:
        if (family in FAMILIES and n_features == 1) or (family in FAMILIES_1D and n_features > 1):
            names = ", ".join(f.letters if n_features > 1 else f.name for f in existing)
            raise ValueError(f"families: expected some of {names} for {n_features} feature(s), got {family.name}")
    return chosen


def _partitions(
    key: Array, x: Array, weights: Array, numbers: tuple[int, ...], n_random: int
) -> tuple[Array, np.ndarray]:
    """Indices ``(m,)`` of a sample of rows, and partitions of it ``(numbers, 2 + n_random, m)`` to start from."""
    sample_key, seed_key = jax.random.split(key)
    sample = np.flatnonzero(np.asarray(weights) > 0)
    size = max(SEEDING_ROWS, 32 * max(numbers))
    if len(sample) > size:
        sample = np.sort(np.asarray(jax.random.choice(sample_key, sample, (size,), replace=False)))
    scale = standardisation(x, weights, per_feature=True)
    rows = (x[sample] - scale.shift[None]) / scale.scale[None]
    random = nested_partitions(seed_key, rows, weights[sample], numbers, n_random)  # goes on while the trees are built
    trees = hierarchy.partitions(np.asarray(rows, np.float64), numbers)
    return jnp.asarray(sample), np.concatenate([trees.astype(random.dtype), random], axis=1)


class _Found(NamedTuple):
    """The models of one family, one for each number of components."""

    models: tuple[EMResult, ...]  # each the best of its restarts
    objectives: Array  # (K,) log-likelihood, plus log prior density
    labels: Array  # (K, m) of the sample of rows
    log_likelihoods: Array  # (K,)
    statuses: Array  # (K,)
    failed: Array  # (K,) restarts
    asked: Array  # (K,) what the criterion asks of a model beside its likelihood


@partial(jax.jit, static_argnums=(8, 9, 10, 11, 12))
def _search(
    x: Array,
    weights: Array,
    sample: Array,
    labels: Array,
    fold_of: Array,
    ridge: Array,
    tol: Array,
    which: Array,
    numbers: tuple[int, ...],
    families: tuple[Family, ...],
    max_iter: int,
    criterion: str,
    prior: PriorRule | None,
) -> _Found:
    """The best of all starts for each number of components; of families stored alike, ``which`` says the one to fit."""
    family, most = one_of(families, which), max(numbers)
    per_feature = jnp.asarray([member.scale_equivariant for member in families])[which]

    def fit(weights: Array) -> tuple[FitResult, Array]:
        scale = standardisation(x, weights, per_feature)
        chunk_size = chunk_rows(most * WIDTH, x.shape[1], x.dtype.itemsize)
        bare = standardise(scale, x, weights, ridge, tol, None)
        bare = with_relative_ridge(bare, family.structure(most, x.shape[1]))
        rows, row_weights = bare.rows[sample], weights[sample]

        def start(labels: Array) -> GMMParams:
            one_hot = jax.nn.one_hot(labels, most, dtype=x.dtype)
            return from_responsibilities(rows, one_hot, row_weights, family=family, ridge=bare.ridge)

        def prior_of(number: Array) -> Prior | None:
            if prior is None:
                return None
            rules = [lambda number, member=member: prior(x, weights, number, member) for member in families]
            return standardise_prior(lax.switch(which, rules, number), scale)

        problem = bare._replace(prior=jax.vmap(prior_of)(jnp.asarray(numbers)))
        by_number = jax.tree.map(lambda _: False, bare)._replace(prior=jax.tree.map(lambda _: True, problem.prior))
        options = Options(family, accelerate=momentum(), chunk_size=chunk_size)
        best = race(jax.vmap(jax.vmap(start))(labels), problem, by_number, max_iter, RULES, options)
        restored = jax.vmap(lambda result: restore(result, scale, weights, True))(best)
        return restored, jax.vmap(objective)(best.best, problem.prior)

    def uncertainty(params: GMMParams) -> Array:
        certainty = jnp.log(responsibilities(params, x).max(1))
        return jnp.where(weights > 0, weights * certainty, 0).sum()

    def held_out(fold: Array) -> Array:
        held = fold_of == fold
        best = fit(jnp.where(held, 0, weights))[0].best
        score = lax.map(lambda p: jnp.where(held & (weights > 0), weights * log_prob(p, x), 0).sum(), best.params)
        return jnp.where(best.status <= Status.MAX_ITER, score, jnp.nan)

    (best, _, statuses), objectives = fit(weights)
    clusters = lax.map(lambda params: responsibilities(params, x[sample]).argmax(1), best.params)
    asked = jnp.zeros_like(best.log_likelihood)
    if criterion == "icl":
        asked = lax.map(uncertainty, best.params)
    if criterion == "cv":
        asked = lax.map(held_out, jnp.arange(N_FOLDS)).sum(0)
    models = tuple(_model(best, index, number) for index, number in enumerate(numbers))
    failed = (statuses > Status.MAX_ITER).sum(1)
    return _Found(models, objectives, clusters, best.log_likelihood, best.status, failed, asked)


def _model(results: EMResult, index: int, k: int) -> EMResult:
    """One of several results, with its first k components alone: those beyond have weight zero."""
    result: EMResult = jax.tree.map(lambda leaf: leaf[index], results)
    weights, means, covariances = result.params
    return result._replace(params=GMMParams(weights[:k], means[:k], covariances[:k]))


def _in_parallel(
    search: Callable[[np.ndarray, list[Family], int], _Found],
    groups: list[list[Family]],
    labels: dict[Family, np.ndarray],
    bar: Any,
) -> dict[Family, _Found]:
    """``search`` of every family, side by side; the first of each group compiles a program for the others."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def after(first: Future[_Found], group: list[Family], which: int) -> _Found:
            wait([first])  # it has begun, as the pool takes turns
            return search(labels[group[which]], group, which)

        futures = {group[0]: pool.submit(search, labels[group[0]], group, 0) for group in groups}
        for group in groups:
            for which in range(len(group) - 1, 0, -1):  # those with most parameters, which take longest, early
                futures[group[which]] = pool.submit(after, futures[group[0]], group, which)
        for future in as_completed(futures.values()):
            future.result()
            if bar is not None:
                bar.update()
    return {family: future.result() for family, future in futures.items()}


def _where_others_ended(
    found: dict[Family, _Found], selection: Selection, otherwise: np.ndarray
) -> dict[Family, np.ndarray]:
    """For each family partitions ``(K, starts, m)``: the other families' with as many components, the best first.

    Where a change of one feature's units leaves a family alone, it leaves those it begins from alone too.
    """
    further = {family: otherwise.copy() for family in found}
    for column, k in enumerate(selection.n_components):
        ranked = [family for family, number in selection.ranking if number == k]
        for family, labels in further.items():
            others = [
                other for other in ranked if other is not family and other.scale_equivariant >= family.scale_equivariant
            ]
            for place, other in enumerate(others[: labels.shape[1]]):
                labels[column, place] = found[other].labels[column]
    return further


def _better(one: _Found, other: _Found) -> _Found:
    """For each number of components the better of two models."""

    def value(found: _Found) -> np.ndarray:
        return np.where(found.statuses <= Status.MAX_ITER, found.objectives, -np.inf)

    takes_other = value(other) > value(one)
    models = tuple(b if takes else a for takes, a, b in zip(takes_other, one.models, other.models, strict=True))
    columns: Any = [np.where(takes_other, b.T, a.T).T for a, b in zip(one[1:], other[1:], strict=True)]
    return _Found(models, *columns)._replace(failed=one.failed + other.failed)


def _selection(
    criterion: str,
    families: tuple[Family, ...],
    numbers: tuple[int, ...],
    n_features: int,
    total_weight: float,
    found: dict[Family, _Found],
) -> Selection:
    models, _, _, *columns = zip(*(found[family] for family in families), strict=True)
    log_likelihoods, statuses, failed, asked = (np.stack(column) for column in columns)
    count = np.array([[k - 1 + k * n_features + f.n_parameters(k, n_features) for k in numbers] for f in families])
    table = {
        "bic": count * np.log(total_weight) - 2 * log_likelihoods,
        "icl": count * np.log(total_weight) - 2 * log_likelihoods - 2 * asked,
        "aic": 2 * count - 2 * log_likelihoods,
        "cv": -2 * asked,
    }[criterion]
    table = np.where(statuses <= Status.MAX_ITER, table, np.nan)
    results = {
        (family.name, k): model
        for family, of_family in zip(families, models, strict=True)
        for k, model in zip(numbers, of_family, strict=True)
    }
    return Selection(criterion, families, numbers, table, log_likelihoods, statuses, failed, results)
