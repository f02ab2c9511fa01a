"""What every public function asks of its arguments, and the errors people see.

Shapes and dtypes are checked at trace time. Values are checked on concrete arrays only: under ``jit`` they
are not known yet, and become a ``Status`` instead.
"""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import AxisType, Mesh, NamedSharding
from numpy.typing import ArrayLike

from .arrays import as_numbers as as_numbers
from .arrays import column_names, columns_in_order, ordered_sample, warn_of_merged
from .fitted import parameters_of
from .types import GMMParams, Noise, NoisyGMMParams, Observations, Prior


def as_float_array(value: Any, name: str) -> Array:
    """An array of float32 or wider: low precision becomes float32, integers the default float."""
    array = as_numbers(value, name)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        dtype = np.dtype(jax.dtypes.canonicalize_dtype(float))
    else:
        dtype = np.dtype(jax.dtypes.canonicalize_dtype(np.promote_types(array.dtype, np.float32)))
    if isinstance(array, np.ndarray) and array.dtype.itemsize > dtype.itemsize:
        array = _narrowed(array, dtype, name)
    return placed_automatically(jnp.asarray(array, dtype))


def _narrowed(array: np.ndarray, dtype: Any, name: str) -> np.ndarray:
    """``array`` in a smaller dtype, unless a finite number becomes infinite."""
    with np.errstate(over="ignore"):
        narrow = array.astype(dtype)
    if np.isinf(narrow).any() and (lost := array[np.isinf(narrow) & np.isfinite(array)]).size:
        raise ValueError(
            f"{name}: expected numbers within the range of {dtype}, {np.finfo(dtype).max:.1e}, got {lost[0]:.1e}: "
            "divide by a constant, or set jax_enable_x64"
        )
    return narrow


def placed_automatically(array: Array) -> Array:
    """The same shards, their layout left to the compiler where the mesh asks for explicit types."""
    if is_concrete(array) and isinstance(array.sharding, NamedSharding):
        mesh = array.sharding.mesh
        if AxisType.Explicit in mesh.axis_types:
            if AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types:
                raise ValueError(
                    "jax.set_mesh: expected a mesh of automatic axes, such as jax.make_mesh((n_devices,), ('rows',), "
                    "axis_types=(jax.sharding.AxisType.Auto,)), got explicit ones"
                )
            automatic = Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))
            return jax.device_put(array, NamedSharding(automatic, array.sharding.spec))
    return array


def as_observations(x: Any, name: str = "x", n_features: int | None = None) -> Observations:
    """``x``, an array or :class:`Observations`, as observations of ``(n, d)`` rows; ``(n,)`` means d = 1."""
    observations = x if isinstance(x, Observations) else Observations(x)
    for field, value in zip(Observations._fields[1:], observations[1:], strict=True):
        if value is not None:
            raise ValueError(f"{name}.{field}: expected None, got an array: this version uses {name}.x alone")
    rows = as_float_array(observations.x, name)
    if rows.ndim not in (1, 2):
        raise ValueError(f"{name}: expected shape (n, d), or (n,) for one feature, got {rows.shape}")
    if 0 in rows.shape:
        raise ValueError(f"{name}: expected at least one row and one feature, got shape {rows.shape}")
    rows = rows[:, None] if rows.ndim == 1 else rows
    if n_features not in (None, rows.shape[1]):
        raise ValueError(f"{name}: expected {n_features} features to go with params, got shape {rows.shape}")
    return Observations(rows)


def as_rows(x: Any, n_features: int | None = None) -> Array:
    """The rows ``(n, d)`` of ``x``, an array or :class:`Observations`; ``(n,)`` means d = 1.

    Warns where rounding to their dtype merges values that differ.
    """
    names = column_names(x)
    observations = x if isinstance(x, Observations) else Observations(as_numbers(x, "x"))
    rows, numbers = as_observations(observations, "x", n_features).x, as_numbers(observations.x, "x")
    if isinstance(numbers, np.ndarray) and numbers.dtype not in (bool, rows.dtype):
        sample = ordered_sample(numbers.reshape(rows.shape))
        warn_of_merged(sample, np.zeros(rows.shape[1], rows.dtype), names)
    return rows


def as_row_weights(weights: Any, x: Array) -> Array:
    """``weights`` as ``(n,)`` beside ``x``; None means one for every row."""
    if weights is None:
        if is_concrete(x):
            return jax.device_put(np.ones(x.shape[0], x.dtype))
        # Known to be constant, sums over all rows would be taken by the compiler: half a minute for a million.
        return lax.optimization_barrier(jnp.ones(x.shape[0], x.dtype))
    weights = as_float_array(weights, "weights")
    if weights.shape != x.shape[:1]:
        raise ValueError(f"weights: expected shape {x.shape[:1]}, one for each row of x, got {weights.shape}")
    return weights


