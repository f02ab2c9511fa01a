"""Starting values for EM: partitions of rows by k-means++, k-means or at random, and estimates from known labels."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from numpy.typing import ArrayLike, DTypeLike

from .. import checks
from ..arrays import as_labels
from ..covariance.families import FULL, Family
from ..linalg import einsum, safe_divisor
from ..padding import padded_components
from ..programs import program
from ..steps.maximization import from_responsibilities
from ..types import GMMParams

Seeding = Callable[[Array, Any, Array, int], Any]  #: (key, x, weights, k) -> responsibilities, or parameters


def kmeans_plus_plus(
    key: Array | int, x: Array, weights: Array, n_components: int, *, n_used: Array | None = None, n_steps: int = 5
) -> Array:
    r"""Assign each row to the nearest of k centres from greedy k-means++ and a few steps of Lloyd's algorithm.

    Centres are rows, drawn one after another. For each a few candidates are drawn, with probability proportional to
    weight times squared distance to the nearest centre so far, and the one that reduces the sum of these distances most
    is taken:

    .. math:: p_i \propto w_i \min_l |x_i - c_l|^2

    Args:
        key: a JAX random key, or a seed.
        x: ``(n, d)`` rows.
        weights: ``(n,)`` row weights >= 0.
        n_components: how many centres, k.
        n_used: ``()`` int, how many of them rows are assigned to, so that one program serves several k; default all.
        n_steps: steps of Lloyd's algorithm after the draw.

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
    centres = _first(n_used, _plus_plus_centres(key, x, weights, n_components))
    return _one_hot(_nearest(x, _lloyd(x, weights, centres, n_steps)), n_components, x.dtype)


def kmeans(key: Array | int, x: Array, weights: Array, n_components: int) -> Array:
    r"""Assign each row to the nearest of k centres from k-means, started from greedy k-means++.

    .. math:: \min_c \sum_i w_i \min_j |x_i - c_j|^2

    Args:
        key: a JAX random key, or a seed.
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
    # Lloyd's algorithm converges within tens of steps on a sample; where it does not, EM goes on from there
    return kmeans_plus_plus(key, x, weights, n_components, n_steps=100)


def random_rows(key: Array | int, x: Array, weights: Array, n_components: int, *, n_used: Array | None = None) -> Array:
    r"""Assign each row to the nearest of k random rows.

    The k rows are drawn without replacement, each time with probability proportional to weight among the rest:

    .. math:: p_i \propto w_i

    Args:
        key: a JAX random key, or a seed.
        x: ``(n, d)`` rows.
        weights: ``(n,)`` row weights >= 0.
        n_components: how many centres, k, at most n.
        n_used: ``()`` int, how many of them rows are assigned to, so that one program serves several k; default all.

    Returns:
        ``(n, k)`` one-hot responsibilities.

    Raises:
        ValueError: if there are more components than rows.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> random_rows(jax.random.key(0), jnp.array([[0.0], [9.0]]), jnp.ones(2), 2).sum(0).tolist()
        [1.0, 1.0]

    Reference:
        Efraimidis & Spirakis (2006), Weighted random sampling with a reservoir.
    """
    centres = _first(n_used, _random_centres(key, x, weights, n_components))
    return _one_hot(_nearest(x, centres), n_components, x.dtype)


def random_responsibilities(key: Array | int, x: Array, weights: Array, n_components: int) -> Array:
    r"""Responsibilities drawn uniformly from the simplex, independently of the data.

    .. math:: w^{(i)} \sim \mathrm{Dirichlet}(1, \dots, 1)

    Args:
        key: a JAX random key, or a seed.
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
    return jax.random.dirichlet(checks.as_key(key), jnp.ones(n_components, x.dtype), (x.shape[0],), x.dtype)


def from_labels(
    x: ArrayLike,
    labels: Any,
    n_components: int,
    *,
    weights: ArrayLike | None = None,
    family: Family = FULL,
    ridge: ArrayLike = 0.0,
) -> GMMParams:
    r"""The maximum-likelihood mixture for known labels, to be passed as ``start=`` to :func:`jaxgmm.fit`.

    .. math:: \phi_j = \frac{\sum_i w_i 1\{z_i = j\}}{\sum_i w_i}, \quad
        \mu_j, \Sigma_j \text{ of the rows with } z_i = j

    Args:
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        labels: ``(n,)`` int in 0..k-1.
        n_components: how many components, k.
        weights: ``(n,)`` row weights >= 0; default one each.
        family: the covariance family; static under ``jit``.
        ridge: added to each variance, relative to it.

    Returns:
        :class:`jaxgmm.GMMParams`.

    Raises:
        TypeError: if ``labels`` are not integers.
        ValueError: if shapes do not fit together, or a label is outside 0..k-1.

    Example:
        >>> import jax.numpy as jnp
        >>> from_labels(jnp.array([1.0, 3.0, 8.0, 8.0]), [0, 0, 1, 1], 2).means.tolist()
        [[2.0], [8.0]]

    Reference:
        McLachlan & Krishnan (2008), The EM Algorithm and Extensions, for the estimate from complete data.
    """
    x = checks.as_rows(x)
    n_components = checks.as_integer(n_components, "n_components", 1)
    labels = as_labels(labels, len(x), n_components)
    return from_responsibilities(x, _one_hot(labels, n_components, x.dtype), weights, family=family, ridge=ridge)


