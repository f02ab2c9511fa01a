"""Spurious maxima: components that are the work of the ridge, of rounding, or of a handful of rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import linalg
from ..checks import is_concrete
from ..covariance.families import Family
from ..covariance.ridge import Ridge, least_variances
from ..steps.contract import Spurious
from ..types import GMMParams

LEAST_SPREAD = 20  # a component is thin with less than one part in so many of the usual standard deviation
APART = 5  # standard deviations between means beyond which no row could be of both components
MOST_RELATIVE = 1e-4  # a larger ridge is wanted for its own sake, and its work is no sign of a collapse

MOST_SINGULAR = 256  # features: with 300 a fit that ends as DEGENERATE takes three seconds, with 1000 over two minutes


def refuse_singular(
    families: Sequence[Family], x: Any, weights: Any, ridge: Any, prior: Any, name: str = "family"
) -> None:
    """Raise where matrices of many features, from no more rows, would take long to end as ``DEGENERATE``."""
    d, n = x.shape[1], int(np.count_nonzero(weights)) if is_concrete(weights) else len(x)
    matrices = [family.name for family in families if len(family.structure(1, d)) == 3]
    is_determined = n > d or prior is not None or not is_concrete(ridge) or ridge > MOST_RELATIVE
    if matrices and d > MOST_SINGULAR and not is_determined:
        raise ValueError(
            f"{name}: expected diagonal covariances, such as 'diag', for {n} rows of {d} features, got "
            f"{matrices[0]!r}: no more rows than features leave its matrices singular, unless a prior or a larger "
            "ridge adds to them"
        )


class SpuriousLimits(NamedTuple):
    """What decides whether a component counts."""

    ridge: Ridge
    total_weight: Array  # ()
    n_rows: Array  # () as many as count, whatever the weights' scale


def spurious(limits: SpuriousLimits, params: GMMParams) -> Spurious:
    r"""Components without a spread of their own, and what they are worth.

    Such a component has a likelihood as high as the ridge or rounding lets it. Beside components of variances
    :math:`s^2` it would count as much with a spread like theirs, so of its :math:`N_j` rows it has in excess

    .. math:: \frac{N_j}{2} \left[ \log |T_j| - \log |\Sigma_j| + \mathrm{tr}(T_j^{-1} \Sigma_j) - d \right], \quad
        T_j = \Sigma_j + \mathrm{diag}(s^2)

    nats, by the complete-data likelihood. Where it lies apart from all others, on outliers or on a code for missing
    entries, no row depends on this, and the others can be used. Components that coincide are no maximum.
    """
    (k, d), alive = params.means.shape, params.weights > 0
    has_collapsed = alive & has_no_spread(limits.ridge, params)
    is_thin = has_collapsed | lies_on_few_rows(params, limits.n_rows, alive & ~has_collapsed)

    # The variances of the others, as a geometric mean
    variances = jnp.broadcast_to(linalg.variances(params.covariances, d), (k, d))
    logs = jnp.log(linalg.safe_divisor(variances))
    shares = jnp.where(alive & ~is_thin, params.weights, 0)
    typical = jnp.exp((shares[:, None] * logs).sum(0) / linalg.safe_divisor(shares.sum()))

    # What thin components have in excess
    wide = linalg.add_to_diagonal(
        params.covariances, typical[None] if params.covariances.shape[1] == d else typical.mean()[None, None]
    )
    excess = limits.total_weight * params.weights * _divergence(params.covariances, wide, d)

    # Thin components have to lie apart from all others, and none may coincide
    reach = jnp.sqrt(jnp.where(is_thin[:, None], 0, variances) + typical[None])
    is_other = alive[None] & ~jnp.eye(k, dtype=bool)
    distances = abs(params.means[:, None] - params.means[None]) / reach[None]  # (k, k, d)
    is_near = is_other & (is_thin[:, None] & (distances.max(2) < APART))
    gaps = jnp.maximum(distances, abs(logs[:, None] - logs[None])).max(2)
    coincide = is_other & alive[:, None] & (gaps < np.sqrt(np.finfo(logs.dtype).eps))
    is_usable = (shares > 0).any() & ~(is_near | coincide).any()
    return Spurious(jnp.where(is_thin, jnp.maximum(excess, np.finfo(excess.dtype).tiny), 0), is_usable)


def _divergence(covariances: Array, wide: Array, d: int) -> Array:
    """Nats a row of covariance ``Sigma_j`` loses under a wider ``T_j``, ``(k|1,)``."""
    narrow, factor = linalg.factorize(covariances, d), linalg.factorize(wide, d)
    if covariances.ndim == 2:
        ratio = (narrow.root**2 * factor.inverse**2).sum(1)
    else:
        ratio = (linalg.matmul(factor.inverse, covariances) * factor.inverse).sum((1, 2))
    return factor.log_det - narrow.log_det + (ratio - d) / 2


def has_no_spread(ridge: Ridge, params: GMMParams) -> Array:
    """Which covariances, ``(k|1,)``, are the work of the ridge or of rounding in some direction."""
    covariances, eps = params.covariances, np.finfo(params.means.dtype).eps
    offsets = params.means - params.means[params.weights.argmax()][None]
    least = 2 * (least_variances(ridge, offsets, covariances.shape) + jnp.asarray(ridge.absolute, offsets.dtype))
    variances = linalg.stored_variances(covariances)
    if covariances.ndim == 3:
        of_ridge = 4 * jnp.minimum(jnp.asarray(ridge.relative, offsets.dtype), MOST_RELATIVE)
        least = least + jnp.maximum(of_ridge, 4 * offsets.shape[1] * eps) * variances
    return ~linalg.exceeds(covariances, linalg.add_to_diagonal(jnp.zeros_like(covariances), least))


def lies_on_few_rows(params: GMMParams, n_rows: Array, counted: Array) -> Array:
    """Which components lie on a handful of rows that nearly share a line or plane, ``(k,)``.

    There the likelihood is high for no reason but the choice of rows (McLachlan & Peel 2000, Finite mixture models,
    section 3.10). A handful: fewer than twice the parameters of a Gaussian. Nearly: in some direction with less than a
    twentieth of the standard deviation that components have on average; shapes and volumes each have their own average,
    as a single component of large volume would otherwise make all others look thin. ``counted`` ``(k,)`` components
    have part in the average.
    """
    d, covariances = params.means.shape[1], params.covariances
    if covariances.shape[0] == 1:
        return jnp.zeros(len(params.means), bool)
    shares = jnp.where(counted, params.weights, 0)
    shares = shares / linalg.safe_divisor(shares.sum())
    log_volumes = 2 / d * linalg.factorize(covariances, d).log_det
    log_volumes -= jnp.sum(jnp.where(counted, shares * log_volumes, 0))
    shares = jnp.where(counted, shares * jnp.exp(-log_volumes), 0).reshape(-1, *(1,) * (covariances.ndim - 1))
    average = jnp.where(shares > 0, shares * covariances, 0).sum(0, keepdims=True)
    few = counted & (params.weights / params.weights.sum() * n_rows < d * (d + 3))
    return few & ~linalg.exceeds(covariances, average / LEAST_SPREAD**2)
