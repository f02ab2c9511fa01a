import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import FAITHFUL, FAMILIES, blobs, eps, oracle_log_prob

import jaxgmm
from jaxgmm import Status


def start_for(x, family, k=3, dtype=np.float64):
    labels = np.argsort(np.argsort(x[:, 0])) * k // len(x)
    return jaxgmm.seeding.from_labels(x.astype(dtype), labels, k, family=family)


def gains(result):
    history = np.asarray(result.history, np.float64)
    return np.diff(history[~np.isnan(history)])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_monotone_and_consistent(family, ridge, dtype):
    x = blobs(d=3, k=4).astype(dtype)
    result = jaxgmm.em(start_for(x, family, dtype=dtype), x, family=family, ridge=ridge)
    assert result.status == Status.CONVERGED
    scale = abs(float(result.log_likelihood)) + x.size
    assert gains(result).min() > -4 * eps(dtype) * scale - ridge * len(x)
    assert float(result.log_likelihood) == pytest.approx(oracle_log_prob(result.params, x).sum(), rel=20 * eps(dtype))
    assert np.isnan(result.history[int(result.n_iter) + 1 :]).all()
    assert result.params.weights.sum() == pytest.approx(1, abs=10 * eps(dtype))


def test_history_holds_the_parameters_entering_each_iteration(x64):
    x = blobs()
    params = start_for(x, jaxgmm.FULL)
    result = jaxgmm.em(params, x, max_iter=3)
    for entering in result.history:
        assert float(entering) == pytest.approx(oracle_log_prob(params, x).sum(), rel=1e-12)
        params = jaxgmm.m_step(params, jaxgmm.e_step(params, x))
    assert (result.status, result.n_iter) == (Status.MAX_ITER, 3)
    assert float(result.log_likelihood) == pytest.approx(oracle_log_prob(params, x).sum(), rel=1e-12)


def test_no_iteration_scores_the_start(dtype):
    x = blobs().astype(dtype)
    start = start_for(x, jaxgmm.FULL, dtype=dtype)
    result = jaxgmm.em(start, x, max_iter=0)
    assert (result.status, result.n_iter, result.history.shape) == (Status.MAX_ITER, 0, (0,))
    assert float(result.log_likelihood) == pytest.approx(oracle_log_prob(start, x).sum(), rel=20 * eps(dtype))


def test_does_not_stop_on_the_plateau_of_old_faithful(dtype):
    """A difference below 1e-3 per row, scikit-learn's rule, stops near -1140.55."""
    labels = np.digitize(FAITHFUL[:, 0], [2.5, 4.2])
    start = jaxgmm.seeding.from_labels(FAITHFUL.astype(dtype), labels, 3, family=jaxgmm.TIED)
    result = jaxgmm.em(start, FAITHFUL.astype(dtype), family=jaxgmm.TIED, tol=1e-7)
    assert result.status == Status.CONVERGED
    assert float(result.log_likelihood) == pytest.approx(-1126.315928, abs=1e-3 if dtype == np.float64 else 5e-3)
    assert float(jaxgmm.bic(result.params, FAITHFUL.astype(dtype))) == pytest.approx(2314.296, abs=1e-2)


def test_every_status_says_what_happened(dtype):
    x = blobs().astype(dtype)
    good = start_for(x, jaxgmm.FULL, dtype=dtype)
    not_positive = good._replace(covariances=good.covariances.at[1, 0, 0].set(-1.0))
    unnormalised = good._replace(weights=good.weights * 2)
    cases = [
        (Status.CONVERGED, good, x, {}),
        (Status.MAX_ITER, good, x, {"max_iter": 2}),
        (Status.NON_FINITE, good, np.where(np.arange(300)[:, None] == 7, np.nan, x).astype(dtype), {}),
        (Status.NON_FINITE, good, np.where(np.arange(300)[:, None] == 7, np.inf, x).astype(dtype), {}),
        (Status.NON_FINITE, good, x, {"weights": -np.ones(300, dtype)}),
        (Status.NON_FINITE, good, x, {"weights": np.zeros(300, dtype)}),
        (Status.NON_FINITE, unnormalised, x, {}),
        (Status.NON_FINITE, good._replace(means=good.means.at[0, 0].set(np.nan)), x, {}),
        (Status.DEGENERATE, not_positive, x, {}),
        (Status.DEGENERATE, good, np.full((300, 2), 3.0, dtype), {}),
        (Status.DECREASED, good, x, {"m_step": lambda p, s: jaxgmm.m_step(p, s)._replace(means=p.means + 1)}),
    ]
    for expected, start, rows, options in cases:
        result = jaxgmm.em(start, rows, **options)
        assert Status(int(result.status)) is expected
        assert len(jaxgmm.describe(result.status)) > 20
        if all(np.isfinite(leaf).all() for leaf in start):
            assert all(np.isfinite(leaf).all() for leaf in result.params)
        if expected in (Status.CONVERGED, Status.MAX_ITER):
            assert jaxgmm.raise_if_failed(result) is result
        else:
            with pytest.raises(jaxgmm.FitError, match="1 of 1 fits failed"):
                jaxgmm.raise_if_failed(result)


