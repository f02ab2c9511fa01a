"""Random rows from a Gaussian mixture, with uniform noise or without."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from .. import checks, linalg
from ..fitted import ParamsOrResult
from ..programs import program
from ..types import GMMParams as GMMParams
from ..types import NoisyGMMParams
from . import noise
from .density import Params


def sample(key: Array | int, params: ParamsOrResult, n: int) -> tuple[Array, Array]:
    r"""Draw rows and the components they came from.

    .. math:: z \sim \mathrm{Multinomial}(\phi), \quad x \mid z = j \sim N(\mu_j, \Sigma_j)

    Args:
        key: a JAX random key, or a seed.
        params: the mixture, k components in d features, or a result that holds one.
        n: how many rows; static under ``jit``.

    Returns:
        ``x`` ``(n, d)`` and ``labels`` ``(n,)`` int, -1 for the noise component.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if shapes do not fit together, ``n`` is negative, or weights do not sum to one.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> x, labels = sample(jax.random.key(0), params, 3)
        >>> x.shape, labels.shape
        ((3, 1), (3,))
    """
    key, params = checks.as_key(key), checks.as_params(params)
    checks.proportions(params)
    dtype = jnp.result_type(*checks.mixture_of(params))
    return _sample(key, jax.tree.map(lambda leaf: leaf.astype(dtype), params), checks.as_integer(n, "n", 0))


@program("n")
def _sample(key: Array, params: Params, n: int) -> tuple[Array, Array]:
    mixture = checks.mixture_of(params)
    k, d = mixture.means.shape
    label_key, normal_key, region_key = jax.random.split(key, 3)

    # Components, then normal deviates of each
    labels = jax.random.categorical(label_key, jnp.log(noise.all_weights(params)), shape=(n,))
    deviates = jax.random.normal(normal_key, (n, d), mixture.means.dtype)
    root = linalg.factorize(mixture.covariances, d).root
    root = jnp.broadcast_to(root, (k, *root.shape[1:]))

    def draw(label: Array, deviate: Array) -> Array:
        spread = root[label] * deviate if root.ndim == 2 else linalg.einsum("de,e->d", root[label], deviate)
        return mixture.means[label] + spread

    x = lax.map(lambda row: draw(*row), (jnp.minimum(labels, k - 1), deviates), batch_size=1024)
    if not isinstance(params, NoisyGMMParams):
        return x, labels

    # Rows of noise, from its region
    is_noise = labels == k
    return jnp.where(is_noise[:, None], noise.draw(region_key, params.noise, n), x), jnp.where(is_noise, -1, labels)
