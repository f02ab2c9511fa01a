import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import FAITHFUL, FAMILIES, blobs, eps

import jaxgmm
from jaxgmm import Status, acceleration
from jaxgmm.covariance.ridge import Ridge

ACCELERATORS = {
    "momentum": acceleration.momentum(),
    "squarem": acceleration.squarem(),
    "anderson": acceleration.anderson(),
}


@pytest.fixture(params=["momentum", *(pytest.param(name, marks=pytest.mark.slow) for name in ("squarem", "anderson"))])
def accelerate(request):
    return ACCELERATORS[request.param]


def overlapping(k, d, n, seed):
    rng = np.random.default_rng(seed)
    means = 1.5 * rng.normal(size=(k, d))
    return means[rng.integers(k, size=n)] + rng.normal(size=(n, d))


def start_for(x, family, k=3):
    labels = np.argsort(np.argsort(x[:, 0])) * k // len(x)
    return jaxgmm.seeding.from_labels(x, labels, k, family=family)


def counting(calls):
    """An E-step that counts how often it runs."""

    def e_step(params, x, weights):
        jax.debug.callback(lambda _: calls.append(1), params.weights[0])
        return jaxgmm.e_step(params, x, weights)

    return e_step


SOME = [pytest.param(f, marks=[pytest.mark.slow] * (f is not jaxgmm.FULL), id=f.letters) for f in FAMILIES]
OTHERS = [jaxgmm.get_family("VEV"), pytest.param(jaxgmm.get_family("EVI"), marks=pytest.mark.slow)]


@pytest.mark.parametrize("family", [*SOME, *OTHERS], ids=lambda f: f.letters)
def test_rises_all_the_way_and_as_high_as_plain_em(family, accelerate, dtype):
    x = blobs(d=3, k=3).astype(dtype)
    start = start_for(x, family)
    plain = jaxgmm.em(start, x, family=family, ridge=1e-6, tol=1e-8)
    result = jaxgmm.em(start, x, family=family, ridge=1e-6, tol=1e-8, accelerate=accelerate)
    assert result.status == Status.CONVERGED
    history = np.asarray(result.history, np.float64)
    history = history[~np.isnan(history)]
    rounding = 4 * eps(dtype) * (abs(history[-1]) + x.size)
    assert np.diff(history)[not family.constrained :].min() > -rounding - 1e-6 * len(x)
    assert len(history) == int(result.n_iter) + 1
    assert float(result.log_likelihood) > float(plain.log_likelihood) - 1e-3 - rounding


def test_slow_fits_take_a_fraction_of_the_steps(accelerate, x64):
    """Plain EM takes 2,840, 2,046 and 3,957 E-steps."""
    least = {"momentum": 5, "squarem": 2, "anderson": 3}[
        next(name for name, value in ACCELERATORS.items() if value is accelerate)
    ]
    x, weights, calls, ratios = overlapping(4, 2, 2000, 0), jnp.ones(2000), [], []
    e_step = counting(calls)
    for seed in range(3):
        belonging = jaxgmm.seeding.kmeans_plus_plus(jax.random.key(seed), jnp.asarray(x), weights, 4)
        start, counts, reached = jaxgmm.from_responsibilities(x, belonging), [], []
        for accelerator in (None, accelerate):
            calls.clear()
            result = jaxgmm.em(start, x, tol=1e-10, max_iter=5000, accelerate=accelerator, e_step=e_step)
            jax.effects_barrier()
            assert result.status == Status.CONVERGED
            counts.append(len(calls))
            reached.append(float(result.log_likelihood))
        assert reached[1] > reached[0] - 1e-6 * len(x)
        ratios.append(counts[0] / counts[1])
    assert np.median(ratios) > least


