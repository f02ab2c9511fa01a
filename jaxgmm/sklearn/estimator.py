"""The estimator: scikit-learn's interface, jaxgmm's fits."""

import inspect
import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from sklearn import mixture
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import linalg
from ..covariance.families import FAMILIES, Family, get_family
from ..fitting.from_data import restore, standardisation, standardise, standardise_params
from ..fitting.restarts import Rules, race_of_one
from ..loop.acceleration import momentum
from ..loop.driver import Options
from ..mixture.density import chunk_rows, joint_log_prob
from ..steps.maximization import from_responsibilities
from ..types import FitResult, GMMParams, Status, describe
from .conversion import as_estimator, as_stored, from_sklearn, type_of

TYPES = ("full", "tied", "diag", "spherical")  # scikit-learn's
TOL_SHARE = 0.1  # of scikit-learn's tol, which is about the last gain, not about all that remains
RULES = Rules(stretch=15, keep=5, width=4)  # scikit-learn's fits seldom take more iterations before they stop
FEWEST_ACCELERATED = 20  # who asks for fewer iterations, or goes on from a warm start, wants to see those of plain EM
FEWEST_ROWS = 256  # as many cost no more than one: what is smaller shares a program
FITTED = ("weights_", "means_", "covariances_", "precisions_cholesky_", "precisions_")

# Since version 1.8, scikit-learn's check is told which library's arrays it looks at.
_TAKES_NAMESPACE = "xp" in inspect.signature(mixture.GaussianMixture._check_parameters).parameters
_NUMPY = {"xp": np} if _TAKES_NAMESPACE else {}

DID_NOT_CONVERGE = (
    "Best performing initialization did not converge. Try different init parameters, or increase max_iter, tol, or "
    "check for degenerate data. The fit's status: {}."
)


