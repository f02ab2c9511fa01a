"""Fit a mixture from data alone: standardise, seed, run all restarts in one program, keep the best."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from .. import checks, linalg
from ..covariance.families import FULL, Family, as_family, get_family
from ..loop.accelerators import Accelerator, momentum
from ..loop.batching import take
from ..loop.driver import Task, task_of
from ..mixture.density import chunk_rows
from ..mixture.noise import rescaled, with_noise
from ..mixture.units import standardise_params
from ..progress import clock
from ..seeding import Seeding, kmeans_plus_plus, random_rows
from ..steps.contract import Steps, as_steps, chunked
from ..steps.options import custom_arguments, refuse
from ..types import FitResult, Noise, NoisyGMMParams, Prior, Status, is_usable
from .compiled import in_haste, program
from .restarts import Rules, best_of, brief_runs
from .standard import gaussian_task, restore, standard_problem
from .starts import draw_in_turn, gaussian_starts, sample_rows

RULES = Rules(first=50, keep=4, n_lanes=4, later=4)
ON_SAMPLE = 20  # M-steps on a sample of the rows, where there are many
LEAD = 2  # one of so many starts is resumed on all rows
AFTER_SAMPLE = Rules(first=2, keep=3, n_lanes=1)  # many rows keep the machine busy
SEEDINGS = (kmeans_plus_plus, random_rows)


def fit(
    key: Array,
    x: Any,
    n_components: int,
    *,
    weights: ArrayLike | None = None,
    steps: Steps | None = None,
    family: Family | str | None = None,
    n_init: int = 16,
    seeding: Seeding | tuple[Seeding, ...] | None = None,
    start: Any = None,
    ridge: ArrayLike | None = None,
    prior: Any = None,
    noise: Noise | None = None,
    tol: ArrayLike = 1e-6,
    max_iter: int = 1000,
    accelerate: Accelerator | None = momentum(),  # noqa: B008  (a constant)
    progress: bool = False,
) -> FitResult:
    r"""Fit a mixture from several starts and return the best.

    .. math:: \hat\theta = \arg\max_\theta \sum_i w_i \log \sum_j \phi_j N(x_i \mid \mu_j, \Sigma_j)

    The rows are standardised, each feature by itself or all together as the family allows, so that shift and units
    change nothing but the answer's units. All restarts run briefly, on a sample where there are many rows; the best are
    resumed, ever fewer of them, the last one to convergence (successive halving), all in one program.
    Components come back by decreasing weight, but those of a ``start`` in its order. A restart that fails, or ends in a
    spurious maximum, is reported but never chosen while another is left: spurious is a component that collapses to the
    size of the ridge, where the likelihood is unbounded, or that lies on a handful of nearly collinear rows.

    Works under ``jit`` and under ``vmap`` over keys, data sets and weights: the restarts of thousands of small data
    sets, ragged ones padded with rows of weight zero, share one queue, as in :func:`jaxgmm.em_batch`.

    Args:
        key: a JAX random key.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1, or :class:`jaxgmm.Observations`; with ``steps``, any pytree of arrays
            with the rows in front.
        n_components: number of components, k; static under ``jit``.
        weights: ``(n,)`` row weights >= 0; default one each. Integer weights equal repetition; a row of weight zero has
            no influence, even where it is NaN; scaling all weights leaves the parameters unchanged.
        steps: the functions of another model, see :class:`jaxgmm.Steps`. Then ``seeding`` or ``start`` is needed, rows
            stay in their own units, and what belongs to Gaussian mixtures (``family``, ``ridge``, ``prior``,
            ``noise``) is refused.
        family: a covariance family, or its name, default :data:`jaxgmm.FULL`; static under ``jit``.
        n_init: number of restarts; static under ``jit``.
        seeding: ``(key, x, weights, n_components) -> responsibilities``, see :mod:`jaxgmm.seeding`, or several such
            functions, used by the restarts in turn; default k-means++ and random rows. A function may also return the
            parameters to start from, as it must with ``steps``. Static under ``jit``.
        start: parameters to begin from, instead of seeding and restarts.
        ridge: added to covariances, relative to the features' variances (absolute for a constant feature); no less than
            what the dtype can resolve, unless 0; default 1e-6.
        prior: a :class:`jaxgmm.Prior`, or a rule ``(x, n_components, weights, family=) -> Prior`` such as
            :func:`jaxgmm.default_prior`. The fit is then the maximum a posteriori one, restarts are compared by log
            posterior, and ``history`` holds that.
        noise: a region for rows of no cluster, see :func:`jaxgmm.box_noise`; the result's parameters then are
            :class:`jaxgmm.NoisyGMMParams`. It goes with seeding; a ``start`` brings its own.
        tol: gain per unit weight, in nats, that is not worth another iteration.
        max_iter: most M-steps of each restart; static under ``jit``.
        accelerate: see :func:`jaxgmm.em`; ``None`` for plain EM. Steps without coordinates are run plain. Static under
            ``jit``.
        progress: whether to show on stderr for how long it has been going on.

    Returns:
        :class:`FitResult`: the best :class:`EMResult`, in the features' own units, and the log-likelihood and status of
        every restart.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes do not fit together; if ``x`` has NaN or infinite values in weighted rows, or fewer of
            them than ``n_components``; if ``weights`` are negative or all zero; if ``start`` is no mixture stored as
            ``family`` stores it; if an option is out of range. Values are checked only where they are concrete, so not
            under ``jit``.

    Example:
        >>> import jax
        >>> import jaxgmm
        >>> result = fit(jax.random.key(0), jaxgmm.datasets.load_faithful().x, 2)
        >>> round(float(result.best.log_likelihood), 2), jaxgmm.Status(int(result.best.status)).name
        (-1130.26, 'CONVERGED')

    Reference:
        Biernacki, Celeux & Govaert (2003), Choosing starting values for the EM algorithm, for short runs before long
        ones.
    """
    options = Options(
        n_components=checks.as_integer(n_components, "n_components", 1),
        n_init=checks.as_integer(n_init, "n_init", 1),
        seedings=seeding if isinstance(seeding, tuple) else () if seeding is None else (seeding,),
        max_iter=checks.as_integer(max_iter, "max_iter", 0),
        accelerate=accelerate,
    )
    tol = checks.non_negative(tol, "tol")
    if steps is not None:
        refuse("steps", family=family, ridge=ridge, prior=prior, noise=noise)
        solve: Any = _fit_steps
        arguments, is_hasty = _custom(x, weights, steps, start, options), False
    else:
        family = as_family(get_family(FULL if family is None else family))
        options = options._replace(family=family, seedings=options.seedings or SEEDINGS)
        solve, arguments = _fit_gaussian, _gaussian(x, weights, start, ridge, prior, noise, options)
        is_hasty = in_haste(len(arguments[1]) * n_components, (key, arguments))
    arguments = (key, jnp.asarray(tol, arguments[1].dtype), *arguments)
    with clock("fitting", progress):
        result: FitResult = program(solve, (len(arguments),), is_hasty)(*arguments, options)
        return jax.block_until_ready(result) if progress else result


class Options(NamedTuple):
    """What is static under ``jit``."""

    n_components: int
    n_init: int
    seedings: tuple[Seeding, ...]
    max_iter: int
    accelerate: Accelerator | None
    family: Family | None = None


def _gaussian(
    x: Any, weights: Any, start: Any, ridge: Any, prior: Any, noise: Any, options: Options
) -> tuple[Any, ...]:
    """Rows, row weights, start, ridge, prior and noise, checked."""
    family, n_components = options.family, options.n_components
    assert family is not None
    x = checks.as_rows(x)
    weights = checks.as_row_weights(weights, x).astype(x.dtype)
    ridge = jnp.asarray(checks.non_negative(1e-6 if ridge is None else ridge, "ridge"), x.dtype)
    checks.row_values(x, weights)
    checks.enough_rows(x, weights, n_components)
    if start is not None:
        start, x, weights = checks.arguments(start, x, weights)
        mixture = checks.mixture_of(start)
        as_family(family, mixture, "start")
        factor = linalg.factorize(mixture.covariances, x.shape[1])
        checks.start_values(start, n_components, linalg.is_positive_definite(factor, mixture.covariances))
    if callable(prior):
        prior = prior(x, n_components, weights, family=family)
    if prior is not None:
        prior = checks.as_prior(prior, x[:1])
    return x, weights, start, ridge, prior, noise


def _custom(x: Any, weights: Any, steps: Any, start: Any, options: Options) -> tuple[Any, ...]:
    """Rows, row weights, steps and start of a model of the user's own, checked."""
    if start is None and not options.seedings:
        raise ValueError(
            "seeding: expected a function that returns parameters, or a start, to go with steps; got neither"
        )
    start, observations, weights = custom_arguments(start, x, weights)
    checks.row_values(jnp.zeros((len(weights), 1), weights.dtype), weights)
    return observations, weights, chunked(as_steps(steps)), start


