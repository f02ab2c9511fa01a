import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from problems import FAMILIES, blobs, eps, oracle_joint, oracle_m_step, random_params
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


def proportions(params):
    """The mixing proportions ``(k + 1,)``, that of the noise last."""
    clean = (1 - params.noise_weight) * params.mixture.weights
    return np.array([*clean.tolist(), float(params.noise_weight)])


def counts_of(stats):
    return np.array([*stats.mixture.counts.tolist(), float(stats.noise_count)])


def halves(x):
    """A start with noise: two components, left and right."""
    start = jaxgmm.seeding.from_labels(x, (x[:, 0] > 0).astype(int), 2)
    return jaxgmm.with_noise(start, jaxgmm.box_noise(x))


def oracle_noisy_joint(params, x, volume):
    """Uniform over a region that holds every row."""
    weight = np.float64(params.noise_weight)
    noise = np.full((len(x), 1), np.log(weight) - np.log(volume))
    return np.c_[np.log1p(-weight) + oracle_joint(params.mixture, x), noise]


@pytest.mark.parametrize("region", ["box", pytest.param("hull", marks=pytest.mark.slow)])
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
    assert isinstance(stats, jaxgmm.NoisyStats)
    assert (stats.mixture.counts.shape, stats.noise_count.shape) == ((3,), ())
    total = stats.mixture.counts.sum() + stats.noise_count
    assert float(total) == pytest.approx(len(x), rel=100 * eps(dtype))
    posterior = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)).sum(0)
    np.testing.assert_allclose(counts_of(stats), posterior, rtol=1e4 * eps(dtype))
    assert float(stats.log_likelihood) == pytest.approx(np.logaddexp.reduce(joint, axis=1).sum(), rel=100 * eps(dtype))


@pytest.mark.parametrize("region", REGIONS)
def test_outside_the_region_there_is_no_noise(region, x64):
    x = blobs()
    params = jaxgmm.with_noise(random_params(jaxgmm.FULL), REGIONS[region](x), 0.2)
    far = np.array([[1e3, 0.0], [0.0, -1e3]])
    assert np.isneginf(jaxgmm.joint_log_prob(params, far)[:, 3]).all()


@pytest.mark.parametrize("region", ["box", pytest.param("hull", marks=pytest.mark.slow)])
def test_clusters_under_noise_come_back_in_any_units(region, dtype):
    x = scattered().astype(dtype)
    result = jaxgmm.fit(KEY, x, 2, noise=REGIONS[region](x))
    best = result.best
    assert best.status == Status.CONVERGED
    assert isinstance(best.params, jaxgmm.NoisyGMMParams)
    history = np.asarray(best.history)
    assert np.diff(history[~np.isnan(history)]).min() > -1e-3
    np.testing.assert_allclose(best.params.mixture.means, [[2, 2], [-2, -1]], atol=0.15)
    assert float(best.params.mixture.weights.sum()) == pytest.approx(1, abs=10 * eps(dtype))
    assert float(best.params.noise_weight) == pytest.approx(60 / 410, abs=0.03)
    labels = np.asarray(jaxgmm.predict(best.params, x))
    assert (labels[:350] >= 0).mean() > 0.95
    assert (labels[350:] == -1).mean() > 0.85
    score = float(jaxgmm.e_step(best.params, x).log_likelihood)
    assert score == pytest.approx(float(best.log_likelihood), rel=1e-4)
    rescaled = (x * [1e3, 1e-3] + [5, 5]).astype(dtype)
    moved = jaxgmm.fit(KEY, rescaled, 2, noise=REGIONS[region](rescaled))
    np.testing.assert_allclose(proportions(moved.best.params), proportions(best.params), atol=2e-3)


def test_the_m_step_maximises_the_proportions_and_the_moments(x64):
    x = scattered()
    params = halves(x)
    stats = jaxgmm.e_step(params, x)
    stepped = jaxgmm.m_step(params, stats)
    np.testing.assert_allclose(proportions(stepped), counts_of(stats) / len(x), rtol=1e-12)
    assert float(stepped.mixture.weights.sum()) == pytest.approx(1, rel=1e-12)
    responsibilities = np.asarray(jaxgmm.responsibilities(params, x))
    _, means, covariances = oracle_m_step(jaxgmm.FULL, x, responsibilities[:, :2])
    np.testing.assert_allclose(stepped.mixture.means, means, rtol=1e-10)
    np.testing.assert_allclose(stepped.mixture.covariances, covariances, rtol=1e-10)
    for before, after in zip(params.noise, stepped.noise, strict=True):
        np.testing.assert_array_equal(before, after)


