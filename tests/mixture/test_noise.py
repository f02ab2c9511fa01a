import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import FAMILIES, blobs, eps, oracle_joint, random_params
from scipy.spatial import ConvexHull

import jaxgmm
from jaxgmm import Status

KEY = jax.random.key(0)
REGIONS = {"box": jaxgmm.box_noise, "hull": jaxgmm.hull_noise}


def scattered(n_noise=60, seed=0):
    """Two clusters, and rows all over the place."""
    rng = np.random.default_rng(seed)
    clusters = np.r_[rng.normal(size=(200, 2)) * 0.3 + [2, 2], rng.normal(size=(150, 2)) * 0.4 - [2, 1]]
    return np.r_[clusters, rng.uniform(-8, 8, (n_noise, 2))]


def oracle_noisy_joint(params, x, volume):
    """Uniform over a region that holds every row."""
    gaussian = jaxgmm.GMMParams(params.weights[:-1], params.means, params.covariances)
    noise = np.full((len(x), 1), np.log(np.float64(params.weights[-1])) - np.log(volume))
    return np.c_[oracle_joint(gaussian, x), noise]


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_scores_agree_with_the_definition(family, region, dtype):
    x = blobs().astype(dtype)
    volume = ConvexHull(x).volume if region == "hull" else np.prod(np.ptp(x.astype(float), axis=0))
    params = jaxgmm.with_noise(random_params(family, dtype=dtype), REGIONS[region](x), 0.2)
    joint = oracle_noisy_joint(params, x, volume)
    np.testing.assert_allclose(jaxgmm.joint_log_prob(params, x), joint, rtol=1e3 * eps(dtype), atol=1e3 * eps(dtype))
    np.testing.assert_allclose(jaxgmm.responsibilities(params, x).sum(1), 1, rtol=10 * eps(dtype))
    labels = joint.argmax(1)
    np.testing.assert_array_equal(jaxgmm.predict(params, x), np.where(labels == 3, -1, labels))
    stats = jaxgmm.e_step(params, x)
    assert stats.counts.shape == (4,)
    assert float(stats.counts.sum()) == pytest.approx(len(x), rel=100 * eps(dtype))
    assert float(stats.log_likelihood) == pytest.approx(np.logaddexp.reduce(joint, axis=1).sum(), rel=100 * eps(dtype))


@pytest.mark.parametrize("region", REGIONS)
def test_outside_the_region_there_is_no_noise(region, x64):
    x = blobs()
    params = jaxgmm.with_noise(random_params(jaxgmm.FULL), REGIONS[region](x), 0.2)
    far = np.array([[1e3, 0.0], [0.0, -1e3]])
    assert np.isneginf(jaxgmm.joint_log_prob(params, far)[:, 3]).all()


@pytest.mark.parametrize("region", REGIONS)
def test_finds_clusters_under_noise(region, dtype):
    x = scattered().astype(dtype)
    result = jaxgmm.fit(KEY, x, 2, noise=REGIONS[region](x))
    best = result.best
    assert best.status == Status.CONVERGED
    assert isinstance(best.params, jaxgmm.NoisyGMMParams)
    history = np.asarray(best.history)
    assert np.diff(history[~np.isnan(history)]).min() > -1e-3
    np.testing.assert_allclose(best.params.means, [[2, 2], [-2, -1]], atol=0.15)
    assert float(best.params.weights[-1]) == pytest.approx(60 / 410, abs=0.03)
    labels = np.asarray(jaxgmm.predict(best.params, x))
    assert (labels[:350] >= 0).mean() > 0.95
    assert (labels[350:] == -1).mean() > 0.85
    score = float(jaxgmm.e_step(best.params, x).log_likelihood)
    assert score == pytest.approx(float(best.log_likelihood), rel=1e-4)
    moved = jaxgmm.fit(
        KEY,
        (x * [1e3, 1e-3] + [5, 5]).astype(dtype),
        2,
        noise=REGIONS[region]((x * [1e3, 1e-3] + [5, 5]).astype(dtype)),
    )
    np.testing.assert_allclose(moved.best.params.weights, best.params.weights, atol=2e-3)


def test_the_m_step_maximises_the_weights(x64):
    x = scattered()
    params = jaxgmm.with_noise(jaxgmm.seeding.from_labels(x, (x[:, 0] > 0).astype(int), 2), jaxgmm.box_noise(x))
    stats = jaxgmm.e_step(params, x)
    stepped = jaxgmm.m_step(params, stats)
    np.testing.assert_allclose(stepped.weights, stats.counts / len(x), rtol=1e-12)
    result = jaxgmm.em(params, x)
    assert result.status == Status.CONVERGED
    assert isinstance(result.params, jaxgmm.NoisyGMMParams)


def test_counts_as_two_parameters_and_enters_the_criteria(x64):
    x = scattered()
    params = jaxgmm.fit(KEY, x, 2, noise=jaxgmm.box_noise(x), n_init=4).best.params
    assert jaxgmm.n_parameters(params) == 11 + 2
    expected = 13 * np.log(len(x)) - 2 * float(jaxgmm.log_prob(params, x).sum())
    assert float(jaxgmm.bic(params, x)) == pytest.approx(expected, rel=1e-12)
    without = jaxgmm.fit(KEY, x, 2, n_init=4).best.params
    assert jaxgmm.bic(params, x) < jaxgmm.bic(without, x)


@pytest.mark.parametrize("region", REGIONS)
def test_samples_come_from_the_region(region, dtype):
    x = scattered().astype(dtype)
    noise = REGIONS[region](x)
    params = jaxgmm.with_noise(random_params(jaxgmm.DIAG, k=2, dtype=dtype), noise, 0.5)
    drawn, labels = jaxgmm.sample(KEY, params, 4000)
    assert drawn.dtype == dtype
    assert (labels == -1).mean() == pytest.approx(0.5, abs=0.04)
    uniform = drawn[labels == -1]
    inside = jaxgmm.joint_log_prob(params, uniform)[:, -1]
    assert np.isfinite(inside).all()
    centre = np.concatenate([noise.lower, noise.upper]).reshape(2, 2).mean(0)
    if region == "box":
        np.testing.assert_allclose(uniform.mean(0), centre, atol=0.5)


def test_composes_with_jit_vmap_and_grad(x64):
    x = scattered()
    params = jaxgmm.with_noise(random_params(jaxgmm.FULL, k=2), jaxgmm.box_noise(x))
    expected = jaxgmm.log_prob(params, x)
    np.testing.assert_allclose(jax.jit(jaxgmm.log_prob)(params, x), expected, rtol=1e-12)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    np.testing.assert_allclose(jax.vmap(lambda p: jaxgmm.log_prob(p, x))(batch)[1], expected, rtol=1e-12)
    slopes = jax.grad(lambda p: jaxgmm.log_prob(p, x).sum())(params)
    assert all(np.isfinite(leaf).all() for leaf in slopes[:3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: jaxgmm.box_noise(np.c_[x, np.ones(len(x))]), "x: expected finite rows that differ in every feature"),
        (lambda x: jaxgmm.hull_noise(np.c_[x[:, 0], 2 * x[:, 0]]), "x: expected rows that span a volume"),
        (lambda x: jaxgmm.with_noise(random_params(jaxgmm.FULL), jaxgmm.box_noise(x), 1.5), "weight: expected a share"),
        (lambda x: jaxgmm.with_noise(random_params(jaxgmm.FULL, d=3), jaxgmm.box_noise(x)), "noise: expected a region"),
    ],
)
def test_bad_regions_are_named(call, message, x64):
    with pytest.raises(ValueError, match=message):
        call(blobs())
