"""A fit with everything needed to use it later: parameters, feature names, family, criteria, and why it stopped."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from .. import checks
from ..covariance.families import Family, as_family, family_by_shape, get_family, letters
from ..fitting.criteria import aic_from, bic_from, n_parameters
from ..fitting.selection import Selection
from ..mixture.units import Scale, units_of
from ..types import EMResult, FitResult, GMMParams, NoisyGMMParams, Status


class SavedFit(NamedTuple):
    """A fitted mixture with its covariance family, feature names and criteria: what is written to a file."""

    params: Any  #: GMMParams or NoisyGMMParams of numpy arrays, in the features' own units
    family: str  #: name of the covariance family
    feature_names: tuple[str, ...]  #: d names
    criteria: Mapping[str, float] = MappingProxyType({})  #: log_likelihood in nats; aic, bic, ... in doubled nats
    status: Status | None = None  #: why the fit stopped
    n_iter: int | None = None  #: iterations of the fit
    standardisation: Scale | None = None  #: units that the fit computed in, where known, not those of params


#: Whatever holds a fitted mixture: a fit, the best of a selection, parameters alone.
FitLike = SavedFit | GMMParams | NoisyGMMParams | EMResult | FitResult | Selection


def as_saved_fit(
    fit: FitLike,
    x: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    *,
    family: Family | str | None = None,
    feature_names: Sequence[str] | None = None,
) -> SavedFit:
    """Gather all that is known of a fit, or of the best model of a selection, into one value that can be saved.

    Args:
        fit: a result, a selection, or parameters; a :class:`SavedFit` comes back as it is.
        x: ``(n, d)`` rows it was fitted to, or ``(n,)`` for d = 1: they add BIC and the standardisation.
        weights: ``(n,)`` row weights; default one each.
        family: the covariance family, or its name; by default that of a selection, or what the shape of the covariances
            says: full, tied, diagonal, spherical or shared forms of these.
        feature_names: d names; default x1, x2, ...

    Returns:
        The :class:`SavedFit`.

    Raises:
        TypeError: if ``fit`` is none of these.
        ValueError: if it is a batch of fits, or if shapes, family and names do not go together.

    Example:
        >>> import jax.numpy as jnp
        >>> as_saved_fit(GMMParams(jnp.ones(1), jnp.zeros((1, 2)), jnp.ones((1, 2)))).family
        'diag'
    """
    # The result of one run of EM, or parameters alone.
    if isinstance(fit, SavedFit):
        return check_saved_fit(fit)
    if isinstance(fit, Selection) and family is None:
        family = letters(fit.family)
    result = fit.best if isinstance(fit, FitResult | Selection) else fit
    run = result if isinstance(result, EMResult) else None
    if run is not None and run.status.ndim:
        raise ValueError(f"expected one fit, got a batch of shape {run.status.shape}: choose one of them")
    params = result if run is None else run.params
    if not isinstance(params, GMMParams | NoisyGMMParams):
        raise TypeError(f"expected a fit, a SavedFit or GMMParams, got {type(params).__name__}")

    # Names of the family and of the features.
    mixture = checks.mixture_of(checks.as_params(params))
    k, d = mixture.means.shape
    params = jax.tree.map(np.asarray, params)
    name = family_by_shape(mixture.covariances.shape, k, d).name if family is None else family
    names = tuple(f"x{feature}" for feature in range(1, d + 1)) if feature_names is None else tuple(feature_names)
    saved = check_saved_fit(SavedFit(params, name.name if isinstance(name, Family) else name, names))

    # How the run ended.
    if run is None:
        return saved
    saved = saved._replace(status=Status(int(run.status)), n_iter=int(run.n_iter))
    return _with_criteria(saved, fit, float(run.log_likelihood), x, weights)


def _with_criteria(
    saved: SavedFit, fit: FitLike, log_likelihood: float, x: ArrayLike | None, weights: ArrayLike | None
) -> SavedFit:
    """The saved fit, with the criteria that its log-likelihood and its rows, where there are any, determine."""
    family = get_family(saved.family)
    count = n_parameters(saved.params, family)
    criteria = {"log_likelihood": log_likelihood, "aic": aic_from(count, log_likelihood)}
    if x is not None:
        rows = checks.as_rows(x)
        row_weights = checks.as_row_weights(weights, rows).astype(rows.dtype)
        criteria["bic"] = bic_from(count, log_likelihood, float(np.log(row_weights.sum())))
        if isinstance(fit, FitResult | Selection):  # jaxgmm.em computes in the units of the rows
            scale = units_of(rows, row_weights, family.scale_equivariant)
            saved = saved._replace(standardisation=jax.tree.map(np.asarray, scale))
    if isinstance(fit, Selection):
        criteria[fit.criterion] = float(np.nanmin(fit.table))
    return saved._replace(criteria=criteria)


def check_saved_fit(saved: SavedFit) -> SavedFit:
    """Return a saved fit unchanged, or raise where its parts do not go together."""
    mixture = checks.mixture_of(checks.as_params(saved.params))
    as_family(get_family(saved.family), mixture)
    d = mixture.means.shape[1]
    if len(saved.feature_names) != d:
        raise ValueError(f"feature_names: expected {d}, one for each feature, got {len(saved.feature_names)}")
    scale = saved.standardisation
    if scale is not None and not np.shape(scale.shift) == np.shape(scale.scale) == (d,):
        raise ValueError(f"standardisation: expected two of shape ({d},), got {[np.shape(part) for part in scale]}")
    return saved
