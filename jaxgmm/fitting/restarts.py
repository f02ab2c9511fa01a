"""Many starts of many models at once: all run a stretch, and of those that lead ever fewer go on."""

from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import linalg
from ..loop.batching import mapped, repeated
from ..loop.driver import Options, Problem, go_on_all, go_on_each, nothing_yet
from ..mixture.priors import log_prior
from ..types import EMResult, FitResult, GMMParams, Prior, Status


class Measure(NamedTuple):
    """What a component is held against."""

    covariance: Array  # (d, d) to exceed in every direction, or it is the work of the ridge, or of rounding
    n_rows: Array  # () as many as count, whatever the weights' scale


class Rules(NamedTuple):
    """How starts compete."""

    stretch: int  # EM iterations before the first look at who leads
    keep: int  # of so many starts of a model one goes on after each look
    width: int | None = None  # starts that run side by side; by default what keeps the machine busy
    trusted: int = 0  # starts of a model, its first, that go on whatever their place
    later: int = 10  # times as many iterations before each further look


def race(
    starts: GMMParams, problem: Problem, is_by_model: Problem, max_iter: int, rules: Rules, options: Options
) -> FitResult:
    """The best of several starts of each of several models, in standardised units.

    Every start runs one stretch. Of each model those that lead go on, some times as far, and again, until the last one
    left has come to its end; one that fails or degenerates leaves its place to the next.

    Args:
        starts: mixtures with two leading axes, ``(models, starts, ...)``.
        problem: what to fit.
        is_by_model: for each leaf of ``problem`` whether it has a leading axis, one for each model.
        max_iter: most M-steps of each start.
        rules: how starts compete.
        options: how to fit.

    Returns:
        :class:`FitResult` with a leading axis, one for each model.
    """
    n_models, n_starts = starts.weights.shape[:2]
    looks = [(n_starts, rules.stretch)]  # how many starts of a model run, and to which iteration
    while looks[-1][0] > 1:
        looks.append((-(-looks[-1][0] // rules.keep), rules.later * looks[-1][1]))
    places = jnp.array([running for running, _ in looks])
    limits = jnp.array([min(limit, max_iter) for _, limit in looks[:-1]] + [max_iter], jnp.int32)
    per = jax.tree.map(lambda has: n_starts if has else 0, is_by_model)
    is_trusted = jnp.tile(jnp.arange(n_starts) < rules.trusted, n_models)
    axes = jax.tree.map(lambda has: 0 if has else None, is_by_model)
    measures = jax.vmap(lambda _, problem: _measure_of(problem), (0, axes))(jnp.arange(n_models), problem)

    def by_model(values: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.reshape(n_models, n_starts, *leaf.shape[1:]), values)

    def flat(values: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.reshape(n_models * n_starts, *leaf.shape[2:]), values)

    def may_run(ended: EMResult, objective: Array, look: Array) -> Array:
        """Those that lead, and have not ended or come as far as they may."""
        values = jax.vmap(_ranking)(*by_model((ended, objective)))
        behind = jax.vmap(_places)(values).ravel()
        leads = (behind < places[look]) | is_trusted
        is_short = (ended.n_iter < limits[look]) | jnp.isneginf(objective)  # nothing is known of it yet
        return leads & is_short & (ended.status == Status.MAX_ITER)

    def round_(standing: tuple[EMResult, Array, Array]) -> tuple[EMResult, Array, Array]:
        ended, _, look = standing
        wanted, limit = may_run(*standing), jnp.broadcast_to(limits[look], is_trusted.shape)
        ended = go_on_each(ended, problem, per, limit, options, wanted, rules.width)
        judge = jax.vmap(_judged, (0, None, None))  # the starts of one model
        ended, objective = flat(jax.vmap(judge, (0, 0, axes.prior))(by_model(ended), measures, problem.prior))
        return ended, objective, jnp.where(wanted.any(), look, look + 1)

    begun = jax.vmap(partial(nothing_yet, max_iter=max_iter))(flat(starts))
    standing = (begun, begun.log_likelihood, jnp.int32(0))
    ended, objective, _ = lax.while_loop(lambda standing: standing[2] < len(limits), round_, standing)
    ended, objective = by_model((ended, objective))
    winner = jnp.argmax(jax.vmap(_ranking)(ended, objective), axis=1)
    best = jax.vmap(lambda results, index: jax.tree.map(lambda leaf: leaf[index], results))(ended, winner)
    return FitResult(best, ended.log_likelihood, ended.status)


def race_of_one(starts: GMMParams, problem: Problem, max_iter: int, rules: Rules, options: Options) -> FitResult:
    """:func:`race` of starts ``(starts, ...)`` of one model; under ``vmap``, of as many models as there are lanes."""

    def one(starts: GMMParams, problem: Problem) -> FitResult:
        starts = jax.tree.map(lambda leaf: leaf[None], starts)
        by_none = jax.tree.map(lambda _: False, problem)
        return jax.tree.map(lambda leaf: leaf[0], race(starts, problem, by_none, max_iter, rules, options))

    def each(size: int, batched: Any, starts: GMMParams, problem: Problem) -> FitResult:
        starts, own = repeated(size, batched[0], starts), rules._replace(width=None)
        return race(starts, problem, batched[1], max_iter, own if batched[1].rows else rules, options)

    return cast(FitResult, mapped(one, each)(starts, problem))


def short_runs(starts: GMMParams, problem: Problem, n_iter: int, options: Options) -> tuple[EMResult, Array]:
    """Where starts ``(starts, ...)`` get to in some iterations, and values ``(starts,)`` to choose among them by."""
    ended = go_on_all(starts, problem, n_iter, options)
    ended, objective = jax.vmap(_judged, (0, None, None))(ended, _measure_of(problem), problem.prior)
    return ended, _ranking(ended, objective)


def objective(result: EMResult, prior: Prior | None) -> Array:
    """What EM climbs, ``()`` in nats."""
    return result.log_likelihood + (0 if prior is None else log_prior(result.params, prior))


def _judged(ended: EMResult, measure: Measure, prior: Prior | None) -> tuple[EMResult, Array]:
    """A result, DEGENERATE where a component collapsed, and what it climbs."""
    collapsed = has_collapsed(ended.params, measure) & (ended.status <= Status.MAX_ITER)
    status = jnp.where(collapsed, jnp.int32(Status.DEGENERATE), ended.status)
    return ended._replace(status=status), objective(ended, prior)


def _measure_of(problem: Problem) -> Measure:
    rows, weights, ridge, *_ = problem
    share = weights / weights.sum()
    overall = linalg.einsum("n,nd,ne->de", share, rows, rows) + ridge * jnp.eye(rows.shape[1], dtype=rows.dtype)
    least = jnp.maximum(2 * ridge, 10 * np.finfo(rows.dtype).eps) * overall
    return Measure(least, weights.sum() ** 2 / (weights**2).sum())


def has_collapsed(params: GMMParams, measure: Measure) -> Array:
    """Whether a component is no more than the ridge or a handful of rows makes it, ``()``."""
    exceeds = linalg.dominates(params.covariances, measure.covariance[None])
    return ~exceeds.all() | is_spurious(params, measure.n_rows)


def is_spurious(params: GMMParams, n_rows: Array) -> Array:
    """Whether a component lies on a handful of rows that nearly share a line or plane, ``()``.

    There the likelihood is high for no reason but the choice of rows (McLachlan & Peel 2000, Finite mixture models,
    section 3.10). A handful: fewer than twice the parameters of a Gaussian. Nearly: in some direction with less than a
    twentieth of the standard deviation that components have on average; shapes and volumes each have their own average,
    as a single component of large volume would otherwise make all others look thin.
    """
    k, d = params.means.shape
    if params.covariances.shape[0] == 1:
        return jnp.zeros((), bool)
    covariances = linalg.as_matrices(params.covariances, d)
    shares = params.weights[:k] / params.weights[:k].sum()
    alive = shares > 0
    log_volumes = 2 / d * linalg.factorize(covariances, d).log_det
    log_volumes -= jnp.sum(jnp.where(alive, shares * log_volumes, 0))
    average = linalg.einsum("k,kde->de", jnp.where(alive, shares * jnp.exp(-log_volumes), 0), covariances)
    few = alive & (shares * n_rows < d * (d + 3))
    return (few & ~linalg.dominates(covariances, average[None] / 20**2)).any()


def _ranking(results: EMResult, objective: Array) -> Array:
    """Values ``(lanes,)`` to choose by: usable lanes first, then degenerate ones, failed ones last."""
    usable = results.status <= Status.MAX_ITER
    eligible = jnp.where(usable.any(), usable, jnp.isfinite(objective))
    return jnp.where(eligible, objective, -jnp.inf)


def _places(values: Array) -> Array:
    """How many are ahead of each, ``(lanes,)``; of equals those that come first."""
    is_ahead = (values[None] > values[:, None]) | jnp.tril(values[None] == values[:, None], -1)
    return is_ahead.sum(1)
