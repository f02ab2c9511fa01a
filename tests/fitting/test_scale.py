"""The scale within components decides on ridge, collapse and digits, whatever lies between and beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import FAITHFUL, blobs, eps
from sklearn.mixture import GaussianMixture

import jaxgmm
from jaxgmm import Status
from jaxgmm.mixture.moments import quantiles

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
ONE, OTHER = RNG.normal(size=200), RNG.normal(size=200)
slow = pytest.mark.slow


def by_mean(params):
    """Weights, means and standard deviations of one feature, by increasing mean."""
    order = np.argsort(params.means[:, 0])
    variances = np.asarray(params.covariances).reshape(len(order), -1)[order, 0]
    return np.asarray(params.weights)[order], np.asarray(params.means)[order, 0], np.sqrt(variances)


def two_clusters(separation, outlier=None, code=None):
    """Two clusters of standard deviation one; one row far out; a code in a hundredth of the rows."""
    x = np.r_[ONE, OTHER + separation]
    if code is not None:
        x[::100] = code
    return x if outlier is None else np.r_[x, -outlier]


@pytest.mark.parametrize("separation", [1e3, *(pytest.param(s, marks=slow) for s in (1e4, 1e5, 1e6))])
def test_far_clusters_have_their_own_moments(separation, dtype):
    x = two_clusters(separation).astype(dtype)
    best = jaxgmm.fit(KEY, x, 2).best
    assert best.status == Status.CONVERGED
    weights, means, deviations = by_mean(best.params)
    parts = x.astype(float).reshape(2, 200)
    np.testing.assert_allclose(weights, 0.5, atol=1e-6)
    rounding = 2 * eps(dtype) * separation  # of a row, in standard deviations
    np.testing.assert_allclose(means, parts.mean(1), atol=rounding + 1e-6)
    np.testing.assert_allclose(deviations, parts.std(1), rtol=1e-6 + rounding)


CASES = [(1e3, 1e5, None), (6, None, -9999.0)]
SLOW_CASES = [(s, o, c) for s in (1, 6, 1e3, 1e6) for o, c in ((None, None), (1e2, None), (1e4, None), (1e9, None))]
SLOW_CASES += [(s, o, c) for s in (6, 1e6) for o in (None, 1e9) for c in (-9999.0, 1e30)]


CASES += [pytest.param(*case, marks=slow) for case in SLOW_CASES]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # EM without momentum is slow here
@pytest.mark.parametrize(("separation", "outlier", "code"), CASES)
def test_no_lower_than_scikit_learn(separation, outlier, code, x64):
    """Its best of ten, with a ridge of 1e-6 of each cluster's variance."""
    x, k = two_clusters(separation, outlier, code), 2 + (outlier is not None) + (code is not None)
    result = jaxgmm.fit(KEY, x, k)
    assert jaxgmm.is_usable(result.best.status)
    other = GaussianMixture(k, n_init=10, random_state=0, reg_covar=1e-6, tol=1e-9, max_iter=1000).fit(x[:, None])
    assert float(result.best.log_likelihood) > other.score(x[:, None]) * len(x) - 1e-3


@pytest.mark.parametrize("outlier", [1e3, *(pytest.param(o, marks=slow) for o in (1e2, 1e5, 1e9))])
def test_an_outlier_costs_the_others_nothing(outlier, dtype):
    """The row is a component of its own, and named; the two clusters are as without it."""
    alone = jaxgmm.fit(KEY, two_clusters(6).astype(dtype), 2).best.params
    result = jaxgmm.fit(KEY, two_clusters(6, outlier).astype(dtype), 3)
    assert result.best.status == Status.ISOLATED
    assert jaxgmm.is_usable(result.best.status)
    np.testing.assert_array_equal(np.asarray(result.excess) > 0, result.best.params.means[:, 0] < -outlier / 2)
    for value, expected in zip(by_mean(result.best.params)[1:], by_mean(alone)[1:], strict=True):
        np.testing.assert_allclose(value[1:], expected, atol=2e-3)  # tol of nats allows for so much


@slow
def test_a_search_names_the_component_too(x64):
    x = two_clusters(6, 1e4)
    found = jaxgmm.select(KEY, x, [3], families=["V"], n_init=4)
    assert found.status == Status.ISOLATED
    excess = np.asarray(found.excess)
    np.testing.assert_array_equal(excess > 0, found.params.means[:, 0] < -5e3)
    expected = float(jaxgmm.bic(found, x)) + 2 * excess.sum()
    assert float(np.nanmin(found.table)) == pytest.approx(expected, abs=1e-3)
    assert "without spread  components [2]" in repr(found)


@pytest.mark.parametrize("k", [pytest.param(2, marks=slow), 3])
def test_a_code_for_missing_entries_is_a_component(k, dtype):
    rng = np.random.default_rng(0)
    x = np.r_[0.05 * rng.normal(size=(700, 2)), 1 + 0.05 * rng.normal(size=(300, 2))]
    x[::97] = -9999
    result = jaxgmm.fit(KEY, x.astype(dtype), k)
    assert result.best.status == Status.ISOLATED
    np.testing.assert_array_equal(np.asarray(result.excess) > 0, result.best.params.means[:, 0] < -9998)
    if k == 3:
        np.testing.assert_allclose(result.best.params.weights, [0.692, 0.297, 0.011], atol=1e-3)
        deviations = np.sqrt(np.asarray(result.best.params.covariances)[:2, [0, 1], [0, 1]])
        parts = [rows[rows[:, 0] > -9000] for rows in (x[:700], x[700:])]
        np.testing.assert_allclose(deviations, [rows.std(0) for rows in parts], rtol=1e-3)


