import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import blobs

import jaxgmm
import jaxgmm.loop.driver
from jaxgmm import Status
from jaxgmm.loop import batching
from jaxgmm.loop.driver import Task, begin, task_of

X = blobs(60)


def starts_for(n, family=jaxgmm.DIAG):
    rng = np.random.default_rng(0)
    starts = [jaxgmm.seeding.from_labels(X, rng.integers(3, size=len(X)), 3, family=family) for _ in range(n)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)


def entry(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


@pytest.mark.parametrize("n_lanes", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 16, 50))])
def test_every_run_comes_to_the_end_that_it_has_alone(n_lanes, x64):
    starts, options = starts_for(20), {"family": jaxgmm.DIAG, "max_iter": 60}
    starts = starts._replace(means=starts.means.at[7].set(jnp.nan))
    results = jaxgmm.em_batch(starts, X, n_lanes=n_lanes, **options)
    assert results.status[7] == Status.NON_FINITE
    assert len(set(results.n_iter.tolist())) > 5  # they end at different times
    for index in (0, 6, 8, 19):
        alone = jaxgmm.em(entry(starts, index), X, **options)
        assert (results.n_iter[index], results.status[index]) == (alone.n_iter, alone.status)
        np.testing.assert_allclose(results.history[index], alone.history, rtol=1e-9)
        chex.assert_trees_all_close(entry(results.params, index), alone.params, rtol=1e-6)


def test_it_equals_vmap_where_rows_and_weights_have_a_leading_axis_too(x64):
    sets = jnp.stack([jnp.asarray(X) + 0.1 * index for index in range(5)])
    weights = jnp.asarray(np.random.default_rng(1).integers(0, 3, (5, len(X))).astype(float))
    starts = starts_for(5, jaxgmm.FULL)
    batch = jaxgmm.em_batch(starts, sets, weights, in_axes=(0, 0, 0), max_iter=50, n_lanes=2)
    each = jax.vmap(lambda *arguments: jaxgmm.em(*arguments, max_iter=50))(starts, sets, weights)
    np.testing.assert_array_equal(batch.n_iter, each.n_iter)
    chex.assert_trees_all_close(batch.params, each.params, rtol=1e-6)


def test_only_queued_runs_are_run(x64):
    x, starts = jnp.asarray(X), starts_for(6)
    steps = jaxgmm.gaussian_steps(jaxgmm.DIAG, jnp.asarray(0.0))
    task = task_of(steps, jaxgmm.Observations(x), jnp.ones(len(x)), jnp.asarray(1e-6))
    states = jax.vmap(lambda start: begin(task, start, 0, None))(starts)
    is_queued = jnp.arange(6) % 2 == 0
    states = states._replace(status=jnp.where(is_queued, states.status, jnp.int32(Status.DEGENERATE)))
    ended = batching.run_queue(task, batching.axes_of(task, None), jnp.zeros(6, int), states, 200, None, 2)
    assert (ended.n_iter[::2] > 0).all()
    assert (ended.status[::2] == Status.CONVERGED).all()
    chex.assert_trees_all_equal(entry(ended.params, slice(1, None, 2)), entry(starts, slice(1, None, 2)))
    assert isinstance(task, Task)


def test_a_run_that_resumes_is_the_run_that_never_stopped(x64):
    x, start = jnp.asarray(X), entry(starts_for(1), 0)
    steps = jaxgmm.gaussian_steps(jaxgmm.DIAG, jnp.asarray(0.0))
    task = task_of(steps, jaxgmm.Observations(x), jnp.ones(len(x)), jnp.asarray(0.0))
    momentum = jaxgmm.acceleration.momentum()
    first = begin(task, start, 40, momentum)
    whole = jaxgmm.loop.driver.run(task, first, 40, momentum)
    parts = first
    for limit in (5, 11, 40):
        parts = jaxgmm.loop.driver.run(task, jaxgmm.loop.driver.resume(parts, limit), limit, momentum)
    assert whole.n_iter > 11
    assert (parts.n_iter, parts.status) == (whole.n_iter, whole.status)
    chex.assert_trees_all_close(parts.params, whole.params, rtol=1e-12)
    np.testing.assert_allclose(parts.history, whole.history, rtol=1e-12)


def test_what_cannot_be_a_batch_is_refused():
    starts = starts_for(3)
    with pytest.raises(ValueError, match=r"in_axes: expected leading axes of one length, got \[\]"):
        jaxgmm.em_batch(starts, X, in_axes=(None, None, None))
    with pytest.raises(ValueError, match=r"in_axes: expected leading axes of one length, got \[2, 3\]"):
        jaxgmm.em_batch(starts, np.stack([X, X]), in_axes=(0, 0, None))
    with pytest.raises(ValueError, match="n_lanes: expected at least 1, got 0"):
        jaxgmm.em_batch(starts, X, family=jaxgmm.DIAG, n_lanes=0)


@pytest.mark.parametrize("n_sets", [pytest.param(3, marks=pytest.mark.slow), 40])
def test_fits_of_many_data_sets_are_those_of_one_at_a_time(n_sets, x64, monkeypatch):
    monkeypatch.setattr(batching, "DENSITIES_ON_CPU", 5 * 40 * 2)  # five lanes
    jax.clear_caches()
    sets = jnp.stack([jnp.asarray(blobs(40)) + 0.1 * index for index in range(n_sets)])
    keys = jax.random.split(jax.random.key(0), n_sets)

    def fit(key, x):
        return jaxgmm.fit(key, x, 2, n_init=3, max_iter=200)

    together = jax.jit(jax.vmap(fit))(keys, sets)
    for index in (0, n_sets - 1):
        alone = fit(keys[index], sets[index])
        part = jax.tree.map(lambda leaf, index=index: leaf[index], together)
        assert int(part.best.status) == int(alone.best.status)
        assert float(part.best.log_likelihood) == pytest.approx(float(alone.best.log_likelihood), rel=1e-9)
        np.testing.assert_allclose(part.best.params.means, alone.best.params.means, rtol=1e-5)
        np.testing.assert_allclose(part.best.history, alone.best.history, rtol=1e-6)


def test_derivatives_of_many_fits_are_those_of_one_at_a_time(x64):
    sets = jnp.stack([jnp.asarray(blobs(40)) + 0.1 * index for index in range(3)])
    start = jaxgmm.seeding.from_labels(sets[0], jnp.arange(40) % 2, 2)

    def means(shift, x):
        return jaxgmm.em(start, x + shift[None], tol=1e-8).params.means

    shift = jnp.zeros(sets.shape[2])
    jacobians = jax.vmap(jax.jacfwd(means), (None, 0))(shift, sets)
    np.testing.assert_allclose(jacobians[1], jax.jacfwd(means)(shift, sets[1]), rtol=1e-6, atol=1e-9)
    columns = [jax.jvp(lambda shift: means(shift, sets[1]), (shift,), (unit,))[1] for unit in jnp.eye(len(shift))]
    np.testing.assert_allclose(jacobians[1], jnp.stack(columns, -1), rtol=1e-6, atol=1e-9)
