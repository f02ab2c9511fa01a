"""From the options of ``em`` to ``Steps``: what goes together, and what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial
from numpy.typing import ArrayLike

from .. import checks
from ..arrays import refuse_lost
from ..covariance.families import FULL, Family, as_family
from ..fitted import parameters_of
from ..types import NoisyGMMParams, Observations, Prior
from .contract import ROWS_PER_CHUNK, Steps, as_steps, chunked
from .gaussian import gaussian_steps, is_mixture
from .one_step import steps_for


def model_and_rows(
    params: Any,
    x: Any,
    weights: ArrayLike | None,
    *,
    steps: Steps | None = None,
    family: Family | None = None,
    ridge: ArrayLike | None = None,
    prior: Prior | None = None,
    e_step: Any = None,
    m_step: Any = None,
    chunk_size: int | None = None,
) -> tuple[Steps, Any, Any, Array]:
    """Steps, parameters, observations and row weights, from the arguments of :func:`jaxgmm.em`.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes or options do not go together.
    """
    size = None if chunk_size is None else checks.as_integer(chunk_size, "chunk_size", 1)
    if steps is not None:
        refuse("steps", family=family, ridge=ridge, prior=prior, e_step=e_step, m_step=m_step)
        return chunked(as_steps(steps), size or ROWS_PER_CHUNK), *custom_arguments(params, x, weights)
    if m_step is not None:
        refuse("m_step", family=family, ridge=ridge, prior=prior)
    if e_step is not None:
        refuse("e_step", chunk_size=chunk_size)

    # A Gaussian mixture, with or without noise
    params, rows, weights = checks.arguments(params, x, weights)
    family = FULL if family is None else family
    mixture = checks.mixture_of(params)
    if m_step is None:
        as_family(family, mixture)
    prior = None if prior is None else checks.as_prior(prior, mixture.means)
    model = steps_for(
        isinstance(params, NoisyGMMParams), gaussian_steps(family, 0.0 if ridge is None else ridge, prior, size), prior
    )

    # A step of the user's own
    if m_step is not None:
        model = model._replace(maximize=Partial(m_step))
    if e_step is not None:
        model = with_e_step(model, e_step)
    return model, params, Observations(rows), weights


def refuse(name: str, **others: Any) -> None:
    """Raise if any of ``others`` comes beside the argument ``name``, which takes its place."""
    both = [other for other, value in others.items() if value is not None]
    if both:
        raise ValueError(f"{name}: expected without {', '.join(both)}, got both: {name} takes the place of {both[0]}")


def custom_arguments(params: Any, x: Any, weights: ArrayLike | None) -> tuple[Any, Any, Array]:
    """Parameters, observations and row weights of a model of the user's own, as arrays."""
    params = parameters_of(params)
    for name, values in (("params", params), ("x", x)):
        for leaf in jax.tree.leaves(values):
            refuse_lost(leaf, name)
    params, observations = jax.tree.map(lambda leaf: checks.placed_automatically(jnp.asarray(leaf)), (params, x))
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(observations)}
    if len(lengths) != 1 or () in lengths:
        shapes = [leaf.shape for leaf in jax.tree.leaves(observations)]
        raise ValueError(f"x: expected arrays with the rows in front, as many in each, got shapes {shapes}")
    if (0,) in lengths:
        raise ValueError("x: expected at least one row, got none")
    floats = [leaf for leaf in jax.tree.leaves((params, observations)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    if params is not None and not any(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(params)):
        raise TypeError(f"params: expected at least one array of real numbers, got {params!r}")
    dtype = jnp.result_type(*(leaf.dtype for leaf in floats)) if floats else jax.dtypes.canonicalize_dtype(float)
    like = jnp.zeros(lengths.pop(), dtype)
    return params, observations, checks.as_row_weights(weights, like).astype(dtype)


def with_e_step(steps: Steps, e_step: Any) -> Steps:
    """``steps`` of a mixture with another E-step, a function ``(params, x, weights) -> stats`` of all rows."""
    return steps._replace(
        prepare=Partial(_with_params, steps.prepare),
        expect=Partial(_expect_by, Partial(e_step)),
        is_valid=Partial(_of_prepared, steps.is_valid),
        rounding=None if steps.rounding is None else Partial(_of_prepared, steps.rounding),
        penalty=None if steps.penalty is None else Partial(_of_prepared, steps.penalty),
        step_nats=None if steps.step_nats is None else Partial(_of_prepared, steps.step_nats),
    )


def _with_params(prepare: Any, params: Any) -> tuple[Any, Any]:
    """The parameters, NaN and so a failure with a name where their weights are no proportions; and prepared."""
    proper = is_mixture(checks.mixture_of(params))
    return jax.tree.map(lambda leaf: jnp.where(proper, leaf, jnp.nan), params), prepare(params)


def _expect_by(e_step: Any, prepared: tuple[Any, Any], observations: Observations, weights: Array) -> Any:
    return e_step(prepared[0], observations.x, weights)


def _of_prepared(function: Any, prepared: tuple[Any, Any], *others: Any) -> Any:
    return function(prepared[1], *others)
