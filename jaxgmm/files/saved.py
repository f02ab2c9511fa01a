"""What there is to keep, and to show, of a fit: parameters with what they mean and where they came from."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from .. import checks
from ..covariance.families import Family, as_family, family_by_shape, get_family, letters
from ..fitting.criteria import n_parameters
from ..fitting.selection import Selection
from ..mixture.units import Scale, standardisation
from ..types import EMResult, FitResult, GMMParams, NoisyGMMParams, Status


class Model(NamedTuple):
    """A fitted mixture as it is kept in a file."""

    params: GMMParams  #: or NoisyGMMParams; of numpy arrays, in the features' own units
    family: str  #: its name
    feature_names: tuple[str, ...]  #: d
    criteria: Mapping[str, float] = MappingProxyType({})  #: by name, log_likelihood in nats; aic, bic, ... doubled nats
    status: Status | None = None  #: why the fit stopped
    n_iter: int | None = None  #: after so many iterations
    standardisation: Scale | None = None  #: what the fit worked on, where known; params are of the rows themselves


Found = Model | GMMParams | NoisyGMMParams | EMResult | FitResult | Selection


def as_model(
    found: Found,
    x: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    *,
    family: Family | str | None = None,
    feature_names: Sequence[str] | None = None,
) -> Model:
    """Gather what is known of a fit; of a selection, of the best.

    Args:
        found: a result, a selection, or parameters; a :class:`Model` comes back as it is.
        x: ``(n, d)`` rows it was fitted to, or ``(n,)`` for d = 1: they add BIC and the standardisation.
        weights: ``(n,)`` row weights; default one each.
        family: the covariance family, or its name; by default that of a selection, or what the shape of the covariances
            says: full, tied, diagonal, spherical or shared forms of these.
        feature_names: d names; default x1, x2, ...

    Returns:
        The :class:`Model`.

    Raises:
        TypeError: if ``found`` is none of these.
        ValueError: if it is a batch of fits, or if shapes, family and names do not go together.

    Example:
        >>> import jax.numpy as jnp
        >>> as_model(GMMParams(jnp.ones(1), jnp.zeros((1, 2)), jnp.ones((1, 2)))).family
        'diag'
    """
    if isinstance(found, Model):
        return check(found)
    if isinstance(found, Selection) and family is None:
        family = letters(found.family)
    result = found.best if isinstance(found, FitResult | Selection) else found
    ended = result if isinstance(result, EMResult) else None
    if ended is not None and ended.status.ndim:
        raise ValueError(f"expected one fit, got a batch of shape {ended.status.shape}: choose one of them")
    params = result if ended is None else ended.params
    if not isinstance(params, GMMParams | NoisyGMMParams):
        raise TypeError(f"expected a fit, a Model or GMMParams, got {type(params).__name__}")
    mixture = checks.mixture_of(checks.as_params(params))
    k, d = mixture.means.shape
    params = jax.tree.map(np.asarray, params)
    name = family_by_shape(mixture.covariances.shape, k, d).name if family is None else family
    names = tuple(f"x{feature}" for feature in range(1, d + 1)) if feature_names is None else tuple(feature_names)
    model = check(Model(params, name.name if isinstance(name, Family) else name, names))
    if ended is None:
        return model
    model = model._replace(status=Status(int(ended.status)), n_iter=int(ended.n_iter))
    return _with_criteria(model, found, float(ended.log_likelihood), x, weights)


def _with_criteria(
    model: Model, found: Found, log_likelihood: float, x: ArrayLike | None, weights: ArrayLike | None
) -> Model:
    """The model with all that its likelihood, and the rows if there are any, say of it."""
    family = get_family(model.family)
    count = n_parameters(model.params, family)
    criteria = {"log_likelihood": log_likelihood, "aic": 2 * count - 2 * log_likelihood}
    if x is not None:
        rows = checks.as_rows(x)
        row_weights = checks.as_row_weights(weights, rows).astype(rows.dtype)
        criteria["bic"] = count * float(np.log(row_weights.sum())) - 2 * log_likelihood
        if isinstance(found, FitResult | Selection):  # em works on the rows as they are
            scale = jax.jit(standardisation)(rows, row_weights, family.scale_equivariant)
            model = model._replace(standardisation=jax.tree.map(np.asarray, scale))
    if isinstance(found, Selection):
        criteria[found.criterion] = float(np.nanmin(found.table))
    return model._replace(criteria=criteria)


def check(model: Model) -> Model:
    """The model unchanged, having checked that its parts go together."""
    params = checks.as_params(model.params)
    mixture = checks.mixture_of(params)
    as_family(get_family(model.family), mixture)
    d = mixture.means.shape[1]
    if len(model.feature_names) != d:
        raise ValueError(f"feature_names: expected {d}, one for each feature, got {len(model.feature_names)}")
    scale = model.standardisation
    if scale is not None and not np.shape(scale.shift) == np.shape(scale.scale) == (d,):
        raise ValueError(f"standardisation: expected two of shape ({d},), got {[np.shape(part) for part in scale]}")
    return model