def test_em_goes_by_the_m_step_of_the_e_step(x64):
    x = scattered()
    params = halves(x)
    result = jaxgmm.em(params, x)
    assert result.status == Status.CONVERGED
    assert isinstance(result.params, jaxgmm.NoisyGMMParams)
    one = jaxgmm.em(params, x, max_iter=1).params
    for leaf, other in zip(*map(jax.tree.leaves, (one, jaxgmm.m_step(params, jaxgmm.e_step(params, x)))), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-12)


def test_stats_add_over_rows_and_rows_without_weight_do_not_count(dtype):
    x = scattered().astype(dtype)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), halves(x))
    whole = jaxgmm.e_step(params, x)
    parts = jax.tree.map(jnp.add, jaxgmm.e_step(params, x[:100]), jaxgmm.e_step(params, x[100:]))
    with_nan = np.r_[x, np.full((5, 2), np.nan, dtype)]
    masked = jaxgmm.e_step(params, with_nan, np.r_[np.ones(len(x)), np.zeros(5)])
    for stats in (parts, masked):
        for leaf, other in zip(*map(jax.tree.leaves, (stats, whole)), strict=True):
            tolerance = 1e3 * eps(dtype)
            np.testing.assert_allclose(leaf, other, rtol=tolerance, atol=tolerance * len(x))


# ------------------------------------------------------------------------------------------------------------- priors


def prior_of(x, concentration):
    return jaxgmm.default_prior(x, 2)._replace(concentration=jnp.asarray(concentration, x.dtype))


def test_a_prior_is_a_dirichlet_on_all_proportions_that_of_the_noise_among_them(x64):
    x = scattered()
    params, prior = halves(x), prior_of(x, 30.0)
    stats = jaxgmm.e_step(params, x)
    stepped = jaxgmm.m_step(params, stats, prior=prior)
    np.testing.assert_allclose(proportions(stepped), (counts_of(stats) + 29) / (len(x) + 3 * 29), rtol=1e-12)
    alone = jaxgmm.m_step(params.mixture, stats.mixture, prior=prior)
    np.testing.assert_allclose(stepped.mixture.means, alone.means, rtol=1e-12)
    np.testing.assert_allclose(stepped.mixture.covariances, alone.covariances, rtol=1e-12)


@pytest.mark.parametrize("dead", ["component", "noise"])
def test_a_prior_counts_nothing_for_what_has_no_rows(dead, x64):
    x = scattered()
    params, prior = halves(x), prior_of(x, 30.0)
    if dead == "noise":
        params = params._replace(noise_weight=jnp.asarray(0.0))
    else:
        params = params._replace(mixture=params.mixture._replace(weights=jnp.array([1.0, 0.0])))
    stats = jaxgmm.e_step(params, x)
    counts = counts_of(stats)
    extended = np.where(counts > 0, counts + 29, 0)
    assert (extended == 0).sum() == 1
    stepped = proportions(jaxgmm.m_step(params, stats, prior=prior))
    np.testing.assert_allclose(stepped, extended / extended.sum(), rtol=1e-12)


def test_a_fit_with_a_prior_ends_at_a_stationary_point_of_the_log_posterior(x64):
    x = scattered()
    prior = prior_of(x, 5.0)
    result = jaxgmm.em(halves(x), x, prior=prior, tol=1e-14, max_iter=5000)
    params = result.params
    history = np.asarray(result.history)
    assert np.diff(history[~np.isnan(history)]).min() > -1e-9

    def log_posterior(logits, means, covariances):
        shares = jax.nn.softmax(logits)
        mixture = jaxgmm.GMMParams(shares[:2] / (1 - shares[2]), means, covariances)
        density = jaxgmm.log_prob(jaxgmm.NoisyGMMParams(mixture, shares[2], params.noise), x).sum()
        of_proportions = 4 * jnp.log(shares).sum()
        without_weights = prior._replace(concentration=jnp.asarray(1.0))
        return density + of_proportions + jaxgmm.log_prior(mixture, without_weights)

    logits = jnp.log(jnp.asarray(proportions(params)))
    arguments = (logits, params.mixture.means, params.mixture.covariances)
    slopes = jax.grad(log_posterior, (0, 1, 2))(*arguments)
    assert max(float(abs(slope).max()) for slope in slopes) < 2e-3
    reached = float(log_posterior(*arguments))
    assert float(history[~np.isnan(history)][-1]) == pytest.approx(reached, rel=1e-12)


