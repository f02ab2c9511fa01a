import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import blobs

import jaxgmm
from jaxgmm.loop import batching as lanes

COLLATZ = lanes.Loop(  # to one, adding what the task says in the end
    begin=lambda task: (task[0], jnp.int32(0)),
    advance=lambda task, state: (
        jnp.select([state[0] <= 1, state[0] % 2 == 0], [state[0], state[0] // 2], 3 * state[0] + 1),
        jnp.where(state[0] > 1, state[1] + 1, state[1]),
    ),
    is_running=lambda state: state[0] > 1,
    entry=lambda state: (state[1] - 1, state[0]),
    finish=lambda task, state: state[1] + task[1],
)
LENGTHS = [0, 1, 7, 2, 5, 8, 16, 3, 19, 6, 14, 9, 9, 17, 17, 4, 12, 20, 20, 7]  # of 1 to 20, OEIS A006577


@pytest.mark.parametrize("width", [1, 3, 16, 20, 50])
@pytest.mark.parametrize(
    "is_wanted", [lambda n: n > 0, lambda n: n % 3 == 1, lambda n: n < 0], ids=["all", "some", "0"]
)
def test_every_wanted_task_comes_to_its_own_end_and_log(width, is_wanted):
    numbers = jnp.arange(1, 21)
    wanted, nothing = is_wanted(numbers), jnp.full(20, -1)
    tasks, per = (numbers, jnp.array([100, 200])), (1, 10)
    ends, logs = jax.jit(lambda: lanes.in_turn(COLLATZ, tasks, per, nothing, jnp.zeros((20, 12), int), wanted, width))()
    expected = np.where(wanted, np.array(LENGTHS) + np.repeat([100, 200], 10), -1)
    np.testing.assert_array_equal(ends, expected)
    for number in range(20):
        _, log = lanes.alone(COLLATZ, (numbers[number], 0), jnp.zeros(12, int))
        np.testing.assert_array_equal(logs[number], log if wanted[number] else 0)
    assert logs[6].tolist() == ([22, 11, 34, 17, 52, 26, 13, 40, 20, 10, 5, 16] if wanted[6] else [0] * 12)


def test_tasks_that_go_together_come_to_their_own_ends():
    ends = lanes.together(COLLATZ, (jnp.arange(1, 21), jnp.int32(7)), (0, None))
    np.testing.assert_array_equal(ends, np.array(LENGTHS) + 7)


def test_a_task_that_all_share_stays_without_a_leading_axis():
    ends, _ = lanes.in_turn(
        COLLATZ,
        (jnp.arange(1, 21), jnp.int32(7)),
        (1, 0),
        jnp.zeros(20, int),
        jnp.zeros((20, 0)),
        jnp.ones(20, bool),
        4,
    )
    np.testing.assert_array_equal(ends, np.array(LENGTHS) + 7)


@pytest.mark.parametrize("n_sets", [3, 40])
def test_fits_of_many_data_sets_are_those_of_one_at_a_time(n_sets, x64, monkeypatch):
    monkeypatch.setattr(jaxgmm.loop.driver, "DENSITIES_ON_CPU", 5 * 40 * 2)  # five lanes
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
