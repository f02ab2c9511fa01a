"""Tables of numbers in files: delimited text, or Parquet; read by pyarrow. A file is opened and read once."""

import io as streams
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from . import guesses
from .delimited import Columns, Layout, columns_of_text

_PARQUET = (".parquet", ".pq")
_PARQUET_START = b"PAR1"

Choice = Callable[[Sequence[str]], Sequence[str]]  # names of all columns of numbers -> names of those to read


class Table(NamedTuple):
    """Columns of numbers from a file, and how it was read."""

    rows: np.ndarray  #: (n, d) float64
    names: tuple[str, ...]  #: d names
    notes: tuple[str, ...]  #: what was guessed, left out and dropped
    doubts: tuple[str, ...]  #: those guesses that are hardly better than another
    where: Callable[[int, str], str]  #: index of a row, name of a column -> the place in the file, in words


def read_table(
    path: str | Path | BinaryIO,
    columns: Sequence[str] | None = None,
    *,
    header: bool | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    ignore: Sequence[str] = (),
    drop_missing: bool = False,
) -> tuple[np.ndarray, tuple[str, ...]]:
    r"""Read a table of numbers: text with columns separated by commas or otherwise, or Parquet.

    How a text file is laid out is guessed where options do not say, and a warning says what was left out and which
    guess is a doubtful one. A first line 0, 1, 2, ... or 1, 2, ... is taken for names, as data frames write it; a first
    column of whole numbers without a name for row numbers, which are left out, as are columns of text and of dates.

    Args:
        path: the file, or an open binary one; gzip, zstd, bzip2, UTF-8 and UTF-16 are told by its first bytes, Parquet
            also by the name ``.parquet`` or ``.pq``. An empty field, ``NA``, ``nan`` or null is NaN.
        columns: names of the columns to read, in this order; default all that hold numbers. Without a header they are
            x1, x2, ...
        header: whether the first line holds names.
        separator: the character between columns; a blank stands for any number of blanks.
        decimal: the decimal mark, a point or a comma.
        ignore: names of columns to leave out.
        drop_missing: whether to leave out rows with NaN.

    Returns:
        Rows ``(n, d)`` float64, and their d names.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no table; if a field is no number, or rows differ in length, naming the line; if a column
            is missing, or its name is not unique; or if there are no rows.
        ModuleNotFoundError: without pyarrow: ``pip install 'jaxgmm[io]'``.

    Example:
        >>> import io
        >>> read_table(io.BytesIO(b"a;b\n1,5;2\n"))
        (array([[1.5, 2. ]]), ('a', 'b'))
    """
    layout = Layout(header, separator, decimal)
    table = read_columns(path, columns, layout=layout, ignore=ignore, drop_missing=drop_missing)
    for doubt in table.doubts:
        warnings.warn(f"{_name_of(path)}: {doubt}", stacklevel=2)
    return table.rows, table.names


def read_columns(
    path: str | Path | BinaryIO,
    columns: Sequence[str] | Choice | None = None,
    *,
    layout: Layout = Layout(),  # noqa: B008  (a constant)
    ignore: Sequence[str] = (),
    drop_missing: bool = False,
) -> Table:
    r"""Read columns of a table, and say how: :func:`jaxgmm.read_table` for programs.

    Args:
        path: as in :func:`jaxgmm.read_table`.
        columns: names, or a function that is called once with the names of all columns of numbers, and returns those
            to read, in their order; default all.
        layout: how a text file is laid out, where that is not to be guessed.
        ignore: as in :func:`jaxgmm.read_table`.
        drop_missing: as in :func:`jaxgmm.read_table`.

    Returns:
        The ``Table``.

    Raises:
        OSError: as in :func:`jaxgmm.read_table`.
        ValueError: as in :func:`jaxgmm.read_table`.
        ModuleNotFoundError: as in :func:`jaxgmm.read_table`.

    Example:
        >>> import io
        >>> table = read_columns(io.BytesIO(b",a,kind\n0,1,tall\n1,2,short\n"))
        >>> table.names, table.notes, table.where(1, "a")
        (('a',), ('first line: names', 'left out: row numbers (column 1), kind (text)'), 'table, line 3, column a')
    """
    with _opened(path, layout) as found:
        # The columns to read
        names, file = found.names, _name_of(path)
        absent = [name for name in ignore if name not in names]
        if absent:
            raise ValueError(f"{file}: expected columns to ignore among {', '.join(names)}, got {', '.join(absent)}")
        offered = [name for name, kind in zip(names, found.kinds, strict=True) if not kind and name not in ignore]
        chosen = tuple(columns(offered) if callable(columns) else offered if columns is None else columns)
        _check_choice(file, chosen, found)
        rows = found.numbers([names.index(name) for name in chosen])

    # What was left out
    notes, doubts = list(found.notes), list(found.doubts)
    left_out = _left_out(found, [*chosen, *ignore])
    if left_out and columns is None:
        notes.append(f"left out: {left_out}")
        doubts.append(f"left out: {left_out}; columns= or ignore= say which to read")
    kept = np.arange(len(rows))
    if drop_missing:
        kept = np.flatnonzero(~np.isnan(rows).any(1))
        notes.append(f"dropped: {len(rows) - len(kept)} of {len(rows)} rows, with missing cells")
    if not len(kept):
        raise ValueError(f"{file}: expected at least one row without missing cells, got none")
    return Table(
        rows[kept] if drop_missing else rows,
        chosen,
        tuple(notes),
        tuple(doubts),
        lambda row, name: f"{found.where(kept[row])}, column {name}",
    )


