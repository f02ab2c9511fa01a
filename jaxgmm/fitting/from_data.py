"""Fit a mixture from data alone: standardise, seed, run all restarts, keep the best."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from numpy.typing import ArrayLike

from .. import checks, linalg
from ..arrays import column_names, columns_in_order
from ..covariance.families import FULL, Family, as_family, get_family
from ..fitted import feature_names_of, parameters_of
from ..loop.accelerators import Accelerator, momentum
from ..loop.driver import task_of
from ..mixture.units import in_unit
from ..padding import pad_rows
from ..programs import PASSES, program
from ..progress import show
from ..seeding import Seeding
from ..steps.contract import Steps, as_steps, chunked
from ..steps.options import custom_arguments, refuse
from ..types import FitResult, Noise, Prior
from .offsets import centred, moved_back, noise_about, prior_about, start_about, warn_of_rounded
from .restarts import best_of
from .spurious import refuse_singular
from .stages import RULES, SEEDINGS, Options, fit_gaussian
from .standard import in_nats_of_weights
from .starts import draw_in_turn


def fit(
    key: Array | int,
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

    The rows are standardised by medians and interquartile ranges, each feature by itself or all together as the family
    allows, so that shift and units change nothing but the answer's units.

    All restarts run briefly; the best quarter go on, then the best quarter of these, until one is left, which runs
    until it converges (successive halving). Where there are many rows the brief runs are on a sample; the best half go
    on to all rows, then the best third of these, and so on.

    Components come back by decreasing weight, those of about equal weight by their means, but those of a ``start`` in
    its order. A restart that fails, or ends in a spurious maximum, is reported but never chosen while another is left:
    spurious is a component that collapses, where the likelihood is unbounded, or that lies on a handful of nearly
    collinear rows. Where such components lie apart from all others, on outliers or on a code for missing entries, the
    restart is ``ISOLATED``: ``excess`` names them, and the others can be used. Restarts are compared without the
    excess.

    Works under ``jit`` and under ``vmap`` over keys, data sets and weights: the restarts of thousands of small data
    sets, ragged ones padded with rows of weight zero, share one queue, as in :func:`jaxgmm.em_batch`.

    Args:
        key: a JAX random key, or a seed.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1, or :class:`jaxgmm.Observations`; with ``steps``, any pytree of arrays
            with the rows in front. Data frames and Arrow tables are taken too. float64 and whole numbers far from the
            origin are centred before float32 rounds them, with a warning where the means that come back are rounded.
        n_components: number of components, k, as ``start`` has; with ``steps`` only ``seeding`` is told. Static under
            ``jit``.
        weights: ``(n,)`` row weights >= 0; default one each. Integer weights equal repetition; a row of weight zero has
            no influence, even where it is NaN; scaling all weights leaves the parameters unchanged, unless there is a
            prior.
        steps: the functions of another model, see :class:`jaxgmm.Steps`. Then ``seeding`` or ``start`` is needed, rows
            stay in their own units, and what belongs to Gaussian mixtures (``family``, ``ridge``, ``prior``,
            ``noise``) is refused.
        family: a covariance family, or its name, default :data:`jaxgmm.FULL`; static under ``jit``.
        n_init: number of restarts; static under ``jit``.
        seeding: ``(key, x, weights, n_components) -> responsibilities``, see :mod:`jaxgmm.seeding`, or several such
            functions, used by the restarts in turn; default k-means++ and random rows. A function may also return the
            parameters to start from, as it must with ``steps``. Static under ``jit``.
        start: parameters to begin from, or a result that holds some, instead of seeding and restarts; goes without
            ``seeding`` and ``noise``.
        ridge: added to each variance of each component, relative to it; no less than what the dtype can resolve, unless
            0; default 1e-6. With it no standard deviation falls below a share of the interquartile range of all rows,
            1e-9 in float64 and 5e-7 in float32.
        prior: a :class:`jaxgmm.Prior`, or a rule ``(x, n_components, weights, family=) -> Prior`` such as
            :func:`jaxgmm.default_prior`. The fit is then the maximum a posteriori one, restarts are compared by log
            posterior, and ``history`` holds that.
        noise: a region for rows of no cluster, see :func:`jaxgmm.box_noise`; the result's parameters then are
            :class:`jaxgmm.NoisyGMMParams`. It goes with seeding; a ``start`` brings its own.
        tol: EM stops once the estimated gain still to come is below this, in nats per unit of row weight.
        max_iter: most M-steps of each restart; static under ``jit``.
        accelerate: see :func:`jaxgmm.em`; ``None`` for plain EM. Steps without coordinates are run plain. Static under
            ``jit``.
        progress: whether to show on stderr what is compiled and computed, how fast, and for how long. The loop then
            comes back to Python a few times a second.

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
        Biernacki, Celeux & Govaert (2003), Choosing starting values for the EM algorithm, for brief runs before
        long ones.
    """
    key = checks.as_key(key)
    options = Options(
        n_components=checks.as_integer(n_components, "n_components", 1),
        n_init=checks.as_integer(n_init, "n_init", 1),
        seedings=_as_seedings(seeding),
        max_iter=checks.as_integer(max_iter, "max_iter", 0),
        accelerate=accelerate,
    )
    tol = checks.non_negative(tol, "tol")
    if start is not None:
        refuse("start", seeding=seeding, noise=noise)
    if steps is not None:
        refuse("steps", family=family, ridge=ridge, prior=prior, noise=noise)
        with show("fitting", progress):
            return _if_shown(progress, _fit_steps(key, *_custom(x, weights, steps, start, tol, options), options))

    # A Gaussian mixture
    family = as_family(get_family(FULL if family is None else family))
    options = options._replace(family=family, seedings=options.seedings or SEEDINGS)
    x, feature_names = columns_in_order(x, start), feature_names_of(start, x)
    names, start = column_names(x), parameters_of(start)
    x, weights, reference = centred(x, weights, names, prior)
    weights, unit = in_unit(weights) if prior is None else (weights, 1.0)  # a prior counts rows
    about = start_about(start, reference), ridge, prior_about(prior, reference), noise_about(noise, reference)
    with show("fitting", progress):
        result = fit_gaussian(key, jnp.asarray(tol, x.dtype), *_gaussian(x, weights, *about, options), options)
        result = _if_shown(progress, in_nats_of_weights(result, unit))
    best = moved_back(result.best, reference, getattr(start, "noise", noise))
    warn_of_rounded(best, reference, names)
    return result._replace(best=best._replace(family=family, feature_names=feature_names))


