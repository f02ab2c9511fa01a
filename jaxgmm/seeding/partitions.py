"""Partitions of rows to start from, by k-means++, k-means and chance, and from given labels."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from .. import checks
from ..covariance.families import FULL, Family
from ..linalg import einsum
from ..steps.maximization import from_responsibilities
from ..types import GMMParams

Seeding = Callable[[Array, Array, Array, int], Array]


def kmeans_plus_plus(key: Array, x: Array, weights: Array, n_components: int, *, n_steps: int = 5) -> Array:
    r"""Greedy k-means++ centres, a few Lloyd steps, each row given to its nearest centre.

    Centres are drawn one after another with probability proportional to the squared distance to the nearest one so far,
    each time the best of a few candidates:

    .. math:: p_i \propto w_i \min_l |x_i - c_l|^2

    Args:
        key: a JAX random key.
        x: ``(n, d)`` rows.
        weights: ``(n,)`` row weights >= 0.
        n_components: how many centres, k.
        n_steps: Lloyd steps after the draw.

    Returns:
        ``(n, k)`` one-hot responsibilities.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [0.1], [9.0], [9.1]])
        >>> kmeans_plus_plus(jax.random.key(0), x, jnp.ones(4), 2).sum(0).tolist()
        [2.0, 2.0]

    Reference:
        Arthur & Vassilvitskii (2007), k-means++: the advantages of careful seeding; the greedy form is analysed in
        Grunau, Ozudogru, Rozhon & Tetek (2023), A nearly tight analysis of greedy k-means++.
    """
    centres = _plus_plus_centres(key, x, weights, n_components)
    return _one_hot(_nearest(x, _settled(x, weights, centres, n_steps)), n_components, x)


def kmeans(key: Array, x: Array, weights: Array, n_components: int) -> Array:
    r"""k-means to convergence from greedy k-means++, each row given to its nearest centre.

    .. math:: \min_c \sum_i w_i \min_j |x_i - c_j|^2

    Args:
        key: a JAX random key.
        x: ``(n, d)`` rows.
        weights: ``(n,)`` row weights >= 0.
        n_components: how many centres, k.

    Returns:
        ``(n, k)`` one-hot responsibilities.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [0.1], [9.0], [9.1]])
        >>> kmeans(jax.random.key(0), x, jnp.ones(4), 2).sum(0).tolist()
        [2.0, 2.0]

    Reference:
        Lloyd (1982), Least squares quantization in PCM.
    """
    # Lloyd's algorithm settles within tens of steps on a sample; what is left, EM does.
    return kmeans_plus_plus(key, x, weights, n_components, n_steps=100)


def random_rows(key: Array, x: Array, weights: Array, n_components: int) -> Array:
    """Distinct random rows as centres, each row given to its nearest.

    Rows are drawn without replacement, with probability proportional to weight.

    Args:
        key: a JAX random key.
        x: ``(n, d)`` rows.
        weights: ``(n,)`` row weights >= 0.
        n_components: how many centres, k, at most n.

    Returns:
        ``(n, k)`` one-hot responsibilities.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> random_rows(jax.random.key(0), jnp.array([[0.0], [9.0]]), jnp.ones(2), 2).sum(0).tolist()
        [1.0, 1.0]
    """
    return _one_hot(_nearest(x, _random_centres(key, x, weights, n_components)), n_components, x)


def random_responsibilities(key: Array, x: Array, weights: Array, n_components: int) -> Array:
    """Responsibilities uniform on the simplex, independent of the data.

    Args:
        key: a JAX random key.
        x: ``(n, d)`` rows.
        weights: ``(n,)`` row weights >= 0; not used.
        n_components: how many components, k.

    Returns:
        ``(n, k)``, rows summing to one.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> random_responsibilities(jax.random.key(0), jnp.zeros((4, 1)), jnp.ones(4), 2).sum(1).round(5).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    return jax.random.dirichlet(key, jnp.ones(n_components, x.dtype), (x.shape[0],), x.dtype)


def from_labels(
    x: ArrayLike,
    labels: ArrayLike,
    n_components: int,
    weights: ArrayLike | None = None,
    *,
    family: Family = FULL,
    ridge: ArrayLike = 0.0,
) -> GMMParams:
    r"""The complete-data estimate for given labels, ready to be ``start=`` of :func:`jaxgmm.fit`.

    .. math:: \phi_j = \frac{1}{m} \sum_i 1\{z_i = j\}, \quad \mu_j, \Sigma_j \text{ of the rows with } z_i = j

    Args:
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        labels: ``(n,)`` int in 0..k-1.
        n_components: how many components, k.
        weights: ``(n,)`` row weights >= 0; default one each.
        family: the covariance family; static under ``jit``.
        ridge: added to covariances, in the features' units squared.

    Returns:
        :class:`jaxgmm.GMMParams`.

    Raises:
        TypeError: if ``labels`` are not integers.
        ValueError: if shapes do not fit together, or a label is outside 0..k-1.

    Example:
        >>> import jax.numpy as jnp
        >>> from_labels(jnp.array([1.0, 3.0, 8.0, 8.0]), [0, 0, 1, 1], 2).means.tolist()
        [[2.0], [8.0]]
    """
    x = checks.as_rows(x)
    n_components = checks.as_integer(n_components, "n_components", 1)
    labels = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels: expected integers in 0..{n_components - 1}, got dtype {labels.dtype}")
    if labels.shape != x.shape[:1]:
        raise ValueError(f"labels: expected shape {x.shape[:1]}, one for each row of x, got {labels.shape}")
    if checks.is_concrete(labels) and (labels.min() < 0 or labels.max() >= n_components):
        raise ValueError(f"labels: expected 0..{n_components - 1}, got {labels.min()}..{labels.max()}")
    one_hot = jax.nn.one_hot(labels, n_components, dtype=x.dtype)
    return from_responsibilities(x, one_hot, weights, family=family, ridge=ridge)


