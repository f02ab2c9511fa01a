"""The stages of a fit to many restarts: standardise, sample, seed, run briefly, compete.

Each is a program of its own where rows are concrete, so that data sets share what does not depend on their length: all
that a fit does on a sample serves every large data set. Under a caller's ``jit`` they are one program.
"""

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import progress
from ..checks import mixture_of
from ..covariance.families import Family
from ..loop.accelerators import Accelerator
from ..loop.batching import axes_of, take
from ..loop.driver import Task
from ..mixture.density import chunk_rows
from ..mixture.noise import rescaled, with_noise
from ..mixture.units import standardise_params
from ..padding import first_rows, padded_components
from ..programs import PASSES, compile_ahead, is_eager, program
from ..seeding import Seeding, kmeans_plus_plus, random_rows
from ..types import FitResult, GMMParams, Noise, NoisyGMMParams, Prior, Status, is_usable
from .restarts import Rules, Standing, best_of, brief_runs, compete, enter, stages_of, winners
from .standard import StandardProblem, gaussian_task, restore, standard_problem
from .starts import gaussian_starts, sample_rows, sample_size

SEEDINGS = (kmeans_plus_plus, random_rows)
FEW_ELEMENTS = 2**18  # of rows times components: below, compiling takes far longer than running
TURN = 0.3  # seconds between two looks at how far restarts have come
RULES = Rules(first=50, keep=4, n_lanes=4, later=4)
ON_SAMPLE = 20  # M-steps on a sample of the rows, where there are many
LEAD = 2  # one of so many starts is resumed on all rows: more saves time, but loses the best start more often
AFTER_SAMPLE = Rules(first=2, keep=3, n_lanes=1)  # many rows keep the machine busy


class Options(NamedTuple):
    """What is static under ``jit``."""

    n_components: int  # with those of weight zero that pad them
    n_init: int
    seedings: tuple[Seeding, ...]
    max_iter: int
    accelerate: Accelerator | None
    family: Family | None = None


class Brief(NamedTuple):
    """Brief runs on a sample."""

    params: Any  # (starts, ...)
    score: Array  # (starts,) mean log-likelihood
    status: Array  # (starts,)
    values: Array  # (starts,) to compare them by


def fit_gaussian(
    key: Array,
    tol: Array,
    x: Array,
    weights: Array,
    start: Any,
    ridge: Array,
    prior: Prior | None,
    noise: Noise | None,
    options: Options,
) -> FitResult:
    """Stage by stage, each a program of its own where rows are concrete: those of the sample serve all large data."""
    n_used = None  # components, where others of weight zero pad them
    if start is None and _pads_components(x, options):
        n_used = jnp.int32(options.n_components)
        options = options._replace(n_components=padded_components(options.n_components))
    problem = _standardise(x, weights, ridge, prior, options)
    if start is not None:
        return _from_start(tol, problem, start, options)
    size = sample_size(len(weights), options.n_components, x.shape[1])
    shapes = _shapes_of_starts(x, noise, options)
    in_turns = progress.is_shown() and is_eager(x)
    compile_competition: Any = _in_turns_ahead if in_turns else partial(compile_ahead, _compete)
    run_competition = _in_turns if in_turns else _compete
    if size is None:
        chunk_size = _chunk_size(problem, options)
        compile_competition(tol, problem, shapes, None, noise, RULES, chunk_size, options)
        starts = progress.run("seeding", _draw_starts, key, problem, noise, n_used, options)
        result = run_competition(tol, problem, starts, None, noise, RULES, chunk_size, options)
        return _first_components(result, n_used)

    # Where there are many rows, all starts run briefly on a sample of them
    each: Any = partial(jax.ShapeDtypeStruct, (options.n_init,))
    shape_of_brief = Brief(shapes, each(x.dtype), each(jnp.int32), each(x.dtype))
    compile_competition(tol, problem, None, shape_of_brief, noise, AFTER_SAMPLE, None, options)
    sample = _draw_sample(key, problem, size, options)
    compile_ahead(_run_briefly, tol, sample, shapes, options)
    starts = progress.run("seeding", _draw_starts, key, sample, noise, n_used, options)
    brief = progress.run("restarts on a sample", _run_briefly, tol, sample, starts, options)
    result = run_competition(tol, problem, None, brief, noise, AFTER_SAMPLE, None, options)
    return _first_components(result, n_used)


