"""A clock on stderr that shows how long a computation has been running."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_EVERY = 0.5  # seconds between two looks at the time
_LINES: list[Any] = []  # that are shown now, the innermost last


@contextmanager
def clock(work: str, shown: bool = True) -> Iterator[None]:
    """Show on stderr what is computed and for how long, until the body of the ``with`` ends.

    Another thread looks at the time twice a second, so that compiled loops are not slowed down. JAX returns before it
    has computed: end the body with ``jax.block_until_ready``.

    Args:
        work: what is computed, in a word or two.
        shown: whether to show anything.

    Raises:
        ModuleNotFoundError: if ``shown`` and tqdm is not installed.

    Example:
        >>> import jax
        >>> import jaxgmm
        >>> x = jaxgmm.datasets.load_faithful().x
        >>> with clock("fitting", shown=False):
        ...     result = jax.block_until_ready(jaxgmm.fit(jax.random.key(0), x, 2))
    """
    if not shown:
        yield
        return
    with ticking(desc=work, bar_format="{desc}: {elapsed}", leave=False):
        yield


@contextmanager
def ticking(**arguments: Any) -> Iterator[Any]:
    """A tqdm progress bar with these arguments, whose clock goes on between its updates."""
    from tqdm import tqdm

    done = threading.Event()
    with tqdm(**arguments) as line:

        def tick() -> None:
            while not done.wait(_EVERY):
                line.refresh()

        # The clock, and the body of the caller.
        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        _LINES.append(line)
        try:
            yield line
        finally:
            _LINES.remove(line)
            done.set()
            thread.join()


@contextmanager
def compiling(program: str) -> Iterator[None]:
    """Say on the line that is shown, if there is one, that a program is being compiled."""
    if not _LINES:
        yield
        return
    line = _LINES[-1]
    before = line.desc
    line.set_description(f"{before.removesuffix(': ')}, compiling {program}")
    try:
        yield
    finally:
        line.set_description_str(before)
