"""Rows of the command line: which columns of a table are features, and which one holds row weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import io
from ..datasets import load_faithful


def training_rows(data: Path | None, columns: str | None, weights: str | None) -> tuple[Any, tuple[str, ...], Any]:
    """Rows ``(n, d)`` to fit to, their feature names, and row weights ``(n,)`` or None; Old Faithful without a file."""
    if data is None:
        if columns is not None or weights is not None:
            raise click.UsageError("--columns and --weights go with a file DATA.csv")
        x, names = load_faithful()
        return x, names, None
    features = None if columns is None else [name.strip() for name in columns.split(",")]
    if weights is None:
        return *io.read_table(data, features), None
    x, names = io.read_columns(data, partial(_features_and_weights, features, weights))
    return x[:, :-1], names[:-1], x[:, -1]


def rows_to_predict(data: Path, features: Sequence[str]) -> np.ndarray:
    """Finite rows ``(n, d)`` of the features that a model was fitted to."""
    x, _ = io.read_columns(data, partial(_columns_of, features))
    bad = np.flatnonzero(~np.isfinite(x).all(1))
    if bad.size:
        raise ValueError(f"{data}: expected finite values, got {x[bad[0]]} at row {bad[0]}")
    return x


@contextmanager
def naming(data: Path | None) -> Iterator[None]:
    """Put the name of the data in front of errors that are about them."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{data or 'Old Faithful'}: {error}") from error


def _features_and_weights(features: Sequence[str] | None, weights: str, names: Sequence[str]) -> list[str]:
    """The columns to read: by default all are features but that of the row weights, which comes last."""
    return [*([name for name in names if name != weights] if features is None else features), weights]


def _columns_of(features: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """The columns that hold a model's features: by name, or by position where the model or the table has no names."""
    has_no_names = _are_defaults(features) or _are_defaults(names)
    by_position = has_no_names and len(names) == len(features) and not set(features) <= set(names)
    return names if by_position else features


def _are_defaults(names: Sequence[str]) -> bool:
    """Whether names are x1, x2, ..., which stand for no names."""
    return list(names) == [f"x{column}" for column in range(1, len(names) + 1)]