def _pads_components(x: Array, options: Options) -> bool:
    """Whether one program is to serve several numbers of components: where data are small, and seedings know how."""
    n_elements = x.size * padded_components(options.n_components)
    return is_eager(x) and n_elements <= FEW_ELEMENTS and set(options.seedings) <= set(SEEDINGS)


def _first_components(result: FitResult, n_used: Array | None) -> FitResult:
    """A result without the components of weight zero that pad it: they come last."""
    if n_used is None:
        return result
    params, k = mixture_of(result.best.params), int(n_used)
    mixture = GMMParams(*(leaf if len(leaf) == 1 else first_rows(leaf, k) for leaf in params))
    noisy = isinstance(result.best.params, NoisyGMMParams)
    params = result.best.params._replace(mixture=mixture) if noisy else mixture
    return result._replace(best=result.best._replace(params=params, excess=first_rows(result.excess, k)))


def _shapes_of_starts(x: Array, noise: Noise | None, options: Options) -> Any:
    """Shapes of what :func:`_draw_starts` returns, so that later stages can be compiled beside it."""
    assert options.family is not None
    n, k, d = options.n_init, options.n_components, x.shape[1]
    shaped: Any = partial(jax.ShapeDtypeStruct, dtype=x.dtype)
    mixtures = GMMParams(shaped((n, k)), shaped((n, k, d)), shaped((n, *options.family.structure(k, d))))
    if noise is None:
        return mixtures
    return NoisyGMMParams(mixtures, shaped((n,)), jax.tree.map(lambda leaf: shaped((n, *jnp.shape(leaf))), noise))


@program("options")
def _standardise(x: Array, weights: Array, ridge: Array, prior: Prior | None, options: Options) -> StandardProblem:
    assert options.family is not None
    structure = options.family.structure(options.n_components, x.shape[1])
    return standard_problem(x, weights, ridge, prior, structure, options.family.scale_equivariant)


@program("options", passes=PASSES)
def _from_start(tol: Array, problem: StandardProblem, start: Any, options: Options) -> FitResult:
    """Where EM gets to from a given start."""
    task = _task(tol, problem, start, options)
    starts = jax.tree.map(lambda leaf: leaf[None], standardise_params(start, problem.units))
    result = best_of(task, starts, options.max_iter, RULES, options.accelerate)
    return restore(result, problem, False, getattr(start, "noise", None))


@program("size", "options")
def _draw_sample(key: Array, problem: StandardProblem, size: int, options: Options) -> StandardProblem:
    keys = jax.random.split(jax.random.clone(key), options.n_init + 1)  # the starts take the others
    return sample_rows(keys[options.n_init], problem, size)


@program("options", passes=PASSES)
def _draw_starts(
    key: Array, problem: StandardProblem, noise: Noise | None, n_used: Array | None, options: Options
) -> Any:
    """Mixtures in standard units, one for each restart."""
    assert options.family is not None
    keys = jax.random.split(key, options.n_init + 1)[: options.n_init]
    starts = gaussian_starts(keys, problem, options.n_components, n_used, options.family, options.seedings)
    if noise is None:
        return starts
    region = rescaled(noise, *problem.units)
    return jax.vmap(lambda params: with_noise(params, region))(starts)


@program("options", passes=PASSES)
def _run_briefly(tol: Array, sample: StandardProblem, starts: Any, options: Options) -> Brief:
    """Where all starts get to on a sample."""
    task = _task(tol, sample, starts, options, _chunk_size(sample, options))
    brief, values = brief_runs(task, starts, min(ON_SAMPLE, options.max_iter), options.accelerate)
    return Brief(brief.params, brief.log_likelihood / task.total_weight, brief.status, values)


@program("rules", "chunk_size", "options", passes=PASSES)
def _compete(
    tol: Array, problem: StandardProblem, starts: Any, brief: Brief | None, noise: Noise | None,
    rules: Rules, chunk_size: int | None, options: Options,
) -> FitResult:  # fmt: skip
    """The best of all starts, on all rows; after brief runs on a sample, of those that were best there."""
    starts = starts if brief is None else take(brief.params, _leaders(brief))
    task = _task(tol, problem, starts, options, chunk_size)
    return _restored(task, problem, best_of(task, starts, options.max_iter, rules, options.accelerate), brief, noise)


# In turns: what :func:`_compete` does, coming back to Python a few times a second to say how far it has come