def _if_shown(progress: bool, result: FitResult) -> FitResult:
    """The result, once it is computed where the progress of that is shown."""
    return jax.block_until_ready(result) if progress else result


def _as_seedings(seeding: Any) -> tuple[Seeding, ...]:
    """The functions that seed in turn, of one, several or None."""
    seedings = () if seeding is None else tuple(seeding) if isinstance(seeding, (tuple, list)) else (seeding,)
    for function in seedings:
        if not callable(function):
            raise TypeError(f"seeding: expected functions such as those of jaxgmm.seeding, got {function!r}")
    return seedings


def _gaussian(
    x: Array, weights: Array, start: Any, ridge: Any, prior: Any, noise: Any, options: Options
) -> tuple[Array, Array, Any, Array, Prior | None, Noise | None]:
    """Rows and row weights, which are checked, and start, ridge, prior and noise, checked."""
    family, n_components = options.family, options.n_components
    assert family is not None
    ridge = jnp.asarray(checks.non_negative(1e-6 if ridge is None else ridge, "ridge"), x.dtype)
    checks.enough_rows(x, weights, n_components)
    if start is not None:
        start, x, weights = checks.arguments(start, x, weights)
        mixture = checks.mixture_of(start)
        as_family(family, mixture, "start")
        factor = linalg.factorize(mixture.covariances, x.shape[1])
        checks.start_values(start, n_components, linalg.is_positive_definite(factor, mixture.covariances))
    if noise is not None:
        noise = checks.as_noise(noise, x.shape[1])
    if callable(prior):
        prior = prior(x, n_components, weights, family=family)
    if prior is not None:
        prior = checks.as_prior(prior, x[:1])
    refuse_singular((family,), x, weights, ridge, prior)
    if set(options.seedings) <= set(SEEDINGS):  # functions of the user's own may count rows
        x, weights = pad_rows((x, weights))
    return x, weights, start, ridge, prior, noise


def _custom(x: Any, weights: Any, steps: Any, start: Any, tol: Any, options: Options) -> tuple[Any, ...]:
    """Tolerance, rows, row weights, steps and start of a model of the user's own, checked."""
    if start is None and not options.seedings:
        raise ValueError(
            "seeding: expected a function that returns parameters, or a start, to go with steps; got neither"
        )
    _refuse_mapped_closures(steps := as_steps(steps))
    start, observations, weights = custom_arguments(start, x, weights)
    checks.weight_values(weights)
    return jnp.asarray(tol, weights.dtype), observations, weights, chunked(steps), start


def _refuse_mapped_closures(steps: Steps) -> None:
    """Raise if a function closes over a value that ``vmap`` maps: the restarts of all lanes share one queue."""
    for name, field in zip(Steps._fields, steps, strict=True):
        cells = getattr(getattr(field, "func", None), "__closure__", None) or ()
        values = jax.tree.leaves([cell.cell_contents for cell in cells])
        if any(isinstance(value, jax.core.Tracer) and hasattr(value, "batch_dim") for value in values):
            raise TypeError(
                f"steps.{name}: expected arrays that vmap maps as arguments of jax.tree_util.Partial(function, array), "
                "got a function that closes over one"
            )


@program("options", passes=PASSES)
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
