"""Continuous batching: a fixed number of lanes works through a queue of runs.

``vmap`` of a ``while_loop`` runs in every lane until the last has ended, so that thousands of runs all take as long as
the slowest. Here a run that ends makes room for the next in the queue. Any ``Steps`` will do.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from .. import checks
from ..arrays import columns_in_order
from ..covariance.families import FULL, Family
from ..fitted import feature_names_of
from ..linalg import Packed, pack
from ..programs import PASSES, program
from ..steps.contract import Steps
from ..steps.options import model_and_rows
from ..types import EMResult, Observations, Prior
from .accelerators import Accelerator
from .driver import State, Task, begin, is_running, iterate_once, result_of, task_of

REFILL = 8  # lanes are filled once one in so many is free: more often costs stops, more rarely idle lanes
DENSITIES_ON_CPU, DENSITIES_ELSEWHERE = 2**17, 2**24  # of rows under components, that keep a machine busy
SHARING = 16  # lanes at least where all work on the same rows: they share features, and take memory for a state each


def em_batch(
    params: Any,
    x: Any,
    weights: ArrayLike | None = None,
    *,
    in_axes: tuple[int | None, int | None, int | None] = (0, None, None),
    n_lanes: int | None = None,
    tol: ArrayLike = 1e-6,
    max_iter: int = 1000,
    accelerate: Accelerator | None = None,
    steps: Steps | None = None,
    family: Family | None = None,
    ridge: ArrayLike | None = None,
    prior: Prior | None = None,
    chunk_size: int | None = None,
) -> EMResult:
    """Run EM many times: from many starts, on many data sets, with many weights.

    The results are those of ``jax.vmap(jaxgmm.em, in_axes)``, but no run waits for the slowest: a fixed number of lanes
    goes side by side, and a run that ends makes room for the next in the queue. Worth it for hundreds of runs that take
    different numbers of iterations.

    Args:
        params: starts, with a leading axis where ``in_axes[0]`` is 0.
        x: rows, with a leading axis where ``in_axes[1]`` is 0; ragged data sets are padded with rows of weight zero.
        weights: row weights, with a leading axis where ``in_axes[2]`` is 0; default one each.
        in_axes: which of the three have a leading axis (0) and which are shared (None).
        n_lanes: how many runs go side by side; by default what keeps the machine busy. Static under ``jit``.
        tol: see :func:`jaxgmm.em`.
        max_iter: see :func:`jaxgmm.em`.
        accelerate: see :func:`jaxgmm.em`.
        steps: see :func:`jaxgmm.em`, as for the following.
        family: of the covariances.
        ridge: of the default M-step.
        prior: the same for all runs.
        chunk_size: rows in memory at once.

    Returns:
        :class:`EMResult`, every field with a leading axis.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if nothing has a leading axis, or leading axes differ in length, and where :func:`jaxgmm.em` does.

    Example:
        >>> import jaxgmm
        >>> x = jaxgmm.datasets.load_faithful().x
        >>> def start(key):
        ...     responsibilities = jaxgmm.seeding.random_rows(key, jnp.asarray(x), jnp.ones(272), 2)
        ...     return jaxgmm.from_responsibilities(x, responsibilities)
        >>> starts = jax.vmap(start)(jax.random.split(jax.random.key(0), 40))
        >>> results = em_batch(starts, x)
        >>> results.log_likelihood.shape, round(float(results.log_likelihood.max()), 1)
        ((40,), -1130.3)
    """
    if not isinstance(in_axes, tuple | list) or len(in_axes) != 3 or any(axis not in (0, None) for axis in in_axes):
        raise ValueError(f"in_axes: expected 0 or None for each of params, x and weights, got {in_axes}")
    axes = in_axes[0], in_axes[1], None if weights is None else in_axes[2]
    stacked = [value for value, axis in zip((params, x, weights), axes, strict=True) if axis == 0]
    sizes = {np.shape(leaf)[0] for leaf in jax.tree.leaves(stacked)}
    if len(sizes) != 1:
        raise ValueError(f"in_axes: expected leading axes of one length, got {sorted(sizes)} with in_axes {in_axes}")
    names = feature_names_of(params, x) if steps is None else None
    if steps is None and not isinstance(x, Observations):
        x = _rows(columns_in_order(x, params), axes[1])
    as_model: Any = partial(model_and_rows, steps=steps, family=family, ridge=ridge, prior=prior, chunk_size=chunk_size)
    model = jax.vmap(as_model, axes, (None, *axes))(params, x, weights)
    tol = jnp.asarray(checks.non_negative(tol, "tol"), model[-1].dtype)
    n_lanes = None if n_lanes is None else checks.as_integer(n_lanes, "n_lanes", 1)
    max_iter = checks.as_integer(max_iter, "max_iter", 0)
    result = _em_batch(*model, tol, axes, sizes.pop(), n_lanes, max_iter, accelerate)
    return result if steps is not None else result._replace(family=family or FULL, feature_names=names)


def _rows(x: Any, axis: int | None) -> Array:
    """Rows ``(n, d)``, or ``(sets, n, d)`` of many data sets, checked together."""
    x = checks.as_numbers(x, "x")
    return checks.as_rows(x) if axis is None else checks.as_rows(x.reshape(-1, *x.shape[2:])).reshape(*x.shape[:2], -1)


@program("axes", "size", "n_lanes", "max_iter", "accelerate", passes=5 * PASSES)
def _em_batch(
    steps: Steps, params: Any, observations: Any, weights: Array, tol: Array,
    axes: tuple[int | None, ...], size: int, n_lanes: int | None, max_iter: int, accelerate: Accelerator | None,
) -> EMResult:  # fmt: skip
    # Tasks: what is shared stays without a leading axis
    of_rows: Any = axes[2]
    in_axes = Task(axes_of(steps, None), axes_of(observations, axes[1]), of_rows, of_rows, None)  # type: ignore[arg-type]
    tasks = task_of(steps, observations, weights, tol)
    states = jax.vmap(lambda task, start: begin(task, start, max_iter, accelerate), (in_axes, axes[0]), axis_size=size)(
        tasks, params
    )

    # All runs, through the lanes
    if n_lanes is None:
        n_lanes = n_lanes_for(tasks, in_axes, states.params, 1)
    states = run_queue(tasks, in_axes, jnp.arange(size), states, max_iter, accelerate, n_lanes)
    return jax.vmap(result_of, (in_axes, 0))(tasks, states)


def has_own_rows(in_axes: Any) -> bool:
    """Whether each task has rows of its own, by which of its leaves have a leading axis."""
    return bool(jax.tree.leaves(in_axes.observations))


def n_lanes_for(tasks: Task, in_axes: Any, params: Any, n_leading: int) -> int:
    """How many lanes keep the machine busy; lanes on the same rows share work.

    Args:
        tasks: what the runs work on.
        in_axes: which of its leaves have a leading axis.
        params: parameters with leading axes; the longest axis behind them counts the components.
        n_leading: how many leading axes.
    """
    lengths = [leaf.shape[n_leading] for leaf in jax.tree.leaves(params) if leaf.ndim > n_leading]
    densities = DENSITIES_ON_CPU if jax.default_backend() == "cpu" else DENSITIES_ELSEWHERE
    return max(
        1 if has_own_rows(in_axes) else SHARING, densities // (tasks.weights.shape[-1] * max(lengths, default=1))
    )


def run_together(task: Task, states: State, limit: ArrayLike, accelerate: Accelerator | None) -> State:
    """Run all states, with a leading axis, on the same task until the last has stopped.

    As a run that has stopped keeps its state by itself, this needs no choice between old and new as ``vmap`` makes.
    """
    iterate = jax.vmap(partial(iterate_once, limit, accelerate), (axes_of(task, None), 0))
    return lax.while_loop(lambda states: is_running(states).any(), partial(iterate, task), states)


def run_queue(
    tasks: Task, in_axes: Any, owner: Array, states: State, limit: Any, accelerate: Accelerator | None, n_lanes: int
) -> State:
    """Run every state whose status is RUNNING to its end, or to the limit.

    Args:
        tasks: what the runs work on, stacked along a leading axis or shared.
        in_axes: for each leaf of ``tasks`` 0 where it has a leading axis, None where all runs share it, as in ``vmap``.
        owner: ``(n,)`` int, the entry of that axis that each run works on.
        states: of n runs, with a leading axis.
        limit: most M-steps of each run, in all.
        accelerate: as in :func:`jaxgmm.em`.
        n_lanes: how many runs go side by side.

    Returns:
        The states at their ends.
    """
    n, is_queued = len(owner), is_running(states)
    n_lanes, n_queued = min(n_lanes, n), is_queued.sum(dtype=jnp.int32)
    queue = jnp.argsort(is_queued)[::-1]  # the last first: in a search over numbers of components they take longest
    iterate = jax.vmap(partial(iterate_once, limit, accelerate), (in_axes, 0))

    def is_busy(lanes: State, places: Array) -> Array:
        return is_running(lanes) & (places < n_queued)

    # Between loops states are packed: one operation on all their fields
    packed, unpack = pack(states, 1)

    def fill_and_run(carry: tuple[Packed, Packed, Array, Array]) -> tuple[Packed, Packed, Array, Array]:
        waiting, running, places, n_taken = carry

        # Fill free lanes from the queue
        is_free = ~is_busy(unpack(running), places)
        places = jnp.where(is_free, n_taken + jnp.cumsum(is_free, dtype=jnp.int32) - 1, places)
        n_taken = n_taken + is_free.sum(dtype=jnp.int32)
        indices = queue[jnp.minimum(places, n - 1)]
        running = jax.tree.map(lambda old, new: jnp.where(is_free[:, None], new, old), running, take(waiting, indices))
        own = take_along(in_axes, tasks, owner[indices])

        # Run until enough lanes are free again
        least = jnp.where(n_taken < n_queued, n_lanes - n_lanes // REFILL, 1)
        advance = lambda running: pack(iterate(own, unpack(running)), 1)[0]  # noqa: E731
        running = lax.while_loop(lambda running: is_busy(unpack(running), places).sum() >= least, advance, running)

        # Write states back
        targets = jnp.where(places < n_queued, indices, n)
        waiting = jax.tree.map(lambda rows, new: rows.at[targets].set(new, mode="drop"), waiting, running)
        return waiting, running, places, n_taken

    def is_left(carry: tuple[Packed, Packed, Array, Array]) -> Array:
        _, running, places, n_taken = carry
        return (n_taken < n_queued) | is_busy(unpack(running), places).any()

    nowhere = jnp.full(n_lanes, n, jnp.int32)
    carry = packed, jax.tree.map(lambda rows: rows[:n_lanes], packed), nowhere, jnp.int32(0)
    return unpack(lax.while_loop(is_left, fill_and_run, carry)[0])


def take(values: Any, indices: Array) -> Any:
    """Entries of the leading axis of every leaf."""
    return jax.tree.map(lambda leaf: leaf[indices], values)


def take_along(in_axes: Any, values: Any, indices: Array) -> Any:
    """Entries of the leading axis of the leaves that have one; the others stay."""
    choose = lambda axis, leaf: leaf if axis is None else leaf[indices]  # noqa: E731
    return jax.tree.map(choose, in_axes, values, is_leaf=lambda axis: axis is None)


def axes_of(values: Any, axis: int | None) -> Any:
    """``in_axes`` that say the same of every leaf."""
    return jax.tree.map(lambda _: axis, values)
