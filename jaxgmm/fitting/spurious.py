"""Spurious maxima: components that are the work of the ridge, of rounding, or of a handful of rows."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import linalg
from ..types import GMMParams, Observations

LEAST_SPREAD = 20  # a component is thin with less than one part in so many of the usual standard deviation


class SpuriousLimits(NamedTuple):
    """What a component has to exceed to count."""

    covariance: Array  # (d, d) in every direction, or it is the work of the ridge or of rounding
    n_rows: Array  # () as many as count, whatever the weights' scale


def spurious_limits(observations: Observations, weights: Array, ridge: Array) -> SpuriousLimits:
    """Limits for mixtures of these standardised rows, fitted with this ridge."""
    x, shares = observations.x, weights / weights.sum()
    overall = linalg.einsum("n,nd,ne->de", shares, x, x) + ridge * jnp.eye(x.shape[1], dtype=x.dtype)
    least = jnp.maximum(2 * ridge, 10 * np.finfo(x.dtype).eps) * overall
    return SpuriousLimits(least, weights.sum() ** 2 / (weights**2).sum())


def is_spurious(limits: SpuriousLimits, params: GMMParams) -> Array:
    """Whether a component is no more than the ridge, rounding or a handful of rows makes it, ``()``."""
    has_spread = linalg.dominates(params.covariances, limits.covariance[None])
    return ~has_spread.all() | lies_on_few_rows(params, limits.n_rows)


def lies_on_few_rows(params: GMMParams, n_rows: Array) -> Array:
    """Whether a component lies on a handful of rows that nearly share a line or plane, ``()``.

    There the likelihood is high for no reason but the choice of rows (McLachlan & Peel 2000, Finite mixture models,
    section 3.10). A handful: fewer than twice the parameters of a Gaussian. Nearly: in some direction with less than a
    twentieth of the standard deviation that components have on average; shapes and volumes each have their own average,
    as a single component of large volume would otherwise make all others look thin.
    """
    d = params.means.shape[1]
    if params.covariances.shape[0] == 1:
        return jnp.zeros((), bool)
    covariances = linalg.as_matrices(params.covariances, d)
    shares = params.weights / params.weights.sum()
    alive = shares > 0
    log_volumes = 2 / d * linalg.factorize(covariances, d).log_det
    log_volumes -= jnp.sum(jnp.where(alive, shares * log_volumes, 0))
    average = linalg.einsum("k,kde->de", jnp.where(alive, shares * jnp.exp(-log_volumes), 0), covariances)
    few = alive & (shares * n_rows < d * (d + 3))
    return (few & ~linalg.dominates(covariances, average[None] / LEAST_SPREAD**2)).any()
