"""Fit a mixture from data alone: standardise, seed, run all restarts in one program, keep the best."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from .. import checks, linalg
from ..covariance.families import FULL, Family, get_family
from ..loop.acceleration import Accelerator, momentum
from ..loop.driver import Options, Problem
from ..mixture.density import chunk_rows
from ..mixture.noise import rescaled, with_noise
from ..progress import clock
from ..seeding.partitions import Seeding, kmeans_plus_plus, random_rows
from ..steps.maximization import from_responsibilities
from ..types import FitResult, GMMParams, Noise, NoisyGMMParams, Prior, Status
from .restarts import Rules, race_of_one, short_runs

RULES = Rules(stretch=50, keep=4, width=4, later=4)
SEEDING_ROWS = 8192  # rows that seeding looks at, at most unless components are many
ON_SAMPLE = 20  # iterations that they alone see, where there are more
LEAD = 2  # of so many starts one goes on from the sample
AFTER_SAMPLE = Rules(stretch=2, keep=3, width=1)  # many rows keep the machine busy
FEW_DENSITIES = 4096  # of rows under components, which take less time to fit than to compile for
HASTE = {  # compiles in half the time
    "xla_cpu_use_fusion_emitters": False,
    "xla_backend_optimization_level": 1,
    "xla_disable_hlo_passes": "while-loop-invariant-code-motion,simplify-while-loops",
}


def fit(
    key: Array,
    x: ArrayLike,
    n_components: int,
    weights: ArrayLike | None = None,
    *,
    family: Family | str = FULL,
    n_init: int = 16,
    seeding: Seeding | tuple[Seeding, ...] = (kmeans_plus_plus, random_rows),
    start: GMMParams | None = None,
    ridge: ArrayLike = 1e-6,
    prior: Prior | None = None,
    noise: Noise | None = None,
    tol: ArrayLike = 1e-6,
    max_iter: int = 1000,
    accelerate: Accelerator | None = momentum(),  # noqa: B008  (a constant)
    progress: bool = False,
) -> FitResult:
    r"""Fit a mixture from several starts and return the best.

    .. math:: \hat\theta = \arg\max_\theta \sum_i w_i \log \sum_j \phi_j N(x_i \mid \mu_j, \Sigma_j)

    The data are standardised by a map under which the family is closed, so shift and units change nothing but the
    answer's units. All restarts run shortly, on a sample where there are many rows, then of those that lead ever
    fewer go on, the last one to convergence, all in one program.
    Components come back by decreasing weight, but those of a ``start`` in its order. A restart that fails, or ends in a
    spurious maximum, is reported but never chosen while another is left: spurious is a component that collapses to the
    size of the ridge, where the likelihood is unbounded, or that lies on a handful of nearly collinear rows.

    Works under ``jit`` and under ``vmap`` over keys, data sets and weights: thousands of small data sets, ragged ones
    with weight zero for what is missing, take turns in one program, as under :func:`jaxgmm.em`.

    Args:
        key: a JAX random key.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        n_components: number of components, k; static under ``jit``.
        weights: ``(n,)`` row weights >= 0; default one each. Integer weights equal repetition; a row of weight zero has
            no influence, even where it is NaN; scaling all weights leaves the parameters unchanged.
        family: a covariance family, or its name; static under ``jit``.
        n_init: number of restarts; static under ``jit``.
        seeding: ``(key, x, weights, n_components) -> responsibilities``, see :mod:`jaxgmm.seeding`, or several such
            functions, used by the restarts in turn; static under ``jit``.
        start: parameters to begin from, instead of seeding and restarts.
        ridge: added to covariances, relative to the features' variances (absolute for a constant feature); no less than
            what the dtype can resolve, unless 0.
        prior: see :class:`jaxgmm.Prior` and :func:`jaxgmm.default_prior`; the fit is then the maximum a posteriori one,
            restarts are compared by log posterior, and ``history`` holds that.
        noise: a region for rows of no cluster, see :func:`jaxgmm.box_noise`; the result's parameters then are
            :class:`jaxgmm.NoisyGMMParams`. It goes with seeding; a ``start`` brings its own.
        tol: gain per unit weight, in nats, that is not worth another iteration.
        max_iter: most M-steps of each restart; static under ``jit``.
        accelerate: see :func:`jaxgmm.em`; ``None`` for plain EM. Static under ``jit``.
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
    x = checks.as_rows(x)
    weights = checks.as_row_weights(weights, x).astype(x.dtype)
    family = checks.family_of(get_family(family))
    n_components = checks.as_integer(n_components, "n_components", 1)
    n_init = checks.as_integer(n_init, "n_init", 1)
    max_iter = checks.as_integer(max_iter, "max_iter", 0)
    ridge, tol = checks.non_negative(ridge, "ridge"), checks.non_negative(tol, "tol")
    checks.row_values(x, weights)
    checks.enough_rows(x, weights, n_components)
    if start is not None:
        start, x, weights = checks.arguments(start, x, weights)
        checks.family_of(family, start, "start")
        factor = linalg.factorize(start.covariances, x.shape[1])
        checks.start_values(start, n_components, linalg.is_positive_definite(factor, start.covariances))
    seedings = seeding if isinstance(seeding, tuple) else (seeding,)
    if prior is not None:
        prior = checks.as_prior(prior, x[:1])
    options = (n_components, family, n_init, seedings, max_iter, accelerate)
    given = (key, x, weights, start, jnp.asarray(ridge, x.dtype), jnp.asarray(tol, x.dtype), prior, noise)
    is_small = len(x) * n_components < FEW_DENSITIES and jax.default_backend() == "cpu"
    with clock("fitting", progress):
        result = _program(is_small and _is_no_part(given))(*given, *options)
        return jax.block_until_ready(result) if progress else result  # type: ignore[no-untyped-call]