# ---------------------------------------------------------------------------------------------------------- extremes


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_gradients_are_finite_at_either_end_of_the_noise_weight(weight, dtype):
    x = scattered().astype(dtype)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), halves(x))
    params = params._replace(noise_weight=jnp.asarray(weight, dtype))
    by_score = {}
    for score in (lambda p, x: jaxgmm.log_prob(p, x).sum(), lambda p, x: jaxgmm.e_step(p, x).log_likelihood):
        value, by_score[score] = jax.jit(jax.value_and_grad(score, (0, 1)))(params, jnp.asarray(x))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, by_score[score])))
    reference = jax.grad(lambda mixture: jaxgmm.log_prob(mixture, x).sum())(params.mixture)
    for slopes, _ in by_score.values():
        for leaf, other in zip(slopes.mixture, reference, strict=True):
            np.testing.assert_allclose(leaf, other * (1 - weight), rtol=1e4 * eps(dtype), atol=1e-3)


@pytest.mark.parametrize("distance", [30.0, 1e3])
def test_all_rows_may_be_noise(distance, dtype):
    """The mixture lies where no row is, so far that its counts underflow, or all but."""
    x = np.random.default_rng(0).uniform(0, 1, (100, 2)).astype(dtype)
    mixture = jaxgmm.GMMParams(np.array([0.5, 0.5]), np.full((2, 2), distance), np.stack([np.eye(2)] * 2))
    start = jaxgmm.with_noise(jaxgmm.GMMParams(*(leaf.astype(dtype) for leaf in mixture)), jaxgmm.box_noise(x), 0.5)
    stats = jaxgmm.e_step(start, x)
    assert float(stats.noise_count) == pytest.approx(100, rel=10 * eps(dtype))
    for prior in (None, prior_of(x, 2.0)):
        stepped = jaxgmm.m_step(start, stats, prior=prior)
        result = jaxgmm.em(start, x, prior=prior)
        assert Status(int(result.status)).is_usable
        for leaf in jax.tree.leaves((stats, stepped, result.params, result.log_likelihood)):
            assert np.isfinite(leaf).all()
        np.testing.assert_allclose(stepped.mixture.covariances, start.mixture.covariances)
        assert float(stepped.noise_weight) == 1
        assert (jaxgmm.predict(result.params, x) == -1).all()
        assert np.isfinite(jaxgmm.responsibilities(result.params, x)).all()


def test_a_row_outside_of_the_region_and_far_from_the_mixture_is_a_failure_with_a_name(x64):
    x = scattered()
    result = jaxgmm.em(halves(x), np.r_[x, [[1e200, 0.0]]])
    assert result.status == Status.NON_FINITE


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
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((slopes.mixture, slopes.noise_weight)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: jaxgmm.box_noise(np.c_[x, np.ones(len(x))]), "x: expected finite rows that differ in every feature"),
        (lambda x: jaxgmm.box_noise(np.c_[x, np.ones(len(x))]), r"got feature 2 from 1.0 to 1.0 in float64: leave it"),
        (lambda x: jaxgmm.box_noise(pd.DataFrame({"a": x[:, 0], "b": 1.0})), "got column 'b' from 1.0 to 1.0"),
        (lambda x: jaxgmm.hull_noise(np.r_[x, [[np.nan, 1]]]), r"expected finite values, got \[nan  1.\] at row 300"),
        (lambda x: jaxgmm.hull_noise(np.c_[x, x, x, x] ** np.arange(1, 9)), "expected at most 7 features, got 8"),
        (lambda x: jaxgmm.hull_noise(np.c_[x[:, 0], 2 * x[:, 0]]), "x: expected rows that span a volume"),
        (lambda x: jaxgmm.with_noise(random_params(jaxgmm.FULL), jaxgmm.box_noise(x), 1.5), "weight: expected a share"),
        (lambda x: jaxgmm.with_noise(random_params(jaxgmm.FULL, d=3), jaxgmm.box_noise(x)), "noise: expected a region"),
    ],
)
def test_bad_regions_are_named(call, message, x64):
    with pytest.raises(ValueError, match=message):
        call(blobs())


def test_rows_of_no_region_are_named():
    for region in (jaxgmm.box_noise, jaxgmm.hull_noise):
        with pytest.raises(TypeError, match="x: expected"):
            region(["a", "b"])
    with pytest.raises(TypeError, match=r"x: expected rows whose values are known, .* outside of jit"):
        jax.jit(jaxgmm.hull_noise)(blobs())


def test_fits_with_noise_under_vmap_are_those_of_one_at_a_time():
    x = np.random.default_rng(0).normal(size=120).astype(np.float32)
    keys, noise = jax.random.split(jax.random.key(0), 2), jaxgmm.box_noise(x)

    def fit(key):
        return jaxgmm.fit(key, x, 2, noise=noise, n_init=2, max_iter=20).best.log_likelihood

    np.testing.assert_allclose(jax.vmap(fit)(keys), [float(fit(key)) for key in keys], rtol=1e-5)