def test_a_component_collapsing_on_one_row_is_degenerate_not_converged(dtype):
    waiting = FAITHFUL[:, 1].astype(dtype)
    for mean in (96.0, 96.1, 70.897):
        for variance in (0.3, 0.01, 0.001):
            start = (
                np.array([0.5, 0.5]),
                np.array([[waiting.mean()], [mean]]),
                np.array([[[waiting.var()]], [[variance]]]),
            )
            result = jaxgmm.em(jaxgmm.GMMParams(*(a.astype(dtype) for a in start)), waiting)
            assert result.status == Status.DEGENERATE
            assert all(np.isfinite(leaf).all() for leaf in result.params)


def test_one_lane_of_nan_changes_nothing_for_the_others(dtype):
    x = blobs().astype(dtype)
    start = start_for(x, jaxgmm.FULL, dtype=dtype)
    starts = [start._replace(means=start.means + dtype.type(0.1 * lane)) for lane in range(4)]
    broken = [*starts[:2], jax.tree.map(lambda leaf: leaf * np.nan, starts[2]), starts[3]]
    run = jax.vmap(lambda start: jaxgmm.em(start, x))
    healthy, mixed = (run(jax.tree.map(lambda *leaves: jnp.stack(leaves), *group)) for group in (starts, broken))
    assert mixed.status[2] == Status.NON_FINITE
    others = np.array([0, 1, 3])
    chex.assert_trees_all_equal(*(jax.tree.map(lambda leaf: leaf[others], r) for r in (healthy, mixed)))
    with pytest.raises(
        jaxgmm.FitError, match="1 of 4 fits failed; fit 2: the log-likelihood or a parameter is not finite"
    ):
        jaxgmm.raise_if_failed(mixed)


def test_vmap_over_starts_weights_and_data_agrees_with_one_at_a_time(x64):
    data = np.stack([blobs(seed=seed) for seed in range(3)])
    weights = np.random.default_rng(0).integers(0, 3, (3, 300)).astype(float)
    starts = [start_for(x, jaxgmm.FULL) for x in data]
    batch = jax.vmap(jaxgmm.em)(jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts), data, weights)
    for i in range(3):
        single = jaxgmm.em(starts[i], data[i], weights[i])
        assert float(batch.log_likelihood[i]) == pytest.approx(float(single.log_likelihood), rel=1e-9)
        np.testing.assert_allclose(batch.params.means[i], single.params.means, rtol=1e-4)


def test_the_same_shapes_never_compile_twice():
    x = blobs(60).astype(np.float32)
    start = start_for(x, jaxgmm.FULL, dtype=np.float32)
    counted = chex.assert_max_traces(lambda params, rows, weights: jaxgmm.e_step(params, rows, weights), n=1)
    for change in (0, 1, 2):
        jaxgmm.em(start, x + np.float32(change), e_step=counted, tol=1e-6 + change, ridge=1e-6 * change)
    with pytest.raises(AssertionError, match="traced"):
        jaxgmm.em(start, x[:50], e_step=counted)


def test_steps_are_pluggable(x64):
    """Frozen means, by another M-step; E-steps over two halves, by the sum of their statistics."""
    x = blobs()
    start = start_for(x, jaxgmm.FULL)
    frozen = jaxgmm.em(start, x, m_step=lambda p, s: jaxgmm.m_step(p, s)._replace(means=p.means), max_iter=1)
    np.testing.assert_array_equal(frozen.params.means, start.means)

    def halves(params, x, weights):
        a, b = (jaxgmm.e_step(params, x[half], weights[half]) for half in (slice(None, 150), slice(150, None)))
        return jax.tree.map(jnp.add, a, b)

    whole, summed = jaxgmm.em(start, x), jaxgmm.em(start, x, e_step=halves)
    chex.assert_trees_all_close(whole.params, summed.params, rtol=1e-8)


def test_forward_mode_passes_through_the_loop(x64):
    """At the maximum for k = 1 the mean moves with the rows."""
    x = jnp.asarray(blobs(k=1))
    start = jaxgmm.GMMParams(jnp.ones(1), jnp.zeros((1, 2)), jnp.eye(2)[None])
    _, tangent = jax.jvp(lambda shift: jaxgmm.em(start, x + shift).params.means, (0.0,), (1.0,))
    np.testing.assert_allclose(tangent, 1, rtol=1e-9)
