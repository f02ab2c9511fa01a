"""How long work has been going on, on stderr."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_EVERY = 0.5  # seconds


@contextmanager
def clock(work: str, shown: bool = True) -> Iterator[None]:
    """Show what is being worked on and for how long, until the body ends.

    A thread of its own looks at the time twice a second: compiled loops know nothing of it and pay nothing for it. JAX
    returns before it has computed, so let the body end with ``jax.block_until_ready``.

    Args:
        work: what is being done.
        shown: whether to show anything.

    Raises:
        ModuleNotFoundError: if it is to be shown, without tqdm.

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
    """A tqdm line with these arguments, whose clock moves on between its updates too."""
    from tqdm import tqdm

    done = threading.Event()
    with tqdm(**arguments) as line:

        def tick() -> None:
            while not done.wait(_EVERY):
                line.refresh()

        ticking = threading.Thread(target=tick, daemon=True)
        ticking.start()
        try:
            yield line
        finally:
            done.set()
            ticking.join()
