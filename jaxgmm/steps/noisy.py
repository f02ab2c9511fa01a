"""EM of a mixture with uniform noise beside it, made from the steps of the mixture alone."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from .. import linalg
from ..checks import as_observations, is_concrete
from ..mixture import density, noise
from ..types import Noise, NoisyGMMParams, NoisyStats
from .contract import Coordinates, Steps, as_steps


class PreparedNoisy(NamedTuple):
    """A mixture and its noise, prepared for scoring rows."""

    mixture: density.Prepared
    log_clean: Array  # () log of 1 - noise_weight
    log_noise: Array  # () log of noise_weight
    noise: Noise


def noisy_steps(steps: Steps, concentration: ArrayLike = 1.0) -> Steps:
    """EM of a Gaussian mixture with noise, from the steps of the mixture.

    The noise takes its share of each row's weight; what remains is the row's weight for the mixture. A step costs two
    passes over the rows, as the share is needed before the sums.

    Args:
        steps: of the mixture, see :func:`gaussian_steps`.
        concentration: of a Dirichlet prior on all mixing proportions, that of the noise among them; 1 for none.

    Returns:
        :class:`Steps` over :class:`NoisyGMMParams`.

    Raises:
        TypeError: if ``steps`` are no :class:`Steps`.
        ValueError: if ``concentration`` is below one.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxgmm
        >>> x = jnp.array([-1.0, 0.0, 1.0, 99.0])
        >>> start = jaxgmm.GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1)))
        >>> start = jaxgmm.with_noise(start, jaxgmm.box_noise(x))
        >>> round(float(jaxgmm.em(start, x, steps=noisy_steps(jaxgmm.gaussian_steps())).params.noise_weight), 2)
        0.26

    Reference:
        Banfield & Raftery (1993), Model-based Gaussian and non-Gaussian clustering.
    """
    if is_concrete(concentration) and not np.asarray(concentration) >= 1:
        raise ValueError(f"concentration: expected at least 1, got {concentration}")
    alpha, steps = jnp.asarray(concentration), as_steps(steps)
    inner = steps.coordinates
    return steps._replace(
        prepare=Partial(_prepare, steps.prepare),
        expect=Partial(_expect, steps.expect),
        maximize=Partial(_maximize, steps.maximize, alpha),
        log_prior=Partial(_log_prior, steps.log_prior, alpha),
        is_valid=Partial(_of_mixture, steps.is_valid),
        rounding=None if steps.rounding is None else Partial(_rounding, steps.rounding),
        penalty=None if steps.penalty is None else Partial(_penalty, steps.penalty),
        step_nats=None if steps.step_nats is None else Partial(_step_nats, steps.step_nats),
        coordinates=None if inner is None else Coordinates(*map(Partial, (_reference, _encode, _decode), [inner] * 3)),
        spurious=Partial(_of_mixture, steps.spurious),
    )


def _prepare(inner: Any, params: NoisyGMMParams) -> PreparedNoisy:
    weight = params.noise_weight
    weight = jnp.where((weight >= 0) & (weight <= 1), weight, jnp.nan)  # a failure with a name
    return PreparedNoisy(inner(params.mixture), *noise.log_weights(weight), params.noise)


def _expect(inner: Any, prepared: PreparedNoisy, observations: Any, weights: Array) -> NoisyStats:
    observations = as_observations(observations, n_features=len(prepared.mixture.centre))
    x = jnp.where((weights != 0)[:, None], observations.x, prepared.mixture.centre[None])

    # Log-densities of each row under the mixture and under the noise, and their sum
    clean = prepared.log_clean + density.log_densities(prepared.mixture, x)
    outlying = prepared.log_noise + noise.log_density(prepared.noise, x.T, jnp.zeros_like(x[0]))
    total = jnp.logaddexp(clean, outlying)

    # Shares of the mixture and of the noise
    impossible = jnp.isneginf(total)
    share = jnp.where(impossible, 0, jnp.exp(jnp.where(impossible, 0, clean - total)))
    of_noise = jnp.where(impossible, 0, jnp.exp(jnp.where(impossible, 0, outlying - total)))
    stats = inner(prepared.mixture, observations, weights * share)
    return NoisyStats(jnp.sum(jnp.where(weights != 0, weights * total, 0)), stats, jnp.sum(weights * of_noise))


def _maximize(inner: Any, alpha: Array, params: NoisyGMMParams, stats: NoisyStats) -> NoisyGMMParams:
    # Components with next to none of all rows, those of the noise included, are dead; so may be the whole mixture
    counts, dtype = stats.mixture.counts, stats.mixture.counts.dtype
    least = np.sqrt(np.finfo(dtype).tiny) * (counts.sum() + stats.noise_count)
    counts, noise_count = (jnp.where(count > least, count, 0) for count in (counts, stats.noise_count))
    clean = counts.sum()
    maximized = inner(params.mixture, stats.mixture._replace(counts=counts))
    mixture = jax.tree.map(lambda new, old: jnp.where(clean > 0, new, old), maximized, params.mixture)

    # The noise weight: proportions of all that is alive have one Dirichlet prior
    extra = jnp.asarray(alpha, dtype) - 1
    noise_count = jnp.where(noise_count > 0, noise_count + extra, 0)
    clean = clean + extra * (counts > 0).sum(dtype=dtype)
    return NoisyGMMParams(mixture, noise_count / (noise_count + clean), params.noise)


def _log_prior(inner: Any, alpha: Array, params: NoisyGMMParams) -> Array:
    log_clean, log_noise = noise.log_weights(params.noise_weight)
    n_alive = (params.mixture.weights > 0).sum(dtype=log_clean.dtype)
    logs = jnp.where(jnp.isneginf(log_noise), 0, log_noise) + n_alive * jnp.where(jnp.isneginf(log_clean), 0, log_clean)
    return inner(params.mixture) + (jnp.asarray(alpha, logs.dtype) - 1) * logs


def _of_mixture(inner: Any, value: Any) -> Any:
    return inner(value.mixture)


def _rounding(inner: Any, prepared: PreparedNoisy, stats: NoisyStats) -> tuple[Array, Array]:
    return inner(prepared.mixture, stats.mixture._replace(log_likelihood=stats.log_likelihood))


def _penalty(inner: Any, prepared: PreparedNoisy, stats: NoisyStats) -> tuple[Array, Array]:
    return inner(prepared.mixture, stats.mixture)


def _step_nats(
    inner: Any, prepared: PreparedNoisy, stats: NoisyStats, before: NoisyGMMParams, after: NoisyGMMParams
) -> Array:
    total, weight = stats.mixture.counts.sum() + stats.noise_count, after.noise_weight
    of_weight = (weight - before.noise_weight) ** 2 / linalg.safe_divisor(weight * (1 - weight))
    return inner(prepared.mixture, stats.mixture, before.mixture, after.mixture) + total * of_weight / 2


def _reference(inner: Coordinates, params: NoisyGMMParams) -> Any:
    return inner.reference(params.mixture)


def _encode(inner: Coordinates, reference: Any, params: NoisyGMMParams, stats: NoisyStats | None) -> Array:
    """The log odds of noise beside the coordinates of the mixture."""
    if stats is None:
        of_mixture, counts = None, (params.noise_weight, 1 - params.noise_weight)
    else:
        of_mixture, counts = stats.mixture, (stats.noise_count, stats.mixture.counts.sum())
    logs = jnp.log(linalg.safe_divisor(jnp.stack(counts)))
    return jnp.concatenate([logs[:1] - logs[1:], inner.encode(reference, params.mixture, of_mixture)])


def _decode(inner: Coordinates, reference: Any, vector: Array, params: NoisyGMMParams, stats: NoisyStats) -> NoisyStats:
    clean = stats.mixture.counts.sum()
    total = stats.noise_count + clean
    noise_count = jnp.where(stats.noise_count > 0, total * jax.nn.sigmoid(vector[0]), 0)
    scaled = jax.tree.map(lambda leaf: leaf * (total - noise_count) / linalg.safe_divisor(clean), stats.mixture)
    mixture = inner.decode(reference, vector[1:], params.mixture, scaled)
    return NoisyStats(stats.log_likelihood, mixture, noise_count)
