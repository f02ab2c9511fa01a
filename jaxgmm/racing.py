"""Many starts of many models at once: those that lead go on, in stretches, so that nobody waits for the slowest."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from . import linalg
from .acceleration import Accelerator, momentum
from .driver import go_on, nothing_yet
from .families import Family
from .priors import log_prior
from .types import EMResult, FitResult, GMMParams, Prior, Status

Standing = tuple[EMResult, Array]  # where each start has got to, and what it climbs


class Problem(NamedTuple):
    """What to fit, standardised."""

    rows: Array  # (n, d); zero where the weight is
    weights: Array  # (n,)
    ridge: Array  # ()
    tol: Array  # ()
    prior: Prior | None


class Measure(NamedTuple):
    """What a component is held against."""

    covariance: Array  # (d, d) to exceed in every direction, or it is the work of the ridge, or of rounding
    n_rows: Array  # () as many as count, whatever the weights' scale


class Rules(NamedTuple):
    """How starts compete."""

    stretch: int  # EM iterations between looks at who leads
    keep: int  # of so many starts of a model one goes on after the first stretch
    width: int  # starts that run side by side
    trusted: int = 0  # starts of a model, its first, that go on whatever their place
    first: int | None = None  # iterations of the first stretch, where it is a shorter one


def race(
    starts: GMMParams,
    problem: Problem,
    family: Family,
    max_iter: int,
    chunk_size: int | None,
    rules: Rules,
    accelerate: Accelerator | None = momentum(),  # noqa: B008  (a constant)
) -> FitResult:
    """The best of several starts of each of several models, in standardised units.

    Every start runs one stretch. Of each model those that lead go on, until all of these have come to an end; one that
    fails or degenerates leaves its place to the next.

    Args:
        starts: mixtures with two leading axes, ``(models, starts, ...)``.
        problem: what to fit; its prior, if any, has a leading axis, one for each model.
        family: the covariance family.
        max_iter: most M-steps of each start.
        chunk_size: rows per chunk of the E-step; None for those of one mixture alone.
        rules: how starts compete.
        accelerate: see :func:`jaxgmm.em`.

    Returns:
        :class:`FitResult` with a leading axis, one for each model.
    """
    n_models, n_starts = starts.weights.shape[:2]
    width = min(rules.width, n_models * n_starts)
    model = jnp.repeat(jnp.arange(n_models), n_starts)
    is_trusted = jnp.tile(jnp.arange(n_starts) < rules.trusted, n_models)
    run = partial(_run, problem, _measure_of(problem), family, chunk_size, accelerate, rules.stretch)

    def by_model(standing: Standing) -> Standing:
        return jax.tree.map(lambda leaf: leaf.reshape(n_models, n_starts, *leaf.shape[1:]), standing)

    def may_run(standing: Standing) -> Array:
        """All that have not run yet; then those that lead, and have not ended."""
        ended, objective = standing
        unfinished = ended.status == Status.MAX_ITER
        waiting = unfinished & jnp.isneginf(objective)
        values = jax.vmap(_ranking)(*by_model(standing))
        places = jnp.argsort(jnp.argsort(-values, axis=1), axis=1).ravel()
        leading = (places < -(-n_starts // rules.keep)) | is_trusted
        return jnp.where(waiting.any(), waiting, unfinished & leading & (ended.n_iter < max_iter))

    def turn(standing: Standing) -> Standing:
        runs, lanes = lax.top_k(may_run(standing).astype(jnp.int32), width)
        before = jax.tree.map(lambda leaf: leaf[lanes], standing[0])
        steps = jnp.where(before.n_iter == 0, rules.first or rules.stretch, rules.stretch)
        limit = jnp.minimum(before.n_iter + steps * runs, max_iter)
        after = jax.vmap(run)(before, limit, model[lanes])
        return jax.tree.map(lambda all_, some: all_.at[lanes].set(some), standing, after)

    flat = jax.tree.map(lambda leaf: leaf.reshape(n_models * n_starts, *leaf.shape[2:]), starts)
    begun = jax.vmap(partial(nothing_yet, max_iter=max_iter))(flat)
    standing = lax.while_loop(lambda standing: may_run(standing).any(), turn, (begun, begun.log_likelihood))
    ended, objective = by_model(standing)
    winner = jnp.argmax(jax.vmap(_ranking)(ended, objective), axis=1)
    best = jax.vmap(lambda results, index: jax.tree.map(lambda leaf: leaf[index], results))(ended, winner)
    return FitResult(best, ended.log_likelihood, ended.status)


def race_of_one(starts: GMMParams, problem: Problem, *options: Any) -> FitResult:
    """:func:`race` of starts ``(starts, ...)`` of one model, none of them with a leading axis for it."""
    starts, prior = jax.tree.map(lambda leaf: leaf[None], (starts, problem.prior))
    return jax.tree.map(lambda leaf: leaf[0], race(starts, problem._replace(prior=prior), *options))


def _run(
    problem: Problem,
    measure: Measure,
    family: Family,
    chunk_size: int | None,
    accelerate: Accelerator | None,
    stretch: int,
    begun: EMResult,
    limit: Array,
    model: Array,
) -> Standing:
    """EM of one start up to ``limit`` iterations in all; with a collapsed component it comes back DEGENERATE."""
    prior = jax.tree.map(lambda leaf: leaf[model], problem.prior)
    ahead = jnp.arange(min(stretch + 1, len(begun.history)), dtype=jnp.int32)
    part = begun.history.at[begun.n_iter + ahead]  # the loop carries no more of the history than it adds to
    entering = begun._replace(history=part.get(mode="fill", fill_value=jnp.nan))
    result = go_on(entering, *problem[:4], prior, limit, family, None, None, accelerate, chunk_size)
    history = part.set(result.history)
    collapsed = has_collapsed(result.params, measure) & (result.status <= Status.MAX_ITER)
    status = jnp.where(collapsed, jnp.int32(Status.DEGENERATE), result.status)
    objective = result.log_likelihood + (0 if prior is None else log_prior(result.params, prior))
    return result._replace(history=history, status=status), objective


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
    twentieth of the standard deviation that components have on average.
    """
    k, d = params.means.shape
    if params.covariances.shape[0] == 1:
        return jnp.zeros((), bool)
    covariances, shares = linalg.as_matrices(params.covariances, d), params.weights[:k]
    average = jnp.sum(shares[:, None, None] * covariances, axis=0) / shares.sum()
    few = (shares > 0) & (shares * n_rows < d * (d + 3))
    return (few & ~linalg.dominates(covariances, average[None] / 20**2)).any()


def _ranking(results: EMResult, objective: Array) -> Array:
    """Values ``(lanes,)`` to choose by: usable lanes first, then degenerate ones, failed ones last."""
    usable = results.status <= Status.MAX_ITER
    eligible = jnp.where(usable.any(), usable, jnp.isfinite(objective))
    return jnp.where(eligible, objective, -jnp.inf)
