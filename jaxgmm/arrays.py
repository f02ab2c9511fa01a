"""What people bring, as arrays of numbers on the host: lists, objects, data frames of pandas and polars, Arrow tables.

What an argument says beside its numbers, such as a mask or a unit of time, is refused and never dropped.
"""

import numbers
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .fitted import default_names, feature_names_of, levels_to_the_caller

SAMPLE = 4096  # rows that decide whether digits are lost
HOLDS_DIFFERENCES = 2**62  # whole numbers whose differences are whole numbers of 64 bits
_NOT_REAL = (complex, np.complexfloating, np.timedelta64)  # numbers to Python


def as_numbers(value: Any, name: str) -> Any:
    """``value`` as an array of real numbers, at most 64 bits wide; arrays of JAX as they are.

    Args:
        value: an array, a list, a data frame or a table; what is missing in it becomes NaN.
        name: of the argument, for errors.

    Returns:
        An array of JAX, or one of numpy in the machine's order of bytes.

    Raises:
        TypeError: for text, durations, dates and complex numbers, naming the column where there are columns.
        ValueError: for masked entries, and for rows of unlike lengths.

    Example:
        >>> as_numbers([[1, 2], [3, 4.5]], "x")
        array([[1. , 2. ],
               [3. , 4.5]])
    """
    if (columns := columns_of(value)) is not None:
        arrays = [_as_array(column, f"{name}, column {label!r}") for label, column in columns]
        return np.stack(arrays, axis=1) if arrays else np.empty((len(value), 0))
    return _as_array(value, name)


def columns_of(table: Any) -> list[tuple[Any, Any]] | None:
    """Names and columns of a data frame of pandas or polars, or an Arrow table; None for anything else."""
    if hasattr(table, "itercolumns"):  # pyarrow
        return list(zip(table.column_names, table.itercolumns(), strict=True))
    if hasattr(table, "iter_columns"):  # polars
        return [(column.name, column) for column in table.iter_columns()]
    if hasattr(table, "items") and hasattr(table, "columns"):  # pandas
        return list(table.items())
    return None


def column_names(table: Any) -> tuple[str, ...]:
    """Names of the columns of a data frame or table; none for anything else."""
    return tuple(str(label) for label, _ in columns_of(table) or ())


def columns_in_order(table: Any, fitted: Any) -> Any:
    """A data frame or table with the columns that a fit was of, in its order; anything else as it is.

    Raises:
        ValueError: if the table has names, and lacks one of the fit.
    """
    names, columns = feature_names_of(fitted), feature_names_of(table)
    if names is None or columns is None or names == columns or columns_of(table) is None:
        return table
    if list(names) == default_names(len(names)) and not set(names) <= set(columns):  # these stand for no names
        return table
    if missing := [name for name in names if name not in columns]:
        raise ValueError(
            f"x: expected the columns of the fit, {', '.join(names)}; got {', '.join(columns)}, without {missing[0]!r}"
        )
    if any(columns.count(name) > 1 for name in names):
        raise ValueError(f"x: expected each column of the fit once, got {', '.join(columns)}")
    return table.select(list(names)) if hasattr(table, "select") else table[list(names)]


def as_labels(labels: Any, n_rows: int, n_classes: int | None = None) -> Any:
    """``labels`` as whole numbers ``(n,)`` from zero on, below ``n_classes``."""
    labels = as_numbers(labels, "labels")
    classes = "0, 1, ..." if n_classes is None else f"0..{n_classes - 1}"
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels: expected integers {classes}, got dtype {labels.dtype}")
    if labels.shape != (n_rows,):
        raise ValueError(f"labels: expected shape {(n_rows,)}, one for each row of x, got {labels.shape}")
    if not isinstance(labels, jax.core.Tracer):
        least, largest = int(labels.min()), int(labels.max())
        if least < 0 or (n_classes is not None and largest >= n_classes):
            raise ValueError(f"labels: expected {classes}, got {least}..{largest}")
    return labels


