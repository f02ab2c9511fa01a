"""The E-step: expected sufficient statistics of rows under the current parameters, by one of two kernels.

The accurate kernel whitens residuals; the natural one (:mod:`jaxgmm.steps.natural`) needs two matrix products with
features that all components share, and is used where a bound on its rounding allows it.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jax.tree_util import Partial

from .. import linalg
from ..checks import as_observations
from ..mixture import density
from ..mixture.density import Prepared
from ..types import Observations, Stats
from . import natural
from .chunks import sum_over_chunks

# Rows times components from which a second kernel is worth the second that a CPU takes to compile it. 100 iterations in
# float32 take 76 ms less with it for 80,000 densities in 8 features, 93 ms less for 500,000 in 2.
MANY_DENSITIES = 2**16
ROWS_OF_CENTRE = 1024  # whose mean the natural kernel subtracts: any point within the data will do


def expect(chunk_size: int | None, prepared: Prepared, observations: Any, weights: Array) -> Stats:
    """Expected sufficient statistics, by the kernel that suits the mixture; without a chunk size it goes by shapes."""
    observations = as_observations(observations, n_features=len(prepared.centre))
    n_densities = len(weights) * len(prepared.offsets)
    if n_densities < MANY_DENSITIES or not natural.is_faster(prepared):
        return accurate_stats(chunk_size, prepared, prepared.centre, observations, weights)

    # Both kernels are compiled; the parameters decide
    centre = _nearby(observations.x)
    lost = natural.rounding(prepared, centre)
    is_safe = _in_every_lane(natural.is_accurate_enough(lost, len(centre)).all())
    kernels = partial(natural_stats, chunk_size), partial(accurate_stats, chunk_size)
    return lax.cond(is_safe, *kernels, prepared, centre, observations, weights)


def accurate_stats(
    chunk_size: int | None, prepared: Prepared, _: Array, observations: Observations, weights: Array
) -> Stats:
    """By whitened residuals: rounding grows linearly with distance over standard deviation."""
    (k, d), shape = prepared.offsets.shape, prepared.covariances.shape
    size = chunk_size or density.chunk_rows(k, d, observations.x.dtype.itemsize)
    block = Partial(_whitened_block, prepared)
    stats = sum_over_chunks(block, observations, weights, size)
    second = linalg.unwhiten_scatter(prepared.factor, stats.first, stats.second, prepared.offsets)
    first = linalg.unwhiten(prepared.factor, stats.first)
    return stats._replace(first=first, second=linalg.pool_moments(second, shape))


def natural_stats(
    chunk_size: int | None, prepared: Prepared, centre: Array, observations: Observations, weights: Array
) -> Stats:
    """By natural parameters about ``centre``, with the rounding that :func:`natural.rounding` bounds."""
    shape = prepared.covariances.shape
    parameters = natural.natural(prepared, centre)
    size = chunk_size or natural.chunk_rows(parameters, observations.x.dtype.itemsize)
    block = Partial(partial(_natural_block, shape), parameters, centre)
    sums = sum_over_chunks(block, observations, weights, size)
    return natural.about_means(parameters, sums, shape)


def rounding(prepared: Prepared) -> Array:
    """How many roundings of size one a row's log-density may carry under each component, ``(k,)``, in either kernel."""
    lost = natural.rounding(prepared, prepared.centre)
    by_natural = jnp.where(natural.is_accurate_enough(lost, len(prepared.centre)), lost, 0)
    return jnp.maximum(density.amplification(prepared), by_natural)


@custom_vmap
def _in_every_lane(flag: Array) -> Array:
    """``flag``; under ``vmap`` whether it is set in all lanes, so that a ``cond`` on it stays one."""
    return flag


@_in_every_lane.def_vmap
def _in_every_lane_of(axis_size: int, in_batched: Any, flag: Array) -> tuple[Array, bool]:
    return _in_every_lane(flag.all(0)), False


def _nearby(x: Array) -> Array:
    """The mean of some rows, ``(d,)``, the same for all mixtures."""
    rows = x[:: max(1, len(x) // ROWS_OF_CENTRE)]
    is_finite = jnp.isfinite(rows).all(1)
    mean = jnp.where(is_finite[:, None], rows, 0).sum(0) / jnp.maximum(is_finite.sum(dtype=x.dtype), 1)
    return linalg.round_once(lax.stop_gradient(jnp.where(jnp.isfinite(mean), mean, 0)))


def _whitened_block(prepared: Prepared, observations: Observations, weights: Array) -> Stats:
    """Stats of one block of rows, whose moments are still whitened (:func:`linalg.whitened_scatter`)."""
    centred = _centred(observations.x, weights, prepared.centre)
    residuals = linalg.whiten(prepared.factor, centred, prepared.offsets)
    joint = density.joint_log_densities(prepared, residuals, centred)
    log_likelihood, expected = _posterior(joint, weights)
    first, second = linalg.whitened_scatter(prepared.factor, residuals, expected, centred)
    return Stats(log_likelihood, expected.sum(1), first, second)


def _natural_block(
    shape: tuple[int, ...], parameters: natural.Natural, centre: Array, observations: Observations, weights: Array
) -> Stats:
    """Stats of one block of rows, moments about ``centre`` and second ones packed (:func:`natural.about_means`)."""
    centred = _centred(observations.x, weights, centre)
    features = natural.features(centred, shape)

    # Joint log-densities, linear in the features
    joint = parameters.constant[:, None] + sum(map(linalg.matmul, natural.in_parts(parameters.eta, features), features))
    if parameters.shared is not None:
        joint = joint - (linalg.matmul(parameters.shared, centred) ** 2).sum(0)[None] / 2
    # A row so far out that its features overflow is infinitely far, unless it is NaN itself
    beyond = jnp.where(jnp.isnan(centred).any(0), jnp.nan, -jnp.inf)
    joint = jnp.where(jnp.isnan(joint), beyond[None], joint)

    # Moments, linear in the responsibilities
    log_likelihood, expected = _posterior(joint, weights)
    moments = map(partial(linalg.matmul, expected), (part.T for part in features))
    total = jnp.concatenate(list(moments), axis=1)
    first, second = total[:, : len(centre)], total[:, len(centre) :]
    if parameters.shared is not None:
        second = linalg.matmul(centred * expected.sum(0)[None], centred.T)[None]
    return Stats(log_likelihood, expected.sum(1), first, second)


def _centred(rows: Array, weights: Array, centre: Array) -> Array:
    """Rows ``(n, d)`` as ``(d, n)`` about ``centre``; those of weight zero, at it."""
    is_counted = weights != 0  # NaN weights stay visible
    return jnp.where(is_counted[None], (rows - centre[None]).T, 0)


def _posterior(joint: Array, weights: Array) -> tuple[Array, Array]:
    """Log-likelihood ``()`` and weighted responsibilities ``(k, n)`` of joint log-densities ``(k, n)``."""
    top = lax.stop_gradient(jnp.max(joint, axis=0))
    top = jnp.where(jnp.isneginf(top), 0, top)  # a row that underflows everywhere scores -inf, not NaN
    likelihood = jnp.exp(joint - top[None])
    total = likelihood.sum(0)
    return jnp.sum(weights * (top + jnp.log(total))), likelihood * (weights / total)[None]
