r"""The ridge: what keeps covariances from becoming singular, on the scale of each component.

A scatter per unit count with variances :math:`v_f` goes into the M-step with the variances

.. math:: \max\left[(1 + \rho) v_f + a, \; l_f^2\right]

where :math:`\rho` is relative, so that a variance moves by no more than that part of itself, whatever the spread of the
data; :math:`a` is absolute; and :math:`l_f` is a least standard deviation, which only components without a spread of
their own meet, such as one on an outlier or on equal rows.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from .. import linalg
from ..checks import non_negative

ROUNDINGS = 4  # no standard deviation below so many roundings of a mean: there the rows hold no more digits


class Ridge(NamedTuple):
    """What an M-step does to variances."""

    relative: ArrayLike  # () times each variance
    absolute: ArrayLike = 0.0  # () in units squared
    least: ArrayLike = 0.0  # () standard deviation, in units
    is_shared: Array | None = None  # () whether components share a covariance, where the storage shape does not say


def as_ridge(ridge: Any) -> Ridge:
    """``ridge`` as a :class:`Ridge`, having checked it; a number is relative."""
    ridge = ridge if isinstance(ridge, Ridge) else Ridge(ridge)
    relative, absolute, least = (non_negative(part, "ridge") for part in ridge[:3])
    return Ridge(relative, absolute, least, ridge.is_shared)


def least_variances(ridge: Ridge, distances: Array, shape: tuple[int, ...]) -> Array:
    """Variances ``(k|1, d|1)`` that covariances stored in ``shape`` have at least.

    Args:
        ridge: zero where it is.
        distances: ``(k, d)`` means about a centre of most rows; far out, rounding leaves rows fewer digits.
        shape: the storage shape.
    """
    is_on = (jnp.asarray(ridge.relative) > 0) | (jnp.asarray(ridge.absolute) > 0)
    rounding = jnp.where(is_on, ROUNDINGS * np.finfo(distances.dtype).eps, 0) * abs(distances)
    least = jnp.maximum(jnp.asarray(ridge.least, distances.dtype), rounding) ** 2
    smallest = least.min(0, keepdims=True)
    if shape[0] == 1:
        least = smallest
    elif ridge.is_shared is not None:
        least = jnp.where(ridge.is_shared, smallest, least)
    return least.mean(1, keepdims=True) if shape[1] == 1 and len(shape) == 2 else least


def added(ridge: Ridge, variances: Array, least: Array) -> Array:
    """What the ridge adds to ``variances`` ``(k|1, d|1)``."""
    relative, absolute = (jnp.asarray(value, variances.dtype) for value in (ridge.relative, ridge.absolute))
    return jnp.maximum(relative * variances + absolute, least - variances)


def without(ridge: Ridge, covariances: Array) -> Array:
    """The scatters per unit count that become ``covariances`` with the ridge in them."""
    variances = linalg.stored_variances(covariances)
    relative, absolute = (jnp.asarray(value, variances.dtype) for value in (ridge.relative, ridge.absolute))
    return linalg.add_to_diagonal(covariances, -(relative * variances + absolute) / (1 + relative))