def _check_choice(file: str, chosen: Sequence[str], found: Columns) -> None:
    if not chosen:
        raise ValueError(f"{file}: expected at least one column of numbers, got {_left_out(found, ())}")
    if not set(chosen) <= set(found.names):
        raise ValueError(f"{file}: expected columns {', '.join(chosen)}, got {', '.join(found.names)}")
    repeated = [name for name in chosen if chosen.count(name) > 1 or found.names.count(name) > 1]
    if repeated:
        raise ValueError(f"{file}: expected each column once, got {', '.join(repeated)}")


def _left_out(found: Columns, others: Sequence[str]) -> str:
    """Columns that hold no numbers, but others."""
    return ", ".join(
        f"{kind} (column 1)" if kind == "row numbers" else f"{name or f'column {place}'} ({kind})"
        for place, (name, kind) in enumerate(zip(found.names, found.kinds, strict=True), 1)
        if kind and name not in others
    )


def _name_of(path: Any) -> str:
    """What an error calls a file."""
    name = getattr(path, "name", "table") if hasattr(path, "read") else path
    return "standard input" if name in (0, "<stdin>") else str(name)


@contextmanager
def _opened(path: Any, layout: Layout) -> Iterator[Columns]:
    """The columns of a file, which is open until they are read."""
    try:
        import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("tables need pyarrow: pip install 'jaxgmm[io]'", name="pyarrow") from error
    file = path if hasattr(path, "read") else open(path, "rb")  # noqa: SIM115  (closed below, if it is ours)
    try:
        start = file.peek(4)[:4] if hasattr(file, "peek") else b""
        if start == _PARQUET_START or Path(_name_of(path)).suffix.lower() in _PARQUET:
            yield from _parquet(_name_of(path), file if file.seekable() else streams.BytesIO(file.read()))
        else:
            yield columns_of_text(_name_of(path), file.read(), layout)
    finally:
        if file is not path:
            file.close()


def _parquet(name: str, file: BinaryIO) -> Iterator[Columns]:
    """The columns of an open Parquet file, of which none is read that nobody asks for."""
    import pyarrow
    from pyarrow import parquet

    def numbers(positions: Sequence[int]) -> np.ndarray:
        chosen = [names[position] for position in positions]
        table = opened.read(columns=chosen)
        rows = np.empty((table.num_rows, len(chosen)))
        for position, column in enumerate(chosen):
            try:
                rows[:, position] = guesses.as_floats(table.column(column))
            except pyarrow.ArrowException as error:
                refusal = f"expected numbers, got {table.column(column).type}: {error}"
                raise ValueError(f"{name}, column {column}: {refusal}") from error
        return rows

    try:
        opened = parquet.ParquetFile(file)
        names = tuple(opened.schema_arrow.names)
        if not opened.metadata.num_rows or not names:
            raise ValueError(f"{name}: expected at least one row of numbers, got none")
        kinds = [guesses.kind_of(column) for column in opened.schema_arrow.empty_table().columns]
        yield Columns(names, tuple(kinds), numbers, lambda row: f"{name}, row {row + 1}")
    except (pyarrow.ArrowException, OSError) as error:  # foreign files raise the first, damaged ones either
        raise ValueError(f"{name}: expected a Parquet file, got {error}") from error
