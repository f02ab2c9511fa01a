"""The best of several starts of an estimator, in one compiled program."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from .. import linalg
from ..covariance.families import Family
from ..covariance.ridge import Ridge
from ..fitting.restarts import Rules, best_of
from ..fitting.standard import gaussian_task, restore, standard_problem
from ..fitting.starts import complete_starts
from ..loop.accelerators import momentum
from ..mixture.density import chunk_rows
from ..mixture.units import standardise_params
from ..programs import PASSES, program
from ..steps.maximization import from_responsibilities
from ..types import FitResult, GMMParams

RULES = Rules(first=15, keep=5, n_lanes=4)  # fits of scikit-learn seldom take more than fifteen iterations


@program("family", "max_iter", "is_accelerated", passes=PASSES)
def best_of_starts(
    initial: GMMParams,
    partitions: Array | None,
    x: Array,
    weights: Array,
    reg_covar: Array,
    tol: Array,
    family: Family,
    max_iter: int,
    is_accelerated: bool,
) -> tuple[FitResult, Array]:
    """The best fit of all starts, and its inverse Cholesky factors; features share one scale, as they share a ridge."""
    # Starts: initial parameters, estimated from partitions where they are None
    if partitions is None:
        starts = jax.tree.map(lambda leaf: leaf[None], initial)
    else:
        estimate = partial(from_responsibilities, family=family, ridge=Ridge(0.0, reg_covar))
        estimated = jax.vmap(lambda partition: estimate(x, partition, weights))(partitions)
        pairs = zip(initial, estimated, strict=True)
        starts = GMMParams(*(e if g is None else jnp.broadcast_to(g, e.shape) for g, e in pairs))

    # Standardised rows and starts
    starts = complete_starts(starts)
    n_starts, k, d = starts.means.shape
    structure = family.structure(k, d)
    problem = standard_problem(x, weights, reg_covar, None, structure, per_feature=False, is_relative=False)
    starts = jax.vmap(partial(standardise_params, units=problem.units))(starts)

    # The fit, back in the units of the rows
    chunk_size = chunk_rows(min(n_starts, RULES.n_lanes or 1) * k, d, x.dtype.itemsize)
    task = gaussian_task(problem, family, jnp.asarray(tol, x.dtype), chunk_size)
    result = best_of(task, starts, max_iter, RULES, momentum() if is_accelerated else None)
    result = restore(result, problem, sort=False)
    return result, linalg.factorize(result.best.params.covariances, d).inverse
