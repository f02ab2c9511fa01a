"""The model itself: densities and posteriors of a Gaussian mixture, with uniform noise or without."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike

from .. import checks, linalg
from ..fitted import Params as Params
from ..fitted import ParamsOrResult
from ..padding import first_rows, pad_rows
from ..programs import program
from ..types import GMMParams, NoisyGMMParams
from . import noise


class Prepared(NamedTuple):
    """A mixture prepared for scoring rows: factors and constants, computed once for all rows."""

    centre: Array  # (d,) subtracted from rows and means before anything else
    offsets: Array  # (k, d) means about the centre
    factor: linalg.Factor  # of the covariances
    log_scale: Array  # (k,) log weights_j - log |L_j| - d/2 log 2 pi
    covariances: Array  # as of the mixture


def prepare(params: GMMParams) -> Prepared:
    """Factors and constants of a mixture, computed once for all rows."""
    k, d = params.means.shape
    alive = params.weights > 0
    log_weights = jnp.where(alive, jnp.log(jnp.where(alive, params.weights, 1)), -jnp.inf)
    centre = linalg.round_once(params.means[jnp.argmax(params.weights)])  # near most rows, wherever others are
    factor = linalg.factorize(params.covariances, d)
    log_scale = log_weights - jnp.broadcast_to(factor.log_det, (k,)) - d / 2 * math.log(2 * math.pi)
    return Prepared(centre, params.means - centre[None], factor, log_scale, params.covariances)


def joint_log_densities(prepared: Prepared, residuals: Array, rows: Array) -> Array:
    """``log p(x, z = j)`` ``(k, n)``, from whitened residuals ``(k, d, n)`` of centred rows ``(d, n)``."""
    distance = jnp.sum(residuals**2, axis=1)
    # A row so far out that its residuals overflow to inf - inf is infinitely far, unless it is NaN itself
    beyond = jnp.where(jnp.isnan(rows).any(0), jnp.nan, jnp.inf)
    distance = jnp.where(distance < jnp.inf, distance, beyond[None])
    return prepared.log_scale[:, None] - distance / 2


def is_resolved(prepared: Prepared) -> Array:
    """Whether each covariance is positive definite, no variance lost in the rounding of its own distances, ``()``.

    Components of weight zero are not in the density, and not asked.
    """
    offsets, alive = prepared.offsets, ~jnp.isneginf(prepared.log_scale)
    least = (2 * np.finfo(offsets.dtype).eps * offsets) ** 2
    is_resolved = (linalg.variances(prepared.covariances, offsets.shape[1]) > least).all(1)
    is_definite = linalg.is_positive_definite(prepared.factor, prepared.covariances)
    return ((is_resolved & is_definite) | ~alive).all()


def amplification(prepared: Prepared) -> Array:
    """How many roundings of size one a row's log-density may carry under each component, ``(k,)``.

    From the pivots of an ill-conditioned covariance, and from whitening, linearly in distance over standard deviation.
    """
    d = prepared.offsets.shape[1]
    distances = abs(prepared.offsets) / jnp.sqrt(linalg.variances(prepared.covariances, d))
    return linalg.conditioning(prepared.factor, prepared.covariances) + distances.sum(1)


def chunk_rows(n_components: int, n_features: int, itemsize: int) -> int:
    """Rows per chunk that keep the whitened residuals ``(k, d, rows)`` close to the processor.

    Measured on a CPU: small problems run best from the first-level cache, on one core; large ones in pieces big enough
    to share between cores.
    """
    on_cpu = 1 / 8 if n_components * n_features <= 128 else 8
    megabytes = on_cpu if jax.default_backend() == "cpu" else 256
    return max(128, int(megabytes * 2**20) // (n_components * n_features * itemsize))


def by_rows(score: Callable[[Array, Array], Array], prepared: Prepared, x: Array) -> Array:
    """``score`` of joint log-densities ``(k, n)`` and centred rows ``(d, n)``, in blocks of rows to bound memory.

    ``score`` returns arrays with the rows in front.
    """

    def block(rows: Array) -> Array:
        centred = (rows - prepared.centre[None]).T
        residuals = linalg.whiten(prepared.factor, centred, prepared.offsets)
        return score(joint_log_densities(prepared, residuals, centred), centred)

    (n, d), k = x.shape, len(prepared.offsets)
    size = chunk_rows(k, d, x.dtype.itemsize)
    whole = n // size * size
    if whole == 0:
        return block(x)
    scores = lax.map(block, x[:whole].reshape(-1, size, d))
    scores = scores.reshape(whole, *scores.shape[2:])
    return scores if whole == n else jnp.concatenate([scores, block(x[whole:])])


def log_densities(prepared: Prepared, x: Array) -> Array:
    """``log p(x)`` ``(n,)`` of rows ``(n, d)`` under a prepared mixture."""
    return by_rows(lambda joint, _: jax.nn.logsumexp(joint, axis=0), prepared, x)


def _scores(score: Callable[[Array], Array], params: Params, x: Array) -> Array:
    """``score`` of joint log-densities ``(n, k)``, those of the noise, if there is any, in one more column."""
    prepared = prepare(checks.mixture_of(params))

    def with_noise(joint: Array, centred: Array) -> Array:
        if isinstance(params, NoisyGMMParams):
            log_clean, log_noise = noise.log_weights(params.noise_weight)
            outlying = log_noise + noise.log_density(params.noise, centred, prepared.centre)
            joint = jnp.concatenate([log_clean + joint, outlying[None]])
        return score(joint.T)

    return by_rows(with_noise, prepared, x)


@program()
def _joint_log_prob(params: Params, x: Array) -> Array:
    return _scores(lambda joint: joint, params, x)


@program()
def _log_prob(params: Params, x: Array) -> Array:
    return _scores(partial(jax.nn.logsumexp, axis=1), params, x)


@program()
def _responsibilities(params: Params, x: Array) -> Array:
    return _scores(partial(posterior, noise.all_weights(params)), params, x)


@program()
def _log_certainty(params: Params, x: Array) -> Array:
    return _scores(lambda joint: jnp.log(posterior(noise.all_weights(params), joint).max(1)), params, x)


@program()
def _predict(params: Params, x: Array) -> Array:
    n_components = len(checks.mixture_of(params).means)

    def label(joint: Array) -> Array:
        shares = posterior(noise.all_weights(params), joint)
        best = shares.argmax(1)
        return jnp.where(jnp.isnan(shares).any(1) | (best >= n_components), -1, best)

    return _scores(label, params, x)


def posterior(shares: Array, joint: Array) -> Array:
    """Responsibilities ``(n, k)`` from joint log-densities; of rows that say nothing, the mixing proportions."""
    says_nothing = jnp.isneginf(joint).all(1, keepdims=True)
    return jnp.where(says_nothing, shares[None], jax.nn.softmax(jnp.where(says_nothing, 0, joint), axis=1))


def _of_rows(function: Callable[[Params, Array], Array], params: ParamsOrResult, x: ArrayLike) -> Array:
    """``function`` of parameters and rows, checked; its program serves data sets of about as many rows."""
    mixture, rows, _ = checks.arguments(params, x)
    checks.proportions(mixture)
    return first_rows(function(mixture, pad_rows(rows)), len(rows))


def joint_log_prob(params: ParamsOrResult, x: ArrayLike) -> Array:
    r"""Log joint density of each row and each component.

    .. math:: \log p(x, z = j) = \log \phi_j + \log N(x \mid \mu_j, \Sigma_j)

    Args:
        params: the mixture, k components in d features, or a result that holds one.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.

    Returns:
        ``(n, k)`` in nats; -inf for a component of weight zero. With noise ``(n, k + 1)``, the noise last.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together, or mixing weights do not sum to one.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> joint_log_prob(params, jnp.array([0.0])).round(2).tolist()
        [[-1.61..., -9.6...]]

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, section 9.2.
    """
    return _of_rows(_joint_log_prob, params, x)


def log_prob(params: ParamsOrResult, x: ArrayLike) -> Array:
    r"""Log density of each row.

    .. math:: \log p(x) = \log \sum_j \phi_j N(x \mid \mu_j, \Sigma_j)

    Differentiable in every parameter and in ``x``. A weight of exactly zero gets gradient zero.

    Args:
        params: the mixture, k components in d features, or a result that holds one.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.

    Returns:
        ``(n,)`` in nats; -inf where the density underflows under every component, NaN for a row with NaN.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together, or mixing weights do not sum to one.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> log_prob(params, jnp.array([0.0, 2.0])).round(2).tolist()
        [-1.61..., -2.9...]

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, equation 9.7.
    """
    return _of_rows(_log_prob, params, x)


def responsibilities(params: ParamsOrResult, x: ArrayLike) -> Array:
    r"""Posterior probability of each component given each row.

    .. math:: r_j = p(z = j \mid x) = \frac{\phi_j N(x \mid \mu_j, \Sigma_j)}{\sum_l \phi_l N(x \mid \mu_l, \Sigma_l)}

    Args:
        params: the mixture, k components in d features, or a result that holds one.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.

    Returns:
        ``(n, k)``, rows summing to one; with noise ``(n, k + 1)``, the noise last. A row whose density underflows under
        every component says nothing about z: it gets the mixing proportions. A row with NaN gets NaN.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together, or mixing weights do not sum to one.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> responsibilities(params, jnp.array([2.0])).tolist()
        [[0.5, 0.5]]

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, equation 9.13.
    """
    return _of_rows(_responsibilities, params, x)


def predict(params: ParamsOrResult, x: ArrayLike) -> Array:
    r"""Most probable component of each row.

    .. math:: \hat z = \arg\max_j p(z = j \mid x)

    Args:
        params: the mixture, k components in d features, or a result that holds one.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.

    Returns:
        ``(n,)`` int labels in 0..k-1; -1 for a row of the noise component, or with NaN.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together, or mixing weights do not sum to one.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> predict(params, jnp.array([-1.0, 5.0])).tolist()
        [0, 1]
    """
    return _of_rows(_predict, params, x)


def log_certainty(params: Params, x: ArrayLike) -> Array:
    """``log max_j r_ij`` of each row, ``(n,)`` in nats: zero where it surely belongs to one component."""
    return _of_rows(_log_certainty, params, x)
