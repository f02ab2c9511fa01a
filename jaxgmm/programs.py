"""Programs that public functions compile when called on arrays: how, for which shapes, and how many are kept.

Under a caller's ``jit``, ``vmap`` or ``grad`` a function is a part of the caller's program, and nothing here happens.
"""

import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from functools import cache, partial, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from . import checks, lowered, progress

# For one call on small data, compiling takes most of the time. What compiles fastest takes a quarter of it, and runs
# four times as long; what compiles fast takes half, and runs twice as long. What comes to have much work is compiled
# again to run fast, and may then differ in the last digits.
FASTEST_COMPILE = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
# The library that fuses products with what follows them crashes in jaxlib 0.10.2: ten restarts of 200,000 x 16, k = 16.
RUN_FAST: dict[str, Any] = {"xla_cpu_experimental_ynn_fusion_type": ""}
FAST_COMPILE = {"xla_cpu_use_fusion_emitters": False} | RUN_FAST
LITTLE_WORK, MUCH_WORK = 2**21, 2**24  # elements of arguments times passes over them
PASSES = 20  # of a run of EM, more or less

# A program of a whole fit takes a thousand memory maps, of the 65,530 that Linux gives a process
MOST_MAPS = 12_000
MOST_PROGRAMS = 256

# What a thread does not take over from the thread that starts it
SETTINGS = (
    "enable_x64", "disable_jit", "default_device", "default_matmul_precision", "numpy_dtype_promotion",
    "numpy_rank_promotion", "debug_key_reuse", "threefry_partitionable", "default_prng_impl",
)  # fmt: skip

Function = Callable[..., Any]
R = TypeVar("R")


class Program:
    """A function compiled for arguments of certain shapes and certain static values."""

    def __init__(self, function: Function, name: str, identity: Any, passes: int, is_repeated: bool) -> None:
        self.function, self.name, self.passes, self.is_repeated = function, name, passes, is_repeated
        self.identity = identity  # by which it is kept on disk; None if it is not on one CPU
        self.work = 0  # done so far, by all calls
        self.n_maps = 0
        self.run: Function | None = None
        self.options: dict[str, Any] | None = None  # that it is compiled with
        self.lock = threading.Lock()  # who finds it being compiled waits for it

    def __call__(self, *arguments: Array) -> Any:
        """The value of the function."""
        run = self.compile(*arguments)
        self.work += self.work_of(arguments)
        with nonfinite_allowed():
            return run(*arguments)

    def compile(self, *arguments: Any) -> Function:
        """Compile for arguments, or their shapes: the first time, and again when running fast has come to pay."""
        with self.lock:
            options = self.best_options(self.work + self.work_of(arguments))
            if self.run is not None and (options != RUN_FAST or self.options == RUN_FAST):
                return self.run
            function, before = self.function, n_memory_maps()
            with progress.compiling(self.name), nonfinite_allowed():
                if self.identity is not None:
                    function = lowered.without_tracing(function, self.identity, arguments)
                compiled = jax.jit(partial(function), compiler_options=options)
                compiled.lower(*arguments).compile()
            for part in PARTS:
                part.clear_cache()
            run = compiled if function is self.function else lowered.uncommitted(compiled)
            self.run, self.options, self.n_maps = run, options, max(n_memory_maps() - before, 0)
            return run

    def work_of(self, arguments: tuple[Any, ...]) -> int:
        """How much there is to do in a call, or one with arguments of such shapes."""
        return self.passes * sum(leaf.size for leaf in arguments)

    def best_options(self, work: int) -> dict[str, Any] | None:
        """Options of the compiler for so much work."""
        if jax.default_backend() != "cpu" or not knows_fast_compile():
            return None
        if work >= MUCH_WORK:
            return RUN_FAST
        return FASTEST_COMPILE if work < LITTLE_WORK and not self.is_repeated else FAST_COMPILE


class Programs:
    """The programs of this process that were used last; older ones are let go, and their memory with them."""

    def __init__(self) -> None:
        self.kept: OrderedDict[Any, Program] = OrderedDict()
        self.lock = threading.Lock()  # a search compiles in several threads

    def get(self, key: Any, make: Callable[[], Program]) -> Program:
        """The program for ``key``, made where there is none."""
        with self.lock:
            chosen = self.kept.get(key) or make()
            self.kept[key] = chosen
            self.kept.move_to_end(key)
            return chosen

    def let_go(self) -> None:
        """Forget the programs that were not used for longest, until few enough are left."""
        with self.lock:
            while len(self.kept) > 1 and (len(self.kept) > MOST_PROGRAMS or self.n_maps() > MOST_MAPS):
                self.kept.popitem(last=False)

    def n_maps(self) -> int:
        """Memory maps of all programs that are kept."""
        return sum(program.n_maps for program in self.kept.values())


PROGRAMS = Programs()
PARTS: list[Any] = []  # of programs, see traced_once


