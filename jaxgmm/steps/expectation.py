"""The E-step: expected sufficient statistics of rows under the current parameters."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jax.sharding import PartitionSpec
from jax.tree_util import Partial
from jax.typing import ArrayLike

from .. import checks, linalg
from ..mixture import density as mixture
from ..mixture.density import Frame, chunk_rows, frame, joint_block, with_noise
from ..types import GMMParams, Stats
from . import natural as n

Block = Callable[[Array, Array], Stats]  # (rows, weights) -> Stats in a form that adds; a pytree of what it holds

ROWS = "rows"  # the axis of a mesh over whose devices rows are spread
MANY_DENSITIES = 1024  # of rows under components, for which a second kernel is worth compiling


def e_step(
    params: GMMParams, x: ArrayLike, weights: ArrayLike | None = None, *, chunk_size: int | None = None
) -> Stats:
    r"""Expected sufficient statistics, with moments about the current means.

    .. math::
        r_{ij} = p(z_i = j \mid x_i), \quad N_j = \sum_i w_i r_{ij}, \quad
        \sum_i w_i r_{ij} (x_i - \mu_j), \quad \sum_i w_i r_{ij} (x_i - \mu_j)(x_i - \mu_j)^T

    Rows go through in chunks, so temporaries are bounded whatever n is. Rounding error grows linearly with (distance /
    standard deviation), never with the distance from the origin. But for small data a faster form takes over
    where its rounding, bounded before, is no more than scoring a row loses anyway. Works under ``jit``, ``vmap`` and
    ``grad``, and on sharded rows. Under ``jax.set_mesh`` of a mesh with an automatic axis ``"rows"``, whose size
    divides n, every device takes its share of the chunks, and only sums travel: CPU devices are cores.

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        weights: ``(n,)`` row weights >= 0; default one each. A row of weight zero has no influence, even where it is
            NaN.
        chunk_size: rows per chunk; by default chosen from shapes and backend. Static under ``jit``.

    Returns:
        :class:`Stats`, which add over rows; the log-likelihood in nats.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together, or ``chunk_size`` < 1.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1)))
        >>> e_step(params, jnp.array([1.0, 2.0])).first.tolist()
        [[3.0]]

    Reference:
        Dempster, Laird & Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm.
    """
    params, x, weights = checks.arguments(params, x, weights)
    size = None if chunk_size is None else checks.as_integer(chunk_size, "chunk_size", 1)
    return _e_step(params, x, weights, size)


@partial(jax.jit, static_argnames="size")
def _e_step(params: GMMParams, x: Array, weights: Array, size: int | None) -> Stats:
    return expect(params, frame(params), x, weights, size)


def expect(params: GMMParams, ready: Frame, x: Array, weights: Array, size: int | None) -> Stats:
    """The E-step of a mixture whose frame is ``ready``, by the kernel that suits it."""
    if len(x) * len(params.means) < MANY_DENSITIES or not n.pays(params.covariances.shape, *params.means.shape):
        return accurate_stats(params, ready, x, weights, size)
    centre = _nearby(x)
    lost = n.rounding(ready, centre, params.covariances)
    is_safe = _in_every_lane(n.is_tolerable(lost, len(centre)).all())
    return lax.cond(
        is_safe,
        lambda: fast_stats(params, ready, x, weights, size, centre),
        lambda: accurate_stats(params, ready, x, weights, size),
    )


def accurate_stats(params: GMMParams, ready: Frame, x: Array, weights: Array, size: int | None) -> Stats:
    """By whitened residuals: rounding grows linearly with (distance / standard deviation)."""
    size = size or chunk_rows(params.means.shape[0], x.shape[1], x.dtype.itemsize)
    block = Partial(_whitened_stats, ready)  # type: ignore[no-untyped-call]
    stats = _over_chunks(block, x, weights, size)
    second = linalg.unwhiten_scatter(ready.factor, stats.first, stats.second, ready.offsets)
    return stats._replace(
        first=linalg.unwhiten(ready.factor, stats.first), second=linalg.pool(second, params.covariances.shape)
    )


def fast_stats(params: GMMParams, ready: Frame, x: Array, weights: Array, size: int | None, centre: Array) -> Stats:
    """By natural parameters about ``centre``: two matrix products a chunk; loses what :func:`natural.rounding` says."""
    shape = params.covariances.shape
    natural = n.natural(ready, centre, shape)
    size = size or n.chunk_rows(natural, x.dtype.itemsize)
    block = Partial(partial(_natural_stats, shape), ready, natural, centre)  # type: ignore[no-untyped-call]
    stats = _over_chunks(block, x, weights, size)
    return n.about_means(natural, stats, shape)


def amplification(ready: Frame, covariances: Array) -> Array:
    """How many roundings of size one a row's log-density may carry under each component, ``(k,)``, in either kernel."""
    fast = n.rounding(ready, ready.centre, covariances)
    return jnp.maximum(
        mixture.amplification(ready, covariances), jnp.where(n.is_tolerable(fast, len(ready.centre)), fast, 0)
    )


@custom_vmap
def _in_every_lane(flag: Array) -> Array:
    """``flag``; under ``vmap`` whether it is set in all lanes, so that a ``cond`` on it stays one."""
    return flag


