"""Products of matrices in full precision, and functions of many small matrices side by side."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap, sequential_vmap

einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST)
# On CPUs LAPACK gets one matrix at a time, or none: jaxlib splits a batch over the very threads that wait for it, and
# two large batches at once, on two cores, wait for ever (seen with jaxlib 0.10.2); and after a triangular solve of 32
# features or more its own threads keep a core busy for 100 ms, waiting for the next. Without it matrices run side by
# side.
LARGEST_ELIMINATED = 8  # features, the whole elimination written out


def matmul(a: Array, b: Array) -> Array:
    """Matrix products; of many small matrices term by term, as calling for each costs more than the work."""
    rows, inner, columns = a.shape[-2:] + b.shape[-1:] if a.ndim > 2 else (LARGEST_ELIMINATED + 1,) * 3
    if max(rows, inner, columns) > LARGEST_ELIMINATED:
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
    return sum(a[..., i, None] * b[..., i, None, :] for i in range(inner))  # type: ignore[return-value]


def computed_once(reference: Array) -> Array:
    """``reference``, the same number for all who subtract it.

    Computed in two places of a program, as compilers for GPUs like to, it may be rounded in two ways.
    """
    return lax.optimization_barrier(reference)


def symmetrize(matrices: Array) -> Array:
    """The symmetric part of each matrix."""
    return (matrices + matrices.swapaxes(-1, -2)) / 2


def or_one(values: Array) -> Array:
    """Divisors that are safe where there is nothing to divide."""
    return jnp.where(values > 0, values, 1)


def side_by_side(function: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """``function`` of a stack of matrices ``(k, d, d)``; under ``vmap``, of those of all lanes as one stack."""

    @custom_vmap
    def of_stack(matrices: Array) -> Any:
        return function(matrices)

    @of_stack.def_vmap
    def of_lanes(size: int, _: Any, matrices: Array) -> Any:
        results = of_stack(matrices.reshape(-1, *matrices.shape[2:]))
        results = jax.tree.map(lambda leaf: leaf.reshape(size, -1, *leaf.shape[1:]), results)
        return results, jax.tree.map(lambda _: True, results)

    return of_stack


_one_at_a_time = cast(Callable[[Callable[..., Any]], Callable[..., Any]], sequential_vmap)


def by_lapack(function: Callable[[Array], tuple[Array, Array]], matrices: Array) -> tuple[Array, Array]:
    """``function`` of matrices ``(k, d, d)``: on CPUs, also under ``vmap``, of one after another."""
    return lax.platform_dependent(matrices, cpu=partial(lax.map, _one_at_a_time(function)), default=function)
