"""Lowered programs on disk, beside what they were compiled to, so that later processes need not trace them again.

JAX finds a compiled program by the text of the lowered one, and to trace and lower takes longer than to load what was
compiled. Here the lowered program is found by the call: its function, static values, shapes and settings, and the
source of this package. Calls with functions from elsewhere are not kept, as those may change under the same name.
"""

import io
import os
import pickle
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

Function = Callable[..., Any]

KNOWN = {
    "jaxgmm",
    "jax",
    "jaxlib",
    "numpy",
    "ml_dtypes",
    "builtins",
    "functools",
}  # packages with a version in the name

folder: Path | None = None  # where lowered programs are kept, if they are


def without_tracing(function: Function, call: Any, arguments: tuple[Any, ...]) -> Function:
    """``function``, read from disk if it was lowered before for such a call, and kept there if not.

    Args:
        function: of arrays, by position, on one device.
        call: what it does and under which settings, as values.
        arguments: arrays, or their shapes.
    """
    if folder is None:
        return function
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in arguments]
    try:
        path = folder / f"{_name(call, [(leaf.shape, str(leaf.dtype)) for leaf in shapes])}-lowered"
        exported, example = _read(path) or _write(path, function, shapes)
    except Exception:  # a function from elsewhere, an error that tracing it again will raise, a full disk
        return function
    tree = jax.tree.structure(example)
    return lambda *leaves: jax.tree.unflatten(tree, exported.call(*leaves))


def _read(path: Path) -> Any:
    """What is kept in a file; None where there is none, or no more than a part of it."""
    try:
        return pickle.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except Exception:
        path.unlink(missing_ok=True)
        return None


def _write(path: Path, function: Function, shapes: list[Any]) -> Any:
    """Lower a function of arrays of such shapes, and keep it with its result, whose leaves are numbered."""
    from jax import export

    tree: Any = None

    def of_leaves(*leaves: Any) -> list[Any]:
        nonlocal tree
        values, tree = jax.tree.flatten(function(*leaves))
        return values

    exported = replace(export.export(jax.jit(of_leaves))(*shapes), _get_vjp=None)
    kept = exported, jax.tree.unflatten(tree, range(tree.num_leaves))

    # Under another name first, as other processes may read
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp("-lowered", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            pickle.dump(kept, file)
        os.replace(part, path)
    finally:
        with suppress(OSError):
            os.unlink(part)
    return kept


def _name(*parts: Any) -> str:
    """A name for a call that no other call has, nor the same call of another version or under other settings."""
    versions = _source(), version("jax"), version("jaxlib"), jax.default_backend()
    values = sorted((name, repr(value)) for name, value in jax.config.values.items())
    stream = io.BytesIO()
    _Pickler(stream).dump((versions, values, parts))
    return sha256(stream.getvalue()).hexdigest()


class _Pickler(pickle.Pickler):
    """Pickles functions and classes by name, those of known packages alone."""

    def reducer_override(self, value: Any) -> Any:
        """Raise for what is from elsewhere; the rest goes on as usual."""
        if callable(value) and str(getattr(value, "__module__", "")).split(".")[0] not in KNOWN:
            raise pickle.PicklingError(f"{value} may change under the same name")
        return NotImplemented


@cache
def _source() -> str:
    """A hash of the source of this package."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