class Scale(NamedTuple):
    """The map ``x -> (x - shift) / scale`` that standardises rows."""

    shift: Array  # (d,)
    scale: Array  # (d,)


def _is_no_part(given: Any) -> bool:
    """Whether what is computed of this is a program, and no part of a larger one, which has its own options."""
    return checks.is_concrete(given, jnp.zeros(()))  # inside ``jit`` even what is made of nothing is traced


@cache
def _program(in_haste: bool) -> Callable[..., FitResult]:
    """:func:`_fit` under ``jit``."""
    compiled: Any = partial(jax.jit, static_argnums=(8, 9, 10, 11, 12, 13))
    if in_haste:
        try:
            jax.jit(jnp.zeros, static_argnums=0, compiler_options=HASTE)(())
            return compiled(_fit, compiler_options=HASTE)
        except jax.errors.JaxRuntimeError:  # these are no options of this compiler
            pass
    return compiled(_fit)


def _fit(
    key: Array,
    x: Array,
    weights: Array,
    start: GMMParams | None,
    ridge: Array,
    tol: Array,
    prior: Prior | None,
    noise: Noise | None,
    n_components: int,
    family: Family,
    n_init: int,
    seedings: tuple[Seeding, ...],
    max_iter: int,
    accelerate: Accelerator | None,
) -> FitResult:
    scale = standardisation(x, weights, family.scale_equivariant)
    problem = standardise(scale, x, weights, ridge, tol, prior)
    problem = with_relative_ridge(problem, family.structure(n_components, x.shape[1]))
    chunk_size = chunk_rows(min(n_init, RULES.width or 1) * n_components, x.shape[1], x.dtype.itemsize)
    options = Options(family, accelerate=accelerate, chunk_size=chunk_size)
    if start is not None:
        starts = jax.tree.map(lambda leaf: leaf[None], standardise_params(start, scale))
        result = race_of_one(starts, problem, max_iter, RULES, options._replace(chunk_size=None))
        return restore(result, scale, weights, False, getattr(start, "noise", noise))
    keys = jax.random.split(key, n_init + 1)
    sample = _sample(keys[n_init], problem, n_components)
    starts = _starts(keys[:n_init], sample, n_components, family, seedings)
    if noise is not None:
        region = rescaled(noise, scale.shift, scale.scale)
        starts = jax.vmap(lambda params: with_noise(params, region))(starts)
    if len(sample.rows) == len(x):
        result = race_of_one(starts, problem, max_iter, RULES, options)
    else:
        result = _race_after_sample(starts, sample, problem, max_iter, options)
    return restore(result, scale, weights, True, noise)


