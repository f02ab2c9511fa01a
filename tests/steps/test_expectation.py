from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import FAMILIES, blobs, eps, matrices, oracle_log_prob, oracle_responsibilities, random_params

import jaxgmm
from jaxgmm import linalg
from jaxgmm.mixture.density import prepare
from jaxgmm.steps import chunks, expectation, natural


def oracle_stats(params, x, weights):
    """Counts, first and second moments (k, d, d) about the current means, in float64."""
    x = np.asarray(x, np.float64)
    expected = oracle_responsibilities(params, x) * weights[:, None]
    residuals = x[None] - np.asarray(params.means, np.float64)[:, None]
    first = np.einsum("nk,knd->kd", expected, residuals)
    second = np.einsum("nk,knd,kne->kde", expected, residuals, residuals)
    return np.sum(weights * oracle_log_prob(params, x)), expected.sum(0), first, second


def stored(second, shape):
    """Full second moments as the structure keeps them."""
    if len(shape) == 2:
        second = np.diagonal(second, axis1=1, axis2=2)
    return linalg.pool_moments(second, shape)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("d", [1, 3])
def test_statistics_agree_with_their_definition(family, d, dtype):
    params, x = random_params(family, d=d, dtype=dtype), blobs(d=d).astype(dtype)
    weights = np.random.default_rng(0).uniform(0, 2, len(x)).astype(dtype)
    stats = jaxgmm.e_step(params, x, weights)
    log_likelihood, counts, first, second = oracle_stats(params, x, weights)
    tolerance = {"rtol": 100 * eps(dtype), "atol": 100 * eps(dtype) * np.abs(second).max()}
    np.testing.assert_allclose(stats.log_likelihood, log_likelihood, **tolerance)
    np.testing.assert_allclose(stats.counts, counts, **tolerance)
    np.testing.assert_allclose(stats.first, first, **tolerance)
    np.testing.assert_allclose(stats.second, stored(second, params.covariances.shape), **tolerance)
    if stats.second.ndim == 3:
        np.testing.assert_array_equal(stats.second, stats.second.swapaxes(1, 2))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_statistics_add_over_rows(family, dtype):
    params, x = random_params(family, dtype=dtype), blobs().astype(dtype)
    parts = [jaxgmm.e_step(params, rows) for rows in (x[:77], x[77:])]
    together = jaxgmm.e_step(params, x)
    for whole, *summands in zip(together, *parts, strict=True):
        np.testing.assert_allclose(sum(summands), whole, rtol=50 * eps(dtype), atol=500 * eps(dtype) * len(x))


@given(chunk_size=st.integers(1, 400))
@settings(max_examples=8, deadline=None)
def test_chunk_size_changes_nothing(chunk_size):
    params, x = random_params(jaxgmm.FULL, dtype=np.float32), blobs().astype(np.float32)
    whole = jaxgmm.e_step(params, x, chunk_size=len(x))
    for a, b in zip(jaxgmm.e_step(params, x, chunk_size=chunk_size), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=50 * eps(np.float32), atol=50 * eps(np.float32) * len(x))


def test_integer_weights_are_repetition_and_zero_is_deletion(dtype):
    params, x = random_params(jaxgmm.FULL, dtype=dtype), blobs().astype(dtype)
    weights = np.arange(len(x)) % 3
    dirty = np.where(weights[:, None] == 0, np.nan, x).astype(dtype)
    repeated = jaxgmm.e_step(params, np.repeat(x, weights, axis=0))
    for a, b in zip(jaxgmm.e_step(params, dirty, weights), repeated, strict=True):
        np.testing.assert_allclose(a, b, rtol=100 * eps(dtype), atol=100 * eps(dtype) * len(x))


