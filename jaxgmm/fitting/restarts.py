"""Restarts by successive halving: all starts run briefly, the best of them longer, and the best of these to the end.

Works for any ``Steps``, and for several models at once, each with starts of its own.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

from ..loop.accelerators import Accelerator
from ..loop.batching import axes_of, has_own_rows, n_lanes_for, run_queue, run_together, take
from ..loop.driver import State, Task, begin, result_of, resume
from ..programs import traced_once
from ..steps.contract import Spurious
from ..types import EMResult, FitResult, Status, is_usable


class Rules(NamedTuple):
    """How starts compete."""

    first: int  # M-steps of every start, before the first comparison
    keep: int  # one of so many starts of a model is resumed after each comparison
    n_lanes: int | None = None  # starts that run side by side; by default what keeps the machine busy
    trusted: int = 0  # starts of a model, its first, that are resumed whatever their rank
    later: int = 10  # times as many M-steps before each further comparison


class Standing(NamedTuple):
    """How all starts of all models stand between stages."""

    states: State  # (models * starts, ...)
    excess: Array  # (models * starts, k) nats of spurious components
    stage: Array  # () int
    is_paused: Array  # () bool, in the midst of a stage


def successive_halving(
    tasks: Task, in_axes: Any, starts: Any, max_iter: int, rules: Rules, accelerate: Accelerator | None
) -> FitResult:
    """The best of several starts of each of several models.

    Every start runs a few iterations. Of each model the best are resumed, for some times as many, and again, until the
    last one has come to its end; one that fails or is spurious leaves its place to the next.

    Args:
        tasks: what to fit, each leaf stacked along a leading axis of models or shared.
        in_axes: for each leaf of ``tasks`` 0 where it has that axis, None where it is shared.
        starts: parameters with two leading axes, ``(models, starts, ...)``.
        max_iter: most M-steps of each start.
        rules: how starts compete.
        accelerate: as in :func:`jaxgmm.em`.

    Returns:
        :class:`FitResult` with a leading axis, one for each model.
    """
    shape = jax.tree.leaves(starts)[0].shape[:2]
    standing = enter(tasks, in_axes, starts, max_iter, accelerate)
    standing = compete(tasks, in_axes, shape, standing, None, max_iter, rules, accelerate)
    return winners(tasks, in_axes, shape, standing)


def enter(tasks: Task, in_axes: Any, starts: Any, max_iter: int, accelerate: Accelerator | None) -> Standing:
    """How starts ``(models, starts, ...)`` stand before the first stage."""
    n_models, n_starts = jax.tree.leaves(starts)[0].shape[:2]
    flat = partial(jax.tree.map, lambda leaf: leaf.reshape(n_models * n_starts, *leaf.shape[2:]))
    each_start = _each_start(in_axes, n_models)
    first = each_start(partial(begin, history_length=max_iter, accelerate=accelerate))(tasks, starts)
    unknown = jax.eval_shape(lambda: flat(each_start(_spurious)(tasks, starts))).excess
    return Standing(flat(first), jnp.zeros(unknown.shape, unknown.dtype), jnp.int32(0), jnp.asarray(False))


def compete(
    tasks: Task, in_axes: Any, shape: tuple[int, int], standing: Standing, pause: Array | None, max_iter: int,
    rules: Rules, accelerate: Accelerator | None,
) -> Standing:  # fmt: skip
    """Stage after stage until the last, or until all that run have come to ``pause`` M-steps, if that is not None.

    Called again with a later pause, they go on as if there had been none.
    """
    n_models, n_starts = shape
    sizes, limits = stages_of(n_starts, max_iter, rules)
    owner = jnp.repeat(jnp.arange(n_models), n_starts)
    is_trusted = jnp.tile(jnp.arange(n_starts) < rules.trusted, n_models)
    by_model = partial(jax.tree.map, lambda leaf: leaf.reshape(n_models, n_starts, *leaf.shape[1:]))
    flat = partial(jax.tree.map, lambda leaf: leaf.reshape(n_models * n_starts, *leaf.shape[2:]))
    n_lanes = rules.n_lanes or n_lanes_for(tasks, in_axes, standing.states.params, 1)

    def run_stage(standing: Standing) -> Standing:
        states, excess, stage, _ = standing
        limit = limits[stage] if pause is None else jnp.minimum(limits[stage], pause)

        # Resume the best that have not come as far as they may
        rank = jax.vmap(_ranks)(*by_model((states.status, states.objective - excess.sum(1)))).ravel()
        may_run = (rank < sizes[stage]) | is_trusted
        resumed = resume(states, limit)
        to_run = may_run & (resumed.status == Status.RUNNING)
        states = states._replace(status=jnp.where(to_run, resumed.status, states.status))
        states = run_queue(tasks, in_axes, owner, states, limit, accelerate, n_lanes)

        # Quarantine spurious maxima; on to the next stage once nothing is left to run
        spurious = flat(_each_start(in_axes, n_models)(_spurious)(tasks, by_model(states.params)))
        stage_after = jnp.where(to_run.any(), stage, stage + 1)
        after = Standing(_quarantine(states, spurious), spurious.excess, stage_after, jnp.asarray(False))
        if pause is None:
            return after
        paused = Standing(states, excess, stage, jnp.asarray(True))
        return jax.tree.map(partial(jnp.where, limit < limits[stage]), paused, after)

    is_left = lambda standing: (standing.stage < len(limits)) & ~standing.is_paused  # noqa: E731
    return lax.while_loop(is_left, run_stage, standing._replace(is_paused=jnp.asarray(False)))


def winners(tasks: Task, in_axes: Any, shape: tuple[int, int], standing: Standing) -> FitResult:
    """The best of each model's starts, and how all of them ended."""
    by_model = partial(jax.tree.map, lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]))
    states, excess = by_model((standing.states, standing.excess))
    results = _each_start(in_axes, shape[0])(result_of)(tasks, states)
    winner = jnp.argmax(jax.vmap(_ranking)(states.status, states.objective - excess.sum(2)), axis=1)
    best, excess = jax.vmap(take)((results, excess), winner)
    return FitResult(best._replace(excess=excess), results.log_likelihood, results.status)