def _in_turns(
    tol: Array, problem: StandardProblem, starts: Any, brief: Brief | None, noise: Noise | None,
    rules: Rules, chunk_size: int | None, options: Options,
) -> FitResult:  # fmt: skip
    standing = _enter(tol, problem, starts, brief, options)
    n_starts, pause, step, is_left = len(standing.states.status), 1, 1, True
    sizes = np.asarray(stages_of(n_starts, options.max_iter, rules)[0])
    n_before, total_weight = 0, float(problem.weights.sum())
    while is_left:
        n_left = sizes[min(int(standing.stage), len(sizes) - 1)]
        phase = "last run" if n_left == 1 else f"{n_left} of {n_starts} restarts"
        begin = time.perf_counter()
        arguments = tol, problem, standing, jnp.int32(pause), rules, chunk_size, options
        standing = progress.run(phase, _go_on, *arguments)
        seconds = time.perf_counter() - begin

        # How far they have come, and how far to go before the next look
        states = standing.states
        n_iter, objective, gain = jax.device_get((states.n_iter, states.objective, states.step))
        rate, gain = (n_iter.sum() - n_before) / seconds, gain[objective.argmax()] / total_weight
        progress.say(f"{n_iter.max()} iterations, {rate:.0f} a second, gain {gain:.1e} a row (tol {float(tol):.1e})")
        n_before = n_iter.sum()
        is_left = bool(standing.is_paused)
        step = max(1, min(int(step * TURN / seconds), 8 * step))
        pause += step
    return _leave(tol, problem, standing, brief, noise, options)


def _in_turns_ahead(
    tol: Array, problem: StandardProblem, starts: Any, brief: Brief | None, noise: Noise | None,
    rules: Rules, chunk_size: int | None, options: Options,
) -> None:  # fmt: skip
    standing = jax.eval_shape(lambda *leading: _enter(tol, problem, *leading, options), starts, brief)
    compile_ahead(_go_on, tol, problem, standing, jnp.int32(1), rules, chunk_size, options)


@program("options")
def _enter(tol: Array, problem: StandardProblem, starts: Any, brief: Brief | None, options: Options) -> Standing:
    starts = starts if brief is None else take(brief.params, _leaders(brief))
    task = _task(tol, problem, starts, options)
    return enter(
        task, axes_of(task, None), jax.tree.map(lambda leaf: leaf[None], starts), options.max_iter, options.accelerate
    )


@program("rules", "chunk_size", "options", passes=PASSES)
def _go_on(
    tol: Array, problem: StandardProblem, standing: Standing, pause: Array,
    rules: Rules, chunk_size: int | None, options: Options,
) -> Standing:  # fmt: skip
    task = _task(tol, problem, standing.states.params, options, chunk_size)
    shape = 1, len(standing.states.status)
    return compete(task, axes_of(task, None), shape, standing, pause, options.max_iter, rules, options.accelerate)


@program("options")
def _leave(
    tol: Array, problem: StandardProblem, standing: Standing, brief: Brief | None, noise: Noise | None, options: Options
) -> FitResult:
    task = _task(tol, problem, standing.states.params, options)
    result = winners(task, axes_of(task, None), (1, len(standing.states.status)), standing)
    return _restored(task, problem, jax.tree.map(lambda leaf: leaf[0], result), brief, noise)


def _leaders(brief: Brief) -> Array:
    """Which starts were best on a sample: the half of them, the best first."""
    return lax.top_k(brief.values, -(-len(brief.values) // LEAD))[1]


def _restored(
    task: Task, problem: StandardProblem, result: FitResult, brief: Brief | None, noise: Noise | None
) -> FitResult:
    """A result in the features' own units, with the starts that only ran on a sample."""
    if brief is not None:
        leaders = _leaders(brief)
        statuses = jnp.where(is_usable(brief.status), jnp.int32(Status.MAX_ITER), brief.status)
        result = result._replace(
            log_likelihoods=(brief.score * task.total_weight).at[leaders].set(result.log_likelihoods),
            statuses=statuses.at[leaders].set(result.statuses),
        )
    return restore(result, problem, True, noise)


def _task(tol: Array, problem: StandardProblem, params: Any, options: Options, chunk_size: int | None = None) -> Task:
    assert options.family is not None
    return gaussian_task(problem, options.family, tol, chunk_size, isinstance(params, NoisyGMMParams))


def _chunk_size(problem: StandardProblem, options: Options) -> int:
    """Rows in a chunk where several starts run side by side."""
    x = problem.observations.x
    return chunk_rows(min(options.n_init, RULES.n_lanes or 1) * options.n_components, x.shape[1], x.dtype.itemsize)
