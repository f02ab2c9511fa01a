import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import FAMILIES, blobs, eps, matrices, oracle_m_step, oracle_responsibilities, random_params

import jaxgmm


def random_responsibilities(n=300, k=3, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(k), n)


def assert_is(params, expected, tolerance):
    weights, means, covariances = expected
    np.testing.assert_allclose(params.weights, weights, rtol=tolerance)
    np.testing.assert_allclose(params.means, means, atol=tolerance * np.abs(means).max())
    np.testing.assert_allclose(matrices(params), covariances, atol=tolerance * np.abs(covariances).max())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_an_em_step_agrees_with_the_formulas(family, ridge, dtype):
    params, x = random_params(family, d=3, dtype=dtype), blobs(d=3).astype(dtype)
    stepped = jaxgmm.m_step(params, jaxgmm.e_step(params, x), family=family, ridge=ridge)
    assert stepped.covariances.shape == family.structure(3, 3)
    assert stepped.means.dtype == dtype
    assert_is(stepped, oracle_m_step(family, x, oracle_responsibilities(params, x), ridge), 500 * eps(dtype))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_from_responsibilities_agrees_with_the_formulas(family, dtype):
    x, expected = blobs(d=3).astype(dtype), random_responsibilities().astype(dtype)
    weights = np.random.default_rng(1).uniform(0, 2, len(x)).astype(dtype)
    params = jaxgmm.from_responsibilities(x, expected, weights, family=family)
    assert_is(params, oracle_m_step(family, x, expected * weights[:, None]), 100 * eps(dtype))


def test_known_classes_give_the_complete_data_estimate(dtype):
    x, labels = blobs(d=1).astype(dtype), np.arange(300) % 3
    params = jaxgmm.from_responsibilities(x[:, 0], np.eye(3)[labels])
    for j in range(3):
        rows = x[labels == j, 0].astype(np.float64)
        estimate = (float(params.weights[j]), float(params.means[j, 0]), float(params.covariances[j, 0, 0]))
        assert estimate == pytest.approx((1 / 3, rows.mean(), rows.var()), rel=50 * eps(dtype))


@pytest.mark.parametrize("offset", [1e3, 1e6])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_spread_survives_a_far_origin_in_float32(family, offset):
    x, expected = (blobs() + offset).astype(np.float32), random_responsibilities().astype(np.float32)
    params = jaxgmm.from_responsibilities(x, expected, family=family)
    _, _, covariances = oracle_m_step(family, x, expected)
    np.testing.assert_allclose(matrices(params), covariances, atol=1e-4 * np.abs(covariances).max())


@given(seed=st.integers(0, 2**16), size=st.floats(1e-3, 0.5))
@settings(max_examples=20, deadline=None)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_no_mixture_of_the_family_has_a_higher_expected_log_likelihood(family, seed, size):
    with jax.enable_x64(True):
        x, expected = blobs(d=3), random_responsibilities()
        best = jaxgmm.from_responsibilities(x, expected, family=family)
        rng = np.random.default_rng(seed)
        perturbed = best._replace(
            weights=best.weights * jnp.exp(size * rng.normal(size=3)),
            means=best.means + size * rng.normal(size=(3, 3)),
            covariances=best.covariances
            * jnp.exp(size * rng.normal(size=(best.covariances.shape[0], 1)))[
                (..., *(None,) * (best.covariances.ndim - 2))
            ],
        )
        perturbed = perturbed._replace(weights=perturbed.weights / perturbed.weights.sum())

        def q(params):
            return float(jnp.sum(jnp.asarray(expected) * jaxgmm.joint_log_prob(params, x)))

        assert q(perturbed) < q(best)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_component_without_rows_keeps_its_place_at_weight_zero(family, dtype):
    params, x = random_params(family, dtype=dtype), blobs().astype(dtype)
    stats = jaxgmm.e_step(params._replace(weights=jnp.array([0.6, 0.4, 0.0], dtype)), x)
    stepped = jaxgmm.m_step(params, stats, family=family)
    assert stepped.weights[2] == 0
    np.testing.assert_array_equal(stepped.means[2], params.means[2])
    if params.covariances.shape[0] > 1:
        np.testing.assert_array_equal(stepped.covariances[2], params.covariances[2])
    assert all(np.isfinite(leaf).all() for leaf in stepped)


def test_a_class_without_rows_gets_the_overall_moments(x64):
    x = blobs()
    params = jaxgmm.from_responsibilities(x, np.eye(3)[np.arange(300) % 2])
    assert params.weights[2] == 0
    np.testing.assert_allclose(params.means[2], x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(params.covariances[2], np.cov(x.T, bias=True), rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_means_may_jump_a_million_standard_deviations(family):
    """Moments about a start far away hold no digit of the spread; two steps find it all the same."""
    x = (blobs(k=1) + 1e6).astype(np.float32)
    start = jaxgmm.GMMParams(
        jnp.ones(1),
        jnp.zeros((1, 2)),
        jnp.ones(family.structure(1, 2)) * jnp.eye(2)[None]
        if len(family.structure(1, 2)) == 3
        else jnp.ones(family.structure(1, 2)),
    )
    params = start
    for _ in range(3):
        params = jaxgmm.m_step(params, jaxgmm.e_step(params, x), family=family)
    _, _, covariances = oracle_m_step(family, x, np.ones((len(x), 1)))
    np.testing.assert_allclose(matrices(params), covariances, rtol=1e-3, atol=1e-3)


def test_composes_with_jit_vmap_and_grad(x64):
    params, x = random_params(jaxgmm.FULL), blobs()
    stats = jaxgmm.e_step(params, x)
    expected = jaxgmm.m_step(params, stats)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), (params, stats))
    for stepped in (
        jax.jit(jaxgmm.m_step)(params, stats),
        jax.tree.map(lambda leaf: leaf[1], jax.vmap(jaxgmm.m_step)(*batch)),
    ):
        for a, b in zip(stepped, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    slope = jax.grad(lambda ridge: jnp.trace(jaxgmm.m_step(params, stats, ridge=ridge).covariances[0]))(0.1)
    assert slope == pytest.approx(jnp.trace(expected.covariances[0]))