def _sample(key: Array, problem: Problem, n_components: int) -> Problem:
    """The problem on rows drawn by weight, where there are many."""
    rows, weights = problem.rows, problem.weights
    most = max(SEEDING_ROWS, 32 * n_components)
    if len(rows) <= most:
        return problem
    size = int(np.clip(32 * n_components * rows.shape[1], SEEDING_ROWS // 2, most))  # few parameters need fewer
    drawn = jax.random.choice(key, len(rows), (size,), p=weights / weights.sum())
    return problem._replace(rows=rows[drawn], weights=jnp.ones(size, rows.dtype))


def _starts(
    keys: Array, problem: Problem, n_components: int, family: Family, seedings: tuple[Seeding, ...]
) -> GMMParams:
    """A start for each key, the seedings taking turns."""
    rows, weights, ridge, *_ = problem
    turns = [
        jax.vmap(lambda key, seeding=seeding: seeding(key, rows, weights, n_components))(keys[turn :: len(seedings)])
        for turn, seeding in enumerate(seedings[: len(keys)])
    ]
    estimate = partial(from_responsibilities, family=family, ridge=ridge)
    return jax.vmap(lambda belonging: estimate(rows, belonging, weights))(jnp.concatenate(turns))


def _race_after_sample(
    starts: GMMParams, sample: Problem, problem: Problem, max_iter: int, options: Options
) -> FitResult:
    """All starts run shortly on the sample; those that lead there compete on all rows."""
    ended, values = short_runs(starts, sample, ON_SAMPLE, options)
    _, leading = lax.top_k(values, -(-len(values) // LEAD))
    leaders = jax.tree.map(lambda leaf: leaf[leading], ended.params)
    result = race_of_one(leaders, problem, max_iter, AFTER_SAMPLE, options._replace(chunk_size=None))
    estimates = ended.log_likelihood * problem.weights.sum() / sample.weights.sum()
    left = jnp.where(ended.status <= Status.MAX_ITER, jnp.int32(Status.MAX_ITER), ended.status)
    return FitResult(
        best=result.best,
        log_likelihoods=estimates.at[leading].set(result.log_likelihoods),
        statuses=left.at[leading].set(result.statuses),
    )


def _largest_first(params: GMMParams) -> GMMParams:
    """The same mixture, its components by decreasing weight."""
    k = params.means.shape[0]
    order = jnp.argsort(-params.weights[:k])
    shared = params.covariances.shape[0] == 1
    return params._replace(
        weights=jnp.concatenate([params.weights[order], params.weights[k:]]),
        means=params.means[order],
        covariances=params.covariances if shared else params.covariances[order],
    )


def standardisation(x: Array, weights: Array, per_feature: bool | Array) -> Scale:
    """Weighted mean and spread, per feature or one common spread: for families that are not closed under the former."""
    share = weights / weights.sum()
    near = jnp.where((weights > 0)[:, None], x - x[jnp.argmax(weights)][None], 0)
    span = linalg.or_one(abs(near).max(0))  # so that squares neither overflow nor underflow
    near = near / span[None]
    mean = linalg.einsum("n,nd->d", share, near)
    spread = jnp.sqrt(linalg.einsum("n,nd->d", share, (near - mean[None]) ** 2)) * span
    largest = spread.max()
    common = largest * jnp.sqrt(jnp.mean((spread / linalg.or_one(largest)) ** 2))
    return Scale(x[jnp.argmax(weights)] + span * mean, linalg.or_one(jnp.where(per_feature, spread, common)))


def standardise(scale: Scale, x: Array, weights: Array, ridge: Array, tol: Array, prior: Prior | None) -> Problem:
    """The problem in standardised units, but for the ridge, which stays as it is."""
    rows = jnp.where((weights > 0)[:, None], (x - scale.shift[None]) / scale.scale[None], 0)
    return Problem(rows, weights, ridge, tol, standardise_prior(prior, scale))


def with_relative_ridge(problem: Problem, structure: tuple[int, ...]) -> Problem:
    """The ridge relative to the least feature's variance, for covariances stored in this shape."""
    rows, weights, ridge, *_ = problem
    spread = linalg.einsum("n,nd->d", weights / weights.sum(), rows**2)
    ridge = ridge * jnp.where(spread > 0, spread, 1).min()  # under one common scale, small features have less than one
    if len(structure) == 3:  # a matrix can be singular unnoticed: a smaller ridge cannot be told from none, see linalg
        ridge = jnp.where(ridge > 0, jnp.maximum(ridge, 4 * rows.shape[1] * np.finfo(rows.dtype).eps), 0)
    return problem._replace(ridge=ridge)


def standardise_prior(prior: Prior | None, scale: Scale) -> Prior | None:
    """A prior, if there is one, in standardised units."""
    if prior is None:
        return None
    covariance = linalg.rescale(prior.scale[None], 1 / scale.scale)[0]
    return prior._replace(mean=(prior.mean - scale.shift) / scale.scale, scale=covariance)


def standardise_params(params: GMMParams, scale: Scale) -> GMMParams:
    """Parameters in standardised units."""
    means = (params.means - scale.shift[None]) / scale.scale[None]
    params = params._replace(means=means, covariances=linalg.rescale(params.covariances, 1 / scale.scale))
    if isinstance(params, NoisyGMMParams):
        params = params._replace(noise=rescaled(params.noise, scale.shift, scale.scale))
    return params


def restore(result: FitResult, scale: Scale, weights: Array, sort: bool, noise: Noise | None = None) -> FitResult:
    """A result in the features' own units, its components by decreasing weight if asked for."""
    best = result.best
    params = best.params._replace(
        means=best.params.means * scale.scale[None] + scale.shift[None],
        covariances=linalg.rescale(best.params.covariances, scale.scale),
    )
    if isinstance(params, NoisyGMMParams):  # as it came: back and forth, rounding would move its edge over a row
        params = params._replace(noise=noise)
    jacobian = weights.sum() * jnp.log(scale.scale).sum()
    return FitResult(
        best=best._replace(
            params=_largest_first(params) if sort else params,
            log_likelihood=best.log_likelihood - jacobian,
            history=best.history - jacobian,
        ),
        log_likelihoods=result.log_likelihoods - jacobian,
        statuses=result.statuses,
    )
