"""The ends of the dtype's range: what it cannot hold is no success, and factors of weights change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm.mixture.units import in_unit
from jaxgmm.sklearn import GaussianMixture

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = np.float32(np.r_[RNG.normal(0, 1, (60, 2)), RNG.normal(6, 1, (40, 2))])


def fit(x, **options):
    return jaxgmm.fit(KEY, x, 2, n_init=2, **options)


@pytest.fixture(scope="module")
def plain():
    return fit(X)


@pytest.mark.parametrize("factor", [1e20, 1e-25])
def test_covariances_beyond_the_range_are_no_success(factor):
    result = fit(X * np.float32(factor))
    assert result.best.status == jaxgmm.Status.NON_FINITE
    with pytest.raises(jaxgmm.FitError, match="units in which this dtype does not hold variances: divide x"):
        jaxgmm.raise_if_failed(result)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_nor_are_they_in_float64(x64, factor):
    assert fit(X.astype(float) * factor).best.status == jaxgmm.Status.NON_FINITE


def test_a_search_and_the_estimator_say_so():
    with pytest.raises(jaxgmm.FitError, match=r"none of 1 models came to a usable end; the first: .* divide x"):
        jaxgmm.select(KEY, X * np.float32(1e20), [2], families=["EEE"], n_init=2)
    with pytest.raises(ValueError, match="scale the input data"):
        GaussianMixture(2, init_params="random", random_state=0).fit(X * np.float32(1e20))


def test_within_the_range_units_change_nothing(plain):
    for factor in (1e-17, 1e17):
        result = fit(X * np.float32(factor))
        assert result.best.status == jaxgmm.Status.CONVERGED
        np.testing.assert_allclose(result.best.params.means / factor, plain.best.params.means, atol=1e-4)


def test_numbers_that_float32_has_not_are_refused():
    message = r"x: expected numbers within the range of float32, 3.4e\+38, got .*e\+\d+: divide by a constant"
    with pytest.raises(ValueError, match=message):
        fit(X.astype(float) * 1e200)
    with pytest.raises(ValueError, match="x: expected finite values"):
        fit(np.where(X.astype(float) > 5, np.inf, X))


@pytest.mark.parametrize("factor", [1e36, 1e-38])
def test_a_common_factor_of_weights_changes_nothing(plain, factor):
    result = fit(X, weights=np.full(100, factor, np.float32))
    assert result.best.status == jaxgmm.Status.CONVERGED
    for found, expected in zip(result.best.params, plain.best.params, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("factor", [1e30, 1e-30])
def test_nats_are_those_of_the_weights(plain, factor):
    result = fit(X, weights=np.full(100, factor, np.float32))
    assert float(result.best.log_likelihood) == pytest.approx(float(plain.best.log_likelihood) * factor, rel=1e-4)
    assert float(result.best.history[0]) == pytest.approx(float(plain.best.history[0]) * factor, rel=1e-4)
    np.testing.assert_allclose(result.log_likelihoods, plain.log_likelihoods * factor, rtol=1e-4)


def test_a_search_and_the_estimator_take_such_weights():
    weights = np.full(100, 1e-38, np.float32)
    with pytest.warns(UserWarning, match="weights: expected counts"):  # they are none to a criterion
        found = jaxgmm.select(KEY, X, [2], families=["EEE"], n_init=2, criterion="aic", weights=weights)
    expected = jaxgmm.select(KEY, X, [2], families=["EEE"], n_init=2, criterion="aic")
    np.testing.assert_allclose(found.best.params.means, expected.best.params.means, atol=1e-4)
    np.testing.assert_allclose(found.log_likelihoods, 1e-38 * expected.log_likelihoods.astype(float), rtol=1e-4)
    model, same = (GaussianMixture(2, random_state=0).fit(X, sample_weight=w) for w in (weights, None))
    np.testing.assert_allclose(model.means_, same.means_, atol=1e-4)
    assert model.lower_bound_ == pytest.approx(same.lower_bound_, rel=1e-5)


def test_single_extreme_weights_are_right_or_refused(plain):
    tiny = fit(X, weights=np.where(np.arange(100) == 3, np.float32(1e-44), np.float32(1)))
    without = fit(X, weights=np.arange(100) != 3)
    np.testing.assert_allclose(tiny.best.params.means, without.best.params.means, atol=1e-4)
    with pytest.raises(ValueError, match="n_components: expected at most 1, the number of rows of x with weight"):
        fit(X, weights=np.where(np.arange(100) == 3, np.float32(1e37), np.float32(1)))
    heavy = fit(X, weights=np.where(np.arange(100) == 3, 1e6, 1.0))  # a component on that row has no maximum
    assert heavy.best.status in (jaxgmm.Status.DEGENERATE, jaxgmm.Status.ISOLATED)


def test_the_unit_of_weights_is_a_power_of_two_and_one_by_default():
    weights = np.array([1.0, 2.5, 0.0], np.float32)
    assert in_unit(weights) == (weights, 1.0)
    found, unit = in_unit(jnp.asarray(weights * np.float32(2.0**100)))
    np.testing.assert_array_equal(found * unit, weights * np.float32(2.0**100))
