"""The stopping rule: Aitken's estimate of what remains to be gained."""

import jax.numpy as jnp
from jax import Array


def has_converged(gain: Array, previous_gain: Array, least: Array) -> Array:
    r"""Whether the estimated remaining gain is below ``least``, ``()``.

    .. math:: \sum_{s > t} a_s \approx \frac{a_t}{1 - q}, \quad q = a_t / a_{t-1}

    for gains that shrink geometrically, as those of EM do near its fixed point: a plateau is not mistaken for the top.

    Args:
        gain: ``()`` of the last step, in nats.
        previous_gain: ``()`` of the step before, infinite where there was none.
        least: ``()`` the gain that is worth another iteration.

    Returns:
        ``()`` bool.

    Example:
        >>> bool(has_converged(jnp.array(0.5), jnp.array(1.0), 1.1)), bool(has_converged(jnp.array(0.5), 1.0, 0.9))
        (True, False)

    Reference:
        Boehning et al. (1994), The distribution of the likelihood ratio for mixtures of densities from the
        one-parameter exponential family.
    """
    rate = jnp.where(previous_gain == 0, 0, gain / jnp.where(previous_gain == 0, 1, previous_gain))
    return jnp.isfinite(previous_gain) & (rate < 1) & (abs(gain) < least * (1 - rate))
