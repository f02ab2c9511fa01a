"""Rows of the command line: which columns of a table are features, and which one holds row weights."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from .. import io
from ..datasets import load_faithful
from ..files.delimited import Layout
from ..files.tables import Table
from ..fitted import default_names
from .outputs import STANDARD


class Reading(NamedTuple):
    """Options that say how a table is read; what is None is guessed."""

    header: bool | None
    separator: str | None
    decimal: str | None
    ignore: tuple[str, ...]
    drop_missing: bool


class Rows(NamedTuple):
    """Rows to fit to, and how they were read."""

    x: Any  #: (n, d)
    names: tuple[str, ...]
    weights: Any  #: (n,) or None
    notes: tuple[str, ...]  #: what was guessed, left out and dropped


def reading_of(options: dict[str, Any]) -> Reading:
    """Take the options of reading out of all options of a command."""
    return Reading(**{name: options.pop(name) for name in Reading._fields})


def training_rows(data: Path | None, columns: str | None, weights: str | None, reading: Reading) -> Rows:
    """Rows, feature names and row weights to fit to; Old Faithful without a file."""
    if data is None:
        if columns is not None or weights is not None or any(option not in (None, (), False) for option in reading):
            raise click.UsageError("--columns, --weights and how a table is read go with a file DATA.csv")
        x, names = load_faithful()
        return Rows(x, names, None, ())
    chosen = None if columns is None else [name.strip() for name in columns.split(",")]
    if weights is None:
        table = _table(data, chosen, reading)
        _check_cells(table, np.ones(len(table.rows)))
        return Rows(table.rows, table.names, None, table.notes)
    table = _table(data, None if chosen is None else [*chosen, weights], reading)
    if weights not in table.names:
        raise ValueError(f"{name_of(data)}: expected a column {weights} of weights, got {', '.join(table.names)}")
    place = table.names.index(weights)
    row_weights = table.rows[:, place]
    _check_cells(table, row_weights)
    features = [*table.names[:place], *table.names[place + 1 :]]
    return Rows(np.delete(table.rows, place, axis=1), tuple(features), row_weights, table.notes)


def rows_to_predict(data: Path, features: Sequence[str], reading: Reading) -> tuple[np.ndarray, tuple[str, ...]]:
    """Rows ``(n, d)`` of the features that a model was fitted to, and what is doubtful about them."""
    table = _table(data, partial(_columns_of, features), reading)
    _check_cells(table, np.ones(len(table.rows)))
    return table.rows, table.notes if table.doubts or reading.drop_missing else ()


def name_of(data: Path | None) -> str:
    """What the data are called."""
    return "Old Faithful" if data is None else "standard input" if data == STANDARD else str(data)


def checksum(data: Path | None) -> list[tuple[str, str]]:
    """SHA-256 of the file that the data are in, as ``sha256sum`` prints it; nothing where there is no file."""
    if data is None or data == STANDARD:
        return []
    with data.open("rb") as file:
        return [("sha256", hashlib.file_digest(file, "sha256").hexdigest())]


@contextmanager
def naming(data: Path | None) -> Iterator[None]:
    """Put the name of the data in front of errors that are about them."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name_of(data)}: {error}") from error


def _table(data: Path, columns: Any, reading: Reading) -> Table:
    source: Any = sys.stdin.buffer if data == STANDARD else data
    layout = Layout(reading.header, reading.separator, reading.decimal)
    return io.read_columns(source, columns, layout=layout, ignore=reading.ignore, drop_missing=reading.drop_missing)


def _check_cells(table: Table, row_weights: np.ndarray) -> None:
    """Raise for the first cell that is missing or infinite, in rows that have a weight."""
    bad = ~np.isfinite(table.rows) & (row_weights != 0)[:, None]
    if not bad.any():
        return
    row, column = np.argwhere(bad)[0]
    if np.isnan(table.rows[row, column]):
        got = "a missing cell; --drop-missing leaves such rows out"
    else:
        got = str(table.rows[row, column])
    raise ValueError(f"{table.where(row, table.names[column])}: expected a finite number, got {got}")


def _columns_of(features: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """The columns that hold a model's features: by name, or by position where the model or the table has no names."""
    has_no_names = _are_defaults(features) or _are_defaults(names)
    by_position = has_no_names and len(names) == len(features) and not set(features) <= set(names)
    return names if by_position else features


def _are_defaults(names: Sequence[str]) -> bool:
    """Whether names are x1, x2, ..., which stand for no names."""
    return list(names) == default_names(len(names))
