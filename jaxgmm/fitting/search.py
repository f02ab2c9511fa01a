"""The compiled part of a search: one family, all numbers of components, all starts, in one program.

Families of matrices share a program, as do those of diagonals: which of them to fit is a traced number. A mixture of k
components has weight zero beyond k, so that all numbers of components have the same shapes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..covariance.families import Family, one_of
from ..loop.accelerators import momentum
from ..mixture.density import chunk_rows, log_prob, predict
from ..mixture.units import standardise_prior
from ..printing import printed
from ..programs import program
from ..steps.maximization import first_estimate
from ..types import EMResult, FitResult, GMMParams, Prior, is_usable
from .criteria import aic_from, bic_from, total_log_certainty
from .restarts import Rules, successive_halving
from .standard import StandardProblem, gaussian_task, restore, standard_problem
from .starts import complete_starts

N_LANES = 12  # fill the vector units; more would wait for each other
RULES = Rules(first=10, keep=3, n_lanes=N_LANES, trusted=1)  # from mclust's partition, the first, EM goes to the end

PriorRule = Callable[..., Prior]  # (x, n_components, weights, family=) -> Prior


@printed
class Criterion(NamedTuple):
    """A number for each model; a search chooses the model with the smallest.

    Example:
        Hannan and Quinn's criterion:

        >>> import numpy as np
        >>> import jaxgmm
        >>> def value(n_parameters, log_likelihood, log_n, term):
        ...     return 2 * n_parameters * np.log(log_n) - 2 * log_likelihood
        >>> hqc = Criterion("hqc", value)
        >>> x = jaxgmm.datasets.load_faithful().x
        >>> jaxgmm.select(jax.random.key(0), x, [2, 3], families=["EEE"], criterion=hqc, n_init=2).k
        3
    """

    name: str
    #: (n_parameters, log_likelihood, log_n, term) -> smaller is better, on the scale of twice the log-likelihood
    value: Callable[..., Any]
    term: Callable[..., Array] | None = None  #: (params, x, weights) -> () what it asks for beside the likelihood
    is_held_out: bool = False  #: whether its term is the log-likelihood of rows held out, over ten folds


def _bic(count: Any, log_likelihood: Any, log_n: Any, term: Any) -> Any:
    return bic_from(count, log_likelihood, log_n)


def _icl(count: Any, log_likelihood: Any, log_n: Any, term: Any) -> Any:
    return bic_from(count, log_likelihood, log_n) - 2 * term


def _aic(count: Any, log_likelihood: Any, log_n: Any, term: Any) -> Any:
    return aic_from(count, log_likelihood)


def _cv(count: Any, log_likelihood: Any, log_n: Any, term: Any) -> Any:
    return -2 * term


CRITERIA = {
    criterion.name: criterion
    for criterion in (
        Criterion("bic", _bic),
        Criterion("icl", _icl, total_log_certainty),
        Criterion("aic", _aic),
        Criterion("cv", _cv, is_held_out=True),
    )
}


class Data(NamedTuple):
    """What a search works on."""

    x: Array  # (n, d)
    weights: Array  # (n,)
    sample: Any  # (m,) indices of rows that starts are made from
    is_sampled: Any  # (m,) bool, false for padding
    held_out: Any  # (n, folds) weight; no folds where nothing is held out
    ridge: Array  # ()
    tol: Array  # ()
    prior: Prior | None  # the same for all models


class Search(NamedTuple):
    """What to search; static under ``jit``."""

    numbers: tuple[int, ...]  # of components
    families: tuple[Family, ...]  # all of matrices or all of diagonals
    max_iter: int
    criterion: Criterion
    prior_rule: PriorRule | None


class FamilyModels(NamedTuple):
    """The models of one family, one for each number of components."""

    models: EMResult  # (K, ...) the best of the restarts, with as many components as the largest
    objectives: Array  # (K,) log-likelihood and log prior density
    labels: Array  # (K, m) of the sample of rows
    log_likelihoods: Array  # (K,)
    statuses: Array  # (K,)
    failed: Array  # (K,) restarts
    terms: Array  # (K,) of the criterion


@program("search", is_repeated=True)  # by every family; most elements are labels, read once
def search_family(data: Data, labels: Array, which: Array, search: Search) -> FamilyModels:
    """The best of all starts for each number of components, of the family at the place ``which``.

    Args:
        data: what to work on.
        labels: ``(K, starts, m)`` partitions of the sample to start from.
        which: ``()`` int, of ``search.families``.
        search: what to search.
    """
    fit = partial(_fit_all_numbers, data, labels, which, search)
    (best, _, statuses), objectives = fit(data.weights)
    log_likelihoods, objectives = (value - best.excess.sum(1) for value in (best.log_likelihood, objectives))
    clusters = lax.map(lambda params: predict(params, data.x[data.sample]), best.params)
    failed = (~is_usable(statuses)).sum(1)
    terms = _terms(data, search, fit, best)
    return FamilyModels(best, objectives, clusters, log_likelihoods, best.status, failed, terms)


def _fit_all_numbers(
    data: Data, labels: Array, which: Array, search: Search, weights: Array
) -> tuple[FitResult, Array]:
    """The best of all starts for each number of components, with these row weights, and the objectives ``(K,)``."""
    family, most, d = one_of(search.families, which), max(search.numbers), data.x.shape[1]
    per_feature, is_shared = (
        jnp.asarray(values)[which]
        for values in zip(*((f.scale_equivariant, f.structure(2, d)[0] == 1) for f in search.families), strict=True)
    )
    problem = standard_problem(data.x, weights, data.ridge, data.prior, family.structure(most, d), per_feature)
    problem = problem._replace(ridge=problem.ridge._replace(is_shared=is_shared))
    rows, row_weights = problem.observations.x[data.sample], jnp.where(data.is_sampled, weights[data.sample], 0)

    def start(labels: Array) -> GMMParams:
        one_hot = jax.nn.one_hot(labels, most, dtype=rows.dtype)
        return first_estimate(rows, one_hot * row_weights[:, None], problem.ridge, family)[0]

    # One task for each number of components; they differ in their priors alone
    if search.prior_rule is not None:
        problem = problem._replace(prior=_priors(data, which, search, weights, problem))
    chunk_size = chunk_rows(most * N_LANES, d, data.x.dtype.itemsize)
    tasks = gaussian_task(problem, family, data.tol, chunk_size)
    axis = None if search.prior_rule is None else 0
    of_prior = {id(leaf) for leaf in jax.tree.leaves(problem.prior)}
    in_axes = jax.tree.map(lambda leaf: axis if id(leaf) in of_prior else None, tasks)

    # Restarts, and back to the features' own units
    starts = jax.vmap(complete_starts)(jax.vmap(jax.vmap(start))(labels))
    best = successive_halving(tasks, in_axes, starts, search.max_iter, RULES, momentum())
    objective: Any = jax.vmap(lambda task, r: r.log_likelihood + task.steps.log_prior(r.params), (in_axes, 0))
    back: Any = jax.vmap(lambda result, prior: restore(result, problem._replace(prior=prior), True), (0, axis))
    return back(best, problem.prior), objective(tasks, best.best)


def _priors(data: Data, which: Array, search: Search, weights: Array, problem: StandardProblem) -> Prior:
    """The prior of each number of components, by the rule, in standard units."""
    rule = search.prior_rule
    assert rule is not None
    rules = [lambda k, family=family: rule(data.x, k, weights, family=family) for family in search.families]

    def prior_of(number: Array) -> Prior:
        return standardise_prior(lax.switch(which, rules, number), problem.units)

    return jax.vmap(prior_of)(jnp.asarray(search.numbers))


def _terms(data: Data, search: Search, fit: Callable[[Array], tuple[FitResult, Array]], best: EMResult) -> Array:
    """What the criterion asks of each model beside its likelihood, ``(K,)``."""
    weights, criterion = data.weights, search.criterion

    def of_fold(held_out: Array) -> Array:
        result = fit(weights - held_out)[0].best
        log_likelihood = lax.map(
            lambda params: jnp.where(held_out > 0, held_out * log_prob(params, data.x), 0).sum(), result.params
        )
        return jnp.where(is_usable(result.status), log_likelihood, jnp.nan)

    if criterion.is_held_out:
        return lax.map(of_fold, data.held_out.T).sum(0)
    if criterion.term is not None:
        return lax.map(lambda params: criterion.term(params, data.x, weights), best.params)
    return jnp.zeros_like(best.log_likelihood)
