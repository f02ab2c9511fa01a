"""Products of matrices in full precision, and functions of stacks of many small matrices."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap, sequential_vmap

einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST)

# On CPUs LAPACK is called for one matrix at a time, or not at all. jaxlib 0.10.2 splits a batch over the same threads
# that wait for its parts, so that two large batches at once, on two cores, never end; and after a triangular solve with
# 32 features or more LAPACK's own threads keep a core busy for 100 ms. Stacks of matrices are computed without it.
#
# Features up to which loops over features are unrolled: more time to compile, less time to run. Factors of 8 matrices
# on a CPU, unrolled against loops: .04 against .11 ms with 8 features (compiled in .5 against .3 s), .31 against .19 ms
# with 12 (1.1 against .4 s).
LARGEST_UNROLLED = 8


def matmul(a: Array, b: Array) -> Array:
    """Products of matrices ``(..., l, m)`` and ``(..., m, n)``.

    Stacks of small matrices are multiplied as a sum over m, because calling a kernel for each costs more than its work.
    """
    rows, inner, columns = a.shape[-2:] + b.shape[-1:] if a.ndim > 2 else (LARGEST_UNROLLED + 1,) * 3
    if max(rows, inner, columns) > LARGEST_UNROLLED:
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
    return sum(a[..., i, None] * b[..., i, None, :] for i in range(inner))  # type: ignore[return-value]


def round_once(values: Array) -> Array:
    """``values``, computed and rounded once however often a program uses them.

    Without this barrier a compiler may compute them again where they are used, as compilers for GPUs do, and round them
    differently there.
    """
    return lax.optimization_barrier(values)


def symmetrize(matrices: Array) -> Array:
    """The symmetric part ``(A + A^T) / 2`` of each matrix."""
    return (matrices + matrices.swapaxes(-1, -2)) / 2


def mirror(matrices: Array) -> Array:
    """Lower triangles and their mirror images: symmetric to the last bit, however a compiler rounds their entries."""
    below = jnp.tri(matrices.shape[-1], dtype=bool)[(None,) * (matrices.ndim - 2)]
    return jnp.where(below, matrices, matrices.swapaxes(-1, -2))


def safe_divisor(values: Array) -> Array:
    """``values`` where they are positive, one elsewhere: dividing by it is safe."""
    return jnp.where(values > 0, values, 1)


def stack_lanes(function: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """Let ``vmap`` call ``function``, of a stack of matrices ``(k, d, d)``, once on the matrices of all its lanes."""
    of_stack: Any = custom_vmap(function)

    @of_stack.def_vmap  # type: ignore[untyped-decorator]
    def of_lanes(n_lanes: int, _: Any, matrices: Array) -> Any:
        results = of_stack(matrices.reshape(-1, *matrices.shape[2:]))
        results = jax.tree.map(lambda leaf: leaf.reshape(n_lanes, -1, *leaf.shape[1:]), results)
        return results, jax.tree.map(lambda _: True, results)

    return cast(Callable[[Array], Any], of_stack)


_one_lane_at_a_time = cast(Callable[[Callable[..., Any]], Callable[..., Any]], sequential_vmap)


def call_lapack(function: Callable[[Array], tuple[Array, Array]], matrices: Array) -> tuple[Array, Array]:
    """``function``, a call of LAPACK, of matrices ``(k, d, d)``; on CPUs one matrix at a time, under ``vmap`` too."""
    return lax.platform_dependent(matrices, cpu=partial(lax.map, _one_lane_at_a_time(function)), default=function)
