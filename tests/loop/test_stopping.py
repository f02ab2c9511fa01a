"""The stopping rule: what is called CONVERGED has less than ``tol`` to gain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import Status
from jaxgmm.acceleration import momentum
from jaxgmm.loop.stopping import has_converged, rate_of

FAMILY = jaxgmm.get_family("V")
# Most nats a row left to gain, over tol. In float32 rates of .99 and more cannot be told from one another in two steps.
MOST_LEFT = {np.float64: 1.0, np.float32: 10.0}
# The share of data sets where a fit may end at a saddle, which EM leaves after a thousand iterations that gain nothing.
MOST_SADDLES = {np.float64: 0.0, np.float32: 0.05}


def rows(seed, n=1000):
    """Five clusters on a line, some of which overlap, so that EM is slow."""
    rng = np.random.default_rng(seed)
    centres, labels = np.sort(rng.uniform(-20, 20, 5)), rng.integers(0, 5, n)
    return rng.normal(centres[labels], rng.uniform(0.5, 4, 5)[labels])


def left_to_gain(params, x):
    """Nats a row that plain EM gains from here, in float64."""
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), params)
        params = params._replace(weights=params.weights / params.weights.sum())
        onward = jaxgmm.em(params, x.astype(np.float64), family=FAMILY, max_iter=5000, tol=0.0)
        return float(onward.log_likelihood - jaxgmm.score(params, x.astype(np.float64)) * len(x)) / len(x)


@pytest.mark.parametrize("seeds", [range(4), pytest.param(range(4, 50), marks=pytest.mark.slow)], ids=["few", "many"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_has_converged_has_less_than_tol_to_gain(dtype, seeds):
    left = {}
    for seed in seeds:
        x = rows(seed).astype(dtype)
        with jax.enable_x64(dtype is np.float64):
            best = jaxgmm.fit(jax.random.key(1), x, 5, family="V", n_init=4).best
        if best.status == Status.CONVERGED:
            left[seed] = left_to_gain(best.params, x) / 1e-6
    too_much = {seed: nats for seed, nats in left.items() if nats > MOST_LEFT[dtype]}
    assert len(too_much) <= MOST_SADDLES[dtype] * len(seeds), too_much


def test_a_rate_right_after_a_leap_is_not_trusted():
    """Steps of a fast and a slow direction: the first few shrink as the fast one does, and what remains is slow."""
    steps = np.array([1.0 * 0.3 ** (2 * t) + 1e-4 * 0.99 ** (2 * t) for t in range(2000)])
    left = np.array([0.3 ** (2 * t) / 0.7 + 1e-4 * 0.99 ** (2 * t) / 0.01 for t in range(2000)])
    rates = rate_of(jnp.asarray(steps[1:]), jnp.asarray(steps[:-1]))
    stops = np.asarray(has_converged(jnp.asarray(steps[2:]), rates[1:], rates[:-1], jnp.asarray(1e-3)))
    assert stops.any()
    assert (left[2:][stops] < 2e-3).all()


def test_gains_that_rounding_hides_are_seen_in_the_parameters():
    """In float32 a log-likelihood of a thousand rows has a grain of 1e-4 nats; EM goes on below it, plain and not."""
    x = rows(3).astype(np.float32)
    start = jaxgmm.seeding.from_labels(x, np.digitize(x, np.quantile(x, [0.2, 0.4, 0.6, 0.8])), 5, family=FAMILY)
    for accelerate in (None, momentum()):
        result = jaxgmm.em(start, x, family=FAMILY, accelerate=accelerate, max_iter=20_000)
        assert result.status == Status.CONVERGED
        assert left_to_gain(result.params, x) < 1e-5


@pytest.mark.parametrize("apart", [300.0, 1e5])
def test_steps_that_only_rounding_makes_are_an_end(apart):
    """Far apart in standard deviations, clusters stay put but for the last digits of their means, back and forth."""
    x = np.r_[np.arange(60), apart + np.arange(60)].astype(np.float32)
    best = jaxgmm.fit(jax.random.key(0), x, 2, family=FAMILY, n_init=4).best
    assert best.status == Status.CONVERGED
    assert best.n_iter < 20
