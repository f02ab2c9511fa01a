"""Files: tables of numbers in, fitted mixtures in and out. Nothing is ever left half-written."""

import csv
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import checks
from .families import get_family
from .types import GMMParams

_FORMAT = 1


class Model(NamedTuple):
    """A fitted mixture as it is kept in a file."""

    params: GMMParams  # of numpy arrays
    family: str
    feature_names: tuple[str, ...]  # d


def save(path: str | Path, model: Model) -> None:
    """Write a model to an ``.npz`` file, whole or not at all.

    Args:
        path: the file, replaced if it exists.
        model: the :class:`Model`.

    Raises:
        OSError: if the file cannot be written; what was there stays.

    Example:
        >>> import numpy as np, tempfile
        >>> params = GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(folder + "/model.npz", Model(params, "full", ("a",)))
        ...     load(folder + "/model.npz").feature_names
        ('a',)
    """
    content = {f"params.{field}": np.asarray(value) for field, value in model.params._asdict().items()}
    content["format"] = np.array(_FORMAT)
    content["family"] = np.array(model.family)
    content["feature_names"] = np.array(model.feature_names, str)
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **content))


def load(path: str | Path) -> Model:
    """Read a model that :func:`save` wrote.

    Args:
        path: the file.

    Returns:
        The :class:`Model`, its parameters as numpy arrays.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is damaged, holds something else, or was written by a newer version.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        ...     load(file.name)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: ...: expected a model saved by jaxgmm, got a damaged or foreign file
    """
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                content = {name: archive[name] for name in archive.files}
            version = int(content["format"])
            model = _model(content) if version <= _FORMAT else None
        except Exception as error:  # of any kind: a damaged archive trips up zipfile and numpy in a dozen ways
            raise ValueError(f"{path}: expected a model saved by jaxgmm, got a damaged or foreign file") from error
    if model is None:
        raise ValueError(f"{path}: expected format {_FORMAT} or older, got {version}; update jaxgmm")
    return model


def _model(content: Mapping[str, Any]) -> Model:
    params = GMMParams(*(content[f"params.{field}"] for field in GMMParams._fields))
    family, names = str(content["family"]), content["feature_names"]
    checks.family_of(get_family(family), checks.as_params(params))
    if names.shape != params.means.shape[1:]:
        raise ValueError(f"feature_names: expected shape {params.means.shape[1:]}, got {names.shape}")
    return Model(params, family, tuple(map(str, names)))


def read_names(path: str | Path) -> tuple[str, ...]:
    """Read the names of a table's columns alone: of those that hold no numbers, too.

    Args:
        path: the file.

    Returns:
        The names; without a header x1, x2, ...

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no comma-separated text, or holds no rows.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("a,b\\n1,text\\n")
        ...     file.flush()
        ...     read_names(file.name)
        ('a', 'b')
    """
    return _records(path)[0]


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read a comma-separated table of numbers, with or without a header line.

    Args:
        path: the file; an empty field, ``NA`` or ``nan`` is NaN.
        columns: names of the columns to read, in this order; default all. Without a header they are x1, x2, ...

    Returns:
        Rows ``(n, d)`` float64, and their d names.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if a field is no number, or rows differ in length, naming the line; if a column is missing, or its
            name is not unique; or if there are no rows.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("a,b\\n1,2\\n")
        ...     file.flush()
        ...     read_table(file.name)
        (array([[1., 2.]]), ('a', 'b'))
    """
    names, lines = _records(path)
    chosen = names if columns is None else tuple(columns)
    if not set(chosen) <= set(names):
        raise ValueError(f"{path}: expected columns {', '.join(chosen)}, got {', '.join(names)}")
    repeated = [name for name in chosen if chosen.count(name) > 1 or names.count(name) > 1]
    if repeated:
        raise ValueError(f"{path}: expected each column once, got {', '.join(repeated)}")
    positions = [names.index(name) for name in chosen]
    return np.array([_row(f"{path}, line {number}", fields, names, positions) for number, fields in lines]), chosen


def _records(path: str | Path) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    """Column names, and the fields of each row with the number of its line."""
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
    return names, lines


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


def write_atomically(path: str | Path, write: Callable[[Any], object]) -> None:
    """Let ``write`` fill a binary file beside ``path``, then put it in its place.

    Args:
        path: the file, replaced if it exists; a device or a pipe is written to instead.
        write: called with the open file.

    Raises:
        OSError: if the file cannot be written; what was there stays.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(folder + "/a.txt", lambda file: file.write(b"whole"))
        ...     Path(folder, "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    try:
        if path.is_file() or not path.exists():
            _replace(path.resolve(), write)  # resolved: a link stays one
        else:
            with open(path, "wb") as file:
                write(file)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # not the temporary file's
        raise


def _replace(path: Path, write: Callable[[Any], object]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".jaxgmm.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
