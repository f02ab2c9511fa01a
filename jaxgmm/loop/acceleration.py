"""Acceleration inside the loop: where the next M-step starts from the proposal of an accelerator."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..programs import traced_once
from ..steps.contract import Steps
from .accelerators import Accelerator


class AccelerationState(NamedTuple):
    """What an accelerated loop carries beside its answer."""

    reference: Any  # location and units of the coordinates, of the start
    is_proposal: Array  # () bool, whether the candidate comes from a proposal
    point: Array  # (p,) coordinates of the statistics that the candidate comes from
    memory: Any  # the accelerator's own state


@traced_once("accelerate")
def begin(accelerate: Accelerator, steps: Steps, params: Any) -> AccelerationState:
    """The state before the first step from ``params``."""
    if not isinstance(accelerate, Accelerator):
        raise TypeError(
            f"accelerate: expected an Accelerator such as jaxgmm.acceleration.momentum(), got {accelerate!r}"
        )
    if steps.coordinates is None:
        raise ValueError("accelerate: expected None for steps without coordinates, got an Accelerator")
    reference = steps.coordinates.reference(params)
    point = steps.coordinates.encode(reference, params, None)
    return AccelerationState(reference, jnp.asarray(False), point, accelerate.init(point))


def propose(
    accelerate: Accelerator,
    steps: Steps,
    state: AccelerationState,
    params: Any,
    stats: Any,
    was_rejected: Array,
    is_held: Array,
) -> tuple[Any, AccelerationState]:
    """The statistics for the next M-step, a proposal where it is useful, otherwise ``stats``; and the new state."""
    coordinates = steps.coordinates
    assert coordinates is not None  # begin has seen to it
    image = coordinates.encode(state.reference, params, stats)
    vector, is_useful, memory = accelerate.update(state.memory, state.point, image)

    # Take the proposal, unless the last one was just rejected or a step of plain EM is called for
    proposal = coordinates.decode(state.reference, vector, params, stats)
    is_finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(proposal)]).all()
    is_proposal = is_useful & ~was_rejected & ~is_held & is_finite
    memory = jax.tree.map(partial(jnp.where, was_rejected), accelerate.reset(state.memory), memory)
    chosen = jax.tree.map(partial(jnp.where, is_proposal), proposal, stats)
    return chosen, AccelerationState(state.reference, is_proposal, jnp.where(is_proposal, vector, image), memory)
