"""Lowered programs on disk, beside what they were compiled to, so that later processes need not trace them again.

JAX finds a compiled program by the text of the lowered one, and to trace and lower takes longer than to load what was
compiled. Here the lowered program is found by the call: its function, static values, shapes and settings, and the
source of this package. Calls with functions from elsewhere are not kept, as those may change under the same name.
"""

import io
import os
import pickle
import platform
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache, wraps
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

Function = Callable[..., Any]

KNOWN = {"jaxgmm", "jax", "jaxlib", "numpy", "builtins", "functools"}  # packages whose functions a name may hold

folder: Path | None = None  # where lowered programs are kept, if they are


def without_tracing(function: Function, identity: Any, arguments: tuple[Any, ...]) -> Function:
    """``function``, read from disk if it was lowered before, and kept there if not.

    Args:
        function: of arrays, by position, on one CPU.
        identity: what it does: a function that pickles by name, static values, and the tree of its other arguments.
        arguments: arrays, or their shapes.
    """
    if folder is None:
        return function
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in arguments]
    try:
        call, static, tree = identity
        path = (
            folder
            / f"{_name(call, static, _numbered(tree), [(leaf.shape, str(leaf.dtype)) for leaf in shapes])}-lowered"
        )
        exported, result = _read(path) or _write(path, function, shapes)
    except Exception:  # a function from elsewhere, or an error that tracing it again will raise
        return function
    result_tree = jax.tree.structure(result)
    return lambda *leaves: jax.tree.unflatten(result_tree, exported.call(*leaves))


def uncommitted(run: Function) -> Function:
    """``run``, its results on no device in particular: JAX ties those of exported functions to one."""

    @wraps(run)
    def call(*arguments: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf)), run(*arguments))

    return call


def _read(path: Path) -> Any:
    """What is kept in a file; None where there is none, or one that is not as it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, kept = content[:32], content[32:]
    return pickle.loads(kept) if sha256(kept).digest() == digest else None


def _write(path: Path, function: Function, shapes: list[Any]) -> Any:
    """Lower a function of arrays of such shapes, and keep it with its result, whose leaves are numbered."""
    from jax import export

    tree: Any = None

    def flat(*leaves: Any) -> list[Any]:
        nonlocal tree
        values, tree = jax.tree.flatten(function(*leaves))
        return values

    exported = replace(export.export(jax.jit(flat))(*shapes), _get_vjp=None)
    kept = exported, _numbered(tree)
    content = pickle.dumps(kept)

    # Under another name first, as other processes may read; a full disk is no reason to fail
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp("-lowered", dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(sha256(content).digest() + content)
            os.replace(part, path)
        finally:
            with suppress(OSError):
                os.unlink(part)
    return kept


def _numbered(tree: Any) -> Any:
    """A tree whose leaves are their numbers: unlike the tree alone, it pickles."""
    return jax.tree.unflatten(tree, range(tree.num_leaves))


def _name(*identity: Any) -> str:
    """A name that nothing else has, nor the same of another version or under other settings."""
    versions = source(), platform.python_version(), *map(version, ("jax", "jaxlib", "numpy")), jax.default_backend()
    values = jax.config.values.items()  # of the process; this thread's own are attributes
    settings = sorted((name, repr(getattr(jax.config, name, value))) for name, value in values if "cache" not in name)
    stream = io.BytesIO()
    _Pickler(stream).dump((versions, settings, identity))
    return sha256(stream.getvalue()).hexdigest()


class _Pickler(pickle.Pickler):
    """Pickles functions and classes by name, those of known packages alone."""

    def reducer_override(self, value: Any) -> Any:
        """Raise for what is from elsewhere; the rest goes on as usual."""
        if callable(value) and str(getattr(value, "__module__", "")).split(".")[0] not in KNOWN:
            raise pickle.PicklingError(f"{value} may change under the same name")
        return NotImplemented


@cache
def source() -> str:
    """A hash of the source of this package, as it is when first asked for."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
