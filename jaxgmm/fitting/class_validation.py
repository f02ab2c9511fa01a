"""Cross-validation of classifiers: the share of held-out rows that are put into a wrong class."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from .. import checks
from ..covariance.families import FULL, Family
from .classification import as_components, as_labelled_rows, fit_classes, predict_class


def cross_validated_error(
    key: Array | int,
    x: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    n_folds: int = 10,
    family: Family | str = FULL,
    n_components: int | Sequence[int] = 1,
    priors: ArrayLike | None = None,
    n_init: int = 16,
    ridge: ArrayLike = 1e-6,
    tol: ArrayLike = 1e-6,
    max_iter: int = 1000,
) -> Array:
    r"""Share of held-out rows that are put into a wrong class, fold by fold.

    .. math:: e_f = \frac{\sum_{i \in f} w_i 1\{\hat z_i^{(-f)} \ne z_i\}}{\sum_{i \in f} w_i}

    Folds are random, and differ by one row at most in how many they hold of each class. Training without a fold is
    training with its rows at weight zero, so that one program fits all of them.

    Args:
        key: a JAX random key, or a seed, for the folds and the starts of mixtures.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1.
        labels: ``(n,)`` int classes in 0..c-1.
        weights: ``(n,)`` row weights >= 0; default one each. A row is held out as one, whatever its weight.
        n_folds: how many folds, from 2 to the rows of the smallest class.
        family: the covariance family, here and below as in :func:`fit_classes`.
        n_components: components of each class.
        priors: ``(c,)`` class probabilities; default the weighted shares among the rows trained with.
        n_init: number of restarts of each mixture.
        ridge: see :func:`jaxgmm.fit`.
        tol: EM stops once the estimated gain still to come is below this, in nats per unit of row weight.
        max_iter: most M-steps.

    Returns:
        ``(n_folds,)`` shares of weight in 0..1; NaN for a fold without which a fit failed.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if ``n_folds`` is out of range; and where :func:`fit_classes` does.

    Example:
        >>> import jax
        >>> import jaxgmm
        >>> x, species = jaxgmm.datasets.load_iris().x, np.repeat([0, 1, 2], 50)
        >>> cross_validated_error(jax.random.key(0), x, species, family="tied").shape
        (10,)

    Reference:
        Stone (1974), Cross-validatory choice and assessment of statistical predictions.
    """
    key = checks.as_key(key)
    x, labels, weights, counts = as_labelled_rows(x, labels, weights)
    n_folds = checks.as_integer(n_folds, "n_folds", 2)
    if n_folds > counts.min():
        raise ValueError(
            f"n_folds: expected at most {counts.min()}, the rows with weight in class {counts.argmin()}, got {n_folds}"
        )
    as_components(n_components, counts - -(-counts // n_folds))  # what the largest fold leaves of each class
    fold_key, fit_key = jax.random.split(key)
    folds = _folds(fold_key, labels, weights, n_folds)
    options: dict[str, Any] = {"n_init": n_init, "ridge": ridge, "tol": tol, "max_iter": max_iter}

    def error(fold: Array) -> Array:
        held_out = jnp.where(folds == fold, weights, 0)
        classifier = fit_classes(
            fit_key, x, labels, weights=weights - held_out, family=family, n_components=n_components, priors=priors,
            **options,
        )  # fmt: skip
        wrong = jnp.where(predict_class(classifier, x) == labels, 0, held_out).sum() / held_out.sum()
        return jnp.where(jnp.isnan(classifier.priors).any(), jnp.nan, wrong)

    return jax.vmap(error)(jnp.arange(n_folds))


def _folds(key: Array, labels: np.ndarray, weights: Array, n_folds: int) -> Array:
    """The fold of each row, ``(n,)``: rows are dealt out in turn, class after class, those without weight last."""
    shuffled = jax.random.permutation(key, len(labels))
    strata = jnp.where(weights > 0, labels, labels.max() + 1)
    order = shuffled[jnp.argsort(strata[shuffled])]
    return jnp.zeros_like(order).at[order].set(jnp.arange(len(order)) % n_folds)
