"""Programs on disk, compiled by JAX's persistent compilation cache and lowered by :mod:`jaxgmm.lowered`."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from . import lowered

# Programs of all sizes are kept: a fit also compiles dozens of small ones, of milliseconds each
SETTINGS = {"jax_persistent_cache_min_compile_time_secs": 0.0, "jax_persistent_cache_min_entry_size_bytes": -1}

# A search of all families takes 4 megabytes. JAX's own bound, jax_compilation_cache_max_size, needs a further package.
MOST_BYTES = 2**28
LEAST_FREE = 2**26  # bytes: on a full disk programs would be cut off


def enable_compilation_cache(path: str | os.PathLike[str] | None = None) -> str:
    """Keep compiled programs in a folder, where later processes find them instead of compiling.

    Call it once, at the beginning of a script or notebook; the library never does so by itself. It changes settings of
    JAX for the whole process, so programs that are not jaxgmm's are kept too; those of jaxgmm, on a CPU, also as they
    are before compiling, so that later processes need not trace them. Settings made by JAX's environment variables,
    such as ``JAX_COMPILATION_CACHE_DIR``, stay as they are. A program is kept for one version of JAX, one kind of
    processor and one class of numbers of rows. The command line uses the same folder.

    Args:
        path: the folder, made where there is none. Default the one that JAX is set to use, or else ``jaxgmm`` in
            ``XDG_CACHE_HOME`` or ``~/.cache``, from which the programs not used for longest are deleted beyond 256
            megabytes. What is found there is run: choose none that others may write to.

    Returns:
        The folder.

    Raises:
        OSError: if the folder cannot be written, or the disk is full.

    Example:
        >>> import jax
        >>> import jaxgmm
        >>> folder = jaxgmm.enable_compilation_cache()
        >>> result = jaxgmm.fit(jax.random.key(0), jaxgmm.datasets.load_faithful().x, 2)
    """
    configured = jax.config.values["jax_compilation_cache_dir"]
    folder = os.fspath(path) if path is not None else configured or _own_folder()
    if folder != configured:
        _prepare(folder)
        jax.config.update("jax_compilation_cache_dir", folder)
        compilation_cache.reset_cache()  # or JAX goes on with a folder that it has already used
    for name, value in SETTINGS.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    is_on = jax.config.values["jax_enable_compilation_cache"] and not _is_url(folder)
    lowered.folder = Path(folder) if is_on else None
    if is_on:
        lowered.source()  # now: it may be edited while this process runs
    return folder


def _own_folder() -> str:
    """The folder of the command line, without the programs that are too many."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache")) / "jaxgmm"
    _delete_oldest(folder)
    return str(folder)


def _is_url(folder: str) -> bool:
    return "://" in folder


def _prepare(folder: str) -> None:
    """Make a folder and see whether programs can be kept there; one that JAX reaches by a URL is left to JAX."""
    if _is_url(folder):
        return
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), folder)
    if shutil.disk_usage(folder).free < LEAST_FREE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)


def _delete_oldest(folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Delete the programs that were read or written longest ago, until the rest is small enough.

    Another process may delete at the same time, and JAX compiles what it does not find.
    """
    programs = []
    for path in (*folder.glob("*-cache"), *folder.glob("*-lowered")):
        with suppress(OSError):
            status = path.stat()
            programs.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    n_bytes = sum(size for _, size, _ in programs)
    for _, size, path in sorted(programs):
        if n_bytes <= most_bytes:
            break
        with suppress(OSError):
            path.unlink()
        n_bytes -= size