def as_params(params: Any, name: str = "params") -> Any:
    """``params``, those of a result too, with noise or without, as float arrays of consistent shapes."""
    params = parameters_of(params)
    if isinstance(params, NoisyGMMParams):
        mixture = as_params(params.mixture, f"{name}.mixture")
        weight = as_float_array(params.noise_weight, f"{name}.noise_weight")
        if weight.shape != ():
            raise ValueError(f"{name}.noise_weight: expected one number, got shape {weight.shape}")
        return NoisyGMMParams(mixture, weight, as_noise(params.noise, mixture.means.shape[1]))
    if not isinstance(params, tuple) or len(params) != 3:
        raise TypeError(
            f"{name}: expected GMMParams(weights, means, covariances), or a result that holds them, "
            f"got {type(params).__name__}"
        )
    params = GMMParams(*(as_float_array(v, f"{name}.{f}") for f, v in zip(GMMParams._fields, params, strict=True)))
    if params.means.ndim != 2:
        raise ValueError(f"{name}.means: expected shape (k, d), got {params.means.shape}")
    k, d = params.means.shape
    if params.weights.shape != (k,):
        raise ValueError(f"{name}.weights: expected shape {(k,)} to go with means {k, d}, got {params.weights.shape}")
    shape = params.covariances.shape
    matrix = len(shape) == 3 and shape[0] in (1, k) and shape[1:] == (d, d)
    diagonal = len(shape) == 2 and shape[0] in (1, k) and shape[1] in (1, d)
    if not (matrix or diagonal):
        raise ValueError(
            f"{name}.covariances: expected shape {k, d, d}, {1, d, d}, {k, d} or {k, 1} to go with means {k, d}, "
            f"got {shape}"
        )
    return params


def mixture_of(params: Any) -> GMMParams:
    """The Gaussian mixture of ``params``, without the noise that may be beside it."""
    return params.mixture if isinstance(params, NoisyGMMParams) else params


def proportions(params: Any, name: str = "params") -> None:
    """Raise where mixing weights are no proportions, but for rounding; no density of theirs would integrate to one."""
    weights = mixture_of(params).weights
    if is_concrete(weights) and not are_shares(np.asarray(weights, float)):
        raise ValueError(
            f"{name}.weights: expected values >= 0 that sum to one, got {np.asarray(weights)}: divide them by their sum"
        )


def are_shares(weights: Any) -> Any:
    """Whether weights ``(k,)`` are non-negative and sum to one, but for rounding, () bool; not where one is NaN."""
    return (weights >= 0).all() & (abs(weights.sum() - 1) <= 1e-3)


def as_noise(noise: Any, n_features: int) -> Noise:
    """``noise`` as float arrays, a region of so many features."""
    if not isinstance(noise, Noise):
        raise TypeError(f"noise: expected a Noise (see jaxgmm.box_noise), got {type(noise).__name__}")
    noise = Noise(*(as_float_array(v, f"noise.{f}") for f, v in zip(Noise._fields, noise, strict=True)))
    if noise.lower.shape != (n_features,) or noise.faces.ndim != 2 or noise.faces.shape[1] != n_features + 1:
        raise ValueError(f"noise: expected a region of {n_features} features, got lower {noise.lower.shape}")
    return noise


def as_prior(prior: Any, means: Array) -> Prior:
    """``prior`` as arrays that go with ``means`` ``(k, d)``."""
    if not isinstance(prior, Prior):
        raise TypeError(f"prior: expected a Prior (see jaxgmm.default_prior), got {type(prior).__name__}")
    d = means.shape[1]
    expected: list[tuple[int, ...]] = [(), (d,), (), (), (d, d)]
    fields = []
    for name, value, shape in zip(Prior._fields, prior, expected, strict=True):
        array = as_float_array(value, f"prior.{name}")
        if array.shape != shape:
            raise ValueError(f"prior.{name}: expected shape {shape} to go with {d} features, got {array.shape}")
        fields.append(array.astype(means.dtype))
    prior = Prior(*fields)
    if is_concrete(prior):
        if not float(prior.concentration) >= 1:
            raise ValueError(f"prior.concentration: expected at least 1, got {prior.concentration}")
        non_negative(prior.shrinkage, "prior.shrinkage")
        scale = np.asarray(prior.scale)
        rounding = 4 * d * np.finfo(scale.dtype).eps * abs(scale).max()  # of a covariance of fewer rows than features
        if not np.isfinite(scale).all() or np.linalg.eigvalsh(scale)[0] < -rounding:
            raise ValueError(f"prior.scale: expected positive semi-definite, got {scale}")
    return prior


