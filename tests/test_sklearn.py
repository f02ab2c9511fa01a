"""The estimator beyond scikit-learn's own tests of it: what it adds, and that it ends no lower."""

import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import problems as p
import pytest
from sklearn import mixture
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import jaxgmm
from jaxgmm.sklearn import GaussianMixture, from_sklearn, to_sklearn
from jaxgmm.sklearn.estimator import FITTED

X = p.FAITHFUL[:200]  # a size and shape that most tests here, and scikit-learn's own, share a program for
START = {
    "weights_init": np.array([0.4, 0.6]),
    "means_init": np.array([[2.0, 55.0], [4.3, 80.0]]),
    "precisions_init": np.stack([np.diag([10.0, 0.03])] * 2),
}


@pytest.fixture(scope="module")
def fitted():
    return GaussianMixture(2, random_state=0).fit(X)


@pytest.mark.parametrize("seed", range(3))
def test_it_ends_no_lower_than_scikit_learn(seed):
    ours, theirs = (kind(2, random_state=seed).fit(X) for kind in (GaussianMixture, mixture.GaussianMixture))
    assert ours.score(X) >= theirs.score(X)
    assert ours.lower_bound_ == pytest.approx(ours.score(X), rel=1e-12)


def test_its_scores_are_the_formula(fitted):
    params = jaxgmm.GMMParams(fitted.weights_, fitted.means_, fitted.covariances_)
    np.testing.assert_allclose(fitted.score_samples(X), p.oracle_log_prob(params, X), rtol=1e-12)
    np.testing.assert_allclose(fitted.predict_proba(X), p.oracle_responsibilities(params, X), atol=1e-12)


def test_it_takes_as_many_random_numbers_as_scikit_learn():
    ours, theirs = np.random.RandomState(0), np.random.RandomState(0)
    GaussianMixture(2, random_state=ours).fit(X)
    mixture.GaussianMixture(2, random_state=theirs).fit(X)
    assert ours.randint(2**30) == theirs.randint(2**30)


@pytest.mark.parametrize("enabled", [False, True])
def test_data_are_computed_in_their_own_precision_whatever_the_setting(enabled):
    with jax.enable_x64(enabled):
        double = GaussianMixture(2, random_state=0).fit(X)
        single = GaussianMixture(2, random_state=0).fit(X.astype(np.float32))
        assert jax.config.jax_enable_x64 == enabled
        assert {double.means_.dtype, double.predict_proba(X).dtype} == {np.dtype(np.float64)}
        assert {single.means_.dtype, single.predict_proba(X.astype(np.float32)).dtype} == {np.dtype(np.float32)}
        assert single.predict_proba(X).dtype == np.float64  # as scikit-learn does: the wider of the two
    assert single.lower_bound_ == pytest.approx(double.lower_bound_, rel=1e-5)


def test_weights_are_repetitions():
    weights = np.arange(len(X)) % 3
    weighted = GaussianMixture(2, **START).fit(X, sample_weight=weights)
    repeated = GaussianMixture(2, **START).fit(np.repeat(X, weights, axis=0))
    for name in ("weights_", "means_", "covariances_", "lower_bound_"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-6)
    assert weighted.score(X, sample_weight=weights) == pytest.approx(weighted.lower_bound_, rel=1e-9)
    labels = GaussianMixture(2, **START).fit_predict(X, sample_weight=5 * weights)
    np.testing.assert_array_equal(labels, weighted.predict(X))


def test_rows_of_weight_zero_are_not_there():
    outlier = np.concatenate([X, [[1e3, -1e3]]])
    without = GaussianMixture(2, random_state=0).fit(X)
    ignored = GaussianMixture(2, random_state=0).fit(outlier, sample_weight=np.append(np.ones(len(X)), 0))
    np.testing.assert_allclose(ignored.means_, without.means_, rtol=1e-9)


def test_weights_must_be_weights():
    with pytest.raises(ValueError, match="sample_weight"):
        GaussianMixture(2).fit(X, sample_weight=-np.ones(len(X)))
    with pytest.raises(ValueError, match="sample_weight"):
        GaussianMixture(2).fit(X, sample_weight=np.ones(3))