def test_a_row_at_a_million_millions(dtype):
    x = np.r_[np.random.default_rng(0).normal(size=(200, 2)), [[1e12, 1e12]]]
    result = jaxgmm.fit(KEY, x.astype(dtype), 2)
    assert result.best.status == Status.ISOLATED
    bulk = np.asarray(result.best.params.covariances[0])
    np.testing.assert_allclose(bulk, np.cov(x[:200].T, bias=True), atol=1e-4)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_units_and_shift_change_nothing(scale, x64):
    x = two_clusters(1e3, 1e5)
    a, b = (jaxgmm.fit(KEY, rows, 3) for rows in (x, scale * (x + 50)))
    assert a.best.status == b.best.status  # of restarts at one maximum, rounding decides which are run to their ends
    np.testing.assert_allclose(a.excess, b.excess, rtol=1e-4)
    (_, means, deviations), (_, moved, scaled) = by_mean(a.best.params), by_mean(b.best.params)
    np.testing.assert_allclose(moved / scale - 50, means, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(scaled / scale, deviations, rtol=1e-5)


def test_the_ridge_moves_a_variance_by_its_own_part(x64):
    x = np.r_[ONE, 1e-4 * OTHER + 8]
    (_, _, deviations), (_, _, wider) = (by_mean(jaxgmm.fit(KEY, x, 2, ridge=r).best.params) for r in (1e-6, 1e-2))
    np.testing.assert_allclose(deviations, [ONE.std(), 1e-4 * OTHER.std()], rtol=1e-5)
    np.testing.assert_allclose(wider, deviations * np.sqrt(1.01), rtol=1e-5)


PLANE = np.c_[FAITHFUL, FAITHFUL.sum(1)]
IN_A_PLANE = {
    "a sum": (PLANE, 1, {}),
    "a sum, a larger ridge": (PLANE, 1, {"ridge": 1e-4}),
    "a repeated column": (np.c_[FAITHFUL, FAITHFUL[:, 0]], 2, {}),
    "one in other units": (np.c_[FAITHFUL, 1e5 * FAITHFUL[:, 0] + 3], 2, {}),
    "a constant column": (np.c_[FAITHFUL, np.ones(272)], 2, {}),
    "equal covariances": (PLANE, 2, {"family": "tied"}),
    "more features than rows": (np.random.default_rng(0).normal(size=(20, 30)), 1, {}),
}


LIKE_OTHERS = ("one in other units", "a constant column", "a sum, a larger ridge", "equal covariances")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[slow] * (n in LIKE_OTHERS)) for n in IN_A_PLANE])
def test_data_in_a_plane_are_degenerate(name, dtype):
    """Their likelihood is what the ridge makes it."""
    x, k, options = IN_A_PLANE[name]
    result = jaxgmm.fit(KEY, x.astype(dtype), k, n_init=2, **options)
    assert (np.asarray(result.statuses) == Status.DEGENERATE).all()
    assert (np.asarray(result.excess) > 0).all()


ATOM = np.r_[np.ones(45), 1 + np.linspace(0.05, 2, 55)]


def test_a_start_without_all_components_outranks_no_other(dtype):
    """Two equal rows drawn as centres are a fit of one component, which is no answer where all others collapse."""
    result = jaxgmm.fit(KEY, ATOM.astype(dtype), 2, family="V")
    assert result.best.status == Status.DEGENERATE
    np.testing.assert_allclose(result.best.params.weights, [0.55, 0.45], atol=1e-2)  # stopped amid its collapse
    np.testing.assert_array_equal(np.asarray(result.excess) > 0, [False, True])


def test_components_that_coincide_are_no_maximum(dtype):
    start = jaxgmm.GMMParams(np.full(2, 0.5), np.full((2, 1), 1.5), np.ones((2, 1)))
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), start)
    assert jaxgmm.fit(KEY, ONE.astype(dtype), 2, family="V", start=start).best.status == Status.DEGENERATE


def test_a_component_of_weight_zero_is_asked_nothing(dtype):
    x = np.r_[blobs(200, k=1), blobs(200, k=1) + 8].astype(dtype)
    covariances = np.array([np.eye(2), np.eye(2), np.diag([1e-30, 1.0])])
    dead = jaxgmm.GMMParams(np.array([0.5, 0.5, 0]), np.array([[0.0, 0], [8, 8], [100, 100]]), covariances)
    dead = jax.tree.map(lambda leaf: leaf.astype(dtype), dead)
    two = jax.tree.map(lambda leaf: leaf[:2], dead)
    expected = jaxgmm.fit(KEY, x, 2, start=two).best
    for result in (jaxgmm.fit(KEY, x, 3, start=dead).best, jaxgmm.em(dead, x)):
        assert result.status == Status.CONVERGED
        assert float(result.log_likelihood) == pytest.approx(float(expected.log_likelihood), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_quantiles_are_those_of_repeated_rows(seed, dtype):
    rng = np.random.default_rng(seed)
    x = (rng.standard_cauchy((101, 3)) * [1, 1e-30, 1e30]).astype(dtype)
    weights = rng.integers(0, 4, 101)
    expected = np.quantile(np.repeat(x, weights, axis=0), [0.25, 0.5, 0.75], axis=0, method="inverted_cdf")
    found = quantiles(jnp.asarray(x), jnp.asarray(weights, dtype), np.array([0.25, 0.5, 0.75]))
    np.testing.assert_array_equal(found, expected)