@pytest.mark.parametrize("offset", [1e3, 1e6])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_moments_far_from_the_origin_are_right_in_float32(family, offset):
    params = random_params(family, dtype=np.float32)
    x = (blobs() + offset).astype(np.float32)
    params = params._replace(means=params.means + np.float32(offset))
    stats = jaxgmm.e_step(params, x)
    _, counts, first, second = oracle_stats(params, x, np.ones(len(x)))
    np.testing.assert_allclose(stats.counts, counts, rtol=1e-4)
    np.testing.assert_allclose(stats.first, first, atol=1e-4 * np.abs(first).max())
    expected = stored(second, params.covariances.shape)
    np.testing.assert_allclose(stats.second, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("family", [jaxgmm.FULL, jaxgmm.TIED], ids=lambda f: f.name)
def test_rounding_grows_only_linearly_with_separation(family):
    """Components 10^4 standard deviations apart: quadratic growth would leave no digit in float32."""
    rng = np.random.default_rng(0)
    means = 1e4 * np.array([[-1.0, 0.3], [1.0, -0.3]])
    x = (means[np.arange(2000) % 2] + rng.normal(size=(2000, 2))).astype(np.float32)
    covariances = np.broadcast_to(np.array([[1.0, 0.5], [0.5, 1.0]], np.float32), family.structure(2, 2))
    params = jaxgmm.GMMParams(*(jnp.asarray(a, jnp.float32) for a in (np.ones(2) / 2, means, covariances)))
    stats = jaxgmm.e_step(params, x)
    _, _, _, second = oracle_stats(params, x, np.ones(len(x)))
    assert matrices(params).shape == (2, 2, 2)
    # Nine roundings of the distance where multiplications and additions are fused, seventeen where they are not
    np.testing.assert_allclose(stats.second, stored(second, covariances.shape), rtol=20 * 1e4 * eps(np.float32))


def test_a_row_that_underflows_everywhere_is_minus_infinity_not_nan():
    params = random_params(jaxgmm.FULL, dtype=np.float32)
    assert np.isneginf(jaxgmm.e_step(params, np.array([[0.0, 0.0], [1e25, 0.0]], np.float32)).log_likelihood)


def test_composes_with_jit_vmap_grad_and_sharded_rows(x64):
    params, x = random_params(jaxgmm.FULL), jnp.asarray(blobs(400))
    expected = jaxgmm.e_step(params, x)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    explicit = jax.device_put(x, jax.NamedSharding(jax.make_mesh((4,), ("rows",)), jax.P("rows")))
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    automatic = jax.device_put(x, jax.NamedSharding(mesh, jax.P("rows")))
    for stats in (
        jax.jit(jaxgmm.e_step)(params, x),
        jax.tree.map(lambda leaf: leaf[1], jax.vmap(jaxgmm.e_step, (0, None))(batch, x)),
        jaxgmm.e_step(params, explicit),
        jax.jit(jaxgmm.e_step)(params, automatic),
    ):
        for a, b in zip(stats, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    # Fisher's identity: the gradient of the log-likelihood in the means is Sigma^-1 times the first moment.
    gradient = jax.grad(lambda means: jaxgmm.e_step(params._replace(means=means), x).log_likelihood)(params.means)
    np.testing.assert_allclose(
        gradient, np.linalg.solve(matrices(params), expected.first[..., None])[..., 0], rtol=1e-8
    )


def test_temporaries_are_bounded_whatever_the_number_of_rows():
    """One million rows by 16 features and 16 components: the residuals alone would be a gigabyte."""
    shapes = jaxgmm.GMMParams((16,), (16, 16), (16, 16, 16))
    params = jaxgmm.GMMParams(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    x = jax.ShapeDtypeStruct((1_000_000, 16), jnp.float32)
    compiled = jax.jit(jaxgmm.em).lower(params, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 100e6


def both_kernels(params, x, weights, chunk_size=None):
    prepared, centre, rows = prepare(params), expectation._nearby(x), jaxgmm.Observations(x)
    lost = natural.rounding(prepared, centre)
    fast, accurate = (
        kernel(chunk_size, prepared, centre, rows, weights)
        for kernel in (expectation.natural_stats, expectation.accurate_stats)
    )
    return fast, accurate, lost


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_the_fast_kernel_loses_no_more_than_it_says(family, dtype):
    """From components that overlap to a hundred times beyond what is tolerated; the reference is float64 on both."""
    d, kernels = 3, jax.jit(both_kernels)
    x = blobs(d=d)
    weights = np.random.default_rng(0).uniform(0, 2, len(x))
    seen = []
    for narrow in 2.0 ** np.arange(-4, 10 if dtype == np.float32 else 20, 4):
        params = random_params(family, d=d, dtype=dtype)
        params = params._replace(covariances=params.covariances / narrow)
        with jax.enable_x64(True):
            exact = oracle_stats(params, x.astype(dtype), weights.astype(dtype))
        fast, accurate, lost = kernels(params, jnp.asarray(x, dtype), jnp.asarray(weights, dtype))
        lost = float(lost.max())
        # A responsibility is off by what two log-densities are; a row far from all components, by its own distance.
        scale = abs(exact[0]) + weights.sum() * d
        assert abs(float(fast.log_likelihood) - exact[0]) < eps(dtype) * (lost * weights.sum() + 4 * scale)
        assert abs(float(accurate.log_likelihood) - exact[0]) < 4 * eps(dtype) * scale
        worst = np.abs(np.asarray(fast.counts) - np.asarray(accurate.counts)).max() / weights.sum()
        assert worst < 2 * eps(dtype) * (lost + 4 * scale / weights.sum())
        seen.append(bool(natural.is_accurate_enough(jnp.asarray(lost, dtype), d)))
    assert seen[0]
    assert not seen[-1]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_kernels_agree_where_the_fast_one_is_used(family, dtype):
    params, x = random_params(family, dtype=dtype), blobs().astype(dtype)
    weights = (np.arange(len(x)) % 3).astype(dtype)
    x[weights == 0] = np.nan
    fast, accurate, lost = both_kernels(params, jnp.asarray(x), jnp.asarray(weights), 128)
    assert natural.is_accurate_enough(lost, 2).all() or dtype == np.float32
    for a, b in zip(fast, accurate, strict=True):
        np.testing.assert_allclose(a, b, rtol=8 * eps(dtype) * float(lost.max()), atol=eps(dtype) * 50 * len(x))
    if fast.second.ndim == 3:
        np.testing.assert_array_equal(fast.second, fast.second.swapaxes(1, 2))


def test_one_lane_that_needs_care_brings_all_to_the_accurate_kernel(monkeypatch):
    monkeypatch.setattr(expectation, "MANY_DENSITIES", 1024)
    x = jnp.asarray(blobs(1024), jnp.float32)
    easy = random_params(jaxgmm.FULL, dtype=np.float32)
    easy = easy._replace(covariances=4 * easy.covariances)
    narrow = easy._replace(covariances=easy.covariances / 1000)
    kernel, mark = expectation.accurate_stats, jnp.float32(12345)
    monkeypatch.setattr(
        expectation, "accurate_stats", lambda *arguments: kernel(*arguments)._replace(log_likelihood=mark)
    )
    for others, is_accurate in ((easy, False), (narrow, True)):
        lanes = jax.tree.map(lambda a, b: jnp.stack([a, b]), easy, others)
        stats = jax.vmap(lambda p: expectation.expect(None, prepare(p), jaxgmm.Observations(x), jnp.ones(len(x))))(
            lanes
        )
        assert ((stats.log_likelihood == mark) == is_accurate).all()


def test_an_overflowing_row_scores_minus_infinity_in_the_fast_kernel():
    x = jnp.asarray(np.r_[blobs(10), [[1e25, 0.0]]], jnp.float32)
    fast, accurate, _ = both_kernels(random_params(jaxgmm.FULL, dtype=np.float32), x, jnp.ones(len(x)))
    assert np.isneginf(fast.log_likelihood)
    assert np.isneginf(accurate.log_likelihood)


def test_the_devices_of_a_mesh_share_the_rows(x64):
    params, x = random_params(jaxgmm.FULL), jnp.asarray(blobs(4000))
    mesh = jax.make_mesh((4,), (chunks.ROWS,), axis_types=(jax.sharding.AxisType.Auto,))
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, 1.1 * leaf]), params)

    def each(x):
        e_step = partial(jaxgmm.e_step, chunk_size=100)
        gradient = jax.grad(lambda means: e_step(params._replace(means=means), x).log_likelihood)(params.means)
        return e_step(params, x), jax.vmap(e_step, (0, None))(batch, x), gradient

    expected = each(x)
    with jax.set_mesh(mesh):
        shared = each(jax.device_put(x, jax.P(chunks.ROWS)))
        uneven = each(x[:-1])  # on one device
        program = jax.jit(partial(jaxgmm.e_step, chunk_size=100)).lower(params, x).compile().as_text()
    assert "f64[100,2]" in program  # a chunk
    assert "all-reduce" in program
    assert "all-gather" not in program
    assert "f64[4000,2]" not in program  # each device holds its share alone
    for a, b in zip(jax.tree.leaves(shared), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    for a, b in zip(jax.tree.leaves(uneven), jax.tree.leaves(each(x[:-1])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