def _draw_rows(u: Array, mass: Array) -> Array:
    """Row indices ``(m,)`` with probability proportional to ``mass``, for uniform ``u`` ``(m,)`` in (0, 1].

    As u is not zero, a row without mass is never drawn.
    """
    cumulative = jnp.cumsum(mass)
    return jnp.minimum(jnp.searchsorted(cumulative, u * cumulative[-1], method="compare_all"), mass.shape[0] - 1)


def _squared_distances(x: Array, centres: Array) -> Array:
    """Squared distances ``|x_i - c_j|^2``, ``(k, n)``, from differences, so that nothing cancels."""
    return lax.map(lambda centre: ((x - centre[None]) ** 2).sum(1), centres)


def _nearest(x: Array, centres: Array) -> Array:
    """The index ``(n,)`` of the centre nearest to each row."""
    return jnp.argmin(_squared_distances(x, centres), axis=0)


def _one_hot(labels: Any, n_components: int, dtype: DTypeLike) -> Array:
    """Responsibilities ``(n, k)`` of one for the component of each label, zero for the others."""
    return jax.nn.one_hot(labels, n_components, dtype=dtype)


def _first(number: Array | None, centres: Array) -> Array:
    """The centres ``(k, d)``, those beyond a number moved to infinity, where no row is nearest to them."""
    if number is None:
        return centres
    return jnp.where(jnp.arange(len(centres), dtype=number.dtype)[:, None] < number, centres, jnp.inf)


def _random_centres(key: Array | int, x: Array, weights: Array, n_components: int) -> Array:
    """Distinct random rows ``(k, d)``, drawn without replacement with probability proportional to weight."""
    # The k largest of log w_i + Gumbel noise are such a draw (Efraimidis & Spirakis 2006)
    scores = jnp.log(weights) + jax.random.gumbel(checks.as_key(key), weights.shape, weights.dtype)
    return x[lax.top_k(scores, n_components)[1]]


def _plus_plus_centres(key: Array | int, x: Array, weights: Array, n_components: int) -> Array:
    """Greedy k-means++ centres ``(k, d)``, in the order in which they are drawn."""
    n_candidates = 2 + int(math.log(padded_components(n_components)))  # as many for all that share a program

    def add_centre(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        centres, distance = carry
        # Draw candidates; by weight alone where every row coincides with a centre
        mass = weights * distance
        mass = jnp.where(mass.sum() > 0, mass, weights)
        candidates = x[_draw_rows(u[index], mass)]
        # Take the candidate with the smallest sum of distances to the nearest centre
        distances = jnp.minimum(distance[None], _squared_distances(x, candidates))
        best = jnp.argmin(einsum("cn,n->c", distances, weights))
        return centres.at[index].set(candidates[best]), distances[best]

    u = 1 - jax.random.uniform(checks.as_key(key), (n_components, n_candidates), weights.dtype)
    first = x[_draw_rows(u[0, :1], weights)]
    centres = jnp.zeros((n_components, x.shape[1]), x.dtype).at[0].set(first[0])
    return lax.fori_loop(1, n_components, add_centre, (centres, _squared_distances(x, first)[0]))[0]


def _lloyd(x: Array, weights: Array, centres: Array, n_steps: int) -> Array:
    """Centres after steps of Lloyd's algorithm: each moves to the weighted mean of the rows nearest to it.

    A centre without rows does not move.
    """

    def step(_: int, centres: Array) -> Array:
        responsibilities = _one_hot(_nearest(x, centres), centres.shape[0], x.dtype) * weights[:, None]
        counts = responsibilities.sum(0)[:, None]
        means = einsum("nk,nd->kd", responsibilities, x) / safe_divisor(counts)
        return jnp.where(counts > 0, means, centres)

    return lax.fori_loop(0, n_steps, step, centres)


@program("numbers", "n_init")
def nested_partitions(key: Array | int, x: Array, weights: Array, numbers: tuple[int, ...], n_init: int) -> Array:
    """Partitions of rows for several numbers of components at once, half from k-means++ and half from random rows.

    The first k of the centres of a draw are a draw of k centres, so all numbers of components share the same draws.

    Args:
        key: a JAX random key, or a seed.
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
    keys = jax.random.split(checks.as_key(key), max(n_init, 1))

    def partitions(draw: Callable[..., Array], n_steps: int, keys: Array) -> Array:
        centres = jax.vmap(lambda key: draw(key, x, weights, max(numbers)))(keys)
        centres = jax.vmap(lambda number: jax.vmap(partial(_first, number))(centres))(jnp.asarray(numbers))
        centres = jax.vmap(jax.vmap(lambda centres: _lloyd(x, weights, centres, n_steps)))(centres)
        return jax.vmap(jax.vmap(partial(_nearest, x)))(centres)

    from_kmeans = partitions(_plus_plus_centres, 5, keys[:n_init:2])
    from_random_rows = partitions(_random_centres, 0, keys[1:n_init:2])
    return jnp.concatenate([from_kmeans, from_random_rows], axis=1)
