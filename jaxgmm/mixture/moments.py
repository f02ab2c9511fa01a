"""Weighted moments of rows, about a row, so that no digit is lost far from the origin."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from .. import linalg


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
