"""float64 and whole numbers beside JAX's default float32: no digit is lost that matters, and none without a word."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxgmm

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = np.r_[RNG.normal(0, 1, (60, 2)), RNG.normal(6, 1, (40, 2))]
BURSTS = np.concatenate([np.arange(60), 300 + np.arange(60)])  # seconds
DEVIATION = np.sqrt((60**2 - 1) / 12)  # uniform on 60 whole numbers
START = jaxgmm.GMMParams(np.ones(2) / 2, np.array([[0.0, 0.0], [6.0, 6.0]]), np.stack([np.eye(2)] * 2))
FAR = 1e8  # float32 is eight apart there


def fit(x, **options):
    return jaxgmm.fit(KEY, x, 2, n_init=2, **options)


def fit_rounded(x, **options):
    with pytest.warns(UserWarning, match="x: means of feature 0 are rounded to float32, whose numbers near"):
        return fit(x, **options)


@pytest.fixture(scope="module")
def near():
    return fit(X)


def same_but_moved(result, near):
    assert result.best.status == jaxgmm.Status.CONVERGED
    assert float(result.best.log_likelihood) == pytest.approx(float(near.best.log_likelihood), abs=1e-3)
    np.testing.assert_allclose(result.best.params.covariances, near.best.params.covariances, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(result.best.params.means, np.float32(near.best.params.means.astype(float) + FAR))


def test_an_offset_changes_nothing_but_the_means(near):
    assert float(near.best.log_likelihood) == pytest.approx(-340.5667, abs=1e-3)
    same_but_moved(fit_rounded(X + FAR), near)
    same_but_moved(fit_rounded(pd.DataFrame(X + FAR).to_numpy(dtype=object)), near)


def test_a_start_lies_where_the_rows_do(near):
    same_but_moved(fit_rounded(X + FAR, start=START._replace(means=START.means + FAR)), near)


@pytest.mark.slow
def test_noise_lies_where_the_rows_do():
    with jax.enable_x64(True):  # for the region's own digits
        box, far_box = jaxgmm.box_noise(X), jax.tree.map(np.asarray, jaxgmm.box_noise(X + 1000.0))
    noisy, moved = fit(X, noise=box), fit(X + 1000.0, noise=far_box)
    assert float(moved.best.log_likelihood) == pytest.approx(float(noisy.best.log_likelihood), abs=0.01)
    np.testing.assert_array_equal(moved.best.params.noise.lower, np.float32(far_box.lower))
    np.testing.assert_allclose(moved.best.params.mixture.means, noisy.best.params.mixture.means + 1000, atol=1e-3)


@pytest.mark.slow
def test_a_prior_lies_where_the_rows_do():
    prior = jaxgmm.default_prior(X, 2)
    by_rule, near = fit_rounded(X + FAR, prior=jaxgmm.default_prior), fit(X, prior=prior)
    same_but_moved(by_rule, near)
    same_but_moved(fit_rounded(X + FAR, prior=prior._replace(mean=np.asarray(prior.mean, float) + FAR)), near)


@pytest.mark.parametrize("unit", [1, 10**9])
@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_time_stamps_keep_their_seconds(dtype, unit):
    params = fit_rounded(((1_700_000_000 + BURSTS) * unit).astype(dtype), family="V").best.params
    np.testing.assert_allclose(params.covariances.ravel(), (DEVIATION * unit) ** 2, rtol=1e-4)
    means = np.sort(np.asarray(params.means, float).ravel())
    np.testing.assert_array_equal(means, np.float32((1.7e9 + np.array([29.5, 329.5])) * unit))


@pytest.mark.slow
def test_whole_numbers_beyond_float64(x64):
    with pytest.warns(UserWarning, match="are rounded to float64, whose numbers near 1.7e.18 are 2.6e.02 apart"):
        result = fit(1_700_000_000 * 10**9 + BURSTS, family="V", max_iter=20)
    np.testing.assert_allclose(result.best.params.covariances.ravel(), DEVIATION**2, rtol=1e-4)


def test_a_search_is_of_the_rows_as_given():
    search = {"n_components": [1, 2], "families": ["EEE"], "n_init": 2}
    near = jaxgmm.select(KEY, X, **search)
    with pytest.warns(UserWarning, match="means of feature 0 are rounded to float32"):
        far = jaxgmm.select(KEY, X + FAR, **search)
    np.testing.assert_allclose(far.table, near.table, atol=0.01)
    np.testing.assert_array_equal(far.best.params.means, np.float32(near.best.params.means.astype(float) + FAR))


def test_the_warning_names_the_column():
    frame = pd.DataFrame({0: X[:, 0], "b": X[:, 1] + FAR})
    with pytest.warns(UserWarning, match="means of column 'b' are rounded to float32"):
        fit(frame)
    with pytest.warns(UserWarning, match="means of column 'b' are rounded to float32"):
        jaxgmm.select(KEY, frame, [1], families=["EEE"], n_init=1)


def test_values_that_no_reference_holds_apart_are_named():
    two_places = np.where(np.arange(100)[:, None] < 60, X, X + FAR)
    with pytest.warns(UserWarning, match="x: float32 merges values of feature 0 near 1e.08 that differ: subtract"):
        fit(two_places)
    with pytest.warns(UserWarning, match="x: float32 merges values"):  # the rule sees rows where they lie
        fit(X + FAR, prior=lambda *arguments, family: jaxgmm.default_prior(*arguments, family=family))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: jaxgmm.predict(START, x),
        lambda x: jaxgmm.score(START, x),
        lambda x: jaxgmm.em(START, x, max_iter=1),
        lambda x: jaxgmm.icl(START, x),
        lambda x: jaxgmm.em_batch(jax.tree.map(lambda leaf: leaf[None], START), x, max_iter=1),
        lambda x: jaxgmm.seeding.from_labels(x, np.arange(100) % 2, 2),
        lambda x: jaxgmm.default_prior(x, 2),
        lambda x: jaxgmm.classification.fit_classes(KEY, x, np.arange(100) % 2),
    ],
)
def test_functions_of_parameters_say_what_they_cannot_tell_apart(call):
    with pytest.warns(UserWarning, match="x: float32 merges values of feature 1 near 1e.08 that differ") as caught:
        call(np.c_[X[:, 0], X[:, 1] + FAR])
    assert caught[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        call(X + 1000.0)


@pytest.mark.parametrize("x", [X + 1000.0, X * 1e8, np.round(X), np.round(X) + (X > 5) * 1e-16, np.exp(3 * X)])
def test_no_word_where_nothing_is_lost(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(x)


def test_rows_that_are_float32_already_are_left_alone(near):
    same = fit(jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(same.best.params.means, near.best.params.means, atol=1e-4)
    metres = fit(np.float32(2 * X + np.array([5e5, 4.65e6])))
    assert np.linalg.eigvalsh(metres.best.params.covariances).min() > 1
