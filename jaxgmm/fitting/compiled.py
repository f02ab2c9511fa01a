"""Programs and how they are compiled: small problems take less time to run than to compile for."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from .. import checks

FEW_DENSITIES = 4096  # of rows under components, which take less time to fit than to compile for
HASTE = {  # compiles in half the time
    "xla_cpu_use_fusion_emitters": False,
    "xla_backend_optimization_level": 1,
    "xla_disable_hlo_passes": "while-loop-invariant-code-motion,simplify-while-loops",
}


def in_haste(n_densities: int, arguments: Any) -> bool:
    """Whether a program for so many densities of rows under components should compile fast rather than run fast.

    Under a caller's ``jit`` it is a part of a larger program, which has options of its own.
    """
    is_program = checks.is_concrete(arguments, jnp.zeros(()))  # inside ``jit`` even a constant is traced
    return is_program and n_densities < FEW_DENSITIES and jax.default_backend() == "cpu"


@cache
def program(function: Callable[..., Any], static_argnums: tuple[int, ...], hastily: bool) -> Callable[..., Any]:
    """``function`` under ``jit``, compiled to run fast or to compile fast."""
    if hastily:
        try:
            jax.jit(jnp.zeros, static_argnums=0, compiler_options=HASTE)(())
            return jax.jit(function, static_argnums=static_argnums, compiler_options=HASTE)
        except jax.errors.JaxRuntimeError:  # these are no options of this compiler
            pass
    return jax.jit(function, static_argnums=static_argnums)
