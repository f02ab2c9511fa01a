"""Lengths that rows and components are padded to, so that data sets of many sizes share few programs.

What pads has weight zero, and so no influence. Only public functions called on arrays pad. Before they do, and after,
numpy does what there is to do: JAX would compile a program for each number of rows, for ``jnp.ones(n)`` too, and never
let it go. ``jax.device_put`` takes none.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .checks import is_concrete
from .programs import is_eager

# Lengths that rows are padded to: a few where they are few, then four in each octave, then eight; beyond, where running
# takes longer than compiling, as they are.
SHORT_LENGTHS = (64, 256, 1024, 4096)
MANY_ROWS, MOST_PADDED = 2**16, 2**18

# Where data are small, numbers of components are padded too
COMPONENTS = (1, 2, 4, 8, 12, 16)


def padded_length(n: int, shortest: tuple[int, ...] = SHORT_LENGTHS) -> int:
    """The number of rows that n rows are padded to: few lengths, so that data sets share programs.

    Args:
        n: rows.
        shortest: lengths where rows are few; beyond, there are four in each octave, then eight.

    Example:
        >>> [padded_length(n) for n in (40, 272, 3000, 10_000, 100_000)]
        [64, 1024, 4096, 10240, 106496]
    """
    if n <= shortest[-1]:
        return min(length for length in shortest if length >= n)
    if n > MOST_PADDED:
        return n
    step = 2 ** (n.bit_length() - (3 if n < MANY_ROWS else 4))
    return -(-n // step) * step


def padded_components(k: int) -> int:
    """The number of components that k are padded to, where data are small.

    Example:
        >>> sorted({padded_components(k) for k in range(1, 13)})
        [1, 2, 4, 8, 12]
    """
    return min((number for number in COMPONENTS if number >= k), default=k)


def pad_rows(values: Any, shortest: tuple[int, ...] = SHORT_LENGTHS) -> Any:
    """Arrays with the rows in front, padded with zeros to one of few lengths: rows of weight zero have no influence.

    Only where a function is called on arrays, and these on one device. ``shortest`` as in :func:`padded_length`.
    """
    leaves = jax.tree.leaves(values)
    if not is_eager(values) or any(isinstance(leaf, jax.Array) and len(leaf.devices()) > 1 for leaf in leaves):
        return values

    def pad(leaf: Any) -> Any:
        n_more = padded_length(len(leaf), shortest) - len(leaf)
        if n_more == 0:
            return leaf
        leaf = as_host_array(leaf)
        library: Any = np if isinstance(leaf, np.ndarray) else jnp
        return jax.device_put(library.concatenate([leaf, library.zeros((n_more, *leaf.shape[1:]), leaf.dtype)]))

    return jax.tree.map(pad, values)


def as_host_array(array: Array) -> Any:
    """On a CPU the same memory as a numpy array, so that cutting and joining need no program for each length."""
    return np.asarray(array) if jax.default_backend() == "cpu" and is_concrete(array) else array


def first_rows(values: Any, n: int) -> Any:
    """The first n rows of every array, without what :func:`pad_rows` has added to the arguments."""
    if len(jax.tree.leaves(values)[0]) == n:
        return values
    return jax.tree.map(lambda leaf: jax.device_put(as_host_array(leaf)[:n]), values)
