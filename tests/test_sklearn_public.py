"""scikit-learn's own tests of its ``GaussianMixture``, imported from where it is installed, the class swapped."""

import pytest
from sklearn.mixture.tests import test_gaussian_mixture as public
from sklearn.mixture.tests import test_mixture

from jaxgmm.sklearn import GaussianMixture

pytestmark = pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")

EXCLUDED = {
    # JAX does the computing: arrays of other libraries are not dispatched to, which the estimator's tags say.
    "test_gaussian_mixture_array_api_compliance",
    "test_gaussian_mixture_raises_where_array_api_not_implemented",
    # Counts calls of the private function that scikit-learn's M-step is.
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters",
}

globals().update(
    {name: test for name, test in vars(public).items() if name.startswith("test_") and name not in EXCLUDED}
)


@pytest.fixture(autouse=True)
def swapped(monkeypatch):
    monkeypatch.setattr(public, "GaussianMixture", GaussianMixture)


@pytest.fixture(params=["float32", "float64"])
def global_dtype(request):
    return request.param


@pytest.fixture
def global_random_seed():
    return 42


@pytest.mark.parametrize(
    "name", ["test_gaussian_mixture_n_iter", "test_mixture_n_components_greater_than_n_samples_error"]
)
def test_of_all_mixtures(name):
    getattr(test_mixture, name)(GaussianMixture())
