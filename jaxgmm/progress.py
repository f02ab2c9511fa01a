"""What is being computed, on stderr: the phase, what compiles, how fast, and for how long.

At a terminal and in a notebook it is one line that changes; in a pipe, one line for each phase.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import jax

_EVERY = 0.5  # seconds between two looks at the time
_SHOWN: ContextVar["Display | None"] = ContextVar("shown", default=None)  # of this thread and of those it starts

R = TypeVar("R")


class Display:
    """What is shown of one computation.

    Args:
        work: what is computed, in a word or two.
        bar: a tqdm progress bar, or None in a pipe.
    """

    def __init__(self, work: str, bar: Any) -> None:
        self.work, self.bar = work, bar
        self.phase = self.detail = ""
        self.programs: list[str] = []  # that are being compiled, in several threads

    def enter(self, phase: str) -> None:
        """Begin a phase, or go on with it."""
        if phase != self.phase:
            self.phase, self.detail = phase, ""
            self.refresh(phase)

    def say(self, detail: str) -> None:
        """How far the phase has come."""
        self.detail = detail
        self.refresh()

    def update(self, count: int) -> None:
        """So many more of the total are done."""
        if self.bar is not None:
            self.bar.update(count)

    def refresh(self, news: str = "") -> None:
        """Show all of it at a terminal, only what is new in a pipe."""
        if self.bar is None:
            if news:
                print(f"{self.work}: {news}", file=sys.stderr, flush=True)
            return
        compiling = f"compiling {', '.join(self.programs)}" if self.programs else ""
        words = ", ".join(filter(None, (self.phase, self.detail, compiling)))
        self.bar.set_description_str(f"{self.work}: {words}" if words else self.work)


@contextmanager
def show(work: str, shown: bool = True, **arguments: Any) -> Iterator[Display | None]:
    """Show on stderr what is computed, until the body of the ``with`` ends.

    Another thread looks at the time twice a second, so that compiled loops are not slowed down. JAX returns before it
    has computed: end the body with ``jax.block_until_ready``.

    Args:
        work: what is computed, in a word or two.
        shown: whether to show anything.
        **arguments: of tqdm, such as ``total`` and ``unit``, where there is something to count.

    Raises:
        ModuleNotFoundError: if ``shown`` and tqdm is not installed.

    Example:
        >>> import jax
        >>> import jaxgmm
        >>> x = jaxgmm.datasets.load_faithful().x
        >>> with show("fitting", shown=False):
        ...     result = jax.block_until_ready(jaxgmm.fit(jax.random.key(0), x, 2))
    """
    if not shown:
        yield None
        return
    from tqdm.auto import tqdm

    if not _is_live():
        display = Display(work, None)
        with _listed(display):
            yield display
        return
    clock = {} if "total" in arguments else {"bar_format": "{desc} [{elapsed}]"}
    done = threading.Event()
    with tqdm(desc=work, leave=False, **clock, **arguments) as bar:

        def tick() -> None:
            while not done.wait(_EVERY):
                bar.refresh()

        # The clock, and the body of the caller
        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            display = Display(work, bar)
            with _listed(display):
                yield display
        finally:
            done.set()
            thread.join()


@contextmanager
def _listed(display: Display) -> Iterator[None]:
    token = _SHOWN.set(display)
    try:
        yield
    finally:
        _SHOWN.reset(token)


def _is_live() -> bool:
    """Whether what is written can be written over: at a terminal and in a notebook."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")


def is_shown() -> bool:
    """Whether anybody looks."""
    return _SHOWN.get() is not None


def run(phase: str, function: Callable[..., R], *arguments: Any) -> R:
    """``function(*arguments)``, and if anybody looks, what it is called and no return before its end."""
    display = _SHOWN.get()
    if display is None:
        return function(*arguments)
    display.enter(phase)
    return jax.block_until_ready(function(*arguments))


def say(detail: str) -> None:
    """How far the phase has come, if anybody looks."""
    display = _SHOWN.get()
    if display is not None:
        display.say(detail)


@contextmanager
def compiling(program: str) -> Iterator[None]:
    """Say that a program is being compiled, if anybody looks."""
    display = _SHOWN.get()
    if display is None:
        yield
        return
    display.programs.append(program)
    display.refresh(f"compiling {program}")
    try:
        yield
    finally:
        display.programs.remove(program)
        display.refresh()
