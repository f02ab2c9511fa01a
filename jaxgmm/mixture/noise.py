"""Uniform noise beside a mixture: a region, its density, and draws from it."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike

from .. import checks, linalg
from ..arrays import column_names, named
from ..fitted import ParamsOrResult
from ..programs import program
from ..types import GMMParams, Noise, NoisyGMMParams

MOST_HULL_FEATURES = 7  # the hull of 300 rows has 8,000 faces in 6 features, 44,000 in 7, 180,000 in 8


def box_noise(x: ArrayLike) -> Noise:
    r"""Noise uniform over the smallest box, along the features, that holds all rows.

    .. math:: p(x \mid \mathrm{noise}) = 1 / \prod_a (\max_i x_{ia} - \min_i x_{ia})

    Args:
        x: ``(n, d)`` finite rows, or ``(n,)`` for d = 1.

    Returns:
        The :class:`Noise`.

    Raises:
        TypeError: if ``x`` is not numeric.
        ValueError: if shapes do not fit, values are not finite, or the box has no volume.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(box_noise(jnp.array([[0.0, 1.0], [2.0, 5.0]])).log_volume), 3)  # a box of 2 by 4
        2.079

    Reference:
        Banfield & Raftery (1993), Model-based Gaussian and non-Gaussian clustering.
    """
    names, x = column_names(x), checks.as_rows(x)
    checks.row_values(x, checks.as_row_weights(None, x), names)
    lower, upper = x.min(0), x.max(0)
    volume = jnp.log(upper - lower).sum()
    if checks.is_concrete(volume) and not np.isfinite(volume):
        extent = np.asarray(upper - lower)
        bad = int(np.argmin((extent > 0) & np.isfinite(extent)))
        raise ValueError(
            f"x: expected finite rows that differ in every feature, got {named(bad, names)} from {lower[bad]} to "
            f"{upper[bad]} in {x.dtype}: leave it out, or change its units or origin"
        )
    return Noise(lower, upper, jnp.zeros((0, x.shape[1] + 1), x.dtype), volume)


def hull_noise(x: ArrayLike) -> Noise:
    r"""Noise uniform over the convex hull of all rows; on the host, for at most seven features.

    .. math:: p(x \mid \mathrm{noise}) = 1 / \mathrm{vol}(\mathrm{hull}(x_1, \dots, x_n))

    Args:
        x: ``(n, d)`` finite rows, or ``(n,)`` for d = 1, where the hull is the box.

    Returns:
        The :class:`Noise`.

    Raises:
        TypeError: if ``x`` is not numeric, or traced.
        ValueError: if shapes do not fit, features are more, values not finite, or the hull has no volume.

    Example:
        >>> import jax.numpy as jnp
        >>> triangle = hull_noise(jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        >>> round(float(jnp.exp(triangle.log_volume)), 6)
        0.5

    Reference:
        Barber, Dobkin & Huhdanpaa (1996), The quickhull algorithm for convex hulls.
    """
    from scipy.spatial import ConvexHull, QhullError

    if not checks.is_concrete(x):
        raise TypeError("x: expected rows whose values are known, got traced ones: call hull_noise outside of jit")
    box = box_noise(x)
    rows = np.asarray(checks.as_rows(x))
    if rows.shape[1] > MOST_HULL_FEATURES:
        raise ValueError(
            f"x: expected at most {MOST_HULL_FEATURES} features, got {rows.shape[1]}, whose hull has too many faces: "
            "use jaxgmm.box_noise"
        )
    if rows.shape[1] == 1:
        return box
    lower, extent = rows.min(0).astype(float), np.ptp(rows, axis=0).astype(float)
    try:
        hull = ConvexHull((rows - lower) / extent)
    except QhullError as error:
        raise ValueError("x: expected rows that span a volume, got all on a line or plane") from error
    faces = hull.equations.copy()
    faces[:, -1] -= faces[:, :-1] @ (lower / extent)
    faces[:, :-1] /= extent
    faces[:, -1] -= 100 * np.finfo(rows.dtype).eps * np.abs(rows / extent).max()  # the corners themselves are inside
    volume = np.log(hull.volume) + np.log(extent).sum()
    return box._replace(faces=jnp.asarray(faces, rows.dtype), log_volume=jnp.asarray(volume, rows.dtype))


def with_noise(params: ParamsOrResult, noise: Noise, weight: ArrayLike = 0.05) -> NoisyGMMParams:
    r"""The mixture with a noise component besides.

    .. math:: p(x) = (1 - \phi_0) \sum_j \phi_j N(x \mid \mu_j, \Sigma_j) + \phi_0 \, p(x \mid \mathrm{noise})

    Args:
        params: the mixture, k components in d features, or a result that holds one.
        noise: from :func:`box_noise` or :func:`hull_noise`.
        weight: its weight, in 0..1.

    Returns:
        :class:`NoisyGMMParams`, which every function takes in place of :class:`GMMParams`; what noise there was already
        is replaced.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if shapes do not fit together, or ``weight`` is not in 0..1.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxgmm
        >>> x = jnp.array([-1.0, 0.0, 1.0, 9.0])
        >>> params = jaxgmm.GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1)))
        >>> jaxgmm.predict(with_noise(params, box_noise(x)), x).tolist()
        [0, 0, 0, -1]

    Reference:
        Fraley & Raftery (1998), How many clusters? Which clustering method? Answers via model-based cluster analysis.
    """
    mixture = checks.mixture_of(checks.as_params(params))
    weight = jnp.asarray(checks.non_negative(weight, "weight"), mixture.weights.dtype)
    if checks.is_concrete(weight) and float(weight) > 1:
        raise ValueError(f"weight: expected a share in 0..1, got {float(weight)}")
    noisy: NoisyGMMParams = checks.as_params(NoisyGMMParams(mixture, weight, noise))
    return noisy


def log_weights(noise_weight: Array) -> tuple[Array, Array]:
    """``log (1 - w)`` and ``log w`` of the weight w of noise, -inf for zero."""
    shares = jnp.stack([1 - noise_weight, noise_weight])
    logs = jnp.where(shares > 0, jnp.log(jnp.where(shares > 0, shares, 1)), -jnp.inf)
    return logs[0], logs[1]


def all_weights(params: GMMParams | NoisyGMMParams) -> Array:
    """Mixing proportions ``(k,)``; with noise ``(k + 1,)``, those of the components scaled and that of the noise."""
    if not isinstance(params, NoisyGMMParams):
        return params.weights
    return jnp.concatenate([(1 - params.noise_weight) * params.mixture.weights, params.noise_weight[None]])


def log_density(noise: Noise, rows: Array, centre: Array) -> Array:
    """Log density of rows ``(d, n)`` about ``centre``, ``(n,)``: -inf outside the region, NaN for NaN."""
    # Rows on the edge are inside, whichever way they and the edge were rounded
    slack = 4 * np.finfo(rows.dtype).eps * (abs(noise.lower) + abs(noise.upper) + abs(centre))
    lower, upper = noise.lower - slack - centre, noise.upper + slack - centre
    inside = ((rows >= lower[:, None]) & (rows <= upper[:, None])).all(0)
    if noise.faces.shape[0]:
        normals, offsets = noise.faces[:, :-1], noise.faces[:, -1]
        beyond = linalg.matmul(normals, rows) + (offsets + linalg.matmul(normals, centre))[:, None]
        inside = inside & (beyond <= 0).all(0)
    density = jnp.where(inside, -noise.log_volume, -jnp.inf)
    return jnp.where(jnp.isnan(rows).any(0), jnp.nan, density)


@program("n")
def draw(key: Array, noise: Noise, n: int) -> Array:
    """``n`` rows ``(n, d)`` uniform over the region: from its box, time and again, until inside."""
    d = noise.lower.shape[0]

    def candidate(key: Array) -> Array:
        return noise.lower + (noise.upper - noise.lower) * jax.random.uniform(key, (d,), noise.lower.dtype)

    def is_outside(state: tuple[Array, Array]) -> Array:
        return jnp.isneginf(log_density(noise, state[1][:, None], jnp.zeros_like(noise.lower))[0])

    def again(state: tuple[Array, Array]) -> tuple[Array, Array]:
        key, _ = state
        next_key, draw_key = jax.random.split(key)
        return next_key, candidate(draw_key)

    def row(key: Array) -> Array:
        return lax.while_loop(is_outside, again, again((key, noise.lower)))[1]

    return jax.vmap(row)(jax.random.split(key, n))


def rescaled(noise: Noise, shift: Array, scale: Array) -> Noise:
    """The region in units ``(x - shift) / scale``, checked to be one of as many features."""
    noise = checks.as_noise(noise, len(shift))
    normals = noise.faces[:, :-1]
    moved = noise.faces[:, -1] + linalg.matmul(normals, shift)
    faces = jnp.concatenate([normals * scale[None], moved[:, None]], axis=1)
    return Noise(
        (noise.lower - shift) / scale, (noise.upper - shift) / scale, faces, noise.log_volume - jnp.log(scale).sum()
    )
