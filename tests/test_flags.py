"""JAX's flags for finding bugs find none in healthy fits, in whatever thread they are computed."""

from contextlib import ExitStack

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm

X = np.float32([0, 0.5, 1, 9, 9.5, 10])
START = jaxgmm.GMMParams(np.float32([0.5, 0.5]), np.float32([[1], [8]]), np.ones((2, 1), np.float32))
HIGHEST = -6 * (np.log(2) + np.log(2 * np.pi * np.e / 6) / 2)  # two clusters that do not overlap, of variance 1 / 6
DEBUG = ("debug_nans", "debug_infs", "debug_key_reuse")


@pytest.fixture(params=[pytest.param(DEBUG, marks=pytest.mark.slow), (*DEBUG, "enable_x64")], ids=" ".join)
def flags(request):
    with ExitStack() as stack:
        for name in request.param:
            stack.enter_context(getattr(jax, name)(True))
        yield


def test_healthy_fits_are_left_alone(flags):
    """NaN pads their history, and infinity is where no objective is known yet."""
    best = jaxgmm.fit(jax.random.key(0), X, 2, family="V", n_init=2).best
    for result in (jaxgmm.em(START, X, family=jaxgmm.SPHERICAL), best):
        assert float(result.log_likelihood) == pytest.approx(HIGHEST, rel=1e-6)
        assert result.status == jaxgmm.Status.CONVERGED
        assert np.isnan(np.asarray(result.history)[int(result.n_iter) + 1 :]).all()


def test_searches_use_each_key_once_and_take_the_callers_settings_along(flags):
    selection = jaxgmm.select(jax.random.key(0), X, [1, 2], families=["V"], n_init=2, criterion="cv")
    assert selection.log_likelihoods[0, 1] == pytest.approx(HIGHEST, rel=1e-6)
    assert selection.best.params.means.dtype == np.float32


@pytest.mark.slow  # the sample of many rows is a program of its own
def test_a_fit_of_many_rows_uses_each_key_once(flags):
    x = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    best = jaxgmm.fit(jax.random.key(0), x, 1, family="V", n_init=2).best
    assert float(best.params.covariances[0, 0]) == pytest.approx(x.var(), rel=1e-4)


def test_without_jit_the_answer_is_the_same():
    with jax.disable_jit():
        result = jaxgmm.em(START, X, family=jaxgmm.SPHERICAL)
    assert float(result.log_likelihood) == pytest.approx(HIGHEST, rel=1e-6)


def test_what_is_wrong_is_still_found():
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        jnp.log(jaxgmm.score(START, X))
