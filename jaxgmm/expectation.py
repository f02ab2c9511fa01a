"""The E-step: expected sufficient statistics of rows under the current parameters."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from . import checks, linalg
from .mixture import Frame, chunk_rows, frame, joint_block
from .types import GMMParams, Stats


def e_step(
    params: GMMParams, x: ArrayLike, weights: ArrayLike | None = None, *, chunk_size: int | None = None
) -> Stats:
    r"""Expected sufficient statistics, with moments about the current means.

    .. math::
        r_{ij} = p(z_i = j \mid x_i), \quad N_j = \sum_i w_i r_{ij}, \quad
        \sum_i w_i r_{ij} (x_i - \mu_j), \quad \sum_i w_i r_{ij} (x_i - \mu_j)(x_i - \mu_j)^T

    Rows go through in chunks, so temporaries are bounded whatever n is. Rounding error grows linearly with (distance /
    standard deviation), never with the distance from the origin. Works under ``jit``, ``vmap`` and ``grad``, and on
    sharded rows.

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
    n, d = x.shape
    size = chunk_rows(params.means.shape[0], d, x.dtype.itemsize)
    if chunk_size is not None:
        size = checks.as_integer(chunk_size, "chunk_size", 1)
    return _e_step(params, x, weights, min(n, size))


@partial(jax.jit, static_argnames="size")
def _e_step(params: GMMParams, x: Array, weights: Array, size: int) -> Stats:
    n, ready = x.shape[0], frame(params)

    def add_chunk(totals: tuple[Stats, Stats], index: Array) -> tuple[tuple[Stats, Stats], None]:
        # The last chunk reaches back to stay whole: its rows that were counted already get weight zero.
        start = jnp.minimum(index * size, n - size)
        rows = lax.dynamic_slice_in_dim(x, start, size)
        chunk_weights = lax.dynamic_slice_in_dim(weights, start, size)
        chunk_weights = jnp.where(start + jnp.arange(size) >= index * size, chunk_weights, 0)
        return _compensated_add(totals, _whitened_stats(ready, rows, chunk_weights)), None

    zeros = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(_whitened_stats, ready, x[:size], weights[:size])
    )
    (total, lost), _ = lax.scan(add_chunk, (zeros, zeros), jnp.arange(-(-n // size)))
    # What an infinite total lost is infinity minus infinity, and means nothing.
    stats = jax.tree.map(lambda sums, error: jnp.where(jnp.isfinite(sums), sums + error, sums), total, lost)
    return stats._replace(
        first=linalg.unwhiten(ready.factor, stats.first),
        second=linalg.pool(
            linalg.unwhiten_scatter(ready.factor, stats.first, stats.second, ready.offsets), params.covariances.shape
        ),
    )


def _whitened_stats(frame: Frame, rows: Array, weights: Array) -> Stats:
    """Stats of one block of rows ``(n, d)``, its moments still whitened (:func:`linalg.whitened_scatter`)."""
    counted = weights != 0  # NaN weights stay visible
    centred = jnp.where(counted[None], (rows - frame.centre[None]).T, 0)
    joint, residuals = joint_block(frame, centred)
    top = lax.stop_gradient(jnp.max(joint, axis=0))
    top = jnp.where(jnp.isneginf(top), 0, top)  # a row that underflows everywhere scores -inf, not NaN
    likelihood = jnp.exp(joint - top[None])
    total = likelihood.sum(0)
    expected = likelihood * (weights / total)[None]
    first, second = linalg.whitened_scatter(frame.factor, residuals, expected[: len(residuals)], centred)
    return Stats(jnp.sum(weights * (top + jnp.log(total))), expected.sum(1), first, second)


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
