"""The one loop: iterate E-step and M-step until nothing is left to gain."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from .. import checks
from ..covariance.families import FULL, Family
from ..mixture import density as mixture
from ..mixture import priors
from ..mixture.density import Frame
from ..steps import expectation, maximization
from ..steps.maximization import Penalty
from ..types import EMResult, GMMParams, Prior, Stats, Status
from . import acceleration
from . import batching as lanes
from .acceleration import Accelerator, Course

EStep = Callable[[GMMParams, Array, Array], Stats]
MStep = Callable[[GMMParams, Stats], GMMParams]

_RUNNING = -1
DENSITIES_ON_CPU, DENSITIES_ELSEWHERE = 2**17, 2**24  # of rows under components that keep a machine busy
SHARING = 16  # runs on the same rows that go side by side whatever their number


def em(
    params: GMMParams,
    x: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    family: Family = FULL,
    ridge: ArrayLike = 0.0,
    prior: Prior | None = None,
    tol: ArrayLike = 1e-6,
    max_iter: int = 1000,
    e_step: EStep | None = None,
    m_step: MStep | None = None,
    accelerate: Accelerator | None = None,
    chunk_size: int | None = None,
) -> EMResult:
    r"""Fit a mixture by expectation-maximisation from a given start.

    .. math:: \theta_{t+1} = \mathrm{m\_step}(\theta_t, \mathrm{e\_step}(\theta_t, x, w))

    Stops when the estimated remaining gain in log-likelihood per unit weight is below ``tol``: with gains :math:`a_t =
    l_t - l_{t-1}` and rate :math:`q = a_{t+1} / a_t` it is :math:`a_{t+1} / (1 - q)`, so a plateau is not mistaken for
    the top. The log-likelihood never decreases beyond rounding; a ridge, which is no exact prior, may let it dip by at
    most what its penalty gains. Values are not checked here: NaN in ``x``, negative weights or a start that is no
    mixture come back as a :class:`Status`, with the last good parameters.

    Works under ``jit``, and under ``vmap`` over starts, weights and data sets: some run side by side, and as one ends
    the next takes its lane, so that thousands do not wait for the slowest, and one that fails leaves the others alone
    (with steps of your own all run together, until the last ends). Where data sets are spread over devices, use
    ``jax.shard_map`` with ``check_vma=False``: each device then runs its own. The loop's length is not known in
    advance, so reverse-mode ``grad`` does not pass through it; forward mode does.

    Args:
        params: the start, k components in d features, stored as ``family`` stores them.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights >= 0; default one each.
        family: the covariance family of the default M-step; static under ``jit``.
        ridge: added to covariances by the default M-step, in the features' units squared.
        prior: of the default M-step, see :class:`jaxgmm.Prior`. What rises, and what ``history`` and ``tol`` are about,
            is then the log-likelihood plus the log prior density; ``log_likelihood`` of the result stays the former.
        tol: gain per unit weight, in nats, that is not worth another iteration; what the dtype cannot resolve never is.
        max_iter: most M-steps to take; static under ``jit``.
        e_step: ``(params, x, weights) -> Stats``; default :func:`jaxgmm.e_step`. Static: pass the same function again,
            not a new lambda, or it compiles again.
        m_step: ``(params, stats) -> GMMParams``; default :func:`jaxgmm.m_step` with ``family`` and ``ridge``. Static
            likewise.
        accelerate: such as :func:`jaxgmm.acceleration.momentum`: tries to go further than EM's steps, which takes far
            fewer of them where EM is slow. A try costs an E-step, and is taken only where the likelihood is no lower.
            Static likewise.
        chunk_size: rows per chunk of the default E-step.

    Returns:
        :class:`EMResult`; ``describe(result.status)`` says why it stopped.

    Raises:
        TypeError: if an argument is not numeric, or ``family`` is no :class:`Family`.
        ValueError: if shapes do not fit together, or ``tol``, ``ridge`` or ``max_iter`` is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxgmm
        >>> x = jnp.array([0.0, 1.0, 9.0, 10.0])
        >>> start = jaxgmm.GMMParams(jnp.array([0.5, 0.5]), jnp.array([[1.0], [8.0]]), jnp.ones((2, 1, 1)))
        >>> result = em(start, x)
        >>> result.params.means.round(3).tolist(), jaxgmm.Status(int(result.status)).name
        ([[0.5], [9.5]], 'CONVERGED')

    Reference:
        Dempster, Laird & Rubin (1977); Boehning et al. (1994), The distribution of the likelihood ratio for mixtures of
        densities from the one-parameter exponential family, for the stopping rule.
    """
    params, x, weights = checks.arguments(params, x, weights)
    checks.family_of(family, params)
    ridge, tol = (jnp.asarray(checks.non_negative(v, name), x.dtype) for v, name in ((ridge, "ridge"), (tol, "tol")))
    max_iter = checks.as_integer(max_iter, "max_iter", 0)
    if prior is not None:
        prior = checks.as_prior(prior, params.means)
    options = Options(family, e_step, m_step, accelerate, chunk_size)
    return _em(nothing_yet(params, max_iter), Problem(x, weights, ridge, tol, prior), jnp.int32(max_iter), options)


class Problem(NamedTuple):
    """What to fit."""

    rows: Array  # (n, d)
    weights: Array  # (n,)
    ridge: Array  # ()
    tol: Array  # ()
    prior: Prior | None


class Options(NamedTuple):
    """How to fit; static under ``jit``."""

    family: Family
    e_step: EStep | None = None
    m_step: MStep | None = None
    accelerate: Accelerator | None = None
    chunk_size: int | None = None


class _Task(NamedTuple):
    begun: EMResult  # without its history, which is written elsewhere
    problem: Problem
    limit: Array  # () iterations in all


def nothing_yet(start: GMMParams, max_iter: int) -> EMResult:
    """The result of no iterations: what :func:`go_on` takes to begin from ``start``."""
    dtype = start.means.dtype
    history = jnp.full(max_iter, jnp.nan, dtype)
    return EMResult(start, jnp.asarray(-jnp.inf, dtype), history, jnp.int32(0), jnp.int32(Status.MAX_ITER))


@partial(jax.jit, static_argnums=3)
def _em(begun: EMResult, problem: Problem, limit: Array, options: Options) -> EMResult:
    """:func:`go_on`, which under ``vmap`` takes lanes."""
    if options.e_step or options.m_step:  # which may close over what the rule must not see
        return go_on(begun, problem, limit, options)

    def each(size: int, batched: Any, begun: EMResult, problem: Problem, limit: Array) -> EMResult:
        begun, limit = lanes.repeated(size, (batched[0], batched[2]), (begun, limit))
        per = jax.tree.map(int, batched[1])
        return go_on_each(begun, problem, per, limit, options, jnp.ones(size, bool))

    run = lanes.mapped(partial(go_on, options=options), each)
    return cast(EMResult, run(begun, problem, limit))


def go_on(begun: EMResult, problem: Problem, limit: Array, options: Options) -> EMResult:
    """A result that ``limit`` iterations in all may lead to; what has stopped for another reason stays as it is."""
    task = _Task(begun._replace(history=begun.history[:0]), problem, limit)
    result, history = lanes.alone(_loop(options), task, begun.history)
    return cast(EMResult, result._replace(history=history))


def go_on_all(starts: GMMParams, problem: Problem, limit: int, options: Options) -> EMResult:
    """:func:`go_on` from each of ``starts``, which have a leading axis, on the same rows; no histories."""
    task = _Task(jax.vmap(partial(nothing_yet, max_iter=0))(starts), problem, jnp.int32(limit))
    return cast(EMResult, lanes.together(_loop(options), task, _Task(0, None, None)))  # type: ignore[arg-type]


def go_on_each(
    begun: EMResult,
    problem: Problem,
    per: Problem,
    limit: Array,
    options: Options,
    wanted: Array,
    width: int | None = None,
) -> EMResult:
    """:func:`go_on` of those of many that are wanted; the others stay as they are.

    Args:
        begun: with a leading axis.
        problem: what to fit, its leaves shared as ``per`` says.
        per: for each leaf of ``problem`` how many in a row share an entry of its leading axis; 0 if all share it and it
            has no such axis.
        limit: with a leading axis.
        options: how to fit.
        wanted: with a leading axis.
        width: how many run side by side; by default chosen from shapes and backend.
    """
    of_all = begun.history
    begun = begun._replace(history=of_all[:, :0])
    each = _Task(jax.tree.map(lambda _: 1, begun), per, 1)  # type: ignore[arg-type]
    width = width or lanes_for(problem, begun.params.means.shape[1], bool(per.rows))
    task = _Task(begun, problem, limit)
    result, history = lanes.in_turn(_loop(options), task, each, begun, of_all, wanted, width)
    return cast(EMResult, result._replace(history=history))


def lanes_for(problem: Problem, n_components: int, is_each_its_own: bool) -> int:
    """How many runs side by side keep the machine busy; those on the same rows share work."""
    densities = DENSITIES_ON_CPU if jax.default_backend() == "cpu" else DENSITIES_ELSEWHERE
    return max(1 if is_each_its_own else SHARING, densities // (problem.rows.shape[-2] * n_components))


class _Look(NamedTuple):
    """What a look at a mixture shows."""

    frame: Frame
    stats: Stats
    penalty: Penalty  # of the ridge


class _State(NamedTuple):
    """What the loop carries: the answer so far, and what the next look at the likelihood will judge."""

    result: EMResult
    stats: Stats  # at the result
    penalty: Penalty  # of the ridge, at the result
    candidate: GMMParams
    gain: Array  # () of the last accepted step
    iteration: Array  # () int, accepted steps with the one to the candidate
    n_plain: Array  # () int, steps of plain EM accepted in a row
    course: Course | None


def _loop(options: Options) -> lanes.Loop:
    return lanes.Loop(
        begin=partial(_begin, options),
        advance=partial(_advance, options),
        is_running=lambda state: state.result.status == _RUNNING,
        entry=lambda state: (state.result.n_iter, state.result.log_likelihood),
        finish=_finish,
    )


def _begin(options: Options, task: _Task) -> _State:
    begun, start = task.begun, task.begun.params
    is_open = begun.status == Status.MAX_ITER
    entering = begun._replace(
        log_likelihood=jnp.where(is_open, -jnp.inf, begun.log_likelihood + _log_prior(start, task.problem)),
        status=jnp.where(is_open, jnp.int32(_RUNNING), begun.status),
    )
    empty = Stats(*(jnp.zeros_like(leaf) for leaf in (begun.log_likelihood, *start[:3])))
    course = acceleration.begin(options.accelerate, start) if options.accelerate else None
    candidate = _nan_unless(is_open & _is_mixture(start), start)
    nothing = Penalty(*[jnp.zeros_like(start.covariances, shape=len(start.covariances))] * 2)
    gain = jnp.full_like(begun.log_likelihood, jnp.inf)
    return _State(entering, empty, nothing, candidate, gain, begun.n_iter, jnp.int32(0), course)


def _advance(options: Options, task: _Task, state: _State) -> _State:
    """Look at the candidate, accept or refuse it, and make the next."""
    family, e_step, m_step, accelerate, chunk_size = options
    x, weights, ridge, tol, prior = task.problem
    params = state.candidate
    weights = jnp.where(weights >= 0, weights, jnp.nan)

    frame = mixture.frame(params)
    stats = e_step(params, x, weights) if e_step else expectation.expect(params, frame, x, weights, chunk_size)
    stats = stats._replace(log_likelihood=stats.log_likelihood + _log_prior(params, task.problem))
    look = _Look(frame, stats, maximization.penalty(frame.factor, params.covariances))

    counts = state.stats.counts[: len(params.means)]
    allowance = maximization.ridge_allowance(state.penalty, look.penalty, counts, ridge)
    if family.constrained:  # the start may lie outside the family, where more likelihood is to be had
        allowance = jnp.where(state.iteration == 1, jnp.inf, allowance)
    is_refused, state = _judge(state, look, allowance, tol, task.limit)

    params, stats, course = state.result.params, state.stats, state.course
    if accelerate and course:
        stats, course = acceleration.extrapolate(accelerate, course, params, stats, ridge, is_refused)
    maximize = m_step or partial(maximization.m_step, family=family, ridge=ridge, prior=prior)
    candidate = _nan_unless(state.result.status == _RUNNING, maximize(params, stats))
    return state._replace(candidate=candidate, course=course)


def _finish(task: _Task, state: _State) -> EMResult:
    result = state.result
    return result._replace(log_likelihood=result.log_likelihood - _log_prior(result.params, task.problem))


def _log_prior(params: GMMParams, problem: Problem) -> ArrayLike:
    return 0.0 if problem.prior is None else priors.log_prior(params, problem.prior)


def _judge(state: _State, look: _Look, allowance: Array, tol: Array, limit: Array) -> tuple[Array, _State]:
    """Whether the candidate, given a look at it, is refused; and the state that this leads to."""
    result, candidate, stats = state.result, state.candidate, look.stats
    is_guess = jnp.asarray(False) if state.course is None else state.course.is_guess
    gain = stats.log_likelihood - result.log_likelihood
    refusal = _refusal(candidate, look, gain + allowance)
    has_ended = result.status != _RUNNING  # before, and waits for others beside it
    is_refused = has_ended | (refusal != _RUNNING) | (is_guess & ~(gain + allowance > 0))
    n_plain = jnp.where(is_guess, 0, state.n_plain + 1)
    is_converged = (n_plain >= 2) & _is_converged(stats, gain, state.gain, tol)  # a guess's gain says nothing of a rate
    status = jnp.select(
        [has_ended, is_refused & is_guess, is_refused, is_converged, state.iteration >= limit],
        [result.status, jnp.int32(_RUNNING), refusal, jnp.int32(Status.CONVERGED), jnp.int32(Status.MAX_ITER)],
        jnp.int32(_RUNNING),
    )
    reached = result._replace(
        params=candidate, log_likelihood=stats.log_likelihood, n_iter=state.iteration, status=status
    )
    unknown = jnp.isneginf(result.log_likelihood) & ~has_ended
    stayed = result._replace(
        log_likelihood=jnp.where(unknown, stats.log_likelihood, result.log_likelihood), status=status
    )
    iteration = state.iteration + 1
    accepted = state._replace(
        result=reached, stats=stats, penalty=look.penalty, gain=gain, iteration=iteration, n_plain=n_plain
    )
    return is_refused, jax.tree.map(partial(jnp.where, is_refused), state._replace(result=stayed), accepted)


def _nan_unless(is_wanted: Array, candidate: GMMParams) -> GMMParams:
    """NaN where a candidate is not wanted: under ``vmap`` it comes along, and must not hold up the others' E-step."""
    return jax.tree.map(lambda leaf: jnp.where(is_wanted, leaf, jnp.nan), candidate)


