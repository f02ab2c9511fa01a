"""Classification with a Gaussian, or a mixture of Gaussians, for each class: discriminant analysis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from numpy.typing import ArrayLike

from .. import checks, linalg
from ..arrays import as_labels
from ..covariance.families import FULL, Family, as_family, get_family
from ..loop.driver import begin, result_of, run, task_of
from ..mixture.density import Prepared, log_prob, posterior
from ..mixture.units import restore_params
from ..padding import pad_rows
from ..printing import printed
from ..programs import PASSES, program
from ..steps.gaussian import gaussian_steps
from ..steps.maximization import complete_stats, from_responsibilities
from ..types import EMResult, GMMParams, Observations, Stats, is_usable, raise_if_failed
from .from_data import fit
from .standard import standard_problem


@printed
class Classifier(NamedTuple):
    """A mixture for each of the classes 0..c-1: ``p(class = j, x) = priors_j p(x | mixtures_j)``."""

    priors: Array  #: (c,) class probabilities, non-negative, summing to one
    mixtures: tuple[GMMParams, ...]  #: c, each with its own number of components


def fit_classes(
    key: Array | int,
    x: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    family: Family | str = FULL,
    n_components: int | Sequence[int] = 1,
    priors: ArrayLike | None = None,
    n_init: int = 16,
    ridge: ArrayLike = 1e-6,
    tol: ArrayLike = 1e-6,
    max_iter: int = 1000,
) -> Classifier:
    r"""Fit a classifier to labelled rows: one Gaussian, or one mixture, for each class.

    .. math:: \hat\theta = \arg\max_\theta \sum_i w_i \log p(x_i \mid \theta_{z_i})

    With ``n_components=1`` the classes are the components of one ``family``, and parts that it has equal are equal
    across classes: tied is linear discriminant analysis, full quadratic, diag naive Bayes. Otherwise every class gets a
    mixture from :func:`jaxgmm.fit`, of the family by itself. Works under ``jit`` and ``vmap``, but for ``labels``,
    which decide shapes.

    Args:
        key: a JAX random key, or a seed, for the starts of mixtures.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        labels: ``(n,)`` int classes in 0..c-1.
        weights: ``(n,)`` row weights >= 0; default one each. Integer weights equal repetition, zero deletion.
        family: a covariance family, or its name; static under ``jit``.
        n_components: components of each class: one number for all, or a sequence of c; static under ``jit``.
        priors: ``(c,)`` class probabilities; default the weighted shares of the classes.
        n_init: number of restarts of each mixture; static under ``jit``.
        ridge: added to each variance, relative to it. See :func:`jaxgmm.fit`.
        tol: EM stops once the estimated gain still to come is below this, in nats per unit of row weight.
        max_iter: most M-steps; static under ``jit``.

    Returns:
        :class:`Classifier`, in the features' own units. Under ``jit``, where nothing can be raised, a fit that failed
        leaves NaN priors.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes do not fit together; if a class has no row with weight, or fewer than components; if
            ``priors`` are no probabilities; and where :func:`jaxgmm.fit` does.
        FitError: if a fit ended without a usable answer.

    Example:
        >>> import jax
        >>> import jaxgmm
        >>> x, species = jaxgmm.datasets.load_iris().x, np.repeat([0, 1, 2], 50)
        >>> linear = fit_classes(jax.random.key(0), x, species, family="tied")
        >>> int((predict_class(linear, x) != species).sum())
        3

    Reference:
        Bensmail & Celeux (1996), Regularized Gaussian discriminant analysis through eigenvalue decomposition; Hastie &
        Tibshirani (1996), Discriminant analysis by Gaussian mixtures; Fraley & Raftery (2002), Model-based clustering,
        discriminant analysis, and density estimation.
    """
    key = checks.as_key(key)
    x, labels, weights, counts = as_labelled_rows(x, labels, weights)
    family = as_family(get_family(family))
    components = as_components(n_components, counts)
    n_init, max_iter = checks.as_integer(n_init, "n_init", 1), checks.as_integer(max_iter, "max_iter", 0)
    ridge, tol = (jnp.asarray(checks.non_negative(v, name), x.dtype) for v, name in ((ridge, "ridge"), (tol, "tol")))
    one_hot = jax.nn.one_hot(labels, len(counts), dtype=x.dtype)
    shares = linalg.einsum("n,nj->j", weights, one_hot) / weights.sum()
    priors = shares if priors is None else _as_priors(priors, len(counts), "priors").astype(x.dtype)
    if checks.is_concrete(priors) and not checks.are_shares(np.asarray(priors, float)):
        raise ValueError(f"priors: expected values >= 0 that sum to one, got {np.asarray(priors)}")

    if np.ndim(n_components) == 0 and components[0] == 1:
        together = _gaussians(*pad_rows((x, one_hot, weights)), ridge, tol, family, max_iter)
        results, mixtures = [together], _singles(together.params)
    else:
        fit_class = partial(fit, family=family, n_init=n_init, ridge=ridge, tol=tol, max_iter=max_iter)
        members = [np.flatnonzero(labels == j) for j in range(len(counts))]
        each = zip(jax.random.split(key, len(counts)), members, components, strict=True)
        results = [fit_class(key, x[rows], k, weights=weights[rows]).best for key, rows, k in each]
        mixtures = tuple(result.params for result in results)

    usable = jnp.stack([is_usable(result.status) for result in results]).all()
    if checks.is_concrete(usable):
        for result in results:
            raise_if_failed(result)
    return Classifier(jnp.where(usable, priors, jnp.nan), mixtures)


@program("family", "max_iter", passes=PASSES)
def _gaussians(
    x: Array, responsibilities: Array, weights: Array, ridge: Array, tol: Array, family: Family, max_iter: int
) -> EMResult:
    """One Gaussian of the family per class, by EM whose E-step knows the classes: some families iterate."""
    structure = family.structure(responsibilities.shape[1], x.shape[1])
    problem = standard_problem(x, weights, ridge, None, structure, family.scale_equivariant)
    rows = problem.observations.x
    start = from_responsibilities(rows, responsibilities, weights, family=family, ridge=problem.ridge)
    stats = complete_stats(start, rows, responsibilities * weights[:, None])
    stats = stats._replace(first=jnp.zeros_like(stats.first))  # but for rounding, which would add up
    steps = gaussian_steps(family, problem.ridge)._replace(expect=Partial(_complete_data, stats))
    task = task_of(steps, problem.observations, weights, tol)
    result = result_of(task, run(task, begin(task, start, max_iter, None), max_iter, None))
    return result._replace(params=restore_params(result.params, problem.units))


def _complete_data(stats: Stats, prepared: Prepared, observations: Observations, weights: Array) -> Stats:
    """The means stay, so only the log-likelihood changes; that up to a constant."""
    factor, second = prepared.factor, stats.second
    whitened = linalg.matmul(factor.inverse, second) if second.ndim == 3 else factor.inverse * second
    log_dets = linalg.pool_counts(stats.counts, second.shape) * factor.log_det
    return stats._replace(log_likelihood=-log_dets.sum() - (whitened * factor.inverse).sum() / 2)


def _singles(params: GMMParams) -> tuple[GMMParams, ...]:
    """Each component as a mixture of its own."""
    covariances = jnp.broadcast_to(params.covariances, (len(params.means), *params.covariances.shape[1:]))
    one = jnp.ones_like(params.weights[:1])
    return tuple(GMMParams(one, m[None], s[None]) for m, s in zip(params.means, covariances, strict=True))


def class_probabilities(classifier: Classifier, x: ArrayLike) -> Array:
    r"""Posterior probability of each class given each row.

    .. math:: p(j \mid x) = \frac{\pi_j \, p(x \mid \theta_j)}{\sum_l \pi_l \, p(x \mid \theta_l)}

    Args:
        classifier: priors and mixtures of c classes in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.

    Returns:
        ``(n, c)``, rows summing to one. A row whose density underflows in every class says nothing about them: it gets
        the priors. A row with NaN gets NaN.

    Raises:
        TypeError: if ``x`` is not numeric, or ``classifier`` no :class:`Classifier`.
        ValueError: if shapes do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> left, right = (GMMParams(jnp.ones(1), jnp.full((1, 1), mean), jnp.ones((1, 1))) for mean in (0.0, 4.0))
        >>> class_probabilities(Classifier(jnp.array([0.25, 0.75]), (left, right)), jnp.array([2.0])).round(2).tolist()
        [[0.25, 0.75]]

    Reference:
        Hastie & Tibshirani (1996), Discriminant analysis by Gaussian mixtures, section 2.
    """
    if not isinstance(classifier, Classifier):
        raise TypeError(f"classifier: expected a Classifier(priors, mixtures), got {type(classifier).__name__}")
    mixtures = tuple(checks.as_params(m, f"classifier.mixtures[{j}]") for j, m in enumerate(classifier.mixtures))
    checked = (
        Classifier(_as_priors(classifier.priors, len(mixtures), "classifier.priors"), mixtures),
        checks.as_rows(x),
    )
    dtype = np.result_type(*(leaf.dtype for leaf in jax.tree.leaves(checked)))
    (priors, mixtures), x = jax.tree.map(lambda leaf: leaf.astype(dtype), checked)
    # One compiled program after another, the same for mixtures of the same size: there may be many classes
    return _posterior(priors, jnp.stack([log_prob(mixture, x) for mixture in mixtures], axis=1))


@program()
def _posterior(priors: Array, log_densities: Array) -> Array:
    log_priors = jnp.where(priors == 0, -jnp.inf, jnp.log(jnp.where(priors == 0, 1, priors)))
    return posterior(priors, log_priors[None] + log_densities)


def predict_class(classifier: Classifier, x: ArrayLike) -> Array:
    r"""Most probable class of each row.

    .. math:: \hat z = \arg\max_j p(j \mid x)

    Args:
        classifier: priors and mixtures of c classes in d features.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.

    Returns:
        ``(n,)`` int classes in 0..c-1; -1 for a row with NaN.

    Raises:
        TypeError: if ``x`` is not numeric, or ``classifier`` no :class:`Classifier`.
        ValueError: if shapes do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> left, right = (GMMParams(jnp.ones(1), jnp.full((1, 1), mean), jnp.ones((1, 1))) for mean in (0.0, 4.0))
        >>> predict_class(Classifier(jnp.array([0.5, 0.5]), (left, right)), jnp.array([-1.0, 5.0])).tolist()
        [0, 1]
    """
    probabilities = class_probabilities(classifier, x)
    return jnp.where(jnp.isnan(probabilities).any(1), -1, jnp.argmax(probabilities, axis=1))


def as_labelled_rows(x: Any, labels: Any, weights: Any) -> tuple[Array, np.ndarray, Array, np.ndarray]:
    """Rows, labels and weights that go together, and how many rows with weight each class has, ``(c,)``."""
    x = checks.as_rows(x)
    weights = checks.as_row_weights(weights, x).astype(x.dtype)
    checks.row_values(x, weights)
    if not checks.is_concrete(labels):
        raise TypeError("labels: expected known values, for they decide shapes, got traced ones")
    labels = np.asarray(as_labels(labels, len(x)))
    weighted = np.asarray(weights) > 0 if checks.is_concrete(weights) else np.ones(labels.shape)
    # Labels beyond the number of rows leave a smaller one empty, and need no bin of their own
    counts = np.bincount(np.minimum(labels, labels.size).astype(int), weighted).astype(int)
    if not counts.all():
        raise ValueError(
            f"labels: expected a row with weight in every class 0..{labels.max()}, got none in class {counts.argmin()}"
        )
    return x, labels.astype(int), weights, counts


def as_components(n_components: Any, counts: np.ndarray) -> list[int]:
    """How many components each class gets, from one number or c of them."""
    numbers = [n_components] * len(counts) if np.ndim(n_components) == 0 else n_components
    numbers = [checks.as_integer(k, "n_components", 1) for k in numbers]
    if len(numbers) != len(counts):
        raise ValueError(f"n_components: expected one number, or one for each of {len(counts)} classes, got {numbers}")
    for j, (k, count) in enumerate(zip(numbers, counts, strict=True)):
        if k > count:
            raise ValueError(f"n_components: expected at most {count}, the rows with weight in class {j}, got {k}")
    return numbers


def _as_priors(priors: Any, n_classes: int, name: str) -> Array:
    priors = checks.as_float_array(priors, name)
    if priors.shape != (n_classes,):
        raise ValueError(f"{name}: expected shape ({n_classes},), one for each class, got {priors.shape}")
    return priors
