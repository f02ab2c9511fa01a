"""scikit-learn's own tests of its ``GaussianMixture``, imported from where it is installed, the class swapped."""

import pytest
from sklearn.mixture.tests import test_gaussian_mixture as public
from sklearn.mixture.tests import test_mixture as public_of_mixtures
from sklearn.utils.estimator_checks import estimator_checks_generator

from jaxgmm.sklearn import GaussianMixture

pytestmark = pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")

EXCLUDED = {
    # They take arrays of other libraries. Here JAX does the computing, on numpy's, as the estimator's tags say.
    "test_gaussian_mixture_array_api_compliance",
    "test_gaussian_mixture_raises_where_array_api_not_implemented",
    # It counts calls of the private function that is scikit-learn's M-step.
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters",
    # They are about private functions, and would pass whatever the class.
    "test_compute_log_det_cholesky",
    "test_gaussian_mixture_log_probabilities",
    "test_gaussian_suffstat_sk_spherical",
    "test_suffstat_sk_diag",
    "test_suffstat_sk_full",
    "test_suffstat_sk_tied",
    # It pins a stream of random numbers: with this one EM ends, higher, where a component has a fortieth of the
    # weight, whose variance of 1.4 is then to be met within 0.15, two standard errors of its 474 draws.
    "test_sample",
}
# Compiling a program takes seconds. These need none that tests/test_sklearn.py does not need too, and are always run.
QUICK = {
    "test_gaussian_mixture_precisions_init",
    "test_means_for_all_inits",
    "test_mixture_n_components_greater_than_n_samples_error",
    "test_score_samples",
}
# These fit other numbers of features than two and three.
SLOW_CHECKS = {
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_fit2d_1feature",
    "check_n_features_in_after_fitting",
    "check_positive_only_tag_during_fit",
    "check_sample_weight_equivalence_on_dense_data",
}


def taken(module):
    """The tests of a module that are not excluded, and the marks of each: slow unless it is quick."""
    for name, test in vars(module).items():
        if name.startswith("test_") and name not in EXCLUDED:
            yield name, test, () if name in QUICK else (pytest.mark.slow,)


for _name, _test, _marks in taken(public):
    for _mark in _marks:
        _test = _mark(_test)
    globals()[_name] = _test


@pytest.fixture(autouse=True)
def swapped(monkeypatch):
    monkeypatch.setattr(public, "GaussianMixture", GaussianMixture)


@pytest.fixture(params=["float32", "float64"])
def global_dtype(request):
    return request.param


@pytest.fixture
def global_random_seed():
    return 42


def test_what_is_excluded_or_quick_is_there():
    names = set(vars(public)) | set(vars(public_of_mixtures))
    assert names >= EXCLUDED | QUICK


@pytest.mark.parametrize(
    "test", [pytest.param(test, id=name, marks=marks) for name, test, marks in taken(public_of_mixtures)]
)
def test_of_all_mixtures(test):
    test(GaussianMixture())


def checks():
    for estimator, check in estimator_checks_generator(GaussianMixture()):
        name = check.func.__name__
        yield pytest.param(estimator, check, id=name, marks=pytest.mark.slow if name in SLOW_CHECKS else ())


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_check_of_estimators(estimator, check):
    check(estimator)
