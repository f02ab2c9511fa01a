"""Writing of files: whole or not at all, and whether that will be possible."""

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNFINISHED: set[str] = set()  #: temporary files, for whoever ends the process to delete


def check_writable(path: str | Path) -> None:
    """See whether :func:`write_atomically` could write a file, without writing it.

    Args:
        path: the file.

    Raises:
        ValueError: if it is a directory, or in none.
        PermissionError: if it must not be written.

    Example:
        >>> check_writable("missing/a.txt")
        Traceback (most recent call last):
            ...
        ValueError: missing/a.txt: expected a file in a directory that exists, got no directory missing
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, got a directory")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: expected a file in a directory that exists, got no directory {path.parent}")
    is_replaced = path.is_file() or not path.exists()
    if not os.access(path.resolve().parent if is_replaced else path, os.W_OK | (os.X_OK if is_replaced else 0)):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def write_atomically(path: str | Path, write: Callable[[Any], object]) -> None:
    """Write a file whole or not at all: to a temporary file beside it, which then takes its place.

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
            _replace(path.resolve(), write)  # resolved, so that a link stays a link
        else:
            with open(path, "wb") as file:
                write(file)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # not the temporary file's
        raise


def _replace(path: Path, write: Callable[[Any], object]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".jaxgmm.")
    UNFINISHED.add(temporary)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # or after a power cut the new name may belong to an empty file
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        UNFINISHED.discard(temporary)


def _umask() -> int:
    mask = os.umask(0o077)  # for a moment; what other threads create meanwhile is private, and not open to all
    os.umask(mask)
    return mask
