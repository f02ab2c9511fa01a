"""Tables of numbers in files: comma-separated text, or Parquet. A file is opened and read once."""

import csv
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np

_PARQUET = (".parquet", ".pq")

Names = tuple[str, ...]
Table = tuple[Names, Callable[[Names], np.ndarray]]  # names of all columns; names of some -> their rows (n, d)
Lines = Iterable[tuple[int, list[str]]]  # number of a line in its file, and its fields


def read_names(path: str | Path) -> tuple[str, ...]:
    """Read the names of a table's columns and none of its numbers; columns of text are named too.

    Args:
        path: the file.

    Returns:
        The names; without a header x1, x2, ...

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no table, or holds no rows.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("a,b\\n1,text\\n")
        ...     file.flush()
        ...     read_names(file.name)
        ('a', 'b')
    """
    with _opened(path) as (names, _):
        return names


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read a table of numbers: comma-separated, with or without a header line, or Parquet.

    Args:
        path: the file, read as Parquet where it is called ``.parquet`` or ``.pq``. An empty field, ``NA``, ``nan`` or
            Parquet's null is NaN.
        columns: names of the columns to read, in this order; default all. Without a header they are x1, x2, ...

    Returns:
        Rows ``(n, d)`` float64, and their d names.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no table; if a field is no number, or rows differ in length, naming the line; if a column
            is missing, or its name is not unique; or if there are no rows.
        ModuleNotFoundError: for Parquet without pyarrow.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("a,b\\n1,2\\n")
        ...     file.flush()
        ...     read_table(file.name)
        (array([[1., 2.]]), ('a', 'b'))
    """
    return read_columns(path, lambda names: names if columns is None else columns)


def read_columns(path: str | Path, choose: Callable[[Names], Sequence[str]]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read those columns of a table that a function chooses once it sees the names of all.

    Args:
        path: the file, as in :func:`read_table`.
        choose: called once with the names of all columns; returns the names of the columns to read, in their order.

    Returns:
        Rows ``(n, d)`` float64, and their d names.

    Raises:
        OSError: if the file cannot be read.
        ValueError: as in :func:`read_table`.
        ModuleNotFoundError: for Parquet without pyarrow.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("a,kind\\n1,tall\\n")
        ...     file.flush()
        ...     read_columns(file.name, lambda names: [name for name in names if name != "kind"])
        (array([[1.]]), ('a',))
    """
    with _opened(path) as (names, rows_of):
        chosen = tuple(choose(names))
        if not set(chosen) <= set(names):
            raise ValueError(f"{path}: expected columns {', '.join(chosen)}, got {', '.join(names)}")
        repeated = [name for name in chosen if chosen.count(name) > 1 or names.count(name) > 1]
        if repeated:
            raise ValueError(f"{path}: expected each column once, got {', '.join(repeated)}")
        return rows_of(chosen), chosen


def _opened(path: str | Path) -> AbstractContextManager[Table]:
    return _parquet(path) if Path(path).suffix.lower() in _PARQUET else _comma_separated(path)


@contextmanager
def _parquet(path: str | Path) -> Iterator[Table]:
    """An open Parquet file, of which no column is read that nobody asks for."""
    import pyarrow
    from pyarrow import parquet

    def rows_of(chosen: Names) -> np.ndarray:
        # The chosen columns, one after another as float64.
        table = file.read(columns=list(chosen))
        rows = np.empty((table.num_rows, len(chosen)))
        for position, name in enumerate(chosen):
            column = table.column(name)
            try:
                rows[:, position] = column.cast(pyarrow.float64(), safe=False)  # unsafe: rounds large integers
            except pyarrow.ArrowException as error:
                raise ValueError(f"{path}, column {name}: expected numbers, got {column.type}: {error}") from error
        return rows

    # Names come from the end of the file, before any column is read.
    with open(path, "rb") as binary:
        try:
            file = parquet.ParquetFile(binary)
            if not file.metadata.num_rows:
                raise ValueError(f"{path}: expected at least one row of numbers, got none")
            yield tuple(file.schema_arrow.names), rows_of
        except (pyarrow.ArrowException, OSError) as error:  # foreign files raise the first, damaged ones either
            raise ValueError(f"{path}: expected a Parquet file, got {error}") from error


# The csv module rather than pyarrow's reader, which names no line in its errors and counts no blank ones.
@contextmanager
def _comma_separated(path: str | Path) -> Iterator[Table]:
    """An open text file, parsed line by line, so that memory holds the chosen numbers and none of the text."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as text:
            names, lines = _names_and_lines(path, text)
            yield names, lambda chosen: _parsed(path, names, lines, chosen)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a comma-separated text file, got {error}") from error


def _names_and_lines(path: str | Path, text: TextIO) -> tuple[Names, Lines]:
    """Names of the columns, and the lines of numbers, of which there is at least one."""
    # Blank lines are counted and skipped.
    reader = csv.reader(text)
    lines = ((reader.line_num, fields) for fields in reader if fields)
    first = next(lines, None)
    if first is None:
        raise ValueError(f"{path}: expected at least one row of numbers, got an empty file")

    # A header is a first line with a field that is no number.
    if all(_number(field) is not None for field in first[1]):
        return tuple(f"x{column}" for column in range(1, len(first[1]) + 1)), chain([first], lines)
    names = tuple(name.strip() for name in first[1])
    first = next(lines, None)
    if first is None:
        raise ValueError(f"{path}: expected at least one row of numbers below the header, got none")
    return names, chain([first], lines)


def _parsed(path: str | Path, names: Names, lines: Lines, chosen: Names) -> np.ndarray:
    """The chosen columns of all lines as numbers ``(n, d)``."""
    positions = [names.index(name) for name in chosen]
    numbers, n = array("d"), 0
    for line, fields in lines:
        numbers.extend(_row(f"{path}, line {line}", fields, names, positions))
        n += 1
    return np.asarray(numbers).reshape(n, len(positions))


def _row(where: str, fields: Sequence[str], names: Names, positions: Sequence[int]) -> list[float]:
    if len(fields) != len(names):
        raise ValueError(f"{where}: expected {len(names)} columns, got {len(fields)}")
    row = [_number(fields[position]) for position in positions]
    if None in row:
        position = positions[row.index(None)]
        raise ValueError(f"{where}, column {names[position]}: expected a number, got {fields[position]!r}")
    return [value for value in row if value is not None]


def _number(field: str) -> float | None:
    """A field as a number, NaN where it is blank or NA, None where it is text."""
    if field.strip() in ("", "NA"):
        return float("nan")
    try:
        return None if "_" in field else float(field)  # float would read the name 2020_1 as 20201
    except ValueError:
        return None
