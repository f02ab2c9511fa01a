"""``GaussianMixture`` with the interface of scikit-learn and the fits of jaxgmm."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import jax
import numpy as np
from numpy.typing import ArrayLike
from sklearn import mixture
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..arrays import refuse_lost
from ..covariance.families import FAMILIES, get_family
from ..fitting.criteria import parameter_count
from ..fitting.spurious import refuse_singular
from ..fitting.standard import in_nats_of_weights
from ..mixture.density import joint_log_prob
from ..mixture.units import in_unit
from ..padding import pad_rows, padded_length
from ..types import FitResult, GMMParams, Status, describe
from .conversion import as_estimator, as_stored, from_sklearn, normalised, refuse_misread, type_of
from .starts import best_of_starts

TYPES = ("full", "tied", "diag", "spherical")  # of scikit-learn
TOL_SHARE = 0.1  # of tol: scikit-learn compares tol with the last gain, jaxgmm with the whole remaining gain
FEWEST_ACCELERATED = 20  # max_iter under which, as after a warm start, plain EM runs, whose iterations can be compared
FITTED = ("weights_", "means_", "covariances_", "precisions_cholesky_", "precisions_")

# Since version 1.8, the check takes the array library of its arguments
_TAKES_NAMESPACE = "xp" in inspect.signature(mixture.GaussianMixture._check_parameters).parameters
_NUMPY = {"xp": np} if _TAKES_NAMESPACE else {}

DID_NOT_CONVERGE = (
    "Best performing initialization did not converge. Try different init parameters, or increase max_iter, tol, or "
    "check for degenerate data. The fit's status: {}."
)

Method = TypeVar("Method", bound=Callable[..., Any])
_checked: Callable[[Method], Method] = _fit_context(prefer_skip_nested_validation=True)


class GaussianMixture(mixture.GaussianMixture):  # type: ignore[misc]
    r"""Gaussian mixture with the interface of :class:`sklearn.mixture.GaussianMixture`, row weights and more families.

    .. math:: \hat\theta = \arg\max_\theta \sum_i w_i \log \sum_j \phi_j N(x_i \mid \mu_j, \Sigma_j)

    Arguments, attributes and methods are those of scikit-learn, and fits start from the same partitions, drawn with its
    functions and random numbers. Differences:

    - ``fit``, ``fit_predict`` and ``score`` take ``sample_weight``. Partitions are drawn from all rows of positive
      weight alike.
    - ``covariance_type`` may also be a name of mclust, such as ``"VEV"``. ``covariances_`` then have the shape for
      ``"spherical"`` (EII, VII), ``"diag"`` (EEI, VEI, EVI, VVI), ``"tied"`` (EEE) or ``"full"`` (the rest).
    - A fit continues until the remaining gain, by Aitken's estimate, is below a tenth of ``tol``, where scikit-learn
      stops once the last gain was below ``tol``; it ends no lower. Momentum saves iterations, except with
      ``warm_start`` or ``max_iter`` < 20, where iterations are those of plain EM. For a fit that ends at
      ``max_iter``, ``converged_`` follows the rule of scikit-learn.
    - Of several starts the best fifth continue after fifteen iterations. A start that ends in a spurious maximum is
      chosen only where all do.
    - ``lower_bound_`` is that of the final parameters, ``lower_bounds_`` are those after each iteration.
    - ``status_`` says why the fit stopped, see :class:`jaxgmm.Status`. A fit that fails keeps the last usable
      parameters, with a warning. ``excess_`` are the nats that components have by lacking a spread of their own.

    Computations are in float64 for float64 data, whatever JAX's setting, which is not changed, and in float32 for
    float32 data. Rows are padded to one of few lengths, so that fits of about as many rows share compiled programs.

    Args:
        n_components: number of components, k.
        covariance_type: a covariance family.
        tol: gain per unit weight, in nats, below which a fit stops, see above.
        reg_covar: added to variances, in the features' units squared.
        max_iter: most EM iterations.
        n_init: number of starts.
        init_params: ``"kmeans"``, ``"k-means++"``, ``"random"`` or ``"random_from_data"``.
        weights_init: ``(k,)`` to start from.
        means_init: ``(k, d)`` to start from.
        precisions_init: inverse covariances to start from, in the shape of ``covariances_``; for the four covariance
            types of scikit-learn.
        random_state: seed or ``RandomState``.
        warm_start: whether a second ``fit`` starts from the result of the first.
        verbose: whether to print the iterations of the best start, after the compiled loop has ended.
        verbose_interval: print every so many iterations.

    Raises:
        ValueError: for arguments that scikit-learn refuses, and if no start has positive definite covariances.

    Example:
        >>> import jaxgmm
        >>> import numpy as np
        >>> x = jaxgmm.datasets.load_faithful().x[:200]
        >>> model = GaussianMixture(2, random_state=0).fit(x)
        >>> np.sort(model.means_[:, 0]).round(2).tolist(), model.converged_, model.status_.name
        ([2.02, 4.3], True, 'CONVERGED')

    Reference:
        Pedregosa et al. (2011), Scikit-learn: machine learning in Python, for the interface.
    """

    _parameter_constraints = {  # noqa: RUF012  (as in scikit-learn)
        **mixture.GaussianMixture._parameter_constraints,
        "covariance_type": [StrOptions({*TYPES, *(family.letters for family in FAMILIES)})],
    }

    weights_: np.ndarray  #: (k,)
    means_: np.ndarray  #: (k, d)
    covariances_: np.ndarray  #: in the shape of the covariance type
    precisions_: np.ndarray  #: their inverses
    precisions_cholesky_: np.ndarray  #: Cholesky factors of those
    converged_: bool
    n_iter_: int  #: iterations of the best start
    lower_bound_: float  #: mean log-likelihood, in nats
    lower_bounds_: list[float]  #: the same after each iteration
    status_: Status  #: why the fit stopped
    excess_: np.ndarray  #: (k,) nats
    n_features_in_: int

    if TYPE_CHECKING:  # the arguments are those of scikit-learn, which has no types

        def __init__(
            self,
            n_components: int = 1,
            *,
            covariance_type: str = "full",
            tol: float = 1e-3,
            reg_covar: float = 1e-6,
            max_iter: int = 100,
            n_init: int = 1,
            init_params: str = "kmeans",
            weights_init: ArrayLike | None = None,
            means_init: ArrayLike | None = None,
            precisions_init: ArrayLike | None = None,
            random_state: int | np.random.RandomState | None = None,
            warm_start: bool = False,
            verbose: int = 0,
            verbose_interval: int = 10,
        ) -> None: ...

    @_checked
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the mixture to rows ``(n, d)`` with weights ``(n,)``, default one each; ``y`` is not used."""
        # Arguments, checked by scikit-learn
        refuse_misread(X, sample_weight)
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        if X.shape[0] < self.n_components:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {self.n_components}, "
                f"n_samples = {X.shape[0]}"
            )
        self._check_parameters(X)
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        refuse_singular((get_family(self.covariance_type),), X, weights, self.reg_covar, None, "covariance_type")
        weights, unit = in_unit(weights)

        # The best of all starts, in the precision of the rows
        with jax.enable_x64(X.dtype == np.float64):
            best = best_of_starts(
                *self._starts(X, weights),
                *pad_rows((X, weights)),
                *(float(self.reg_covar), TOL_SHARE * self.tol, get_family(self.covariance_type), self.max_iter),
                self.max_iter >= FEWEST_ACCELERATED and not self.warm_start,
            )
        result, inverse = jax.device_get(best)
        self._set_attributes(in_nats_of_weights(result, unit), inverse, float(weights.sum()) * unit)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """Fit the mixture, and return the most probable component ``(n,)`` of each row."""
        labels: np.ndarray = self.fit(X, y, sample_weight).predict(X)
        return labels

    def _starts(self, X: np.ndarray, weights: np.ndarray) -> tuple[GMMParams, np.ndarray | None]:
        """Parameters to start from, and partitions ``(n_init, n, k)`` to estimate those that are None."""
        # Parameters of the fit before, or those that the user sets
        if self.warm_start and hasattr(self, "converged_"):
            self._print_verbose_msg_init_beg(0)
            return jax.tree.map(lambda leaf: np.asarray(leaf, X.dtype), from_sklearn(self)), None
        inverse = self.precisions_init
        if inverse is not None:
            inverse = np.linalg.inv(inverse) if self.covariance_type in ("full", "tied") else 1 / inverse
            inverse = as_stored(inverse, get_family(self.covariance_type), self.n_components, X.shape[1])
        initial = GMMParams(self.weights_init, self.means_init, inverse)
        initial = jax.tree.map(lambda leaf: np.asarray(leaf, X.dtype), initial)

        # Partitions of the rows of positive weight, drawn by scikit-learn
        counted, random_state = np.flatnonzero(weights > 0), check_random_state(self.random_state)
        rows = X[counted]
        partition = _Partition(**self.get_params(deep=False))
        partitions = np.zeros((self.n_init, padded_length(len(weights)), self.n_components), X.dtype)
        for index in range(self.n_init):
            self._print_verbose_msg_init_beg(index)
            partition._initialize_parameters(rows, random_state)
            if partition.responsibilities is not None:
                partitions[index, counted] = partition.responsibilities
        return initial, None if partition.responsibilities is None else partitions

    def _check_parameters(self, X: np.ndarray, xp: Any = None) -> None:
        if self.precisions_init is not None and self.covariance_type not in TYPES:
            raise ValueError(
                f"precisions_init: expected None with covariance_type={self.covariance_type!r}, got an array of shape "
                f"{np.shape(self.precisions_init)}"
            )
        super()._check_parameters(X, **_NUMPY)

    def _set_attributes(self, result: FitResult, inverse: np.ndarray, total_weight: float) -> None:
        """Set the attributes of a fit: parameters, lower bounds, status and convergence."""
        # Parameters
        best = result.best
        fitted = as_estimator(best.params, inverse, type_of(get_family(self.covariance_type)))
        self.__dict__.update({name: getattr(fitted, name) for name in FITTED})

        # Lower bounds after each iteration
        self.excess_ = np.asarray(result.excess)
        self.n_iter_, self.status_ = int(best.n_iter), Status(int(best.status))
        bounds = np.append(best.history[: self.n_iter_], best.log_likelihood) / total_weight
        self.lower_bounds_, self.lower_bound_ = bounds[1:].tolist(), float(bounds[-1])
        changes = np.diff(bounds)
        for index, change in enumerate(changes):
            self._print_verbose_msg_iter_end(index + 1, change)

        # Convergence
        is_flat = self.status_ is Status.MAX_ITER and bool((abs(changes[-1:]) < self.tol).any())
        self.converged_ = bool(best.converged) or is_flat
        self._print_verbose_msg_init_end(self.lower_bound_, self.converged_)
        if self.status_ is Status.ISOLATED:
            warnings.warn(describe(self.status_), ConvergenceWarning, stacklevel=2)
        if not self.converged_ and self.max_iter > 0:
            warnings.warn(DID_NOT_CONVERGE.format(describe(self.status_)), ConvergenceWarning, stacklevel=2)

    def _estimate_weighted_log_prob(self, X: np.ndarray, xp: Any = None) -> np.ndarray:
        dtype = np.float32 if np.result_type(self.means_, X) == np.float32 else np.float64
        with jax.enable_x64(dtype == np.float64):
            params = jax.tree.map(lambda leaf: leaf.astype(dtype), from_sklearn(self))
            return np.array(joint_log_prob(params, X.astype(dtype)))

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-density ``(n,)`` of each row, in nats."""
        refuse_misread(X)
        return super().score_samples(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable component ``(n,)`` of each row."""
        refuse_misread(X)
        return super().predict(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities ``(n, k)`` of each row's components."""
        refuse_misread(X)
        return super().predict_proba(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean log-likelihood of the rows, in nats, weighted by ``sample_weight``; ``y`` is not used."""
        scores = self.score_samples(X)
        if sample_weight is not None:
            refuse_lost(sample_weight, "sample_weight")
            sample_weight = _check_sample_weight(sample_weight, scores, ensure_non_negative=True)
        return float(np.average(scores, weights=sample_weight))

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows ``(n, d)`` from the mixture, with their components ``(n,)``, in the order of components."""
        check_is_fitted(self)
        shape = type_of(get_family(self.covariance_type))
        fitted = mixture.GaussianMixture(self.n_components, covariance_type=shape, random_state=self.random_state)
        fitted.__dict__.update({name: getattr(self, name) for name in FITTED})
        fitted.weights_ = normalised(fitted.weights_)
        return fitted.sample(n_samples)

    def _n_parameters(self) -> int:
        return parameter_count(get_family(self.covariance_type), *self.means_.shape)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.array_api_support = False
        return tags


class _Partition(mixture.GaussianMixture):  # type: ignore[misc]
    """An estimator of scikit-learn that keeps the partition it draws, and fits nothing."""

    responsibilities: np.ndarray | None

    def _initialize(self, X: np.ndarray, resp: np.ndarray | None, xp: Any = None) -> None:
        self.responsibilities = resp