@_in_every_lane.def_vmap
def _in_every_lane_of(axis_size: int, in_batched: Any, flag: Array) -> tuple[Array, bool]:
    return _in_every_lane(flag.all(0)), False


def _nearby(x: Array) -> Array:
    """The mean of some rows, ``(d,)``, the same for all mixtures."""
    rows = x[:: max(1, len(x) // 1024)]
    finite = jnp.isfinite(rows).all(1)
    mean = jnp.where(finite[:, None], rows, 0).sum(0) / jnp.maximum(finite.sum(dtype=x.dtype), 1)
    return linalg.computed_once(lax.stop_gradient(jnp.where(jnp.isfinite(mean), mean, 0)))


def _over_chunks(block: Block, x: Array, weights: Array, size: int) -> Stats:
    """The sum of ``block`` over chunks of rows, each device of a mesh of rows taking its share."""
    if size >= len(x):
        return block(x, weights)
    mesh = jax.sharding.get_abstract_mesh()
    if ROWS not in mesh.auto_axes or len(x) % mesh.shape[ROWS]:
        return _one_after_another(block, x, weights, size)

    def share(block: Block, x: Array, weights: Array) -> Stats:
        here = _one_after_another(block, x, weights, min(size, len(x)))
        return lax.psum(here, ROWS)  # type: ignore[no-untyped-call]

    everywhere, rows = PartitionSpec(), PartitionSpec(ROWS)  # type: ignore[no-untyped-call]
    specs: Any = {"in_specs": (everywhere, rows, rows), "out_specs": everywhere}
    return jax.shard_map(share, **specs, axis_names={ROWS}, check_vma=False)(block, x, weights)


def _one_after_another(block: Block, x: Array, weights: Array, size: int) -> Stats:
    """The sum of ``block`` over chunks of rows, compensated."""

    def add_chunk(totals: tuple[Stats, Stats], index: Array) -> tuple[tuple[Stats, Stats], None]:
        # The last chunk reaches back to stay whole: its rows that were counted already get weight zero.
        start = jnp.minimum(index * size, len(x) - size)
        rows = lax.dynamic_slice_in_dim(x, start, size)
        chunk_weights = lax.dynamic_slice_in_dim(weights, start, size)
        chunk_weights = jnp.where(start + jnp.arange(size) >= index * size, chunk_weights, 0)
        return _compensated_add(totals, block(rows, chunk_weights)), None

    zeros = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(block, x[:size], weights[:size])
    )
    (total, lost), _ = lax.scan(add_chunk, (zeros, zeros), jnp.arange(-(-len(x) // size)))
    # What an infinite total lost is infinity minus infinity, and means nothing.
    return jax.tree.map(lambda sums, error: jnp.where(jnp.isfinite(sums), sums + error, sums), total, lost)


def _whitened_stats(frame: Frame, rows: Array, weights: Array) -> Stats:
    """Stats of one block of rows ``(n, d)``, its moments still whitened (:func:`linalg.whitened_scatter`)."""
    centred = _centred(rows, weights, frame.centre)
    joint, residuals = joint_block(frame, centred)
    log_likelihood, expected = _posterior(joint, weights)
    first, second = linalg.whitened_scatter(frame.factor, residuals, expected[: len(residuals)], centred)
    return Stats(log_likelihood, expected.sum(1), first, second)


def _natural_stats(
    shape: tuple[int, ...], frame: Frame, natural: n.Natural, centre: Array, rows: Array, weights: Array
) -> Stats:
    """Stats of one block of rows ``(n, d)`` about ``centre`` (:func:`natural.sums`)."""
    centred = _centred(rows, weights, centre)
    features = n.features(centred, shape)
    joint = with_noise(frame, n.joint(natural, centred, features), centred, centre)
    log_likelihood, expected = _posterior(joint, weights)
    return Stats(log_likelihood, *n.sums(natural, centred, features, expected))


def _centred(rows: Array, weights: Array, centre: Array) -> Array:
    """Rows ``(n, d)`` as ``(d, n)`` about ``centre``; those that do not count, at it."""
    counted = weights != 0  # NaN weights stay visible
    return jnp.where(counted[None], (rows - centre[None]).T, 0)


def _posterior(joint: Array, weights: Array) -> tuple[Array, Array]:
    """Log-likelihood ``()`` and weighted responsibilities ``(k, n)`` of joint log-densities ``(k, n)``."""
    top = lax.stop_gradient(jnp.max(joint, axis=0))
    top = jnp.where(jnp.isneginf(top), 0, top)  # a row that underflows everywhere scores -inf, not NaN
    likelihood = jnp.exp(joint - top[None])
    total = likelihood.sum(0)
    return jnp.sum(weights * (top + jnp.log(total))), likelihood * (weights / total)[None]


def _compensated_add(totals: tuple[Stats, Stats], new: Stats) -> tuple[Stats, Stats]:
    """Add keeping what rounding loses (Neumaier 1974), so that the number of chunks does not matter."""

    def lost(total: Array, term: Array, rounded: Array) -> Array:
        larger, smaller = (
            jnp.where(abs(total) >= abs(term), total, term),
            jnp.where(abs(total) >= abs(term), term, total),
        )
        return (larger - rounded) + smaller

    total, error = totals
    rounded = jax.tree.map(jnp.add, total, new)
    return rounded, jax.tree.map(jnp.add, error, jax.tree.map(lost, total, new, rounded))