def program(
    *static_argnames: str, passes: int = 1, is_repeated: bool = False
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """``jax.jit`` for functions that people call on arrays, with a bounded number of programs.

    Each is compiled quickly at first, and again to run fast once used enough.

    Args:
        *static_argnames: as of ``jax.jit``.
        passes: over the arguments, about; how much there is to do decides how to compile.
        is_repeated: whether one call leads to many more, so that what compiles fastest does not pay.

    Returns:
        A decorator of functions that take their arguments by position.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        inline = jax.jit(function, static_argnames=static_argnames)
        names = list(inspect.signature(function).parameters)

        def find(*arguments: Any) -> tuple[Program, list[Any]]:
            """The program for these arguments, and their leaves, in its order."""
            by_name = dict(zip(names, arguments, strict=False))
            static = {name: by_name.pop(name) for name in static_argnames if name in by_name}
            leaves, tree = jax.tree.flatten(by_name)
            leaves = [leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf) for leaf in leaves]

            def of_leaves(*leaves: Array) -> Any:
                return function(**jax.tree.unflatten(tree, leaves), **static)

            shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
            mesh, is_usual = jax.sharding.get_abstract_mesh(), are_on_one_cpu(leaves)
            key = (function, tuple(static.items()), tree, shapes, tuple(settings().values()), mesh, is_usual)
            is_kept = mesh.empty and is_usual
            identity = (call, static, tree) if is_kept else None
            make = partial(Program, of_leaves, function.__name__.strip("_"), identity, passes, is_repeated)
            return PROGRAMS.get(key, make), leaves

        @wraps(function)
        def call(*arguments: Any) -> R:
            if jax.config.values["jax_disable_jit"] or not is_eager(arguments):
                return cast(R, inline(*arguments))
            chosen, leaves = find(*arguments)
            result = chosen(*leaves)
            PROGRAMS.let_go()
            return cast(R, result)

        call.find = find  # type: ignore[attr-defined]
        return call

    return decorate


def traced_once(*static_argnames: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """``jax.jit`` for a part that stands in a program several times: traced once for all of them.

    JAX keeps every trace of a function for as long as there is the function; these are let go with the next program.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        part = jax.jit(function, static_argnames=static_argnames)
        PARTS.append(part)
        return part

    return decorate


def compile_ahead(function: Any, *arguments: Any) -> None:
    """Begin to compile a function of :func:`program` in another thread, for arguments or their shapes."""
    if jax.config.values["jax_disable_jit"] or not is_eager(arguments):
        return
    chosen, leaves = function.find(*arguments)
    if chosen.run is None:

        def compile_it() -> None:
            with suppress(Exception):  # the call itself will say what is wrong
                chosen.compile(*leaves)

        threading.Thread(target=with_callers_settings(compile_it)).start()


def with_callers_settings(function: Callable[..., R]) -> Callable[..., R]:
    """``function``, to run in another thread with this thread's settings of JAX, its mesh, and what it shows."""
    values, mesh, context = settings(), current_mesh(), copy_context()

    def under_settings(*arguments: Any) -> R:
        with ExitStack() as stack:
            for name, value in values.items():
                stack.enter_context(getattr(jax, name)(value))
            if mesh is not None:
                stack.enter_context(jax.set_mesh(mesh))
            return function(*arguments)

    @wraps(function)
    def call(*arguments: Any) -> R:
        return context.copy().run(under_settings, *arguments)

    return call


def settings() -> dict[str, Any]:
    """This thread's settings of JAX."""
    return {name: getattr(jax.config, f"jax_{name}") for name in SETTINGS}


def current_mesh() -> Mesh | None:
    """The devices that share rows; None where there are none, or inside ``vmap``, where JAX does not say."""
    if jax.sharding.get_abstract_mesh().empty:
        return None
    with suppress(ValueError):
        return jax.sharding.get_mesh()
    return None


@contextmanager
def nonfinite_allowed() -> Iterator[None]:
    """Without ``jax_debug_nans`` and ``jax_debug_infs``: results mark by NaN and infinity what is not there."""
    with jax.debug_nans(False), jax.debug_infs(False):
        yield


def is_eager(arguments: Any) -> bool:
    """Whether a function is called on arrays, outside ``jit``, ``vmap`` and ``grad``."""
    return checks.is_concrete(arguments, jnp.zeros(()))  # inside ``jit`` even a constant is traced


def are_on_one_cpu(leaves: list[Any]) -> bool:
    """Whether every array is on a CPU and whole, and JAX uses no other device."""
    spread = [leaf for leaf in leaves if isinstance(leaf, jax.Array) and len(leaf.devices()) > 1]
    return jax.default_backend() == "cpu" and not spread


@cache
def knows_fast_compile() -> bool:
    """Whether the compiler knows all these options; it raises for others."""
    try:
        jax.jit(jnp.zeros, static_argnums=0, compiler_options=FASTEST_COMPILE | RUN_FAST)(())
    except jax.errors.JaxRuntimeError:
        return False
    return True


def n_memory_maps() -> int:
    """Memory maps of this process, 0 where the system does not say."""
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return 0
