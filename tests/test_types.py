"""Statuses, histories, and what is known of each row, as values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import FAITHFUL, random_params

import jaxgmm
from jaxgmm import Observations, Status

KEY = jax.random.key(0)
USABLE = {Status.CONVERGED, Status.MAX_ITER, Status.ISOLATED}
START = jaxgmm.seeding.from_labels(FAITHFUL.astype(np.float32), (FAITHFUL[:, 0] > 3).astype(int), 2)


# ------------------------------------------------------------------------------------------------------------ statuses


def test_what_converged_or_was_still_climbing_is_usable():
    assert {status for status in Status if status.is_usable} == USABLE
    assert Status.RUNNING == -1
    assert Status(-1) is Status.RUNNING
    assert not Status.RUNNING.is_usable


def test_every_status_has_a_sentence_of_its_own():
    assert len({jaxgmm.describe(status) for status in Status}) == len(Status)


@pytest.mark.parametrize("shape", [(), (6,), (2, 3)])
def test_arrays_of_statuses_say_where_they_are_usable(shape):
    statuses = np.array(list(Status)[: int(np.prod(shape))]).reshape(shape)
    expected = np.vectorize(lambda status: Status(status).is_usable)(statuses)
    for usable in (jaxgmm.is_usable(statuses), jax.jit(jaxgmm.is_usable)(jnp.asarray(statuses))):
        assert (usable.shape, usable.dtype) == (shape, bool)
        np.testing.assert_array_equal(usable, expected)


@pytest.mark.parametrize("status", Status)
def test_results_that_are_not_usable_are_raised(status):
    result = jaxgmm.EMResult(START, jnp.zeros(()), jnp.zeros(1), jnp.int32(1), jnp.int32(status))
    if status.is_usable:
        assert jaxgmm.raise_if_failed(result) is result
    else:
        with pytest.raises(jaxgmm.FitError, match="1 of 1 fits failed; fit 0: "):
            jaxgmm.raise_if_failed(result)


# ------------------------------------------------------------------------------------------------------------- history


@pytest.mark.parametrize("max_iter", [1, 3, 200])
def test_a_trimmed_history_has_no_padding(max_iter, x64):
    """It ends with the parameters returned, or before them where ``max_iter`` left no room."""
    result = jaxgmm.em(START, FAITHFUL, max_iter=max_iter)
    history, n_iter = jaxgmm.trimmed_history(result), int(result.n_iter)
    assert history.shape == (min(n_iter + 1, max_iter),)
    np.testing.assert_array_equal(history, result.history[: n_iter + 1])
    if n_iter < max_iter:
        assert history[-1] == float(result.log_likelihood)
    assert history[0] == pytest.approx(float(jaxgmm.log_prob(START, FAITHFUL).sum()), rel=1e-12)
    assert (np.diff(history) > -1e-9).all()


def test_the_history_of_a_batch_is_refused():
    batch = jax.vmap(lambda x: jaxgmm.em(START, x, max_iter=2))(jnp.stack([FAITHFUL, FAITHFUL]).astype(np.float32))
    with pytest.raises(ValueError, match=r"result: expected one fit, got a batch of shape \(2,\)"):
        jaxgmm.trimmed_history(batch)
    first = jax.tree.map(lambda leaf: leaf[0], batch)
    assert len(jaxgmm.trimmed_history(first)) == 2


# --------------------------------------------------------------------------------------------- what is known of a row

NOISY = jaxgmm.with_noise(START, jaxgmm.box_noise(FAITHFUL.astype(np.float32)))
CALLS = {
    "log_prob": jaxgmm.log_prob,
    "joint_log_prob": jaxgmm.joint_log_prob,
    "responsibilities": jaxgmm.responsibilities,
    "predict": jaxgmm.predict,
    "e_step": jaxgmm.e_step,
    "score": jaxgmm.score,
    "bic": jaxgmm.bic,
    "em": lambda params, x: jaxgmm.em(params, x, max_iter=5),
    "fit": lambda params, x: jaxgmm.fit(KEY, x, 2, start=params, max_iter=5),
}


@pytest.mark.parametrize("params", [START, NOISY], ids=["plain", "noise"])
@pytest.mark.parametrize("name", CALLS)
def test_observations_give_the_answer_of_the_plain_array(name, params):
    x, call = FAITHFUL.astype(np.float32), CALLS[name]
    answers = (call(params, Observations(x)), call(params, x))
    for leaf, other in zip(*map(jax.tree.leaves, answers), strict=True):
        np.testing.assert_array_equal(leaf, other)


def test_observations_of_one_feature_may_be_flat(x64):
    params = random_params(jaxgmm.FULL, d=1)
    x = FAITHFUL[:, 0]
    np.testing.assert_array_equal(jaxgmm.log_prob(params, Observations(x)), jaxgmm.log_prob(params, x[:, None]))


def test_observations_work_under_jit_and_vmap():
    x = FAITHFUL.astype(np.float32)
    expected = jaxgmm.log_prob(START, x)
    np.testing.assert_allclose(jax.jit(jaxgmm.log_prob)(START, Observations(x)), expected, rtol=1e-5)
    of_each = jax.vmap(lambda one: jaxgmm.log_prob(START, one))(Observations(x.reshape(2, 136, 2)))
    np.testing.assert_allclose(of_each.ravel(), expected, rtol=1e-5)


@pytest.mark.parametrize("field", Observations._fields[1:])
@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_used_yet_is_refused(name, field):
    x = FAITHFUL.astype(np.float32)
    observations = Observations(x)._replace(**{field: np.ones(x.shape, bool)})
    with pytest.raises(ValueError, match=rf"x\.{field}: expected None, got an array: this version uses x\.x alone"):
        CALLS[name](START, observations)


@pytest.mark.parametrize("name", ["log_prob", "em", "fit"])
def test_observations_are_checked_as_an_array_is(name):
    with pytest.raises(ValueError, match=r"x: expected shape \(n, d\).* got \(2, 2, 2\)"):
        CALLS[name](START, Observations(np.ones((2, 2, 2))))
    with pytest.raises(TypeError, match=r"x: expected numbers, got 'a' at row 0"):
        CALLS[name](START, Observations(np.array([["a", 1]], object)))