def _draw(u: Array, mass: Array) -> Array:
    """Row indices ``(m,)`` with probability proportional to ``mass``, for uniform ``u`` ``(m,)`` in (0, 1].

    As u is not zero, a row of no mass is never drawn.
    """
    cumulative = jnp.cumsum(mass)
    found = jnp.searchsorted(cumulative, u * cumulative[-1], method="compare_all")
    return jnp.minimum(found, mass.shape[0] - 1)


def _squared_distances(x: Array, centres: Array) -> Array:
    """``|x_i - c_j|^2`` as ``(k, n)``, one centre at a time: differences first, so nothing cancels."""
    return lax.map(lambda centre: ((x - centre[None]) ** 2).sum(1), centres)


def _nearest(x: Array, centres: Array) -> Array:
    """Labels ``(n,)`` of the nearest centre."""
    return jnp.argmin(_squared_distances(x, centres), axis=0)


def _one_hot(labels: Array, n_components: int, x: Array) -> Array:
    return jax.nn.one_hot(labels, n_components, dtype=x.dtype)


def _random_centres(key: Array, x: Array, weights: Array, n_components: int) -> Array:
    # The k largest of log w_i + Gumbel noise are such a draw (Efraimidis & Spirakis 2006).
    scores = jnp.log(weights) + jax.random.gumbel(key, weights.shape, weights.dtype)
    return x[lax.top_k(scores, n_components)[1]]


def _plus_plus_centres(key: Array, x: Array, weights: Array, n_components: int) -> Array:
    """Greedy k-means++ centres, in the order of their drawing."""
    n_candidates = 2 + int(math.log(n_components))

    def closer(distance: Array, centres: Array) -> Array:
        return jnp.minimum(distance[None], _squared_distances(x, centres))

    def add_centre(index: Array, drawn: tuple[Array, Array]) -> tuple[Array, Array]:
        centres, distance = drawn
        mass = weights * distance
        mass = jnp.where(mass.sum() > 0, mass, weights)  # fewer distinct rows than centres
        candidates = x[_draw(u[index], mass)]
        distances = closer(distance, candidates)
        best = jnp.argmin(einsum("cn,n->c", distances, weights))
        return centres.at[index].set(candidates[best]), distances[best]

    u = 1 - jax.random.uniform(key, (n_components, n_candidates), weights.dtype)
    first = x[_draw(u[0, :1], weights)]
    centres = jnp.zeros((n_components, x.shape[1]), x.dtype).at[0].set(first[0])
    return lax.fori_loop(1, n_components, add_centre, (centres, _squared_distances(x, first)[0]))[0]


def _settled(x: Array, weights: Array, centres: Array, n_steps: int) -> Array:
    """Centres after Lloyd steps: each moves to the weighted mean of the rows nearest to it; one without rows stays."""

    def step(_: int, centres: Array) -> Array:
        belonging = _one_hot(_nearest(x, centres), centres.shape[0], x) * weights[:, None]
        counts = belonging.sum(0)[:, None]
        means = einsum("nk,nd->kd", belonging, x) / jnp.where(counts > 0, counts, 1)
        return jnp.where(counts > 0, means, centres)

    return lax.fori_loop(0, n_steps, step, centres)


@partial(jax.jit, static_argnums=(3, 4))
def nested_partitions(key: Array, x: Array, weights: Array, numbers: tuple[int, ...], n_init: int) -> Array:
    """Partitions for several numbers of components at once, from k-means++ and random rows in turn.

    The first k centres of a longer draw are a draw of k, so every number takes a part of the same draws.

    Args:
        key: a JAX random key.
        x: ``(n, d)`` rows.
        weights: ``(n,)`` row weights >= 0.
        numbers: numbers of components.
        n_init: how many partitions of each.

    Returns:
        ``(len(numbers), n_init, n)`` int labels.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [0.1], [9.0], [9.1]])
        >>> nested_partitions(jax.random.key(0), x, jnp.ones(4), (1, 2), 3).shape
        (2, 3, 4)
    """
    keys = jax.random.split(key, max(n_init, 1))

    def partitions(draw: Callable[..., Array], n_steps: int, keys: Array) -> Array:
        centres = jax.vmap(lambda key: draw(key, x, weights, max(numbers)))(keys)
        kept = jnp.arange(max(numbers))[None] < jnp.asarray(numbers)[:, None]
        nested = jnp.where(kept[:, None, :, None], centres[None], jnp.inf)  # nothing is near infinity
        settled = jax.vmap(jax.vmap(lambda centres: _settled(x, weights, centres, n_steps)))(nested)
        return jax.vmap(jax.vmap(partial(_nearest, x)))(settled)

    turns = (partitions(_plus_plus_centres, 5, keys[:n_init:2]), partitions(_random_centres, 0, keys[1:n_init:2]))
    return jnp.concatenate(turns, axis=1)
