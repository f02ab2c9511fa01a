"""What commands write: files, standard output, and a closed pipe that takes nothing more."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ..files.writing import check_writable, write_atomically

STANDARD = Path("-")  # standard input, or standard output


def check_files(inputs: Sequence[Path | None], outputs: Sequence[Path | None]) -> None:
    """Refuse, before any work, outputs that cannot be written, that are inputs, or that are one and the same file."""
    inputs, outputs = [[path for path in paths if path is not None] for paths in (inputs, outputs)]
    if inputs.count(STANDARD) > 1:
        raise ValueError("-: expected one input from standard input, got two")
    for place, path in enumerate(outputs):
        if path != STANDARD:
            check_writable(path)
            if any(_are_one(path, other) for other in inputs):
                raise ValueError(f"{path}: expected an output that is no input, got one that would be overwritten")
        if any(path == other or _are_one(path, other) for other in outputs[:place]):
            raise ValueError(f"{path}: expected two outputs in two files, got one for both")


def write(path: Path, content: bytes) -> None:
    """Write to a file, whole or not at all, or to standard output."""
    if path != STANDARD:
        write_atomically(path, lambda file: file.write(content))
        return
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _write_no_more()


def say(text: str, to_stderr: bool = False) -> None:
    """Print a text; a pipe that is closed, as by ``head``, has read enough."""
    try:
        click.echo(text, err=to_stderr)
    except BrokenPipeError:
        _write_no_more()


def _are_one(path: Path, other: Path) -> bool:
    if STANDARD in (path, other):
        return False
    if path.exists() and other.exists():
        return path.is_file() and path.samefile(other)  # not of devices such as /dev/null
    return path.resolve() == other.resolve()


def _write_no_more() -> None:
    """Send what is left in the buffers nowhere, or Python complains when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
