r"""A mixture as an exponential family: ``log p(x, z = j)`` is linear in features of x that all components share.

.. math:: \log p(x, z = j) = T(x) \cdot \eta_j, \quad T(x) = [1, x, \text{products } x_a x_b]

with squares alone where covariances are diagonal, their mean where they are spherical; where components share a matrix,
its part is the same for all. Matrix products with the features of a block of rows give every density and every moment;
under ``vmap`` over mixtures all lanes share the features. The price is rounding, see :func:`rounding`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import linalg
from ..mixture.density import Frame
from ..types import Stats

TOLERATED = 1e-11  # nats a row


class Natural(NamedTuple):
    """Natural parameters of a mixture, for rows about a centre that does not depend on it."""

    constant: Array  # (k,) of the feature 1
    eta: Array  # (k, f) of the others
    offsets: Array  # (k, d) means about the centre
    shared: Array | None  # (d, d) inverse Cholesky factor of the matrix that components share


def natural(frame: Frame, centre: Array, shape: tuple[int, ...]) -> Natural:
    """Natural parameters of a mixture whose covariances are stored in ``shape``."""
    offsets, d = frame.offsets + (frame.centre - centre)[None], len(centre)
    precisions = linalg.precisions(frame.factor)
    if len(shape) == 2:
        linear = precisions * offsets
        quadratic = [-precisions[:, : shape[1]] * (d / shape[1]) / 2]
    else:
        linear = jnp.squeeze(linalg.matmul(precisions, offsets[:, :, None]), 2)
        a, b = np.triu_indices(d)
        once = jnp.where(a == b, -0.5, -1.0).astype(offsets.dtype)[None]
        quadratic = [precisions[:, a, b] * once] if shape[0] > 1 else []
    constant = frame.log_scale - (linear * offsets).sum(1) / 2
    quadratic = [jnp.broadcast_to(part, (len(offsets), part.shape[1])) for part in quadratic]
    eta = jnp.concatenate([linear, *quadratic], axis=1)
    return Natural(constant, eta, offsets, frame.factor.inverse[0] if shape[0] == 1 and len(shape) == 3 else None)


def pays(shape: tuple[int, ...], n_components: int, n_features: int) -> bool:
    """Whether making features is worth it: they serve all components, but products grow with the square of d."""
    has_products = len(shape) == 3 and shape[0] > 1
    return not has_products or 16 * n_components >= n_features


def is_tolerable(lost: Array, n_features: int) -> Array:
    """Whether what :func:`rounding` says is lost is about what scoring a row loses anyway, or next to nothing.

    A mixture of NaN comes to nothing in any form, and counts as tolerable.
    """
    return ~(lost > max(16 * n_features, TOLERATED / np.finfo(lost.dtype).eps))


def rounding(frame: Frame, centre: Array, covariances: Array) -> Array:
    r"""How many roundings of size one a row's log-density may carry under each component, ``(k,)``.

    .. math::
        \kappa_j = \sum_{ab} |\Sigma_j^{-1}|_{ab} \, s_{ja} s_{jb}, \quad s_{ja}^2 = (\mu_{ja} - c_a)^2 + \Sigma_{jaa}

    the size of what cancels in :math:`T(x) \cdot \eta_j` for a row of component j: quadratic in the distance of its
    mean over its standard deviation, and larger where features are correlated. Zero for a component of weight zero.
    """
    offsets, d = frame.offsets + (frame.centre - centre)[None], len(centre)
    size = jnp.sqrt(offsets**2 + linalg.variances(covariances, d))
    precisions = abs(linalg.precisions(frame.factor))
    if precisions.ndim == 2:
        terms = (precisions * size**2).sum(1)
    else:
        terms = (jnp.squeeze(linalg.matmul(precisions, size[:, :, None]), 2) * size).sum(1)
    return jnp.where(jnp.isneginf(frame.log_scale), 0, terms)


def features(rows: Array, shape: tuple[int, ...]) -> list[Array]:
    """T but the 1, of rows ``(d, n)`` about the centre, in parts ``(., n)``: the rows first, f in all.

    What is there already is not copied to make it one; many small products are.
    """
    if len(shape) == 2:
        squares = rows**2
        return [rows, squares if shape[1] > 1 else squares.mean(0, keepdims=True)]
    if shape[0] == 1:
        return [rows]
    extended = jnp.concatenate([jnp.ones_like(rows[:1]), rows])
    a, b = np.triu_indices(len(extended))
    return [extended[a[1:]] * extended[b[1:]]]


def joint(natural: Natural, rows: Array, features: list[Array]) -> Array:
    """``log p(x, z = j)`` ``(k, n)`` of rows ``(d, n)`` about the centre and their :func:`features`."""
    ends = np.cumsum([len(part) for part in features])
    etas = jnp.split(natural.eta, ends[:-1], axis=1)
    joint = natural.constant[:, None] + sum(map(linalg.matmul, etas, features))
    if natural.shared is not None:
        joint = joint - (linalg.matmul(natural.shared, rows) ** 2).sum(0)[None] / 2
    # A row so far out that its features overflow is infinitely far, unless it is NaN itself.
    beyond = jnp.where(jnp.isnan(rows).any(0), jnp.nan, -jnp.inf)
    return jnp.where(jnp.isnan(joint), beyond[None], joint)


def chunk_rows(natural: Natural, itemsize: int) -> int:
    """Rows per chunk that keep features and responsibilities close to the processor.

    Measured on a CPU: a part of one core's second-level cache is best, in whole vectors, and products not too short.
    """
    k, f = natural.eta.shape
    megabytes = 1 / 4 if jax.default_backend() == "cpu" else 256
    vectors = 512  # bytes of each feature
    return max(1, int(megabytes * 2**20) // ((f + 2 * k) * vectors)) * (vectors // itemsize)


def sums(natural: Natural, rows: Array, features: list[Array], expected: Array) -> tuple[Array, Array, Array]:
    """Counts, first and second moments about the centre, these not yet unpacked; ``expected`` is ``(k, n)``."""
    k, d = natural.offsets.shape
    total = jnp.concatenate([linalg.matmul(expected[:k], part.T) for part in features], axis=1)
    first, second = total[:, :d], total[:, d:]
    if natural.shared is not None:
        second = linalg.matmul(rows * expected[:k].sum(0)[None], rows.T)[None]
    return expected.sum(1), first, second


def about_means(natural: Natural, stats: Stats, shape: tuple[int, ...]) -> Stats:
    """Stats about the means of the mixture from those about the centre, its second moments as ``shape`` stores them."""
    offsets, second = natural.offsets, stats.second
    k, d = offsets.shape
    first = stats.first - stats.counts[:k, None] * offsets
    across = stats.first + first
    if len(shape) == 2:
        moved = across * offsets
    else:
        moved = linalg.symmetrize(across[:, :, None] * offsets[:, None, :])
        if natural.shared is None:
            place = np.zeros((d, d), int)
            place[np.triu_indices(d)] = np.arange(d * (d + 1) // 2)
            second = second[:, np.maximum(place, place.T)]
    return stats._replace(first=first, second=linalg.pool(second, (shape[0], d)) - linalg.pool(moved, shape))
