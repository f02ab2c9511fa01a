"""Conversion of fitted mixtures between jaxgmm and scikit-learn."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from sklearn import mixture
from sklearn.utils.validation import check_is_fitted

from .. import checks, linalg
from ..arrays import as_numbers, column_names, columns_of, refuse_lost
from ..covariance.families import Family, get_family
from ..types import GMMParams, NoisyGMMParams

SINGULAR = (
    "Fitting the mixture model failed because some components have ill-defined empirical covariance (for instance "
    "caused by singleton or collapsed samples). Try to decrease the number of components, increase reg_covar, or scale "
    "the input data."
)


def from_sklearn(model: mixture.GaussianMixture) -> GMMParams:
    """Convert a fitted estimator of scikit-learn to a mixture of jaxgmm.

    Args:
        model: a fitted ``GaussianMixture`` of scikit-learn or of this module, or a ``BayesianGaussianMixture``, whose
            expected parameters are taken.

    Returns:
        :class:`jaxgmm.GMMParams`, in the shape of the estimator's covariance type; in float64 only where JAX's
        setting allows it.

    Raises:
        TypeError: if ``model`` is no mixture of scikit-learn.
        sklearn.exceptions.NotFittedError: if ``model`` is not fitted.

    Example:
        >>> import jaxgmm
        >>> x = jaxgmm.datasets.load_faithful().x
        >>> params = from_sklearn(mixture.GaussianMixture(2, covariance_type="diag", random_state=0).fit(x))
        >>> params.covariances.shape, jaxgmm.predict(params, x).shape
        ((2, 2), (272,))
    """
    if not isinstance(model, mixture.GaussianMixture | mixture.BayesianGaussianMixture):
        raise TypeError(f"model: expected a fitted sklearn.mixture.GaussianMixture, got {type(model).__name__}")
    check_is_fitted(model)
    covariances = as_stored(model.covariances_, get_family(model.covariance_type), *model.means_.shape)
    return GMMParams(*(jnp.asarray(leaf) for leaf in (model.weights_, model.means_, covariances)))


def to_sklearn(params: GMMParams, **arguments: Any) -> mixture.GaussianMixture:
    """Convert a mixture to a fitted estimator of scikit-learn.

    Args:
        params: the mixture, k components in d features. The shape of its covariances determines the covariance
            type; a diagonal that components share is repeated.
        arguments: other arguments of the estimator, such as ``random_state`` for its ``sample``.

    Returns:
        A fitted :class:`sklearn.mixture.GaussianMixture`; with ``warm_start=True`` its ``fit`` goes on from ``params``.

    Raises:
        TypeError: if ``params`` are no :class:`jaxgmm.GMMParams`, or have a noise component.
        ValueError: if shapes do not fit together, mixing weights do not sum to one, or a covariance is not positive
            definite.

    Example:
        >>> params = GMMParams(jnp.array([0.5, 0.5]), jnp.array([[0.0], [4.0]]), jnp.ones((2, 1, 1)))
        >>> to_sklearn(params).predict(np.array([[-1.0], [5.0]])).tolist()
        [0, 1]
    """
    params = checks.as_params(params)
    checks.proportions(params)
    if isinstance(params, NoisyGMMParams):
        raise TypeError("params: expected GMMParams without a noise component, which scikit-learn does not have")
    (k, d), shape = params.means.shape, params.covariances.shape
    of_matrices = "full" if shape[0] == k else "tied"
    of_diagonals = "diag" if shape[-1] == d else "spherical"
    inverse = linalg.factorize(params.covariances, d).inverse
    model = as_estimator(params, inverse, of_matrices if len(shape) == 3 else of_diagonals, **arguments)
    model.weights_ = normalised(model.weights_)
    model.n_features_in_, model.n_iter_, model.converged_ = d, 0, True
    model.lower_bound_, model.lower_bounds_ = -np.inf, []
    return model


def refuse_misread(X: Any, sample_weight: Any = None) -> None:
    """Raise, naming argument and column, where scikit-learn would drop a mask, or take times or text for numbers."""
    if columns_of(X) is None:
        refuse_lost(X, "X")
        if isinstance(X, list):
            as_numbers(X, "X")
    elif not np.isfinite(rows := as_numbers(X, "X")).all():
        row, feature = np.argwhere(~np.isfinite(rows))[0]
        where = f"row {row}, column {column_names(X)[feature]!r}"
        raise ValueError(f"X: expected finite values, got {rows[row, feature]} at {where}")
    refuse_lost(sample_weight, "sample_weight")


def normalised(weights: np.ndarray) -> np.ndarray:
    """Mixing weights in float64, where those of float32 may sum to more than one, by which numpy does not draw."""
    exact = weights.astype(np.float64)
    return exact if abs(exact.sum() - 1) < 1e-12 else exact / exact.sum()


def type_of(family: Family) -> str:
    """The covariance type of scikit-learn whose covariances have the shape of a family of jaxgmm."""
    if family.letters[2] == "I":
        return "spherical" if family.letters[1] == "I" else "diag"
    return "tied" if family.letters == "EEE" else "full"


def as_estimator(
    params: GMMParams, inverse: ArrayLike, covariance_type: str, **arguments: Any
) -> mixture.GaussianMixture:
    """An estimator of scikit-learn with parameters and inverse Cholesky factors set as after a fit."""
    weights, means, covariances, factors = (np.array(leaf) for leaf in (*params, inverse))
    if not np.isfinite(factors).all():
        raise ValueError(SINGULAR)
    if covariance_type in ("full", "tied"):
        factors = factors.swapaxes(1, 2)
    part: Any = {"tied": 0, "spherical": (..., 0)}.get(covariance_type, ...)
    spread = (np.repeat(values, len(means) // len(values), axis=0)[part] for values in (covariances, factors))
    model = mixture.GaussianMixture(len(means), covariance_type=covariance_type, **arguments)
    model._set_parameters((weights, means, *spread))
    return model


def as_stored(covariances: np.ndarray, family: Family, k: int, d: int) -> np.ndarray:
    """Covariances in the shape in which ``family`` stores them, from the shape in which scikit-learn does."""
    structure = family.structure(k, d)
    return covariances.reshape(structure) if len(structure) == 3 else covariances.reshape(k, -1)[: structure[0]]
