"""Weighted moments of rows, about a row, so that no digit is lost far from the origin; and weighted quantiles."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import linalg

ROWS_OF_QUANTILES = 2**16  # as many as decide on units: more would change nothing but the time it takes


class Moments(NamedTuple):
    """Mean and residuals of weighted rows, in units in which squares neither overflow nor underflow."""

    mean: Array  # (d,) in the features' own units
    residuals: Array  # (n, d) over span; zero for rows of weight zero
    span: Array  # (d,) the largest distance from the reference row
    shares: Array  # (n,) weights over their sum


def weighted(x: Array, weights: Array) -> Moments:
    """Mean and residuals of rows ``(n, d)`` with weights ``(n,)``; rows of weight zero have no influence."""
    shares, reference = weights / weights.sum(), x[jnp.argmax(weights)]
    near = jnp.where((weights > 0)[:, None], x - reference[None], 0)
    span = linalg.safe_divisor(abs(near).max(0))
    near = near / span[None]
    mean = linalg.einsum("n,nd->d", shares, near)
    residuals = jnp.where((weights > 0)[:, None], near - mean[None], 0)
    return Moments(reference + span * mean, residuals, span, shares)


def standard_deviations(moments: Moments) -> Array:
    """Of each feature, ``(d,)``."""
    return jnp.sqrt(linalg.einsum("n,nd->d", moments.shares, moments.residuals**2)) * moments.span


def covariance(moments: Moments) -> Array:
    """The covariance of all rows, ``(d, d)``."""
    scaled = linalg.einsum("n,nd,ne->de", moments.shares, moments.residuals, moments.residuals)
    return scaled * moments.span[:, None] * moments.span[None, :]


def quantiles(x: Array, weights: Array, shares: np.ndarray) -> Array:
    """Weighted quantiles of each feature, ``(len(shares), d)``: the least rows that so much weight does not exceed.

    By bisection over the bit patterns of floating-point numbers, which increase as the numbers do: it takes sums over
    rows alone, so rows may be spread over devices, and as many passes as numbers have bits. Of many rows every so many.
    """
    n_bits, step = 8 * x.dtype.itemsize, max(1, len(x) // ROWS_OF_QUANTILES)
    whole = jnp.int32 if n_bits == 32 else jnp.int64
    x = jnp.where((weights > 0)[:, None], x, x[jnp.argmax(weights)][None])[::step]
    bits, weights = lax.bitcast_convert_type(x, whole), weights[::step]
    ranks = jnp.where(bits < 0, bits ^ np.iinfo(bits.dtype).max, bits)
    wanted = jnp.asarray(shares, x.dtype)[:, None] * weights.sum()

    def halve(_: int, between: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = between
        middle = (low & high) + ((low ^ high) >> 1)  # the mean, without overflow
        below = jnp.stack([jnp.where(ranks <= row[None], weights[:, None], 0).sum(0) for row in middle])
        is_enough = below >= wanted
        return jnp.where(is_enough, low, middle + 1), jnp.where(is_enough, middle, high)

    ends = (jnp.broadcast_to(end[None], (len(shares), x.shape[1])) for end in (ranks.min(0), ranks.max(0)))
    found = lax.fori_loop(0, n_bits, halve, tuple(ends))[1]
    return lax.bitcast_convert_type(jnp.where(found < 0, found ^ np.iinfo(bits.dtype).max, found), x.dtype)
