"""The model itself: densities, posteriors and samples of a Gaussian mixture."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from .. import checks, linalg
from ..types import GMMParams, Noise, NoisyGMMParams
from . import noise as uniform


class Frame(NamedTuple):
    """A mixture made ready for scoring rows: what depends on the parameters alone."""

    centre: Array  # (d,) subtracted from rows and means before anything else
    offsets: Array  # (k, d) means about the centre
    factor: linalg.Factor
    log_scale: Array  # (k,) log weights_j - log |L_j| - d/2 log 2 pi
    noise: Noise | None
    log_noise: Array  # (0,) or (1,) log weight of the noise component


def frame(params: GMMParams) -> Frame:
    """Factorise once what every block of rows needs."""
    k, d = params.means.shape
    alive = params.weights > 0
    log_weights = jnp.where(alive, jnp.log(jnp.where(alive, params.weights, 1)), -jnp.inf)
    shares = params.weights[:k] / jnp.where(alive[:k].any(), params.weights[:k].sum(), 1)
    centre = linalg.computed_once(jnp.sum(shares[:, None] * params.means, axis=0))
    factor = linalg.factorize(params.covariances, d)
    log_scale = log_weights[:k] - jnp.broadcast_to(factor.log_det, (k,)) - d / 2 * math.log(2 * math.pi)
    noise = params.noise if isinstance(params, NoisyGMMParams) else None
    return Frame(centre, params.means - centre[None], factor, log_scale, noise, log_weights[k:])


def joint_block(frame: Frame, rows: Array) -> tuple[Array, Array]:
    """``log p(x, z = j)`` as ``(k, n)``, and the whitened residuals ``(k, d, n)``, of centred rows ``(d, n)``.

    With noise, ``(k + 1, n)``: the noise component comes last.
    """
    residuals = linalg.whiten(frame.factor, rows, frame.offsets)
    distance = jnp.sum(residuals**2, axis=1)
    # A row so far out that its residuals overflow to inf - inf is infinitely far, unless it is NaN itself.
    beyond = jnp.where(jnp.isnan(rows).any(0), jnp.nan, jnp.inf)
    distance = jnp.where(distance < jnp.inf, distance, beyond[None])
    return with_noise(frame, frame.log_scale[:, None] - distance / 2, rows, frame.centre), residuals


def with_noise(frame: Frame, joint: Array, rows: Array, centre: Array) -> Array:
    """``joint`` ``(k, n)`` of rows ``(d, n)`` about ``centre``, and that of the noise component, if there is one."""
    if frame.noise is None:
        return joint
    of_noise = frame.log_noise + uniform.log_density(frame.noise, rows, centre)
    return jnp.concatenate([joint, of_noise[None]])


def is_resolved(frame: Frame, covariances: Array) -> Array:
    """Whether every covariance is positive definite, with no variance lost in the rounding of distances, ``()``."""
    extent = abs(frame.offsets).max(0)
    least = (10 * np.finfo(extent.dtype).eps * extent) ** 2
    variances = linalg.variances(covariances, len(extent))
    return linalg.is_positive_definite(frame.factor, covariances).all() & (variances > least[None]).all()


def amplification(frame: Frame, covariances: Array) -> Array:
    """How many roundings of size one a row's log-density may carry under each component, ``(k,)``.

    From the pivots of an ill-conditioned covariance, and from whitening, linearly in distance over standard deviation.
    """
    distances = abs(frame.offsets) / jnp.sqrt(linalg.variances(covariances, frame.offsets.shape[1]))
    return linalg.conditioning(frame.factor, covariances) + distances.sum(1)


def chunk_rows(n_components: int, n_features: int, itemsize: int) -> int:
    """Rows per chunk that keep the whitened residuals ``(k, d, rows)`` close to the processor.

    Measured on a CPU: small problems run best from the first-level cache, on one core; large ones in pieces big enough
    to share between cores.
    """
    on_cpu = 1 / 8 if n_components * n_features <= 128 else 8
    megabytes = on_cpu if jax.default_backend() == "cpu" else 256
    return max(128, int(megabytes * 2**20) // (n_components * n_features * itemsize))


def _by_rows(score: Callable[[Array], Array], params: GMMParams, x: Array) -> Array:
    """``score`` of joint log-densities ``(n, k)``, in blocks of rows so that temporaries stay bounded."""
    (n, d), ready = x.shape, frame(params)

    def block(rows: Array) -> Array:
        return score(joint_block(ready, (rows - ready.centre[None]).T)[0].T)

    size = chunk_rows(params.means.shape[0], d, x.dtype.itemsize)
    whole = n // size * size
    if whole == 0:
        return block(x)
    scores = lax.map(block, x[:whole].reshape(-1, size, d))
    scores = scores.reshape(whole, *scores.shape[2:])
    return scores if whole == n else jnp.concatenate([scores, block(x[whole:])])


_joint_log_prob = jax.jit(partial(_by_rows, lambda joint: joint))
_log_prob = jax.jit(partial(_by_rows, partial(jax.nn.logsumexp, axis=1)))


@jax.jit
def _responsibilities(params: GMMParams, x: Array) -> Array:
    def posterior(joint: Array) -> Array:
        hopeless = jnp.isneginf(joint).all(1, keepdims=True)
        return jnp.where(hopeless, params.weights[None], jax.nn.softmax(jnp.where(hopeless, 0, joint), axis=1))

    return _by_rows(posterior, params, x)


def joint_log_prob(params: GMMParams, x: ArrayLike) -> Array:
    r"""Log joint density of each row and each component.

    .. math:: \log p(x, z = j) = \log \phi_j + \log N(x \mid \mu_j, \Sigma_j)

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.

    Returns:
        ``(n, k)`` in nats; -inf for a component of weight zero.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> joint_log_prob(params, jnp.array([0.0])).round(2).tolist()
        [[-1.61..., -9.6...]]

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, section 9.2.
    """
    params, x, _ = checks.arguments(params, x)
    return _joint_log_prob(params, x)


def log_prob(params: GMMParams, x: ArrayLike) -> Array:
    r"""Log density of each row.

    .. math:: \log p(x) = \log \sum_j \phi_j N(x \mid \mu_j, \Sigma_j)

    Differentiable in every parameter and in ``x``. A weight of exactly zero gets gradient zero.

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.

    Returns:
        ``(n,)`` in nats; -inf where the density underflows under every component, NaN for a row with NaN.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> log_prob(params, jnp.array([0.0, 2.0])).round(2).tolist()
        [-1.61..., -2.9...]

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, equation 9.7.
    """
    params, x, _ = checks.arguments(params, x)
    return _log_prob(params, x)


def responsibilities(params: GMMParams, x: ArrayLike) -> Array:
    r"""Posterior probability of each component given each row.

    .. math:: w_j = p(z = j \mid x) = \frac{\phi_j N(x \mid \mu_j, \Sigma_j)}{\sum_l \phi_l N(x \mid \mu_l, \Sigma_l)}

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.

    Returns:
        ``(n, k)``, rows summing to one. A row whose density underflows under every component says nothing about z: it
        gets the mixing proportions. A row with NaN gets NaN.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> responsibilities(params, jnp.array([2.0])).tolist()
        [[0.5, 0.5]]

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, equation 9.13.
    """
    params, x, _ = checks.arguments(params, x)
    return _responsibilities(params, x)


def predict(params: GMMParams, x: ArrayLike) -> Array:
    r"""Most probable component of each row.

    .. math:: \hat z = \arg\max_j p(z = j \mid x)

    Args:
        params: the mixture, k components in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.

    Returns:
        ``(n,)`` int labels in 0..k-1; -1 for a row of the noise component, or with NaN.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> predict(params, jnp.array([-1.0, 5.0])).tolist()
        [0, 1]
    """
    posterior = responsibilities(params, x)
    label = jnp.argmax(posterior, axis=1)
    return jnp.where(jnp.isnan(posterior).any(1) | (label >= params.means.shape[0]), -1, label)


def sample(key: Array, params: GMMParams, n: int) -> tuple[Array, Array]:
    r"""Draw rows and the components they came from.

    .. math:: z \sim \mathrm{Multinomial}(\phi), \quad x \mid z = j \sim N(\mu_j, \Sigma_j)

    Args:
        key: a JAX random key.
        params: the mixture, k components in d features.
        n: how many rows; static under ``jit``.

    Returns:
        ``x`` ``(n, d)`` and ``labels`` ``(n,)`` int, -1 for the noise component.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together or ``n`` is negative.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> x, labels = sample(jax.random.key(0), params, 3)
        >>> x.shape, labels.shape
        ((3, 1), (3,))
    """
    params = checks.as_params(params)
    dtype = jnp.result_type(*params[:3])
    return _sample(key, jax.tree.map(lambda leaf: leaf.astype(dtype), params), checks.as_integer(n, "n", 0))


@partial(jax.jit, static_argnames="n")
def _sample(key: Array, params: GMMParams, n: int) -> tuple[Array, Array]:
    k, d = params.means.shape
    label_key, noise_key, region_key = jax.random.split(key, 3)
    labels = jax.random.categorical(label_key, jnp.log(params.weights), shape=(n,))
    noise = jax.random.normal(noise_key, (n, d), params.means.dtype)
    root = linalg.factorize(params.covariances, d).root
    root = jnp.broadcast_to(root, (k, *root.shape[1:]))

    def draw(label: Array, noise: Array) -> Array:
        spread = root[label] * noise if root.ndim == 2 else linalg.einsum("de,e->d", root[label], noise)
        return params.means[label] + spread

    x = lax.map(lambda row: draw(*row), (jnp.minimum(labels, k - 1), noise), batch_size=1024)
    if not isinstance(params, NoisyGMMParams):
        return x, labels
    of_noise = labels == k
    return jnp.where(of_noise[:, None], uniform.draw(region_key, params.noise, n), x), jnp.where(of_noise, -1, labels)