def _fit_gaussian(
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
    n_components, n_init, seedings, max_iter, accelerate, family = options
    assert family is not None
    structure = family.structure(n_components, x.shape[1])
    problem = standard_problem(x, weights, ridge, prior, structure, family.scale_equivariant)

    # From a given start
    if start is not None:
        task = gaussian_task(problem, family, tol, None, isinstance(start, NoisyGMMParams))
        starts = jax.tree.map(lambda leaf: leaf[None], standardise_params(start, problem.units))
        return restore(
            best_of(task, starts, max_iter, RULES, accelerate), problem, False, getattr(start, "noise", None)
        )

    # From several seedings, of a sample where there are many rows
    keys = jax.random.split(key, n_init + 1)
    sample = sample_rows(keys[n_init], problem, n_components)
    starts = gaussian_starts(keys[:n_init], sample, n_components, family, seedings)
    if noise is not None:
        region = rescaled(noise, *problem.units)
        starts = jax.vmap(lambda params: with_noise(params, region))(starts)
    chunk_size = chunk_rows(min(n_init, RULES.n_lanes or 1) * n_components, x.shape[1], x.dtype.itemsize)
    first = gaussian_task(sample, family, tol, chunk_size, noise is not None)
    if sample is problem:
        return restore(best_of(first, starts, max_iter, RULES, accelerate), problem, True, noise)
    task = gaussian_task(problem, family, tol, None, noise is not None)
    return restore(_after_sample(starts, first, task, max_iter, accelerate), problem, True, noise)


def _after_sample(starts: Any, sample: Task, task: Task, max_iter: int, accelerate: Accelerator | None) -> FitResult:
    """The best of starts that all run briefly on a sample, and of which the better half compete on all rows."""
    brief, values = brief_runs(sample, starts, ON_SAMPLE, accelerate)
    _, leading = lax.top_k(values, -(-len(values) // LEAD))
    result = best_of(task, take(brief.params, leading), max_iter, AFTER_SAMPLE, accelerate)
    estimates = brief.log_likelihood * task.total_weight / sample.total_weight
    statuses = jnp.where(is_usable(brief.status), jnp.int32(Status.MAX_ITER), brief.status)
    return FitResult(
        best=result.best,
        log_likelihoods=estimates.at[leading].set(result.log_likelihoods),
        statuses=statuses.at[leading].set(result.statuses),
    )


def _fit_steps(
    key: Array, tol: Array, observations: Any, weights: Array, steps: Steps, start: Any, options: Options
) -> FitResult:
    """The best of several starts of a model of the user's own."""
    task = task_of(steps, observations, weights, tol)
    if start is None:
        keys = jax.random.split(key, options.n_init)
        drawn = draw_in_turn(keys, observations, weights, options.n_components, options.seedings)
        starts = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *drawn)
    else:
        starts = jax.tree.map(lambda leaf: leaf[None], start)
    accelerate = options.accelerate if steps.coordinates is not None else None
    return best_of(task, starts, options.max_iter, RULES, accelerate)
