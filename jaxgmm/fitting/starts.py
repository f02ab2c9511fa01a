"""Where the restarts of a fit begin: a sample of rows, and seedings that take turns."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import checks
from ..covariance.families import Family, as_family
from ..loop.batching import take
from ..seeding import Seeding
from ..steps.maximization import first_estimate
from ..types import GMMParams, NoisyGMMParams
from .standard import StandardProblem

SAMPLE_ROWS = 8192  # rows that seeding looks at, at most unless components are many


def sample_size(n: int, n_components: int, n_features: int) -> int | None:
    """How many of n rows seeding looks at; None for all."""
    most = max(SAMPLE_ROWS, 32 * n_components)
    if n <= most:
        return None
    return int(np.clip(32 * n_components * n_features, SAMPLE_ROWS // 2, most))  # few parameters need fewer


def sample_rows(key: Array, problem: StandardProblem, size: int) -> StandardProblem:
    """The problem on ``size`` rows drawn by weight."""
    weights = problem.weights
    drawn = jax.random.choice(key, len(weights), (size,), p=weights / weights.sum())
    return problem._replace(observations=take(problem.observations, drawn), weights=jnp.ones(size, weights.dtype))


def gaussian_starts(
    keys: Array,
    problem: StandardProblem,
    n_components: int,
    n_used: Array | None,
    family: Family,
    seedings: tuple[Seeding, ...],
) -> Any:
    """Mixtures to start from, one for each key; components beyond ``n_used``, if that is given, have weight zero."""
    x, weights = problem.observations.x, problem.weights
    used: Any = {} if n_used is None else {"n_used": n_used}
    checked = tuple(partial(_checked, partial(seeding, **used), family) for seeding in seedings)
    drawn = draw_in_turn(keys, x, weights, n_components, checked)
    responsibilities = [values for values in drawn if isinstance(values, jax.Array)]
    starts = [values for values in drawn if not isinstance(values, jax.Array)]
    if responsibilities:
        expected = jnp.concatenate(responsibilities) * weights[None, :, None]
        starts.append(jax.vmap(lambda expected: first_estimate(x, expected, problem.ridge, family)[0])(expected))
    return complete_starts(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *starts))


def complete_starts(starts: GMMParams) -> GMMParams:
    """Starts ``(starts, ...)``, those with fewer components than others replaced by a copy of one that has most.

    Seedings that draw equal rows leave a component empty. EM never revives it, and in a comparison it may beat starts
    whose k components have collapsed.
    """
    n_alive = (starts.weights > 0).sum(1)
    is_complete = n_alive == n_alive.max()
    return take(starts, jnp.where(is_complete, jnp.arange(len(n_alive)), n_alive.argmax()))


def _checked(seeding: Seeding, family: Family, key: Array, x: Array, weights: Array, n_components: int) -> Any:
    """What a seeding returns, having checked it to be responsibilities or parameters that go with the problem."""
    drawn: Any = seeding(key, x, weights, n_components)
    if isinstance(drawn, NoisyGMMParams):
        raise TypeError("seeding: expected responsibilities or GMMParams, got NoisyGMMParams: see noise=")
    if isinstance(drawn, tuple):
        drawn = checks.as_params(drawn, "seeding")
        name, shape, expected = "means", drawn.means.shape, (n_components, x.shape[1])
    else:
        drawn = checks.as_float_array(drawn, "seeding")
        name, shape, expected = "responsibilities", drawn.shape, (len(x), n_components)
    if shape != expected:
        raise ValueError(f"seeding: expected {name} of shape {expected}, got {shape}")
    if isinstance(drawn, tuple):
        as_family(family, checks.mixture_of(drawn), "seeding")
    return jax.tree.map(lambda leaf: leaf.astype(x.dtype), drawn)


def draw_in_turn(keys: Array, x: Any, weights: Array, n_components: int, seedings: tuple[Seeding, ...]) -> list[Any]:
    """What each seeding returns for its share of the keys, stacked."""
    return [
        jax.vmap(lambda key, seeding=seeding: seeding(key, x, weights, n_components))(keys[turn :: len(seedings)])
        for turn, seeding in enumerate(seedings[: len(keys)])
    ]