def _each_start(in_axes: Any, n_models: int) -> Any:
    """``vmap`` of a function of a task and of values ``(models, starts, ...)``."""
    return lambda function: jax.vmap(jax.vmap(function, (None, 0)), (in_axes, 0), axis_size=n_models)


def stages_of(n_starts: int, max_iter: int, rules: Rules) -> tuple[Array, Array]:
    """For each stage how many starts of a model may run, and until which iteration."""
    sizes, limits = [n_starts], [rules.first]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // rules.keep))
        limits.append(rules.later * limits[-1])
    limits = [*(min(limit, max_iter) for limit in limits[:-1]), max_iter]
    return jnp.array(sizes), jnp.array(limits, jnp.int32)


@traced_once()
def _spurious(task: Task, params: Any) -> Spurious:
    spurious = task.steps.spurious(params)
    return spurious._replace(excess=spurious.excess.astype(task.weights.dtype))


def _quarantine(states: State, spurious: Spurious) -> State:
    """The states, DEGENERATE where a usable one is at a spurious maximum, ISOLATED where all else can be used."""
    has_excess = (spurious.excess > 0).any(1) & (states.status == Status.CONVERGED)
    status = jnp.where(has_excess, jnp.int32(Status.ISOLATED), states.status)
    status = jnp.where(~spurious.is_usable & is_usable(status), jnp.int32(Status.DEGENERATE), status)
    return states._replace(status=status)


def best_of(task: Task, starts: Any, max_iter: int, rules: Rules, accelerate: Accelerator | None) -> FitResult:
    """:func:`successive_halving` of starts ``(starts, ...)`` of one model.

    Under ``vmap`` the starts of all models share one queue, so that small fits do not wait for the slowest.
    """
    leaves, tree = jax.tree.flatten((task, starts))  # a None among them would keep custom_vmap from differentiating

    @custom_vmap
    def of_one(*leaves: Array) -> FitResult:
        task, starts = jax.tree.unflatten(tree, leaves)
        stacked = jax.tree.map(lambda leaf: leaf[None], starts)
        result = successive_halving(task, axes_of(task, None), stacked, max_iter, rules, accelerate)
        return jax.tree.map(lambda leaf: leaf[0], result)

    @of_one.def_vmap
    def of_many(size: int, batched: list[bool], *leaves: Array) -> tuple[FitResult, Any]:
        if not any(batched):  # as happens where derivatives are taken in several directions
            result = of_one(*leaves)
            return result, jax.tree.map(lambda _: False, result)
        tasks, starts = jax.tree.unflatten(tree, leaves)
        in_axes, starts_axes = jax.tree.unflatten(tree, [0 if flag else None for flag in batched])
        starts = jax.tree.map(
            lambda axis, leaf: leaf if axis == 0 else jnp.broadcast_to(leaf, (size, *leaf.shape)),
            starts_axes, starts, is_leaf=lambda axis: axis is None,
        )  # fmt: skip
        own_rules = rules._replace(n_lanes=None) if has_own_rows(in_axes) else rules
        result = successive_halving(tasks, in_axes, starts, max_iter, own_rules, accelerate)
        return result, jax.tree.map(lambda _: True, result)

    return of_one(*leaves)


def brief_runs(task: Task, starts: Any, n_iter: int, accelerate: Accelerator | None) -> tuple[EMResult, Array]:
    """Where starts ``(starts, ...)`` get to in a few iterations, and values ``(starts,)`` to compare them by."""
    states = jax.vmap(lambda start: begin(task, start, 0, accelerate))(starts)
    states = run_together(task, states, n_iter, accelerate)
    spurious = jax.vmap(partial(_spurious, task))(states.params)
    states = _quarantine(states, spurious)
    values = _ranking(states.status, states.objective - spurious.excess.sum(1))
    return jax.vmap(partial(result_of, task))(states), values


def _ranking(statuses: Array, objectives: Array) -> Array:
    """Values ``(starts,)`` to compare starts by: usable ones first, then degenerate ones, failed ones last."""
    usable = is_usable(statuses) | (statuses == Status.RUNNING)
    is_eligible = jnp.where(usable.any(), usable, jnp.isfinite(objectives))
    return jnp.where(is_eligible, objectives, -jnp.inf)


def _ranks(statuses: Array, objectives: Array) -> Array:
    """How many starts are better than each, ``(starts,)``; of equals the earlier ones."""
    values = _ranking(statuses, objectives)
    is_better = (values[None] > values[:, None]) | jnp.tril(values[None] == values[:, None], -1)
    return is_better.sum(1)
