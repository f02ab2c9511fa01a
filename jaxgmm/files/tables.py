"""Tables of numbers from files: comma-separated text, or Parquet."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

_PARQUET = (".parquet", ".pq")

Table = tuple[tuple[str, ...], Callable[[Sequence[int]], np.ndarray]]  # names; positions of columns -> their rows


def read_names(path: str | Path) -> tuple[str, ...]:
    """Read the names of a table's columns alone: of those that hold no numbers, too.

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
    return _table(path)[0]


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
    names, rows_of = _table(path)
    chosen = names if columns is None else tuple(columns)
    if not set(chosen) <= set(names):
        raise ValueError(f"{path}: expected columns {', '.join(chosen)}, got {', '.join(names)}")
    repeated = [name for name in chosen if chosen.count(name) > 1 or names.count(name) > 1]
    if repeated:
        raise ValueError(f"{path}: expected each column once, got {', '.join(repeated)}")
    return rows_of([names.index(name) for name in chosen]), chosen


def _table(path: str | Path) -> Table:
    return _parquet(path) if Path(path).suffix.lower() in _PARQUET else _comma_separated(path)


def _parquet(path: str | Path) -> Table:
    import pyarrow
    from pyarrow import parquet

    with open(path, "rb") as file:
        try:
            table = parquet.ParquetFile(file).read()
        except (pyarrow.ArrowException, OSError) as error:  # what is no Parquet is one, what is damaged the other
            raise ValueError(f"{path}: expected a Parquet file, got {error}") from error
    if not table.num_rows:
        raise ValueError(f"{path}: expected at least one row of numbers, got none")

    def numbers(position: int) -> np.ndarray:
        column = table.column(position)
        try:
            return column.cast(pyarrow.float64(), safe=False).to_numpy()  # unsafe: integers are rounded to float64
        except pyarrow.ArrowException as error:
            name = table.column_names[position]
            raise ValueError(f"{path}, column {name}: expected numbers, got {column.type}: {error}") from error

    return tuple(table.column_names), lambda positions: np.stack([numbers(p) for p in positions], axis=1)


# The csv module rather than pyarrow's reader, which names no line in its errors and counts no blank ones.
def _comma_separated(path: str | Path) -> Table:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, fields) for fields in reader if fields]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a comma-separated text file, got {error}") from error
    if not lines:
        raise ValueError(f"{path}: expected at least one row of numbers, got an empty file")
    if any(_number(field) is None for field in lines[0][1]):
        names = tuple(name.strip() for name in lines.pop(0)[1])
    else:
        names = tuple(f"x{column}" for column in range(1, len(lines[0][1]) + 1))
    if not lines:
        raise ValueError(f"{path}: expected at least one row of numbers below the header, got none")

    def rows_of(positions: Sequence[int]) -> np.ndarray:
        return np.array([_row(f"{path}, line {number}", fields, names, positions) for number, fields in lines])

    return names, rows_of


def _row(where: str, fields: Sequence[str], names: Sequence[str], positions: Sequence[int]) -> list[float]:
    if len(fields) != len(names):
        raise ValueError(f"{where}: expected {len(names)} columns, got {len(fields)}")
    row = [_number(fields[position]) for position in positions]
    if None in row:
        position = positions[row.index(None)]
        raise ValueError(f"{where}, column {names[position]}: expected a number, got {fields[position]!r}")
    return [value for value in row if value is not None]


def _number(field: str) -> float | None:
    if field.strip() in ("", "NA"):
        return float("nan")
    try:
        return None if "_" in field else float(field)  # float would read the name 2020_1 as 20201
    except ValueError:
        return None
