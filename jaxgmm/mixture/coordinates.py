"""Unconstrained coordinates of a mixture: any real numbers are one."""

import jax
import jax.numpy as jnp

from .. import linalg
from ..types import GMMParams


def to_unconstrained(params: GMMParams) -> GMMParams:
    """Log weights, means, and Cholesky factors with the logarithms of their diagonals, stored as ``params`` is."""
    alive = params.weights > 0
    log_weights = jnp.where(alive, jnp.log(jnp.where(alive, params.weights, 1)), -jnp.inf)
    return GMMParams(log_weights, params.means, linalg.log_cholesky(params.covariances))


def from_unconstrained(free: GMMParams) -> GMMParams:
    """The mixture with these coordinates: the inverse of :func:`to_unconstrained`."""
    return GMMParams(jax.nn.softmax(free.weights), free.means, linalg.from_log_cholesky(free.covariances))