def check_family(family):
    """The family's maximum, in the shape and with the criteria it should have."""
    k, d = 2, X.shape[1]
    model = GaussianMixture(k, covariance_type=family.letters, reg_covar=0, tol=1e-8, random_state=0).fit(X)
    shape = {"EII": (k,), "VII": (k,), "EEE": (d, d)}.get(
        family.letters, (k, d, d)[: 2 if family.letters[2] == "I" else 3]
    )
    assert model.covariances_.shape == shape
    with jax.enable_x64(True):
        params = from_sklearn(model)
        np.testing.assert_allclose(model.score_samples(X), jaxgmm.log_prob(params, X), rtol=1e-12)
        assert model.bic(X) == pytest.approx(float(jaxgmm.bic(params, X, family=family)), rel=1e-12)
        further = jaxgmm.m_step(params, jaxgmm.e_step(params, X), family=family)
        gain = jaxgmm.score(further, X) - model.lower_bound_
        assert -1e-12 < float(gain) < 1e-9
    drawn, labels = model.sample(20_000)
    counts = np.bincount(labels, minlength=k)
    spread = np.array([np.cov(drawn[labels == j].T) for j in range(k)])
    sigma = p.matrices(params)
    sd = np.sqrt(np.diagonal(sigma, axis1=1, axis2=2))
    error = np.sqrt(2 / counts)[:, None, None] * sd[:, :, None] * sd[:, None, :]  # at most, of a normal's covariances
    assert (abs(spread - sigma) < 5 * error).all()


def test_a_family_of_mclust():
    check_family(jaxgmm.get_family("VEI"))


@pytest.mark.slow
@pytest.mark.parametrize("family", jaxgmm.FAMILIES, ids=p.family_id)
def test_every_family(family):
    check_family(family)


def test_names_of_families_are_listed_where_there_is_none():
    with pytest.raises(ValueError, match=r"covariance_type.*'VEV'.*Got 'VEX' instead"):
        GaussianMixture(covariance_type="VEX").fit(X)
    with pytest.raises(ValueError, match="precisions_init: expected None with covariance_type='VEV'"):
        GaussianMixture(2, covariance_type="VEV", **START).fit(X)


def test_the_status_says_why_it_stopped(fitted):
    assert fitted.status_ is jaxgmm.Status.CONVERGED
    assert len(fitted.lower_bounds_) == fitted.n_iter_
    assert fitted.lower_bounds_[-1] == fitted.lower_bound_
    assert np.diff(fitted.lower_bounds_).min() > -1e-12


def test_a_fit_cut_short_warns_and_goes_on_from_a_warm_start():
    cut = GaussianMixture(2, max_iter=2, tol=1e-9, random_state=0, warm_start=True)
    with pytest.warns(ConvergenceWarning, match="did not converge.*stopped at max_iter"):
        cut.fit(X)
    assert (cut.status_, cut.converged_, cut.n_iter_) == (jaxgmm.Status.MAX_ITER, False, 2)
    bounds = [cut.lower_bound_]
    with pytest.warns(ConvergenceWarning):
        bounds += [cut.fit(X).lower_bound_ for _ in range(2)]
    assert (np.diff(bounds) > 0).all()


def test_a_collapsed_component_warns():
    flat = np.c_[X[:100], X[:100].sum(1)]
    with pytest.warns(ConvergenceWarning, match="a covariance collapsed"):
        model = GaussianMixture(2, random_state=0).fit(flat)
    assert model.status_ is jaxgmm.Status.DEGENERATE
    assert np.isfinite(model.score(flat))


def test_equal_rows_apart_from_others_are_named():
    doubled = np.concatenate([X[:100], np.full((100, 2), 200.0)])
    with pytest.warns(ConvergenceWarning, match="no spread of their own"):
        model = GaussianMixture(2, random_state=0).fit(doubled)
    assert model.status_ is jaxgmm.Status.ISOLATED
    assert model.converged_
    np.testing.assert_array_equal(model.excess_ > 0, model.means_[:, 0] > 199)


