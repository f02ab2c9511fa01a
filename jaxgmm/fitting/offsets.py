"""Rows far from the origin, with more digits than the dtype has: centred before they are rounded.

``fit`` and ``select`` receive float64 and whole numbers while JAX's default is float32. What is left of them about a
reference keeps its digits; the answer's means are moved back.
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import checks, linalg
from ..arrays import as_numbers, minus, more_digits, named, ordered_sample, warn_of_merged
from ..fitted import levels_to_the_caller
from ..mixture import noise
from ..mixture.priors import default_prior
from ..types import EMResult, GMMParams, NoisyGMMParams, Observations, Prior

LEAST_ROUNDING = 1e-6  # of the interquartile range: less is not seen in any cluster that can be told from an atom
LARGE_ROUNDING = 0.01  # of a standard deviation, of which people are told


def centred(x: Any, weights: Any, names: tuple[str, ...], prior: Any) -> tuple[Array, Array, np.ndarray | None]:
    """Rows ``(n, d)`` about a reference ``(d,)``, and their weights; no reference where rows need none.

    A user's own prior rule must see the original rows, so with one they are not centred.
    """
    given = x if isinstance(x, Observations) else as_numbers(x, "x")
    rows = checks.as_observations(given).x
    weights = checks.as_row_weights(weights, rows).astype(rows.dtype)
    checks.row_values(rows, weights, names)
    given = given.x if isinstance(given, Observations) else given
    if isinstance(given, jax.Array) or not checks.is_concrete(rows, weights):
        return rows, weights, None
    given = as_numbers(given, "x").reshape(rows.shape)
    if (np.asarray(rows).astype(given.dtype) == given).all():  # nothing was rounded
        return rows, weights, None

    # A sample, in order, decides whether there is a reference, and whether the dtype holds what is left
    sample = ordered_sample(given, np.flatnonzero(np.asarray(weights) > 0))
    reference = _reference(sample, rows.dtype)
    if callable(prior) and prior is not default_prior:
        reference = np.zeros_like(reference)
    warn_of_merged(sample, reference, names)
    if not reference.any():
        return rows, weights, None
    return jnp.asarray(minus(given, reference).astype(rows.dtype)), weights, reference


def _reference(sample: np.ndarray, dtype: Any) -> np.ndarray:
    """The median of each feature ``(d,)``, in the dtype; zero where this rounds rows less than can be seen."""
    lower, median, upper = (sample[int(share * (len(sample) - 1))].astype(np.float64) for share in (0.25, 0.5, 0.75))
    return np.where(np.finfo(dtype).eps * abs(median) > LEAST_ROUNDING * (upper - lower), median, 0).astype(dtype)


def start_about(start: Any, reference: np.ndarray | None) -> Any:
    """A start, with noise or without, as it is about the reference."""
    if reference is None or not isinstance(start, tuple):
        return start
    if isinstance(start, NoisyGMMParams):
        return start._replace(mixture=start_about(start.mixture, reference), noise=noise_about(start.noise, reference))
    weights, means, covariances = start
    return GMMParams(weights, _about(means, reference, "start.means"), covariances)


def noise_about(region: Any, reference: np.ndarray | None) -> Any:
    """A region of noise, as it is about the reference."""
    if reference is None or region is None:
        return region
    return noise.rescaled(region, jnp.asarray(reference), jnp.ones(reference.shape, reference.dtype))


def prior_about(prior: Any, reference: np.ndarray | None) -> Any:
    """A prior, as it is about the reference."""
    if reference is None or not isinstance(prior, Prior):
        return prior
    return prior._replace(mean=_about(prior.mean, reference, "prior.mean"))


def _about(value: Any, reference: np.ndarray, name: str) -> Any:
    """``value - reference``, in its own digits; unlike shapes are left to the checks."""
    value = as_numbers(value, name)
    if value.shape[-1:] != reference.shape:
        return value
    return value - (jnp.asarray(reference) if isinstance(value, jax.Array) else reference.astype(np.float64))


def moved_back(result: EMResult, reference: np.ndarray | None, region: Any = None) -> EMResult:
    """A result where the rows are, with noise as the caller gave it."""
    if reference is None:
        return result
    params = result.params
    mixture = checks.mixture_of(params)
    moved: Any = mixture._replace(means=jnp.asarray(mixture.means + reference[None]))
    if isinstance(params, NoisyGMMParams):
        moved = params._replace(mixture=moved, noise=checks.as_noise(region, len(reference)))
    return result._replace(params=moved)


def warn_of_rounded(result: EMResult, reference: np.ndarray | None, names: tuple[str, ...]) -> None:
    """Say so where means are rounded by a part of the components' standard deviation that can be seen."""
    if reference is None or not checks.is_concrete(result):
        return
    weights, means, covariances = (np.asarray(leaf) for leaf in checks.mixture_of(result.params))
    within = np.asarray(linalg.variances(jnp.asarray(covariances), means.shape[1]))
    deviation = np.sqrt((weights[:, None] * within).sum(0))
    rounding = np.spacing(abs(reference))
    if (is_large := rounding > LARGE_ROUNDING * deviation).any():
        feature = int(np.argmax(is_large))
        warnings.warn(
            f"x: means of {named(feature, names)} are rounded to {reference.dtype}, whose numbers near "
            f"{reference[feature]:.3g} are {rounding[feature]:.2g} apart beside a standard deviation of "
            f"{deviation[feature]:.2g}; all else is fitted to the rows as given. For more digits "
            f"{more_digits(reference.dtype)}",
            stacklevel=levels_to_the_caller(),
        )
