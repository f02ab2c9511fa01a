"""Search over covariance families and numbers of components for the model that a criterion likes best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from .. import checks
from ..arrays import column_names
from ..covariance.families import FAMILIES, FAMILIES_1D, Family, as_family, get_family
from ..fitted import feature_names_of
from ..mixture.priors import default_prior
from ..mixture.units import in_unit, units_of
from ..padding import pad_rows
from ..progress import show
from ..seeding import hierarchy, nested_partitions
from ..types import EMResult, FeatureNames, FitError, GMMParams, Observations, Prior, describe, is_usable
from .criteria import parameter_count, warn_unless_counts
from .offsets import centred, moved_back, prior_about, warn_of_rounded
from .ranking import Selection as Selection
from .rounds import better_of, in_parallel, where_others_ended
from .search import CRITERIA, Criterion, Data, FamilyModels, PriorRule, Search, search_family
from .spurious import refuse_singular
from .standard import in_nats_of_weights
from .starts import SAMPLE_ROWS

N_FOLDS = 10
SHORTEST = (64, 128)  # lengths that few rows are padded to: a search runs long enough for more of them to pay


def select(
    key: Array | int,
    x: ArrayLike | Observations,
    n_components: Iterable[int] | int = range(1, 10),
    *,
    weights: ArrayLike | None = None,
    families: Sequence[Family | str] | None = None,
    criterion: str | Criterion = "bic",
    n_init: int = 10,
    ridge: ArrayLike = 1e-6,
    prior: Prior | PriorRule | None = None,
    tol: ArrayLike = 1e-5,
    max_iter: int = 1000,
    progress: bool = False,
) -> Selection:
    r"""Fit every family with every number of components, and say which the criterion likes best.

    .. math:: \hat M = \arg\min_{f, k} \mathrm{BIC}(f, k)

    Families of matrices share one compiled program, for all numbers of components, as do those of diagonals; with a
    prior, families that are stored alike. Half of the restarts begin from hierarchical clustering
    (:mod:`jaxgmm.seeding.hierarchy`), k-means++ and random rows, the same for every family; the other half from where
    the other families ended, as a partition that suits one family often suits another. As the tree is built on the host
    and the result is a table of models, not for use under ``jit``.

    Args:
        key: a JAX random key, or a seed.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1, or :class:`jaxgmm.Observations`.
        n_components: numbers of components.
        weights: ``(n,)`` row weights >= 0, counted as repetitions, with a warning where they are neither counts nor one
            on average, so that their sum is no number of observations; default one each.
        families: covariance families, or their names; default all fourteen, or the two that one feature has; with no
            more rows than features the six diagonal ones, as matrices would be singular.
        criterion: ``"bic"``, ``"icl"``, ``"aic"``, or ``"cv"``: minus twice the log-likelihood of rows held out, over
            ten folds, which divide the counts of rows with integer weights; or a :class:`Criterion`.
        n_init: number of restarts of each model. The first two are from hierarchical clustering.
        ridge: see :func:`jaxgmm.fit`.
        prior: a :class:`jaxgmm.Prior` for all models, or a rule ``(x, n_components, weights, family=) -> Prior``, such
            as :func:`jaxgmm.default_prior`; default none.
        tol: see :func:`jaxgmm.fit`; larger by default, as ranking models needs less precision than estimating one.
        max_iter: see :func:`jaxgmm.fit`.
        progress: whether to show on stderr what is compiled, how many models are fitted, how fast, and the time left.

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
        >>> selection = select(jax.random.key(0), x, [2, 3], families=["EEE", "EEI"], n_init=8)
        >>> selection.family.letters, selection.k, selection.table.round().tolist()
        ('EEE', 3, [[2325.0, 2314.0], [2355.0, 2323.0]])

    Reference:
        Fraley & Raftery (2002), Model-based clustering, discriminant analysis, and density estimation; Scrucca, Fop,
        Murphy & Raftery (2016), mclust 5.
    """
    # Arguments
    key, criterion = checks.as_key(key), _criterion(criterion)
    names, feature_names = column_names(x), feature_names_of(x)
    x, weights, reference = centred(x, weights, names, prior)
    weights, unit, total_weight = _in_unit(weights, criterion, prior)
    numbers = _numbers(n_components)
    checks.enough_rows(x, weights, max(numbers), least=2)
    chosen = _families(families, x.shape[1], np.count_nonzero(weights))
    n_init, max_iter = checks.as_integer(n_init, "n_init", 1), checks.as_integer(max_iter, "max_iter", 0)
    ridge, tol = (jnp.asarray(checks.non_negative(v, name), x.dtype) for v, name in ((ridge, "ridge"), (tol, "tol")))
    value, rule = (None, prior) if callable(prior) else (prior, None)
    value = None if value is None else checks.as_prior(prior_about(value, reference), x[:1])
    refuse_singular(chosen, x, weights, ridge, prior, "families")

    # Starts of both rounds
    n_first = -(-n_init // 2)
    *start_keys, fold_key = jax.random.split(key, 4)
    sample, labels = _partitions(start_keys, x, weights, numbers, n_init)
    held_out = _folds(fold_key, weights) if criterion.is_held_out else np.zeros((len(x), 0), x.dtype)
    data = Data(x, weights, sample, np.ones(len(sample), bool), held_out, ridge, tol, value)
    if rule in (None, default_prior) and criterion in CRITERIA.values():  # functions of the user's own may count rows
        data, labels = _padded(data, labels)

    def search(labels: np.ndarray, group: list[Family], which: int) -> FamilyModels:
        options = Search(numbers, tuple(group), max_iter, criterion, rule)
        result = search_family(data, jnp.asarray(labels), jnp.int32(which), options)
        in_nats: FamilyModels = in_nats_of_weights(jax.device_get(result), unit)
        return in_nats

    # First round, then from where the other families ended
    groups = _of_one_program(chosen, max(numbers), x.shape[1], prior is not None)
    to_selection = partial(_selection, criterion, chosen, numbers, x.shape[1], total_weight)
    has_second = n_init > n_first
    n_models = (1 + has_second) * len(chosen) * len(numbers)
    with show("models", progress, total=n_models, unit=" models") as display:
        models = in_parallel(search, groups, dict.fromkeys(chosen, labels[:, :n_first]), display)
        if has_second:
            starts = where_others_ended(models, numbers, to_selection(models).ranking, labels[:, n_first:])
            further = in_parallel(search, groups, starts, display)
            models = {family: better_of(models[family], further[family]) for family in chosen}
    return _usable(to_selection(models), reference, names, feature_names)


def _in_unit(weights: Array, criterion: Criterion, prior: Any) -> tuple[Array, float, float]:
    """Row weights in a unit in which sums do not overflow, that unit, and the sum of the weights themselves."""
    weights, unit = in_unit(weights) if prior is None and criterion in CRITERIA.values() else (weights, 1.0)
    if not criterion.is_held_out:
        warn_unless_counts(np.asarray(weights, np.float64) * unit)
    return weights, unit, float(np.asarray(weights).sum()) * unit


def _folds(key: Array, weights: Array) -> Array:
    """The weight of each row that each fold holds out, ``(n, folds)``: part of a count, all of what is no count."""
    counts = np.asarray(weights)
    if (counts <= 1).all() or (counts % 1).any():
        fold_of = jax.random.permutation(key, jnp.arange(len(weights)) % N_FOLDS)
        return jnp.where(fold_of[:, None] == jnp.arange(N_FOLDS)[None], weights[:, None], 0)
    generator = np.random.default_rng(int(jax.random.bits(key, dtype=jnp.uint32)))
    held_out = generator.multinomial(counts.astype(np.int64), np.full(N_FOLDS, 1 / N_FOLDS))
    return jnp.asarray(held_out, weights.dtype)


def _padded(data: Data, labels: np.ndarray) -> tuple[Data, np.ndarray]:
    """Rows and a sample of them, and labels of the sample, padded so that searches share programs."""
    x, weights, held_out = pad_rows((data.x, data.weights, data.held_out), SHORTEST)
    sample, is_sampled = pad_rows((data.sample, data.is_sampled), SHORTEST)
    labels = np.pad(labels, ((0, 0), (0, 0), (0, len(sample) - len(data.sample))))
    return data._replace(x=x, weights=weights, held_out=held_out, sample=sample, is_sampled=is_sampled), labels


def _usable(
    selection: Selection, reference: np.ndarray | None, names: tuple[str, ...], feature_names: FeatureNames | None
) -> Selection:
    """The selection, its models where the rows are and with what they are of, having checked that it has some."""
    if not selection.ranking:
        raise FitError(
            f"none of {selection.table.size} models came to a usable end; the first: "
            f"{describe(selection.statuses.flat[0])}"
        )
    with np.errstate(over="ignore"):  # of weights beyond the dtype's range
        results = jax.device_put(selection.results)
    by_name = {family.name: family for family in selection.families}
    results = {
        (name, k): moved_back(result, reference)._replace(family=by_name[name], feature_names=feature_names)
        for (name, k), result in results.items()
    }
    selection = replace(selection, results=results)
    warn_of_rounded(selection.best, reference, names)
    return selection


def _criterion(criterion: str | Criterion) -> Criterion:
    if isinstance(criterion, Criterion):
        return criterion
    if criterion not in CRITERIA:
        raise ValueError(f"criterion: expected one of {', '.join(CRITERIA)}, or a Criterion, got {criterion!r}")
    return CRITERIA[criterion]


def _numbers(n_components: Iterable[int] | int) -> tuple[int, ...]:
    numbers = [n_components] if isinstance(n_components, (int, np.integer)) else list(n_components)
    if not numbers:
        raise ValueError("n_components: expected at least one number of components, got none")
    return tuple(dict.fromkeys(checks.as_integer(number, "n_components", 1) for number in numbers))


def _families(families: Sequence[Family | str] | None, n_features: int, n_rows: Any) -> tuple[Family, ...]:
    existing = FAMILIES_1D if n_features == 1 else FAMILIES
    if families is None:
        return tuple(family for family in existing if n_rows > n_features or family.letters[2] == "I")
    names = [families] if isinstance(families, str | Family) else list(families)
    if not names:
        raise ValueError("families: expected at least one covariance family, got none")
    chosen = tuple(dict.fromkeys(as_family(get_family(name)) for name in names))
    for family in chosen:
        if (family in FAMILIES and n_features == 1) or (family in FAMILIES_1D and n_features > 1):
            names = [f.letters if n_features > 1 else f.name for f in existing]
            raise ValueError(
                f"families: expected some of {', '.join(names)} for {n_features} feature(s), got {family.name}"
            )
    return chosen


def _of_one_program(families: tuple[Family, ...], k: int, d: int, has_prior: bool) -> list[list[Family]]:
    """Families in groups that share a program, the largest group first: those of matrices, and those of diagonals.

    A prior counts once for each covariance that is stored, and so asks for families that are stored alike.
    """
    groups: dict[Any, list[Family]] = {}
    for family in families:
        shape = family.structure(k, d)
        groups.setdefault(shape if has_prior else len(shape), []).append(family)
    return sorted(groups.values(), key=len, reverse=True)


def _partitions(
    keys: Sequence[Array], x: Array, weights: Array, numbers: tuple[int, ...], n_starts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices ``(m,)`` of a sample of rows, and partitions of it ``(numbers, n_starts, m)``, two from trees first."""
    sample_key, seed_key, tree_key = keys
    sample = np.flatnonzero(np.asarray(weights) > 0)
    size = max(SAMPLE_ROWS, 32 * max(numbers))
    if len(sample) > size:
        sample = np.sort(np.asarray(jax.random.choice(sample_key, sample, (size,), replace=False)))
    units = jax.tree.map(np.asarray, units_of(x, weights, True))
    rows = (np.asarray(x)[sample] - units.shift) / units.scale
    padded, row_weights = pad_rows((rows, np.asarray(weights)[sample]))
    random = nested_partitions(seed_key, padded, row_weights, numbers, max(n_starts - 2, 0))  # in the background
    seed = int(jax.random.bits(tree_key, dtype=jnp.uint32))
    trees = hierarchy.partitions(np.asarray(rows, np.float64), numbers, seed)
    of_rows = np.asarray(random)[:, :, : len(rows)]
    return sample.astype(np.int32), np.concatenate([trees[:, :n_starts].astype(of_rows.dtype), of_rows], axis=1)


