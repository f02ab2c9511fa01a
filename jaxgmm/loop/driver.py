"""The EM loop: E-step, accept or reject, M-step, stop.

``run`` is the loop when rows are in memory. ``advance`` is all of an iteration but the E-step; a loop whose statistics
come from elsewhere, a stream or several hosts, calls it too.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from ..programs import traced_once
from ..steps.contract import Steps, check_params, mask_stopped, penalty, rounding
from ..types import EMResult, Status
from . import acceleration
from .acceleration import AccelerationState
from .accelerators import Accelerator
from .stopping import has_converged, rate_of


class Task(NamedTuple):
    """What EM works on."""

    steps: Steps
    observations: Any  # a pytree whose leaves have the rows in front
    weights: Array  # (n,) row weights; NaN where they are negative
    total_weight: Array  # (); NaN if tol is negative or NaN, so that the run fails with a status
    tol: Array  # () nats of a unit of weight


def task_of(steps: Steps, observations: Any, weights: Array, tol: Array) -> Task:
    """A task; a negative row weight is NaN, and so a failure with a name, as a NaN tol is."""
    weights = jnp.where(weights >= 0, weights, jnp.nan)
    return Task(steps, observations, weights, jnp.where(tol >= 0, weights.sum(-1), jnp.nan), tol)


class State(NamedTuple):
    """What the loop carries: the answer so far with its statistics, and the candidate that is scored next."""

    params: Any
    stats: Any
    objective: Array  # () log-likelihood and log prior of params, in nats; -inf before the first E-step
    penalty: Array  # () nats that the M-step subtracted for params (Steps.penalty), less their rounding error
    history: Array  # (max_iter,) objective before each iteration, NaN-padded
    n_iter: Array  # () int, M-steps that led to params
    status: Array  # () int, a Status
    candidate: Any
    step: Array  # () nats of the last accepted step, see Steps.step_nats
    rate: Array  # () of convergence, by the last two
    n_plain: Array  # () int, steps of plain EM accepted in a row
    acceleration: AccelerationState | None


def run(task: Task, state: State, limit: ArrayLike, accelerate: Accelerator | None) -> State:
    """Iterate until convergence, a failure, or ``limit`` M-steps in all."""
    iterate = partial(iterate_once, limit, accelerate, task)
    return lax.while_loop(is_running, iterate, state)


def is_running(state: State) -> Array:
    """Whether there is more to do."""
    return state.status == Status.RUNNING


def iterate_once(limit: ArrayLike, accelerate: Accelerator | None, task: Task, state: State) -> State:
    """One iteration: E-step of the candidate, then everything that follows from it."""
    prepared = prepare(task, mask_stopped(is_running(state), state.candidate))
    stats = e_step(task, prepared)
    return advance(task, state, prepared, stats, limit, accelerate)  # accept or reject, stop, M-step


# The parts of an iteration are traced once for all loops of a program: brief runs, restarts, the shapes of a state


@traced_once()
def prepare(task: Task, params: Any) -> Any:
    """Factors and constants of parameters, once for all rows."""
    return task.steps.prepare(params)


@traced_once()
def e_step(task: Task, prepared: Any) -> Any:
    """Expected sufficient statistics of all rows."""
    return task.steps.expect(prepared, task.observations, task.weights)


@traced_once("accelerate")
def advance(
    task: Task, state: State, prepared: Any, stats: Any, limit: ArrayLike, accelerate: Accelerator | None
) -> State:
    """Accept or reject the candidate, decide whether to stop and why, and make the next candidate."""
    had_stopped, verdict = ~is_running(state), judge(task, state, prepared, stats, limit)
    state = accept_or_reject(state, verdict, stats)

    # Acceleration: other statistics for the M-step, further along
    stats, acceleration_state = state.stats, state.acceleration
    if accelerate is not None and acceleration_state is not None:
        stats, acceleration_state = acceleration.propose(
            accelerate, task.steps, acceleration_state, state.params, stats, verdict.is_rejected, verdict.is_close
        )

    # M-step
    candidate = check_params(task.steps.maximize(state.params, stats), state.params)

    # A run that had stopped before keeps what it needs to resume
    before, after = (state.candidate, state.acceleration), (candidate, acceleration_state)
    candidate, acceleration_state = jax.tree.map(partial(jnp.where, had_stopped), before, after)
    return state._replace(candidate=candidate, acceleration=acceleration_state)


class Verdict(NamedTuple):
    """What the E-step of the candidate leads to."""

    is_rejected: Array  # ()
    status: Array  # () int, RUNNING or why to stop
    objective: Array  # () of the candidate, in nats
    penalty: Array  # () of the candidate, in nats, less their rounding error
    step: Array  # () nats of the step to the candidate
    rate: Array  # () of convergence, if it is accepted
    is_close: Array  # () whether one more step of plain EM may show convergence
    n_iter: Array  # () int, M-steps that led to the candidate
    n_plain: Array  # () int, steps of plain EM in a row, if it is accepted


def judge(task: Task, state: State, prepared: Any, stats: Any, limit: ArrayLike) -> Verdict:
    """Whether to accept the candidate, and whether to stop: on failure, convergence or the limit."""
    steps, is_start, had_stopped = task.steps, jnp.isneginf(state.objective), ~is_running(state)
    is_proposal = jnp.asarray(False) if state.acceleration is None else state.acceleration.is_proposal
    n_iter = jnp.where(is_start, state.n_iter, state.n_iter + 1)
    n_plain = jnp.where(is_proposal, 0, state.n_plain + 1)

    # Accept what raises the objective, but for rounding and for what a right M-step may lower it by
    objective = stats.log_likelihood + steps.log_prior(state.candidate)
    gain = objective - state.objective
    new_penalty, penalty_rounding = penalty(steps, prepared, stats)
    allowed_fall = jnp.maximum(state.penalty - penalty(steps, prepared, state.stats)[0], 0)
    may_fall = (state.n_iter == 0) & ~is_start & steps.first_step_may_fall
    rise = gain + jnp.where(may_fall, jnp.inf, allowed_fall)
    usual_rounding, most_rounding = rounding(steps, prepared, stats, task.total_weight)
    is_finite = _is_finite(state.candidate)
    failure = _first_of(
        (is_finite & ~jnp.asarray(steps.is_valid(prepared)), Status.DEGENERATE),
        (~(is_finite & jnp.isfinite(objective) & (task.total_weight > 0)), Status.NON_FINITE),
        (rise < -most_rounding, Status.DECREASED),
        (rise < -usual_rounding, Status.CONVERGED),  # explained by conditioning: nothing is left to gain in this dtype
    )
    is_rejected = had_stopped | (failure != Status.RUNNING) | (is_proposal & ~(rise > 0))

    # Stop; proposals say nothing of EM's rate
    if steps.step_nats is None:
        step, least = gain, jnp.maximum(task.tol * task.total_weight, usual_rounding)
    else:
        step = lax.stop_gradient(steps.step_nats(prepared, stats, state.params, state.candidate))
        least = jnp.maximum(task.tol, np.finfo(gain.dtype).eps) * task.total_weight
    rate = rate_of(step, state.step)
    status = _first_of(
        (had_stopped, state.status),
        (is_rejected & is_proposal, Status.RUNNING),
        (is_rejected, failure),
        ((n_plain >= 3) & has_converged(step, rate, state.rate, least), Status.CONVERGED),
        (n_iter >= limit, Status.MAX_ITER),
    )
    is_close = (n_plain == 2) & has_converged(step, rate, rate, least)
    exact_penalty = jnp.asarray(new_penalty - penalty_rounding, gain.dtype)
    return Verdict(is_rejected, status, objective, exact_penalty, step, rate, is_close, n_iter, n_plain)


def accept_or_reject(state: State, verdict: Verdict, stats: Any) -> State:
    """The state after a verdict, but for the next candidate."""
    accepted = state._replace(
        params=state.candidate, stats=stats, objective=verdict.objective, penalty=verdict.penalty, step=verdict.step,
        rate=verdict.rate, n_iter=verdict.n_iter, n_plain=verdict.n_plain,
    )  # fmt: skip
    is_start = jnp.isneginf(state.objective) & is_running(state)  # its score is reported though it failed
    rejected = state._replace(objective=jnp.where(is_start, verdict.objective, state.objective))
    state = jax.tree.map(partial(_where_unlike, verdict.is_rejected), rejected, accepted)
    is_now = jnp.arange(len(state.history), dtype=state.n_iter.dtype) == state.n_iter
    return state._replace(history=jnp.where(is_now, state.objective, state.history), status=verdict.status)


def _where_unlike(condition: Array, one: Array, other: Array) -> Array:
    """``where``, but for values that are the same, which need no kernel."""
    return one if one is other else jnp.where(condition, one, other)


def _first_of(*reasons: tuple[Array, ArrayLike]) -> Array:
    """The status of the first condition that holds, RUNNING if none does, ``()`` int."""
    conditions, statuses = zip(*reasons, strict=True)
    return jnp.select(conditions, [jnp.int32(status) for status in statuses], jnp.int32(Status.RUNNING))


def _is_finite(params: Any) -> Array:
    leaves = [leaf for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def begin(task: Task, start: Any, history_length: int, accelerate: Accelerator | None) -> State:
    """The state before the first E-step; what is not known yet only has its shape."""
    dtype = task.weights.dtype
    shape = jax.eval_shape(prepare, task, start)
    stats = jax.eval_shape(e_step, task, shape)
    if not hasattr(stats, "log_likelihood"):
        raise TypeError(f"steps.expect: expected statistics with a field log_likelihood, got {type(stats).__name__}")
    return State(
        params=start,
        stats=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), stats),
        objective=jnp.asarray(-jnp.inf, dtype),
        penalty=jnp.zeros((), dtype),
        history=jnp.full(history_length, jnp.nan, dtype),
        n_iter=jnp.int32(0),
        status=jnp.int32(Status.RUNNING),
        candidate=start,
        step=jnp.asarray(jnp.inf, dtype),
        rate=jnp.asarray(0, dtype),
        n_plain=jnp.int32(0),
        acceleration=None if accelerate is None else acceleration.begin(accelerate, task.steps, start),
    )


def resume(state: State, limit: ArrayLike) -> State:
    """The state of a run that stopped at an earlier limit, ready to run on to a later one."""
    has_more = (state.status == Status.MAX_ITER) & (state.n_iter < limit)
    return state._replace(status=jnp.where(has_more, jnp.int32(Status.RUNNING), state.status))


def result_of(task: Task, state: State) -> EMResult:
    """What people get of a state."""
    log_likelihood = state.objective - task.steps.log_prior(state.params)
    return EMResult(state.params, log_likelihood, state.history, state.n_iter, state.status, task.total_weight)