def refuse_lost(value: Any, name: str) -> None:
    """Raise where numpy would drop what an argument says beside its numbers: masked entries, and units of time."""
    if isinstance(value, list | tuple) and any(isinstance(part, np.ma.MaskedArray) for part in value):
        value = np.ma.stack(value)
    if np.ma.is_masked(value):
        n = int(np.sum(np.ma.getmaskarray(value)))
        raise ValueError(f"{name}: expected no masked entries, got {n} masked: leave out the rows that have some")
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "mM":
        raise TypeError(
            f"{name}: expected an array of real numbers, got dtype {dtype}: write it in a unit of your choice, such as "
            "(x - x[0]) / np.timedelta64(1, 's')"
        )


def _as_array(value: Any, name: str) -> Any:
    """One array of real numbers, of anything but a table."""
    refuse_lost(value, name)
    if isinstance(value, jax.Array):
        array: Any = value
    elif method := next((method for method in ("toarray", "todense") if hasattr(value, method)), None):
        raise TypeError(f"{name}: expected a dense array, got a sparse {type(value).__name__}: write x.{method}()")
    else:
        array = _from_host(value, name)
        refuse_lost(array, name)
    if array.dtype == object:
        array = _from_objects(array, name)
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool) or jnp.iscomplexobj(array):
        raise TypeError(f"{name}: expected an array of real numbers, got dtype {array.dtype}")
    if isinstance(array, np.ndarray):
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        array = array.astype(np.float64) if array.dtype == np.longdouble else array
    return array


def _from_host(value: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected rows of one length, got {_lengths(value) or error}") from None


def _lengths(value: Any) -> str | None:
    """What is unlike in the rows of a list; None where that is not their lengths."""
    lengths = [len(row) if isinstance(row, Sequence) else np.size(row) for row in value]
    other = next((row for row, length in enumerate(lengths) if length != lengths[0]), None)
    return None if other is None else f"{lengths[0]} entries in row 0 and {lengths[other]} in row {other}"


def _from_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Objects that are numbers as float64, NaN for those that stand for a missing one."""
    if not array.shape:
        raise TypeError(f"{name}: expected an array of real numbers, got {type(array.item()).__name__}")
    found = np.empty(array.shape)
    for place, entry in np.ndenumerate(array):
        is_missing = entry is None or type(entry).__name__ == "NAType"
        is_real = isinstance(entry, numbers.Number | np.bool_) and not isinstance(entry, _NOT_REAL)
        try:
            found[place] = np.nan if is_missing else float(entry if is_real else "text")
        except (ValueError, OverflowError):
            raise TypeError(
                f"{name}: expected numbers, got {entry!r} at row {place[0]}: leave it out, or code it as a number"
            ) from None
    return found


def minus(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """``values - reference``, exact in whole numbers."""
    if values.dtype.kind in "iu" and values.min() > -HOLDS_DIFFERENCES and values.max() < HOLDS_DIFFERENCES:
        return values.astype(np.int64) - reference.astype(np.int64)
    return values.astype(np.float64) - reference.astype(np.float64)


def ordered_sample(rows: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """At most about 4,096 of the rows ``(n, d)``, or of those at the indices ``counted``, each feature in order."""
    every = -(-len(rows if counted is None else counted) // SAMPLE)
    return np.sort(rows[::every] if counted is None else rows[counted[::every]], axis=0)


def warn_of_merged(sample: np.ndarray, reference: np.ndarray, names: tuple[str, ...]) -> None:
    """Say so where rounding, about a reference in its dtype, merges what a fiftieth of the ordered rows tells apart."""
    left = minus(sample, reference)
    window = max(1, len(sample) // 50)
    spread = left[window:] - left[:-window]
    is_spread = spread > 1e-12 * abs(sample[window:].astype(np.float64))  # more than computing leaves
    is_merged = is_spread & (np.spacing(abs(left[window:]).astype(reference.dtype)) > spread / 2)
    if is_merged.any():
        row, feature = np.argwhere(is_merged)[0]
        warnings.warn(
            f"x: {reference.dtype} merges values of {named(feature, names)} near {sample[window + row, feature]:.3g} "
            f"that differ: {more_digits(reference.dtype)}",
            stacklevel=levels_to_the_caller(),
        )


def more_digits(dtype: Any) -> str:
    """What to do where rows have more digits than a dtype."""
    return "subtract a constant from the feature" + (", or set jax_enable_x64" if dtype == np.float32 else "")


def named(feature: int, names: tuple[str, ...]) -> str:
    """A feature in a message: by the name of its column, where there are names."""
    return f"column {names[feature]!r}" if names else f"feature {feature}"
