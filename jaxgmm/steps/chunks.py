"""Sums over blocks of rows, one chunk after another, each device of a mesh taking its share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import PartitionSpec

from ..linalg import pack

ROWS = "rows"  # the axis of a mesh over whose devices rows are spread

Block = Callable[[Any, Array], Any]  # (rows, weights) -> statistics that add; a pytree of the arrays it needs


def sum_over_chunks(block: Block, observations: Any, weights: Array, size: int, use_mesh: bool = True) -> Any:
    """The sum of ``block(rows, weights)`` over chunks of rows, compensated.

    Args:
        block: statistics of a block of rows, which add; a pytree, such as a :class:`jax.tree_util.Partial`.
        observations: a pytree whose leaves have the rows in front.
        weights: ``(n,)`` row weights.
        size: rows in a chunk.
        use_mesh: whether the devices of a mesh with an axis ``"rows"`` share the rows.

    Returns:
        What ``block`` returns of all rows.
    """
    n = len(weights)
    if size >= n:
        return block(observations, weights)
    mesh = jax.sharding.get_abstract_mesh()
    if use_mesh and ROWS in mesh.auto_axes and n % mesh.shape[ROWS] == 0:
        return _shared_between_devices(block, observations, weights, size)

    def add_chunk(totals: tuple[Any, Any], index: Array) -> tuple[tuple[Any, Any], None]:
        # The last chunk reaches back to stay whole: rows that were counted already get weight zero
        start = jnp.minimum(index * size, n - size)
        rows, row_weights = jax.tree.map(
            lambda leaf: lax.dynamic_slice_in_dim(leaf, start, size), (observations, weights)
        )
        row_weights = jnp.where(start + jnp.arange(size) >= index * size, row_weights, 0)
        return _compensated_add(totals, pack(block(rows, row_weights))[0]), None

    first = jax.tree.map(lambda leaf: leaf[:size], (observations, weights))
    shapes = jax.eval_shape(block, *first)
    zeros, unpack = pack(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))
    (total, lost), _ = lax.scan(add_chunk, (zeros, zeros), jnp.arange(-(-n // size)))
    # What an infinite total lost is infinity minus infinity, and means nothing
    return unpack(jax.tree.map(lambda sums, error: jnp.where(jnp.isfinite(sums), sums + error, sums), total, lost))


def _shared_between_devices(block: Block, observations: Any, weights: Array, size: int) -> Any:
    """:func:`sum_over_chunks`, every device of the mesh summing over its own rows."""

    def share(block: Block, observations: Any, weights: Array) -> Any:
        own = sum_over_chunks(block, observations, weights, size, use_mesh=False)
        return lax.psum(own, ROWS)

    everywhere, rows = PartitionSpec(), PartitionSpec(ROWS)
    specs: Any = {"in_specs": (everywhere, rows, rows), "out_specs": everywhere}
    return jax.shard_map(share, **specs, axis_names={ROWS}, check_vma=False)(block, observations, weights)


def _compensated_add(totals: tuple[Any, Any], new: Any) -> tuple[Any, Any]:
    """Totals and what rounding lost of them, with ``new`` added (Neumaier 1974): chunks do not matter."""

    def lost(total: Array, term: Array, rounded: Array) -> Array:
        is_larger = abs(total) >= abs(term)
        larger, smaller = jnp.where(is_larger, total, term), jnp.where(is_larger, term, total)
        return (larger - rounded) + smaller

    total, error = totals
    rounded = jax.tree.map(jnp.add, total, new)
    return rounded, jax.tree.map(jnp.add, error, jax.tree.map(lost, total, new, rounded))
