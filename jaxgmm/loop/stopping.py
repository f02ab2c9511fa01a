"""The stopping rule: Aitken's estimate of what remains to be gained."""

import jax.numpy as jnp
from jax import Array

SETTLING = 16  # steps that a rate of convergence that still rises is taken to go on rising for


def rate_of(step: Array, previous: Array) -> Array:
    """The rate of convergence by which two successive steps, in nats and so squares of lengths, shrink, ``()``."""
    return jnp.where(previous == 0, 0, jnp.sqrt(abs(step / jnp.where(previous == 0, 1, previous))))


def has_converged(step: Array, rate: Array, previous_rate: Array, least: Array) -> Array:
    r"""Whether the estimated remaining gain is below ``least``, ``()``.

    .. math::
        \frac{s_t}{1 - \max(q_t, q_{t-1})} \max\left(\frac{1 - q_{t-1}}{1 - q_t}, 1\right)^{16}, \quad
        q_t = \sqrt{s_t / s_{t-1}}

    For steps that shrink geometrically, as those of EM do near its fixed point, the first factor is what remains: a
    plateau is not mistaken for the top. While the rate still rises, fast directions hide the slow ones, in which most
    remains; the second factor stands for them.

    Args:
        step: ``()`` nats of the last step, see :class:`jaxgmm.Steps`.
        rate: ``()`` of convergence, q, see :func:`rate_of`.
        previous_rate: ``()`` one step before.
        least: ``()`` nats, the gain still to come below which EM stops.

    Returns:
        ``()`` bool.

    Example:
        >>> step, rate = jnp.array(0.5), jnp.array(0.5)
        >>> bool(has_converged(step, rate, rate, 1.1)), bool(has_converged(step, rate, rate, 0.9))
        (True, False)
        >>> bool(has_converged(step, rate, 0.2, 1.1))
        False

    Reference:
        Boehning et al. (1994), The distribution of the likelihood ratio for mixtures of densities from the
        one-parameter exponential family.
    """
    settled = jnp.minimum((1 - rate) / jnp.where(previous_rate < 1, 1 - previous_rate, 1), 1)
    slowest = jnp.maximum(rate, previous_rate)  # of the two: in float32 each is uncertain
    return (slowest < 1) & (step < least * (1 - slowest) * settled**SETTLING)
