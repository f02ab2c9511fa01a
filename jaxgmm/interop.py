"""Mixtures as distributions of other libraries, and in coordinates that any optimiser can move.

A :class:`jaxgmm.GMMParams` is a pytree of arrays, so it sits in a Flax or Equinox module, an Optax state or a
checkpoint as it is. Other libraries are imported only by the function that needs them.
"""

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jax import Array

from . import checks, linalg
from .fitted import Fitted
from .mixture import coordinates
from .types import GMMParams

if TYPE_CHECKING:
    import distrax
    import numpyro.distributions
    import tensorflow_probability.substrates.jax as tfp


__all__ = ["from_unconstrained", "to_distrax", "to_numpyro", "to_tfp", "to_unconstrained"]


def to_unconstrained(params: GMMParams | Fitted) -> GMMParams:
    r"""Write a mixture in unconstrained coordinates: any real numbers are a mixture, so gradient steps may move them.

    .. math:: \log \phi_j, \quad \mu_j, \quad L_j \text{ with } \log \mathrm{diag}\, L_j, \qquad \Sigma_j = L_j L_j^T

    Covariances keep their structure (full, shared, diagonal, spherical); further constraints of a family are lost.

    Args:
        params: the mixture, k components in d features, or a result that holds one.

    Returns:
        :class:`jaxgmm.GMMParams` of the same shapes, holding logarithms of weights, means, and Cholesky factors with
        logarithms on the diagonal: not a mixture until :func:`from_unconstrained`.

    Raises:
        TypeError: if ``params`` are no :class:`jaxgmm.GMMParams`, or have a noise component.
        ValueError: if shapes do not fit together.

    Example:
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> to_unconstrained(params).covariances.tolist()
        [[0.0], [0.0]]

    Reference:
        Pinheiro & Bates (1996), Unconstrained parametrizations for variance-covariance matrices, Statistics and
        Computing 6.
    """
    return coordinates.to_unconstrained(_without_noise(params))


def from_unconstrained(free: GMMParams) -> GMMParams:
    r"""Read a mixture from unconstrained coordinates: the inverse of :func:`to_unconstrained`.

    .. math:: \phi = \mathrm{softmax}(a), \quad \mu_j, \quad \Sigma_j = L_j L_j^T

    Args:
        free: ``weights`` ``(k,)`` up to a common constant, ``means`` ``(k, d)``, and ``covariances`` in any of the
            shapes of :class:`jaxgmm.GMMParams`, where entries above the diagonal are ignored.

    Returns:
        :class:`jaxgmm.GMMParams`: weights that sum to one, covariances that are positive definite.

    Raises:
        TypeError: if ``free`` are no :class:`jaxgmm.GMMParams`, or have a noise component.
        ValueError: if shapes do not fit together.

    Example:
        >>> free = GMMParams(jnp.zeros(2), jnp.array([[0.0], [4.0]]), jnp.zeros((2, 1)))
        >>> from_unconstrained(free).weights.tolist(), from_unconstrained(free).covariances.tolist()
        ([0.5, 0.5], [[1.0], [1.0]])
    """
    return coordinates.from_unconstrained(_without_noise(free))


def to_numpyro(params: GMMParams | Fitted) -> "numpyro.distributions.MixtureSameFamily":
    """Convert a mixture to a NumPyro distribution with events ``(d,)``: a prior or a likelihood in a model.

    Works under ``jit`` and ``grad``: the parameters may be traced, and may be other sites of the model.

    Args:
        params: the mixture, k components in d features, or a result that holds one.

    Returns:
        A ``numpyro.distributions.MixtureSameFamily``.

    Raises:
        ModuleNotFoundError: if NumPyro is not installed.
        TypeError: if ``params`` are no :class:`jaxgmm.GMMParams`, or have a noise component.
        ValueError: if shapes do not fit together.

    Example:
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> to_numpyro(params).event_shape
        (1,)

    Reference:
        Phan, Pradhan & Jankowiak (2019), Composable effects for flexible and accelerated probabilistic programming in
        NumPyro.
    """
    import numpyro.distributions as dist

    weights, means, root = _parts(params)
    components = (
        dist.Normal(means, root).to_event(1) if root.ndim == 2 else dist.MultivariateNormal(means, scale_tril=root)
    )
    return dist.MixtureSameFamily(dist.CategoricalProbs(weights), components)


def to_distrax(params: GMMParams | Fitted) -> "distrax.MixtureSameFamily":
    """Convert a mixture to a Distrax distribution with events ``(d,)``.

    Args:
        params: the mixture, k components in d features, or a result that holds one.

    Returns:
        A ``distrax.MixtureSameFamily``.

    Raises:
        ModuleNotFoundError: if Distrax is not installed.
        TypeError: if ``params`` are no :class:`jaxgmm.GMMParams`, or have a noise component.
        ValueError: if shapes do not fit together.

    Example:
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> to_distrax(params).event_shape  # doctest: +SKIP
        (1,)
    """
    import distrax

    weights, means, root = _parts(params)
    components: Any = distrax.MultivariateNormalDiag if root.ndim == 2 else distrax.MultivariateNormalTri
    return distrax.MixtureSameFamily(distrax.Categorical(probs=weights), components(means, root))


def to_tfp(params: GMMParams | Fitted) -> "tfp.distributions.MixtureSameFamily":
    """Convert a mixture to a distribution of TensorFlow Probability's JAX substrate, with events ``(d,)``.

    Recent versions of JAX need the package ``tfp-nightly``: TensorFlow Probability 0.25 does not import with them.

    Args:
        params: the mixture, k components in d features, or a result that holds one.

    Returns:
        A ``tfp.distributions.MixtureSameFamily``.

    Raises:
        ModuleNotFoundError: if TensorFlow Probability is not installed.
        TypeError: if ``params`` are no :class:`jaxgmm.GMMParams`, or have a noise component.
        ValueError: if shapes do not fit together.

    Example:
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1)))
        >>> to_tfp(params).event_shape  # doctest: +SKIP
        TensorShape([1])
    """
    import tensorflow_probability.substrates.jax.distributions as tfd

    weights, means, root = _parts(params)
    components = tfd.MultivariateNormalDiag if root.ndim == 2 else tfd.MultivariateNormalTriL
    return tfd.MixtureSameFamily(tfd.Categorical(probs=weights), components(means, root))


def _without_noise(params: GMMParams | Fitted) -> GMMParams:
    """The mixture, refused where it has a noise component."""
    mixture = checks.as_params(params)
    if not isinstance(mixture, GMMParams):
        raise TypeError("params: expected GMMParams, got NoisyGMMParams: a noise component has no counterpart here")
    return mixture


def _parts(params: GMMParams | Fitted) -> tuple[Array, Array, Array]:
    """Weights ``(k,)``, means ``(k, d)``, and Cholesky factors ``(k, d, d)`` or standard deviations ``(k, d)``."""
    weights, means, covariances = _without_noise(params)
    k, d = means.shape
    root = linalg.factorize(covariances, d).root
    return weights, means, jnp.broadcast_to(root, (k, *root.shape[1:]))
