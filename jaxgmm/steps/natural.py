r"""A mixture as an exponential family: ``log p(x, z = j)`` is linear in features of x that all components share.

.. math:: \log p(x, z = j) = T(x) \cdot \eta_j, \quad T(x) = [1, x, \text{products } x_a x_b]

with squares alone where covariances are diagonal, their mean where they are spherical; where components share a matrix,
its part is the same for all. Matrix products with the features of a block of rows give every density and every moment;
under ``vmap`` over mixtures all of them share the features. The price is rounding, see :func:`rounding`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import linalg
from ..mixture.density import Prepared
from ..types import Stats

TOLERATED = 1e-11  # nats a row


class Natural(NamedTuple):
    """Natural parameters of a mixture, for rows about a centre that does not depend on it."""

    constant: Array  # (k,) of the feature 1
    eta: Array  # (k, f) of the others
    offsets: Array  # (k, d) means about the centre
    shared: Array | None  # (d, d) inverse Cholesky factor of the matrix that components share


def natural(prepared: Prepared, centre: Array) -> Natural:
    """Natural parameters of a mixture, for rows about ``centre`` ``(d,)``."""
    offsets, d = prepared.offsets + (prepared.centre - centre)[None], len(centre)
    precisions, shape = linalg.precisions(prepared.factor), prepared.covariances.shape
    if len(shape) == 2:
        linear = precisions * offsets
        quadratic = [-precisions[:, : shape[1]] * (d / shape[1]) / 2]
    else:
        linear = jnp.squeeze(linalg.matmul(precisions, offsets[:, :, None]), 2)
        a, b = np.triu_indices(d)
        once = jnp.where(a == b, -0.5, -1.0).astype(offsets.dtype)[None]
        quadratic = [precisions[:, a, b] * once] if shape[0] > 1 else []
    constant = prepared.log_scale - (linear * offsets).sum(1) / 2
    quadratic = [jnp.broadcast_to(part, (len(offsets), part.shape[1])) for part in quadratic]
    eta = jnp.concatenate([linear, *quadratic], axis=1)
    return Natural(constant, eta, offsets, prepared.factor.inverse[0] if shape[0] == 1 and len(shape) == 3 else None)


def is_faster(prepared: Prepared) -> bool:
    """Whether making features is worth it: they serve all components, but products grow with the square of d."""
    (k, d), shape = prepared.offsets.shape, prepared.covariances.shape
    has_products = len(shape) == 3 and shape[0] > 1
    return not has_products or 16 * k >= d


def is_accurate_enough(lost: Array, n_features: int) -> Array:
    """Whether a loss as of :func:`rounding` is about what scoring a row loses anyway, or next to nothing.

    A mixture of NaN gives NaN in any form, and counts as accurate.
    """
    return ~(lost > max(16 * n_features, TOLERATED / np.finfo(lost.dtype).eps))


def rounding(prepared: Prepared, centre: Array) -> Array:
    r"""How many roundings of size one a row's log-density may carry under each component, ``(k,)``.

    .. math::
        \kappa_j = \sum_{ab} |\Sigma_j^{-1}|_{ab} \, s_{ja} s_{jb}, \quad s_{ja}^2 = (\mu_{ja} - c_a)^2 + \Sigma_{jaa}

    the size of what cancels in :math:`T(x) \cdot \eta_j` for a row of component j: quadratic in the distance of its
    mean over its standard deviation, and larger where features are correlated. Zero for a component of weight zero.
    """
    offsets, d = prepared.offsets + (prepared.centre - centre)[None], len(centre)
    size = jnp.sqrt(offsets**2 + linalg.variances(prepared.covariances, d))
    precisions = abs(linalg.precisions(prepared.factor))
    if precisions.ndim == 2:
        terms = (precisions * size**2).sum(1)
    else:
        terms = (jnp.squeeze(linalg.matmul(precisions, size[:, :, None]), 2) * size).sum(1)
    return jnp.where(jnp.isneginf(prepared.log_scale), 0, terms)


def features(rows: Array, shape: tuple[int, ...]) -> list[Array]:
    """T without the 1, of rows ``(d, n)`` about the centre, in parts ``(., n)``: the rows first, f features in all.

    Parts that exist already are not copied into one array; many small products are.
    """
    if len(shape) == 2:
        squares = rows**2
        return [rows, squares if shape[1] > 1 else squares.mean(0, keepdims=True)]
    if shape[0] == 1:
        return [rows]
    extended = jnp.concatenate([jnp.ones_like(rows[:1]), rows])
    a, b = np.triu_indices(len(extended))
    return [extended[a[1:]] * extended[b[1:]]]


def in_parts(eta: Array, features: list[Array]) -> list[Array]:
    """``eta`` ``(k, f)`` cut as the features are."""
    return jnp.split(eta, np.cumsum([len(part) for part in features])[:-1], axis=1)


def chunk_rows(natural: Natural, itemsize: int) -> int:
    """Rows per chunk that keep features and responsibilities close to the processor.

    Measured on a CPU: a part of one core's second-level cache is best, in whole vectors, and products not too short.
    """
    k, f = natural.eta.shape
    megabytes = 1 / 4 if jax.default_backend() == "cpu" else 256
    vectors = 512  # bytes of each feature
    return max(1, int(megabytes * 2**20) // ((f + 2 * k) * vectors)) * (vectors // itemsize)


def about_means(natural: Natural, stats: Stats, shape: tuple[int, ...]) -> Stats:
    """Stats about the means of the mixture, stored in ``shape``, from packed sums about the centre."""
    offsets, second = natural.offsets, stats.second
    d = offsets.shape[1]
    first = stats.first - stats.counts[:, None] * offsets
    across = stats.first + first
    if len(shape) == 2:
        moved = across * offsets
    else:
        moved = linalg.symmetrize(across[:, :, None] * offsets[:, None, :])
        if natural.shared is None:
            place = np.zeros((d, d), int)
            place[np.triu_indices(d)] = np.arange(d * (d + 1) // 2)
            second = second[:, np.maximum(place, place.T)]
    second = linalg.pool_moments(second, (shape[0], d)) - linalg.pool_moments(moved, shape)
    return stats._replace(first=first, second=second if len(shape) == 2 else linalg.mirror(second))