def test_units_do_not_matter(accelerate, x64):
    x = overlapping(3, 2, 500, 0)
    scale, shift = np.array([1e-8, 1e8]), np.array([1e-6, 1e10])
    results = [
        jaxgmm.em(start_for(rows, jaxgmm.FULL), rows, accelerate=accelerate, max_iter=40)
        for rows in (x, scale * x + shift)
    ]
    jacobian = len(x) * np.log(scale).sum()
    assert float(results[1].log_likelihood) + jacobian == pytest.approx(float(results[0].log_likelihood), abs=1e-4)
    np.testing.assert_allclose(
        (np.asarray(results[1].params.means) - shift) / scale, results[0].params.means, atol=1e-3
    )


def test_guesses_respect_what_the_m_step_holds_fixed(accelerate):
    def equal_weights(params, stats):
        return jaxgmm.m_step(params, stats)._replace(weights=jnp.ones(3) / 3)

    x = FAITHFUL.astype(np.float32)
    result = jaxgmm.em(start_for(x, jaxgmm.FULL), x, m_step=equal_weights, accelerate=accelerate)
    assert result.status == Status.CONVERGED
    np.testing.assert_array_equal(result.params.weights, np.float32(1) / 3)


def test_a_dead_component_and_a_noise_component_stay_what_they_are(accelerate):
    x = FAITHFUL.astype(np.float32)
    start = start_for(x, jaxgmm.FULL)
    dead = start._replace(weights=jnp.asarray([0.5, 0, 0.5]))
    result = jaxgmm.em(dead, x, accelerate=accelerate)
    assert result.status == Status.CONVERGED
    assert result.params.weights[1] == 0
    np.testing.assert_array_equal(result.params.means[1], dead.means[1])
    noisy = jaxgmm.with_noise(start, jaxgmm.box_noise(x))
    result = jaxgmm.em(noisy, x, accelerate=accelerate)
    plain = jaxgmm.em(noisy, x)
    assert float(result.log_likelihood) > float(plain.log_likelihood) - 1e-2


def test_a_constant_feature_with_an_absolute_ridge(accelerate):
    """A relative one leaves a variance of zero at zero."""
    x = np.c_[FAITHFUL, np.ones(len(FAITHFUL))].astype(np.float32)
    start = jaxgmm.from_responsibilities(x, np.eye(3, dtype=np.float32)[np.arange(len(x)) % 3])
    start = start._replace(covariances=start.covariances + 1e-3 * jnp.eye(3)[None])
    steps = jaxgmm.gaussian_steps(jaxgmm.FULL, Ridge(0.0, 1e-3))
    plain, result = (jaxgmm.em(start, x, steps=steps, accelerate=a) for a in (None, accelerate))
    assert result.status == Status.CONVERGED
    assert float(result.log_likelihood) > float(plain.log_likelihood) - 0.05


def test_lanes_do_not_disturb_each_other(accelerate):
    x = FAITHFUL.astype(np.float32)
    start = start_for(x, jaxgmm.FULL)
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf * jnp.nan, leaf]), start)
    together = jax.vmap(lambda start: jaxgmm.em(start, x, accelerate=accelerate))(starts)
    alone = jaxgmm.em(start, x, accelerate=accelerate)
    assert together.status.tolist() == [Status.CONVERGED, Status.NON_FINITE, Status.CONVERGED]
    assert float(together.log_likelihood[2]) == pytest.approx(float(alone.log_likelihood), rel=1e-6)


def test_asking_for_it_again_does_not_compile_again():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(1)
    def step(params, stats):
        return jaxgmm.m_step(params, stats)

    x = FAITHFUL.astype(np.float32)
    for _ in range(2):
        jaxgmm.em(start_for(x, jaxgmm.FULL), x, m_step=step, accelerate=acceleration.momentum(), max_iter=3)
    assert acceleration.anderson(3) is acceleration.anderson(3)


def test_a_window_must_hold_something():
    with pytest.raises(ValueError, match="size: expected at least 1, got 0"):
        acceleration.anderson(0)
