"""Many arrays side by side in few, so that an operation on all of them is one kernel to compile."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Packed = list[Array]  # one array for each dtype


def pack(values: Any, n_leading: int = 0) -> tuple[Packed, Callable[[Packed], Any]]:
    """The leaves of a pytree side by side, one array ``(..., p)`` for each dtype, and the way back.

    Args:
        values: a pytree of arrays whose first ``n_leading`` axes are the same.
        n_leading: how many axes stay as they are. The way back takes other lengths of these axes too.

    Example:
        >>> packed, unpack = pack({"mean": jnp.zeros(2), "scatter": jnp.eye(2), "count": jnp.int32(7)})
        >>> [part.shape for part in packed], int(unpack(packed)["count"])
        ([(6,), (1,)], 7)
    """
    leaves, tree = jax.tree.flatten(values)
    shapes = [leaf.shape[n_leading:] for leaf in leaves]
    dtypes = sorted({leaf.dtype for leaf in leaves}, key=str)
    places = [[place for place, leaf in enumerate(leaves) if leaf.dtype == dtype] for dtype in dtypes]

    def flat(place: int) -> Array:
        return leaves[place].reshape(*leaves[place].shape[:n_leading], -1)

    def unpack(packed: Packed) -> Any:
        parts: dict[int, Array] = {}
        for rows, of_dtype in zip(packed, places, strict=True):
            ends = np.cumsum([np.prod(shapes[place], dtype=int) for place in of_dtype])[:-1]
            for place, part in zip(of_dtype, jnp.split(rows, ends, axis=-1), strict=True):
                parts[place] = part.reshape(*rows.shape[:-1], *shapes[place])
        return jax.tree.unflatten(tree, [parts[place] for place in range(len(shapes))])

    return [jnp.concatenate([flat(place) for place in of_dtype], axis=-1) for of_dtype in places], unpack
