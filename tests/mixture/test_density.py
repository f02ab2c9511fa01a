import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import (
    ALL_FAMILIES,
    DATA,
    FAMILIES,
    blobs,
    eps,
    family_id,
    mclust_fits,
    mclust_params,
    oracle_joint,
    oracle_log_prob,
    oracle_responsibilities,
    random_params,
)

import jaxgmm


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("d", [1, 3])
def test_densities_agree_with_their_definition(family, d, dtype):
    params, x = random_params(family, d=d, dtype=dtype), blobs(d=d).astype(dtype)
    joint = oracle_joint(params, x)
    tolerance = {"rtol": 200 * eps(dtype), "atol": 200 * eps(dtype)}
    np.testing.assert_allclose(jaxgmm.joint_log_prob(params, x), joint, **tolerance)
    np.testing.assert_allclose(jaxgmm.log_prob(params, x), oracle_log_prob(params, x), **tolerance)
    posterior = jaxgmm.responsibilities(params, x)
    np.testing.assert_allclose(posterior, oracle_responsibilities(params, x), rtol=0, atol=2000 * eps(dtype))
    np.testing.assert_array_equal(jaxgmm.predict(params, x), np.argmax(posterior, 1))
    assert posterior.dtype == joint.astype(dtype).dtype


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("family", ALL_FAMILIES, ids=family_id)
def test_log_density_at_mclusts_parameters_is_its_loglik(data, family, x64):
    for fit in mclust_fits(data, family):
        params = mclust_params(family, fit)
        assert float(jaxgmm.log_prob(params, DATA[data]).sum()) == pytest.approx(fit["loglik"], rel=1e-10)


def test_a_vector_is_one_feature(dtype):
    params, x = random_params(jaxgmm.FULL, d=1, dtype=dtype), blobs(d=1).astype(dtype)
    for function in (jaxgmm.log_prob, jaxgmm.joint_log_prob, jaxgmm.responsibilities, jaxgmm.predict):
        np.testing.assert_array_equal(function(params, x[:, 0]), function(params, x))


def test_many_rows_go_through_in_blocks(dtype):
    params, few = random_params(jaxgmm.FULL, dtype=dtype), blobs(300).astype(dtype)
    many = np.tile(few, (41, 1))  # 12300 rows: whole blocks and a remainder
    expected = np.tile(jaxgmm.log_prob(params, few), 41)
    np.testing.assert_allclose(jaxgmm.log_prob(params, many), expected, rtol=20 * eps(dtype))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_far_rows_score_minus_infinity_and_nan_stays_nan(family, dtype):
    params = random_params(family, dtype=dtype)
    far = [[1e200, 1.0]] if dtype == np.float64 else [[1e25, 0.0], [3e38, 3e38]]
    assert np.all(np.isneginf(jaxgmm.log_prob(params, np.array(far, dtype))))
    posterior = jaxgmm.responsibilities(params, np.array(far, dtype))
    np.testing.assert_allclose(posterior.sum(1), 1, rtol=4 * eps(dtype))
    missing = np.array([[np.nan, 1.0]], dtype)
    assert np.isnan(jaxgmm.log_prob(params, missing)).all()
    assert np.isnan(jaxgmm.responsibilities(params, missing)).all()
    assert jaxgmm.predict(params, missing).tolist() == [-1]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_dead_component_changes_nothing(family, x64):
    alive = random_params(family, k=2)
    dead = random_params(family, k=3)
    covariances = dead.covariances if dead.covariances.shape[0] == 1 else dead.covariances.at[:2].set(alive.covariances)
    if dead.covariances.shape[0] == 1:
        covariances = alive.covariances
    dead = jaxgmm.GMMParams(jnp.append(alive.weights, 0.0), dead.means.at[:2].set(alive.means), covariances)
    x = blobs()
    np.testing.assert_allclose(jaxgmm.log_prob(dead, x), jaxgmm.log_prob(alive, x), rtol=1e-12)
    assert np.all(jaxgmm.responsibilities(dead, x)[:, 2] == 0)
    gradient = jax.grad(lambda p: jaxgmm.log_prob(p, x).sum())(dead)
    assert all(np.isfinite(leaf).all() for leaf in gradient)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_gradients_agree_with_finite_differences(family, x64):
    params, x = random_params(family), jnp.asarray(blobs(20))
    chex.assert_numerical_grads(
        lambda *args: jaxgmm.log_prob(jaxgmm.GMMParams(*args[:3]), args[3]).sum(), (*params, x), 1
    )


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_gradients_are_finite_in_either_precision(family, dtype):
    params, x = random_params(family, dtype=dtype), jnp.asarray(blobs(50), dtype)
    gradients = jax.grad(lambda p, x: jaxgmm.log_prob(p, x).mean(), argnums=(0, 1))(params, x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_composes_with_jit_vmap_and_sharded_rows(dtype):
    params, x = random_params(jaxgmm.FULL, dtype=dtype), jnp.asarray(blobs(), dtype)
    expected = jaxgmm.log_prob(params, x)
    np.testing.assert_allclose(jax.jit(jaxgmm.log_prob)(params, x), expected, rtol=20 * eps(dtype))
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    np.testing.assert_allclose(jax.vmap(jaxgmm.log_prob, (0, None))(batch, x)[1], expected, rtol=20 * eps(dtype))
    mesh = jax.make_mesh((4,), ("rows",))
    rows = jax.device_put(x, jax.NamedSharding(mesh, jax.P("rows")))
    np.testing.assert_allclose(jaxgmm.log_prob(params, rows), expected, rtol=20 * eps(dtype))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_samples_have_the_moments_of_the_mixture(family, dtype):
    params = random_params(family, dtype=dtype)
    x, labels = jaxgmm.sample(jax.random.key(1), params, 40000)
    back = jaxgmm.from_responsibilities(x, jax.nn.one_hot(labels, 3, dtype=dtype), family=family)
    for estimate, truth in zip(back, params, strict=True):
        # Five standard errors of the noisiest moment, a variance of component weight over 0.1.
        np.testing.assert_allclose(
            estimate, truth, atol=5 * np.sqrt(2 / 4000) * float(jnp.abs(params.covariances).max())
        )


def test_sampling_never_draws_a_dead_component():
    params = jaxgmm.GMMParams(jnp.array([0.0, 1.0]), jnp.zeros((2, 1)), jnp.ones((2, 1)))
    assert np.all(jaxgmm.sample(jax.random.key(0), params, 1000)[1] == 1)


@pytest.mark.parametrize("low", [np.float16, jnp.bfloat16, np.int32, bool])
def test_low_precision_and_integers_are_computed_in_the_default_float(low):
    params, x = random_params(jaxgmm.FULL, dtype=np.float32), np.arange(10).reshape(5, 2).astype(low)
    scored = jaxgmm.log_prob(params, x)
    assert scored.dtype == jnp.float32
    np.testing.assert_allclose(scored, jaxgmm.log_prob(params, x.astype(np.float32)), rtol=1e-6)