def _is_mixture(params: GMMParams) -> Array:
    return (params.weights >= 0).all() & (abs(params.weights.sum() - 1) < 1e-3)


def _refusal(candidate: GMMParams, look: _Look, gain: Array) -> Array:
    """The Status to stop with before a candidate that must not be accepted, or ``_RUNNING``.

    A dip that the conditioning of the candidate explains is no failure: there is nothing left to gain in this dtype.
    """
    d, stats = candidate.means.shape[1], look.stats
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in candidate[:3]]).all()
    return jnp.select(
        [
            finite & ~mixture.is_resolved(look.frame, candidate.covariances),
            ~jnp.isfinite(stats.log_likelihood),
            gain < -_resolution(stats, expectation.amplification(look.frame, candidate.covariances)),
            gain < -_resolution(stats, d),
        ],
        [jnp.int32(s) for s in (Status.DEGENERATE, Status.NON_FINITE, Status.DECREASED, Status.CONVERGED)],
        jnp.int32(_RUNNING),
    )


def _is_converged(stats: Stats, gain: Array, previous_gain: Array, tol: Array) -> Array:
    """Whether Aitken's estimate of the remaining gain, ``gain / (1 - rate)``, is below ``tol`` per unit weight."""
    rate = jnp.where(previous_gain == 0, 0, gain / jnp.where(previous_gain == 0, 1, previous_gain))
    return jnp.isfinite(previous_gain) & (rate < 1) & (abs(gain) < _worthwhile(stats, tol) * (1 - rate))


def _worthwhile(stats: Stats, tol: Array) -> Array:
    """The least gain that is worth another iteration, ``()`` in nats."""
    return jnp.maximum(
        tol * stats.counts.sum(), _resolution(stats, jnp.full(1, stats.first.shape[1], stats.first.dtype))
    )


def _resolution(stats: Stats, amplification: ArrayLike) -> Array:
    """The change in log-likelihood that rounding alone can make, ``()`` in nats.

    A row's log-density sums squares and logarithms, each rounded; ``amplification`` ``()`` or ``(k,)`` says how many.
    The factor is three times the worst dip seen in float32 over a range of data sets after EM had converged.
    """
    scale = abs(stats.log_likelihood) + jnp.sum(stats.counts[: len(stats.first)] * amplification)
    return 4 * np.finfo(scale.dtype).eps * scale