def test_it_prints_what_the_best_start_did(capsys, fitted):
    GaussianMixture(2, random_state=0, verbose=1, verbose_interval=1).fit(X)
    lines = capsys.readouterr().out.splitlines()
    iterations = [f"  Iteration {i + 1}" for i in range(fitted.n_iter_)]
    assert lines == ["Initialization 0", *iterations, "Initialization converged."]


def test_it_is_cloned_and_pickled(fitted):
    pickled = pickle.dumps(fitted)
    assert b"jaxgmm.sklearn\x94" in pickled  # the path that users import, whatever file the class is in
    copied = pickle.loads(pickled)
    np.testing.assert_array_equal(copied.score_samples(X), fitted.score_samples(X))
    assert copied.status_ is fitted.status_
    with pytest.raises(NotFittedError):
        clone(fitted).predict(X)


def test_it_goes_into_a_pipeline_and_a_search():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), GaussianMixture(random_state=0)),
        {"gaussianmixture__n_components": [1, 2]},
        cv=2,
    )
    assert search.fit(X).best_params_ == {"gaussianmixture__n_components": 2}


def test_columns_keep_their_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["eruption", "waiting"])
    model = GaussianMixture(2, random_state=0).fit(frame, sample_weight=pandas.Series(np.ones(len(X))))
    assert model.feature_names_in_.tolist() == ["eruption", "waiting"]
    assert model.predict(frame).shape == (len(X),)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["waiting", "eruption"]])


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_mixtures_go_to_scikit_learn_and_back(covariance_type, x64):
    theirs = mixture.GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    params = from_sklearn(theirs)
    assert params.covariances.shape == jaxgmm.get_family(covariance_type).structure(2, 2)
    np.testing.assert_allclose(jaxgmm.log_prob(params, X), theirs.score_samples(X), rtol=1e-12)
    back = to_sklearn(params, random_state=0)
    assert back.covariance_type == covariance_type
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_array_equal(getattr(back, name), getattr(theirs, name))
    np.testing.assert_allclose(back.score_samples(X), theirs.score_samples(X), rtol=1e-12)
    np.testing.assert_array_equal(back.predict(X), theirs.predict(X))
    assert back.sample(3)[0].shape == (3, 2)


def test_a_diagonal_that_components_share_is_repeated(x64):
    params = jaxgmm.GMMParams(jnp.array([0.5, 0.5]), jnp.array([[2.0, 55.0], [4.3, 80.0]]), jnp.array([[0.2, 30.0]]))
    np.testing.assert_allclose(to_sklearn(params).score_samples(X), jaxgmm.log_prob(params, X), rtol=1e-12)


def test_weights_off_the_simplex_by_rounding_draw_rows():
    """Ten float32 tenths sum to more than one, and numpy refuses to draw by them."""
    weights = np.append(np.full(10, 0.1, np.float32), np.float32(0))
    assert weights.astype(float).sum() > 1
    means = np.arange(11, dtype=np.float32)[:, None]
    model = GaussianMixture(11, covariance_type="spherical", random_state=0)
    fitted = to_sklearn(jaxgmm.GMMParams(weights, means, np.ones((11, 1), np.float32)), random_state=0)
    model.__dict__.update({name: getattr(fitted, name) for name in FITTED})
    model.weights_ = weights  # as a fit in float32 leaves them
    for each in (model, fitted):
        counts = np.bincount(each.sample(1000)[1], minlength=11)
        assert abs(counts[:10] - 100).max() < 38  # four standard deviations
        assert counts[10] == 0


def test_what_cannot_be_converted_is_named(fitted):
    with pytest.raises(
        TypeError, match=r"model: expected a fitted sklearn\.mixture\.GaussianMixture, got StandardScaler"
    ):
        from_sklearn(StandardScaler())
    with pytest.raises(NotFittedError):
        from_sklearn(mixture.GaussianMixture())
    with pytest.raises(TypeError, match="params: expected GMMParams without a noise component"):
        to_sklearn(jaxgmm.with_noise(from_sklearn(fitted), jaxgmm.box_noise(X)))


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "jaxgmm.sklearn")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxgmm\[sklearn\]'"):
        import jaxgmm.sklearn  # noqa: F401
