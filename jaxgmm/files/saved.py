"""A fit with everything needed to use it later: parameters, feature names, family, criteria, and why it stopped."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..arrays import columns_in_order
from ..covariance.families import Family, as_family, family_by_shape, get_family, letters
from ..fitted import default_names, feature_names_of
from ..fitting.criteria import aic_from, bic_from, parameter_count
from ..fitting.selection import Selection
from ..mixture.units import Scale, units_of
from ..printing import printed
from ..types import EMResult, FitResult, GMMParams, NoisyGMMParams, Status


@printed
class SavedFit(NamedTuple):
    """A fitted mixture with its covariance family, feature names and criteria: what is written to a file."""

    params: Any  #: GMMParams or NoisyGMMParams of numpy arrays, in the features' own units
    family: str  #: name of the covariance family
    feature_names: tuple[str, ...]  #: d names
    #: log_likelihood in nats; aic, bic, ... on the scale of twice the log-likelihood
    criteria: Mapping[str, float] = MappingProxyType({})
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
        x: ``(n, d)`` rows it was fitted to, or ``(n,)`` for d = 1: they add the units that ``fit`` computed in
            (``standardisation``).
        weights: ``(n,)`` row weights; default one each.
        family: the covariance family, or its name; by default that of the fit, or what the shape of the covariances
            says: full, tied, diagonal, spherical or shared forms of these.
        feature_names: d names; by default those of the table that ``x`` is or that was fitted, or x1, x2, ...

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
    if isinstance(fit, SavedFit):
        return check_saved_fit(fit)
    mixture = checks.mixture_of(checks.as_params(run_and_params(fit)[1]))
    known = as_family(family_of(fit) if family is None else get_family(family), mixture)
    names = feature_names_of(fit, x) if feature_names is None else feature_names
    total_weight, scale = None, None
    if x is not None:
        rows = checks.as_rows(columns_in_order(x, fit))
        row_weights = checks.as_row_weights(weights, rows).astype(rows.dtype)
        total_weight = row_weights.sum()
        if isinstance(fit, FitResult | Selection):  # jaxgmm.em computes in the units of the rows
            scale = jax.tree.map(np.asarray, units_of(rows, row_weights, known.scale_equivariant))
    saved = gathered(fit, known, names, total_weight)
    name = family if isinstance(family, str) else saved.family
    params = jax.tree.map(np.asarray, saved.params)
    return _check_parts(saved._replace(params=params, family=name, standardisation=scale))


def family_of(fit: Any) -> Family:
    """The covariance family of a fit, or what the shape of its covariances says where it does not know."""
    family = getattr(fit, "family", None)
    if family is not None:
        return get_family(family)
    mixture = checks.mixture_of(run_and_params(fit)[1])
    return family_by_shape(np.shape(mixture.covariances), *np.shape(mixture.means))


def run_and_params(fit: Any) -> tuple[EMResult | None, Any]:
    """The result of one run of EM, None where there is none; and parameters."""
    result = fit.best if isinstance(fit, FitResult | Selection) else fit.params if isinstance(fit, SavedFit) else fit
    run = result if isinstance(result, EMResult) else None
    if run is not None and np.ndim(run.status):
        raise ValueError(f"fit: expected one fit, got a batch of shape {np.shape(run.status)}: choose one of them")
    params = result if run is None else run.params
    if not isinstance(params, GMMParams | NoisyGMMParams):
        raise TypeError(f"fit: expected a fit, a SavedFit or GMMParams, got {type(params).__name__}")
    return run, params


def gathered(fit: Any, family: Family, feature_names: Sequence[str] | None, total_weight: Any = None) -> SavedFit:
    """What a fit, or the best model of a selection, says of itself; nothing is copied or checked."""
    run, params = run_and_params(fit)
    k, d = np.shape(checks.mixture_of(params).means)
    names = tuple(default_names(d) if feature_names is None else feature_names)
    saved = SavedFit(params, letters(family) if isinstance(fit, Selection) else family.name, names)
    if run is None:
        return saved
    log_likelihood = float(run.log_likelihood)
    count = parameter_count(family, k, d) + (2 if isinstance(params, NoisyGMMParams) else 0)
    criteria = {"log_likelihood": log_likelihood, "aic": aic_from(count, log_likelihood)}
    total_weight = run.total_weight if total_weight is None else total_weight
    if total_weight is not None:
        criteria["bic"] = bic_from(count, log_likelihood, float(np.log(total_weight)))
    if isinstance(fit, Selection):
        criteria[fit.criterion] = float(np.nanmin(fit.table))
    return saved._replace(criteria=criteria, status=Status(int(run.status)), n_iter=int(run.n_iter))


def check_saved_fit(saved: SavedFit) -> SavedFit:
    """Return a saved fit unchanged, or raise where its parts do not go together."""
    as_family(get_family(saved.family), checks.mixture_of(checks.as_params(saved.params)))
    return _check_parts(saved)


def _check_parts(saved: SavedFit) -> SavedFit:
    d = checks.mixture_of(saved.params).means.shape[1]
    if len(saved.feature_names) != d:
        raise ValueError(f"feature_names: expected {d}, one for each feature, got {len(saved.feature_names)}")
    scale = saved.standardisation
    if scale is not None and not np.shape(scale.shift) == np.shape(scale.scale) == (d,):
        raise ValueError(f"standardisation: expected two of shape ({d},), got {[np.shape(part) for part in scale]}")
    return saved
