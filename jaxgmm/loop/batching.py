"""Many loops side by side: as some end, those that wait take their lanes, so that nobody waits for the slowest.

``vmap`` of a ``while_loop`` goes on in every lane until the last has ended. Here tasks outnumber lanes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

FREED = 8  # one in so many lanes has to be free before it is worth stopping to fill them


class Loop(NamedTuple):
    """A loop over a state, which writes a log."""

    begin: Callable[[Any], Any]  # task -> state
    advance: Callable[[Any, Any], Any]  # (task, state) -> state; one that has ended keeps what finish reads
    is_running: Callable[[Any], Array]  # state -> ()
    entry: Callable[[Any], tuple[Array, Array]]  # state -> place and value of what it writes into the log
    finish: Callable[[Any, Any], Any]  # (task, state) -> result


def alone(loop: Loop, task: Any, log: Array) -> tuple[Any, Array]:
    """The result of one task, and its log."""

    def step(carry: tuple[Any, Array]) -> tuple[Any, Array]:
        state = loop.advance(task, carry[0])
        return state, _write(carry[1], *loop.entry(state))

    state, log = lax.while_loop(lambda carry: loop.is_running(carry[0]), step, (loop.begin(task), log))
    return loop.finish(task, state), log


def together(loop: Loop, tasks: Any, axes: Any) -> Any:
    """The results of tasks, with leading ``axes`` as of ``vmap``, side by side until the last has ended; no logs."""
    many = _many(loop, axes)
    step = partial(many.advance, tasks)
    return many.finish(tasks, lax.while_loop(lambda state: many.is_running(state).any(), step, many.begin(tasks)))


def _many(loop: Loop, axes: Any) -> Loop:
    """The loop of many tasks and states at once."""
    begin, is_running, entry = jax.vmap(loop.begin, (axes,)), jax.vmap(loop.is_running), jax.vmap(loop.entry)
    return Loop(begin, jax.vmap(loop.advance, (axes, 0)), is_running, entry, jax.vmap(loop.finish, (axes, 0)))


def in_turn(
    loop: Loop, tasks: Any, per: Any, results: Any, logs: Array, wanted: Array, width: int
) -> tuple[Any, Array]:
    """Results and logs, those of the wanted tasks now of their ends.

    Args:
        loop: what to run.
        tasks: leaves of all tasks.
        per: for each leaf of ``tasks`` how many tasks in a row share an entry of its leading axis; 0 if all share it
            and it has no such axis.
        results: ``(tasks, ...)`` so far.
        logs: ``(tasks, entries)`` so far.
        wanted: ``(tasks,)`` which ones to run.
        width: lanes.
    """
    n, n_wanted = len(wanted), wanted.sum(dtype=jnp.int32)
    width = min(width, n)
    queue = jnp.argsort(wanted)[::-1]  # the last first: in a search over numbers of components they take longest
    many = _many(loop, jax.tree.map(lambda share: 0 if share else None, per))
    choose: Callable[..., Any] = jax.vmap(lambda flag, new, old: jax.tree.map(partial(jnp.where, flag), new, old))

    def taken(places: Array) -> Any:
        jobs = queue[jnp.minimum(places, n - 1)]
        return jax.tree.map(lambda leaf, share: leaf[jobs // share] if share else leaf, tasks, per)

    def are_running(state: Any, places: Array) -> Array:
        return many.is_running(state) & (places < n_wanted)

    def fill(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        results, logs, state, places, following = carry
        free = ~are_running(state, places)
        places = jnp.where(free, following + jnp.cumsum(free, dtype=jnp.int32) - 1, places)
        following = following + free.sum(dtype=jnp.int32)
        here = taken(places)
        jobs = jnp.where(places < n_wanted, queue[jnp.minimum(places, n - 1)], n)
        enough = jnp.where(following < n_wanted, width - width // FREED, 1)

        def step(carry: tuple[Any, Array]) -> tuple[Any, Array]:
            state, logs = carry
            running = are_running(state, places)
            state = many.advance(here, state)
            entries, values = many.entry(state)
            return state, _write(logs, (jnp.where(running, jobs, n), entries), values)

        entering = choose(free, many.begin(here), state), logs
        state, logs = lax.while_loop(lambda carry: are_running(carry[0], places).sum() >= enough, step, entering)
        ended = many.finish(here, state)
        results = jax.tree.map(lambda all_, some: all_.at[jobs].set(some, mode="drop"), results, ended)
        return results, logs, state, places, following

    nowhere = jnp.full(width, n, jnp.int32)
    state = jax.tree.map(jnp.zeros_like, jax.eval_shape(many.begin, taken(nowhere)))
    carry = (results, logs, state, nowhere, jnp.int32(0))
    results, logs, *_ = lax.while_loop(
        lambda carry: (carry[4] < n_wanted) | are_running(carry[2], carry[3]).any(), fill, carry
    )
    return results, logs


def _write(log: Array, place: Any, value: Array) -> Array:
    """The log with an entry more, if it has room."""
    return log.at[place].set(value, mode="drop") if log.size else log


def mapped(one: Callable[..., Any], each: Callable[..., Any]) -> Callable[..., Any]:
    """``one`` of some arguments, which under ``vmap`` becomes ``each`` of size, flags of what is batched, and them."""

    def run(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)  # a None among them would keep custom_vmap from differentiating

        @custom_vmap
        def run_flat(*leaves: Array) -> Any:
            return one(*jax.tree.unflatten(tree, leaves))

        @run_flat.def_vmap
        def run_each(size: int, batched: list[bool], *leaves: Array) -> Any:
            flags, arguments = jax.tree.unflatten(tree, batched), jax.tree.unflatten(tree, leaves)
            is_batched = any(batched)  # nothing is where derivatives are taken in several directions
            result = each(size, flags, *arguments) if is_batched else one(*arguments)
            return result, jax.tree.map(lambda _: is_batched, result)

        return run_flat(*leaves)

    return run


def repeated(size: int, batched: Any, values: Any) -> Any:
    """Values with a leading axis; those that have none yet (not ``batched``) are repeated."""
    return jax.tree.map(lambda leaf, has: leaf if has else jnp.broadcast_to(leaf, (size, *leaf.shape)), values, batched)