class GaussianMixture(mixture.GaussianMixture):  # type: ignore[misc]
    r"""A drop-in for :class:`sklearn.mixture.GaussianMixture`, with row weights and fourteen families of covariances.

    .. math:: \hat\theta = \arg\max_\theta \sum_i w_i \log \sum_j \phi_j N(x_i \mid \mu_j, \Sigma_j)

    Arguments, attributes and methods are scikit-learn's, and so are the partitions to start from, drawn with its
    functions from its random numbers. What is different:

    - ``fit``, ``fit_predict`` and ``score`` take ``sample_weight``. Partitions are drawn from all rows of positive
      weight alike.
    - ``covariance_type`` may be a name of mclust's too, such as ``"VEV"``. ``covariances_`` then are shaped as for
      ``"spherical"`` (EII, VII), ``"diag"`` (EEI, VEI, EVI, VVI), ``"tied"`` (EEE) or ``"full"`` (the rest).
    - A fit goes on until a tenth of ``tol`` remains to be gained by Aitken's estimate, where scikit-learn stops
      once the last gain was below ``tol``: it ends no lower. Momentum makes up for the iterations, but for
      ``warm_start`` and ``max_iter`` < 20, where they are plain EM's. A fit that ends at ``max_iter`` has
      ``converged_`` by scikit-learn's rule.
    - Of several starts the best fifth go on after fifteen iterations. A start that ends in a spurious maximum is not
      chosen while another is left.
    - ``lower_bound_`` belongs to the parameters returned, ``lower_bounds_`` to those after each iteration.
    - ``status_`` says why the fit stopped, see :class:`jaxgmm.Status`. A fit that breaks down keeps the last good
      parameters, with a warning.

    float64 data are computed in float64 whatever JAX's setting, which is left alone; float32 data in float32. As rows
    are padded to one of few lengths, a fit of about as many rows does not compile again.

    Args:
        n_components: number of components, k.
        covariance_type: a covariance family.
        tol: gain per unit weight, in nats, that is not worth another iteration, see above.
        reg_covar: added to variances, in the features' units squared.
        max_iter: most EM iterations.
        n_init: number of starts.
        init_params: ``"kmeans"``, ``"k-means++"``, ``"random"`` or ``"random_from_data"``.
        weights_init: ``(k,)`` to start from.
        means_init: ``(k, d)`` to start from.
        precisions_init: inverse covariances to start from, shaped as ``covariances_``; for scikit-learn's own types.
        random_state: seed or ``RandomState``.
        warm_start: whether a second ``fit`` goes on from the first.
        verbose: whether to print progress: that of the best start, after the compiled loop has ended.
        verbose_interval: print every so many iterations.

    Raises:
        ValueError: for what scikit-learn refuses, and where no start has positive definite covariances.

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

    _parameter_constraints = {  # noqa: RUF012  (scikit-learn's own way)
        **mixture.GaussianMixture._parameter_constraints,
        "covariance_type": [StrOptions({*TYPES, *(family.letters for family in FAMILIES)})],
    }

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "GaussianMixture":
        """Fit to rows ``(n, d)``, each counting as much as its weight; ``y`` is not used."""
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        if X.shape[0] < self.n_components:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {self.n_components}, "
                f"n_samples = {X.shape[0]}"
            )
        self._check_parameters(X)
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        with jax.enable_x64(X.dtype == np.float64):
            best = _best(
                *self._starts(X, weights),
                *(_padded(X), _padded(weights), float(self.reg_covar), TOL_SHARE * self.tol),
                family=get_family(self.covariance_type),
                max_iter=self.max_iter,
                is_accelerated=self.max_iter >= FEWEST_ACCELERATED and not self.warm_start,
            )
        result, inverse = jax.device_get(best)
        self._keep(result, inverse, weights.sum())
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """Fit, and return the labels ``(n,)`` of the rows."""
        labels: np.ndarray = self.fit(X, y, sample_weight).predict(X)
        return labels

    def _starts(self, X: np.ndarray, weights: np.ndarray) -> tuple[GMMParams, np.ndarray | None]:
        """Parameters to start from, and partitions ``(n_init, n, k)`` that say those that are None."""
        if self.warm_start and hasattr(self, "converged_"):
            self._print_verbose_msg_init_beg(0)
            return jax.tree.map(lambda leaf: np.asarray(leaf, X.dtype), from_sklearn(self)), None
        inverse = self.precisions_init
        if inverse is not None:
            inverse = np.linalg.inv(inverse) if self.covariance_type in ("full", "tied") else 1 / inverse
            inverse = as_stored(inverse, get_family(self.covariance_type), self.n_components, X.shape[1])
        given = GMMParams(self.weights_init, self.means_init, inverse)
        given = jax.tree.map(lambda leaf: np.asarray(leaf, X.dtype), given)
        counted, random_state = np.flatnonzero(weights > 0), check_random_state(self.random_state)
        rows = X[counted]
        partition = _Partition(**self.get_params(deep=False))
        belonging = np.zeros((self.n_init, len(_padded(weights)), self.n_components), X.dtype)
        for index in range(self.n_init):
            self._print_verbose_msg_init_beg(index)
            partition._initialize_parameters(rows, random_state)
            if partition.responsibilities is not None:
                belonging[index, counted] = partition.responsibilities
        return given, None if partition.responsibilities is None else belonging

    def _check_parameters(self, X: np.ndarray, xp: Any = None) -> None:
        if self.precisions_init is not None and self.covariance_type not in TYPES:
            raise ValueError(
                f"precisions_init: expected None with covariance_type={self.covariance_type!r}, got an array of shape "
                f"{np.shape(self.precisions_init)}"
            )
        super()._check_parameters(X, **_NUMPY)

    def _keep(self, result: FitResult, inverse: np.ndarray, total_weight: float) -> None:
        """The attributes of a fit."""
        best = result.best
        shown = as_estimator(best.params, inverse, type_of(get_family(self.covariance_type)))
        self.__dict__.update({name: getattr(shown, name) for name in FITTED})
        self.n_iter_, self.status_ = int(best.n_iter), Status(int(best.status))
        bounds = np.append(best.history[: self.n_iter_], best.log_likelihood) / total_weight
        self.lower_bounds_, self.lower_bound_ = bounds[1:].tolist(), float(bounds[-1])
        changes = np.diff(bounds)
        for index, change in enumerate(changes):
            self._print_verbose_msg_iter_end(index + 1, change)
        ended_flat = self.status_ is Status.MAX_ITER and bool((abs(changes[-1:]) < self.tol).any())
        self.converged_ = self.status_ is Status.CONVERGED or ended_flat
        self._print_verbose_msg_init_end(self.lower_bound_, self.converged_)
        if not self.converged_ and self.max_iter > 0:
            warnings.warn(DID_NOT_CONVERGE.format(describe(self.status_)), ConvergenceWarning, stacklevel=2)

    def _estimate_weighted_log_prob(self, X: np.ndarray, xp: Any = None) -> np.ndarray:
        dtype = np.float32 if np.result_type(self.means_, X) == np.float32 else np.float64
        with jax.enable_x64(dtype == np.float64):
            params = jax.tree.map(lambda leaf: leaf.astype(dtype), from_sklearn(self))
            return np.array(joint_log_prob(params, _padded(X.astype(dtype))))[: len(X)]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean log-likelihood of the rows, in nats, each counting as much as its weight; ``y`` is not used."""
        scores = self.score_samples(X)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, scores, ensure_non_negative=True)
        return float(np.average(scores, weights=sample_weight))

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows ``(n, d)`` and the components ``(n,)`` they came from, in their order."""
        check_is_fitted(self)
        shape = type_of(get_family(self.covariance_type))
        shown = mixture.GaussianMixture(self.n_components, covariance_type=shape, random_state=self.random_state)
        shown.__dict__.update({name: getattr(self, name) for name in FITTED})
        return shown.sample(n_samples)

    def _n_parameters(self) -> int:
        k, d = self.means_.shape
        return k - 1 + k * d + get_family(self.covariance_type).n_parameters(k, d)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.array_api_support = False
        return tags


class _Partition(mixture.GaussianMixture):  # type: ignore[misc]
    """What scikit-learn draws to start from, kept instead of used."""

    responsibilities: np.ndarray | None

    def _initialize(self, X: np.ndarray, resp: np.ndarray | None, xp: Any = None) -> None:
        self.responsibilities = resp


def _padded(values: np.ndarray) -> np.ndarray:
    """Zeros appended up to the next of sixteen lengths an octave, so that there are few programs to compile."""
    n = len(values)
    step = 1 << max(n.bit_length() - 5, 0)
    length = max(n + -n % step, FEWEST_ROWS)
    return np.concatenate([values, np.zeros((length - n, *values.shape[1:]), values.dtype)])


@partial(jax.jit, static_argnames=("family", "max_iter", "is_accelerated"))
def _best(
    given: GMMParams,
    belonging: Array | None,
    x: Array,
    weights: Array,
    reg_covar: Array,
    tol: Array,
    *,
    family: Family,
    max_iter: int,
    is_accelerated: bool,
) -> tuple[FitResult, Array]:
    """The best fit of all starts, with one scale for all features, as the ridge is one for all; and L^-1."""
    if belonging is None:
        starts = jax.tree.map(lambda leaf: leaf[None], given)
    else:
        estimate = partial(from_responsibilities, family=family, ridge=reg_covar)
        estimated = jax.vmap(lambda belonging: estimate(x, belonging, weights))(belonging)
        pairs = zip(given, estimated, strict=True)
        starts = GMMParams(*(e if g is None else jnp.broadcast_to(g, e.shape) for g, e in pairs))
    n_starts, k, d = starts.means.shape
    scale = standardisation(x, weights, per_feature=False)
    ridge, tol = jnp.asarray(reg_covar, x.dtype) / scale.scale[0] ** 2, jnp.asarray(tol, x.dtype)
    problem = standardise(scale, x, weights, ridge, tol, None)
    starts = jax.vmap(partial(standardise_params, scale=scale))(starts)
    chunk_size = chunk_rows(min(n_starts, RULES.width or 1) * k, d, x.dtype.itemsize)
    options = Options(family, accelerate=momentum() if is_accelerated else None, chunk_size=chunk_size)
    result = race_of_one(starts, problem, max_iter, RULES, options)
    result = restore(result, scale, weights, sort=False)
    return result, linalg.factorize(result.best.params.covariances, d).inverse