def _selection(
    criterion: Criterion,
    families: tuple[Family, ...],
    numbers: tuple[int, ...],
    n_features: int,
    total_weight: float,
    models: dict[Family, FamilyModels],
) -> Selection:
    """The table of a search."""
    _, _, _, *columns = zip(*(models[family] for family in families), strict=True)
    log_likelihoods, statuses, failed, terms = (np.stack(column) for column in columns)
    counts = np.array([[parameter_count(family, k, n_features) for k in numbers] for family in families])
    table = criterion.value(counts, log_likelihoods, np.log(total_weight), terms)
    table = np.where(is_usable(statuses), table, np.nan)
    by_name = {
        (family.name, k): _model(models[family].models, column, k, family.structure(k, n_features))
        for family in families
        for column, k in enumerate(numbers)
    }
    return Selection(criterion.name, families, numbers, table, log_likelihoods, statuses, failed, by_name)


def _model(results: EMResult, column: int, k: int, shape: tuple[int, ...]) -> EMResult:
    """One of several results, with its first k components alone, and covariances stored in ``shape``.

    Components beyond k have weight zero, and covariances that a program stores for each component or feature are equal
    where a family stores them once.
    """
    result: EMResult = jax.tree.map(lambda leaf: leaf[column], results)
    weights, means, covariances = result.params
    params = GMMParams(weights[:k], means[:k], covariances[: shape[0], : shape[1]])
    return result._replace(params=params, excess=result.excess[:k])
