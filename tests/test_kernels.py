"""Fused kernels that programs compile to: each costs XLA about 25 ms on a CPU, so they are a budget."""

import re

import jax
import jax.numpy as jnp
import pytest

import jaxgmm
from jaxgmm.acceleration import momentum

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="counts are those of the compiler for CPUs")


@pytest.mark.parametrize(
    ("call", "most"),
    [
        (jaxgmm.e_step, 43),
        (jaxgmm.em, 92),
        (lambda params, x: jaxgmm.em(params, x, accelerate=momentum()), 128),
    ],
    ids=["e_step", "em", "em with momentum"],
)
def test_few_kernels(call, most):
    params = jaxgmm.GMMParams(jnp.ones(5) / 5, jnp.zeros((5, 2)), jnp.tile(jnp.eye(2), (5, 1, 1)))
    program = jax.jit(lambda params, x: call(params, x)).lower(params, jnp.zeros((10_000, 2))).compile()
    kernels = re.findall(r" fusion\(", program.as_text())
    assert 0 < len(kernels) <= most