def arguments(params: Any, x: Any, weights: Any = None) -> tuple[Any, Array, Array]:
    """Parameters, rows ``(n, d)`` and row weights ``(n,)``, checked against each other and brought to one dtype."""
    x, params = columns_in_order(x, params), as_params(params)
    rows = as_rows(x, mixture_of(params).means.shape[1])
    weights = as_row_weights(weights, rows)
    # Not of weights: they only count rows. Nor of the noise.
    dtype = np.result_type(*(leaf.dtype for leaf in (*mixture_of(params), rows)))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), (params, rows, weights))


def as_key(key: Any) -> Array:
    """A random key; a whole number is taken for its seed."""
    is_array = isinstance(key, jax.Array | np.ndarray | np.generic)
    is_integer = isinstance(key, int) or (is_array and key.shape == () and jnp.issubdtype(key.dtype, np.integer))
    if is_integer and not isinstance(key, bool):
        return jax.random.key(key)
    is_typed = is_array and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()
    is_raw = is_array and key.dtype == np.uint32 and key.shape == jax.eval_shape(jax.random.PRNGKey, 0).shape
    if not (is_typed or is_raw):
        came = f"an array of shape {key.shape} and dtype {key.dtype}" if is_array else type(key).__name__
        raise TypeError(f"key: expected a JAX random key, or a seed, got {came}: write jax.random.key(0)")
    return key


def as_integer(value: Any, name: str, minimum: int) -> int:
    """``value`` as an int of at least ``minimum``: a static option."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if number < minimum:
        raise ValueError(f"{name}: expected at least {minimum}, got {number}")
    return number


def non_negative(value: ArrayLike, name: str) -> ArrayLike:
    """``value``, having checked it to be a finite number >= 0; a traced one that is not becomes NaN."""
    if not is_concrete(value):
        value = as_float_array(value, name)
        return jnp.where((value >= 0) & (value < np.inf), value, jnp.nan)
    try:
        number = float(np.asarray(value))
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {value!r}") from None
    if not 0 <= number < np.inf:
        raise ValueError(f"{name}: expected a finite number >= 0, got {number}")
    return value


def is_concrete(*values: Any) -> bool:
    """Whether values can be looked at: false inside ``jit``, ``vmap`` and ``grad``."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def weight_values(weights: Array) -> None:
    """Raise unless row weights are finite, non-negative and not all zero."""
    if not is_concrete(weights):
        return
    library, (weights,) = _within_reach(weights)
    bad = np.flatnonzero(~(library.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise ValueError(f"weights: expected finite values >= 0, got {weights[bad[0]]} at row {bad[0]}")
    if not np.count_nonzero(weights):  # np.any would compile a program
        raise ValueError("weights: expected at least one above zero, got all zero")


def row_values(x: Array, weights: Array, names: tuple[str, ...] = ()) -> None:
    """Raise unless weights are weights, and the rows that count finite; ``names`` are those of columns."""
    weight_values(weights)
    if not is_concrete(x, weights):
        return
    library, (x, weights) = _within_reach(x, weights)
    bad = np.flatnonzero(~library.isfinite(x).all(1) & (weights > 0))
    if bad.size:
        row = np.asarray(x[bad[0]])
        columns = [names[feature] for feature in np.flatnonzero(~np.isfinite(row))] if names else []
        where = f", column {columns[0]!r}" if columns else ""
        raise ValueError(f"x: expected finite values, got {row} at row {bad[0]}{where} ({bad.size} such rows)")


def _within_reach(*arrays: Any) -> tuple[Any, tuple[Any, ...]]:
    """A library, and arrays for it: on a CPU numpy has the same memory, and needs no program for each shape."""
    return (np, tuple(np.asarray(a) for a in arrays)) if jax.default_backend() == "cpu" else (jnp, arrays)


def enough_rows(x: Array, weights: Array, n_components: int, least: int = 1) -> None:
    """Raise unless there are at least as many rows with weight as components, and ``least``."""
    n = int(np.count_nonzero(weights)) if is_concrete(weights) else x.shape[0]
    if n < least:
        raise ValueError(f"x: expected at least {least} rows with weight, got {n}")
    if n < n_components:
        raise ValueError(f"n_components: expected at most {n}, the number of rows of x with weight, got {n_components}")


def start_values(start: Any, n_components: int, positive_definite: Array) -> None:
    """Raise unless a start is a mixture: finite, weights on the simplex, covariances positive definite."""
    start = mixture_of(start)
    if start.means.shape[0] != n_components:
        raise ValueError(f"start: expected {n_components} components, got {start.means.shape[0]}")
    if not is_concrete(start, positive_definite):
        return
    for field, value in zip(GMMParams._fields, start, strict=True):
        if not np.isfinite(value).all():
            raise ValueError(f"start.{field}: expected finite values, got {np.asarray(value)}")
    proportions(start, "start")
    bad = np.flatnonzero(~np.asarray(positive_definite))
    if bad.size:
        raise ValueError(
            f"start.covariances: expected positive definite, got {np.asarray(start.covariances[bad[0]])} "
            f"for component {bad[0]}"
        )
