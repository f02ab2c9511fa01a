"""The stages of a fit to many restarts: standardise, sample, seed, run briefly, compete.

Each is a program of its own where rows are concrete, so that data sets share what does not depend on their length: all
that a fit does on a sample serves every large data set. Under a caller's ``jit`` they are one program.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..checks import mixture_of
from ..covariance.families import Family
from ..loop.accelerators import Accelerator
from ..loop.batching import take
from ..loop.driver import Task
from ..mixture.density import chunk_rows
from ..mixture.noise import rescaled, with_noise
from ..mixture.units import standardise_params
from ..programs import compile_ahead, first_rows, is_eager, padded_components, program
from ..seeding import Seeding, kmeans_plus_plus, random_rows
from ..types import FitResult, GMMParams, Noise, NoisyGMMParams, Prior, Status, is_usable
from .restarts import Rules, best_of, brief_runs
from .standard import StandardProblem, gaussian_task, restore, standard_problem
from .starts import gaussian_starts, sample_rows, sample_size

SEEDINGS = (kmeans_plus_plus, random_rows)
FEW_ELEMENTS = 2**18  # of rows times components: below, compiling takes far longer than running
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
    if size is None:
        compile_ahead(_compete, tol, problem, shapes, noise, options)
        starts = _draw_starts(key, problem, noise, n_used, options)
        return _first_components(_compete(tol, problem, starts, noise, options), n_used)

    # Where there are many rows, all starts run briefly on a sample of them
    each: Any = partial(jax.ShapeDtypeStruct, (options.n_init,))
    brief_shapes = Brief(shapes, each(x.dtype), each(jnp.int32))
    compile_ahead(_compete_on_all_rows, tol, problem, brief_shapes, each(x.dtype), noise, options)
    sample = _draw_sample(key, problem, size, options)
    compile_ahead(_run_briefly, tol, sample, shapes, options)
    starts = _draw_starts(key, sample, noise, n_used, options)
    brief, values = _run_briefly(tol, sample, starts, options)
    return _compete_on_all_rows(tol, problem, brief, values, noise, options)


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
    best = result.best._replace(params=result.best.params._replace(mixture=mixture) if noisy else mixture)
    return result._replace(best=best, excess=first_rows(result.excess, k))


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


@program("options")
def _from_start(tol: Array, problem: StandardProblem, start: Any, options: Options) -> FitResult:
    """Where EM gets to from a given start."""
    task = _task(tol, problem, start, options)
    starts = jax.tree.map(lambda leaf: leaf[None], standardise_params(start, problem.units))
    result = best_of(task, starts, options.max_iter, RULES, options.accelerate)
    return restore(result, problem, False, getattr(start, "noise", None))


@program("size", "options")
def _draw_sample(key: Array, problem: StandardProblem, size: int, options: Options) -> StandardProblem:
    return sample_rows(jax.random.split(key, options.n_init + 1)[options.n_init], problem, size)


@program("options")
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


@program("options")
def _compete(tol: Array, problem: StandardProblem, starts: Any, noise: Noise | None, options: Options) -> FitResult:
    """The best of all starts, on all rows."""
    task = _task(tol, problem, starts, options, _chunk_size(problem, options))
    result = best_of(task, starts, options.max_iter, RULES, options.accelerate)
    return restore(result, problem, True, noise)


@program("options")
def _run_briefly(tol: Array, sample: StandardProblem, starts: Any, options: Options) -> tuple[Brief, Array]:
    """Where all starts get to on a sample, and values to compare them by."""
    task = _task(tol, sample, starts, options, _chunk_size(sample, options))
    brief, values = brief_runs(task, starts, min(ON_SAMPLE, options.max_iter), options.accelerate)
    return Brief(brief.params, brief.log_likelihood / task.total_weight, brief.status), values


@program("options")
def _compete_on_all_rows(
    tol: Array, problem: StandardProblem, brief: Brief, values: Array, noise: Noise | None, options: Options
) -> FitResult:
    """The best of the starts that were best on a sample, half of all."""
    task = _task(tol, problem, brief.params, options)
    _, leading = lax.top_k(values, -(-len(values) // LEAD))
    result = best_of(task, take(brief.params, leading), options.max_iter, AFTER_SAMPLE, options.accelerate)
    statuses = jnp.where(is_usable(brief.status), jnp.int32(Status.MAX_ITER), brief.status)
    result = FitResult(
        best=result.best,
        log_likelihoods=(brief.score * task.total_weight).at[leading].set(result.log_likelihoods),
        statuses=statuses.at[leading].set(result.statuses),
        excess=result.excess,
    )
    return restore(result, problem, True, noise)


def _task(tol: Array, problem: StandardProblem, params: Any, options: Options, chunk_size: int | None = None) -> Task:
    assert options.family is not None
    return gaussian_task(problem, options.family, tol, chunk_size, isinstance(params, NoisyGMMParams))


def _chunk_size(problem: StandardProblem, options: Options) -> int:
    """Rows in a chunk where several starts run side by side."""
    x = problem.observations.x
    return chunk_rows(min(options.n_init, RULES.n_lanes or 1) * options.n_components, x.shape[1], x.dtype.itemsize)
