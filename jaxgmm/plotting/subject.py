"""What a picture is drawn of: a mixture, rows and names, on the host in float64, so that no unit or offset is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .. import checks
from ..arrays import as_numbers, columns_in_order
from ..fitted import default_names, feature_names_of
from ..types import GMMParams, NoisyGMMParams, Observations, Status, describe

Names = Sequence[str] | None


class Subject(NamedTuple):
    """A mixture and its rows, possibly none, checked against each other."""

    params: Any  # as functions of the library take them
    mixture: Any  # GMMParams without the noise, float64, covariances stored as they are
    noise_weight: float
    rows: np.ndarray  # (n, d) float64
    names: list[str]  # d
    failure: str  # why the parameters are not usable; empty where they are


class Components(NamedTuple):
    """Components over one feature or two: those of positive weight with finite parameters."""

    labels: list[int]  # (m,) which components of the mixture they are
    weights: np.ndarray  # (m,) shares of all rows, those of noise too
    means: np.ndarray  # (m, f)
    deviations: np.ndarray  # (m, f)
    correlations: np.ndarray  # (m,) of two features; zero for one


def run_of(result: Any) -> Any:
    """The run of EM that is drawn of a result, the best of several restarts or models; parameters as they are."""
    run = getattr(result, "best", result)
    shape = np.shape(getattr(run, "status", 0))
    if shape:
        raise ValueError(f"result: expected one fit, got a batch of shape {shape}: draw one of them")
    return run


def failure_of(run: Any) -> str:
    """Why the parameters of a run are not usable, in a few words; empty where they are, or where none knows."""
    status = getattr(run, "status", None)
    if status is None or Status(int(status)).is_usable:
        return ""
    return f"not usable: {describe(status).partition(':')[0]}"


def subject_of(result: Any, x: Any, feature_names: Names) -> Subject:
    """Check what a picture is drawn of: parameters or a result that holds them, rows or None, names or None."""
    run = run_of(result)
    params = getattr(run, "params", run)
    checked = checks.as_params(params)
    d = checks.mixture_of(checked).means.shape[1]
    mixture = jax.tree.map(lambda leaf: np.asarray(leaf, float), GMMParams(*checks.mixture_of(params)))
    rows = np.zeros((0, d))
    if x is not None:
        x = columns_in_order(x, result)
        shape = checks.as_observations(x, n_features=d).x.shape
        rows = np.asarray(as_numbers(x.x if isinstance(x, Observations) else x, "x"), float).reshape(shape)
    noise_weight = float(params.noise_weight) if isinstance(params, NoisyGMMParams) else 0.0
    names = _names(feature_names, feature_names_of(result, x), d)
    return Subject(checked, mixture, noise_weight, rows, names, failure_of(run))


def _names(given: Names, known: Names, d: int) -> list[str]:
    """The names given, or else those that a data frame or the result knows, or else x1, x2, ..."""
    if given is None:
        return list(known) if known and len(known) == d else default_names(d)
    if len(given) != d:
        raise ValueError(f"feature_names: expected {d}, one for each feature, got {len(given)}")
    return list(given)


def components_over(subject: Subject, features: Sequence[int]) -> Components:
    """The components over one feature or two: standard deviations and the correlation, which know no units."""
    mixture, chosen = subject.mixture, np.array(features)
    k, d = mixture.means.shape
    covariances, means = mixture.covariances, mixture.means[:, chosen]
    is_matrix = covariances.ndim == 3
    variances = np.diagonal(covariances, axis1=1, axis2=2) if is_matrix else covariances
    variances = np.broadcast_to(variances, (k, d))[:, chosen]
    covariance = np.broadcast_to(covariances[:, chosen[0], chosen[-1]] if is_matrix and len(chosen) > 1 else 0.0, k)

    # What can be drawn
    is_finite = np.isfinite(np.column_stack([means, variances, covariance])).all(1)
    weights = (1 - subject.noise_weight) * mixture.weights
    kept = (weights > 0) & is_finite & (variances > 0).all(1)
    deviations = np.sqrt(variances[kept])
    correlations = covariance[kept] / deviations[:, 0] / deviations[:, -1]
    return Components(np.flatnonzero(kept).tolist(), weights[kept], means[kept], deviations, correlations)


def log_densities(components: Components, points: np.ndarray) -> Iterator[np.ndarray]:
    """``log phi_j N(x | j)`` of points ``(n, f)``, component by component, ``(n,)`` in nats."""
    for _, weight, mean, deviation, correlation in zip(*components, strict=True):
        residuals = (points - mean) / deviation
        # The second feature given the first, where there are two; a correlation of one is that of a line
        rest = max(1 - correlation**2, np.finfo(float).eps)
        distance = residuals[:, 0] ** 2
        if residuals.shape[1] == 2:
            distance = distance + (residuals[:, 1] - correlation * residuals[:, 0]) ** 2 / rest
        scale = np.log(deviation).sum() + np.log(rest) / 2 + len(mean) * np.log(2 * np.pi) / 2
        yield np.log(weight) - scale - distance / 2


def telling(subject: Subject, number: int) -> list[int]:
    """The features, in their order, with the largest ratio of variance between components to variance within them."""
    mixture = subject.mixture
    k, d = mixture.means.shape
    if d <= number:
        return list(range(d))
    covariances = mixture.covariances
    variances = np.diagonal(covariances, axis1=1, axis2=2) if covariances.ndim == 3 else covariances
    weights = mixture.weights / mixture.weights.sum()
    within = weights @ np.broadcast_to(variances, (k, d))
    between = weights @ (mixture.means - weights @ mixture.means) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nan_to_num(between / within)
    return sorted(np.argsort(-ratio, kind="stable")[:number].tolist())
