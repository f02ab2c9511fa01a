"""Fused kernels that programs compile to: each costs XLA about 25 ms on a CPU, so they are a budget."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import programs
from jaxgmm.acceleration import momentum
from jaxgmm.fitting import stages

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


@pytest.mark.parametrize(
    ("shape", "k", "most"), [((272, 2), 3, 365), pytest.param((10_000, 2), 5, 590, marks=pytest.mark.slow)]
)
def test_a_fit_is_few_kernels_in_few_programs(monkeypatch, shape, k, most):
    counts = {}

    def count(program, *arguments):
        with program.lock:
            program.run = jax.jit(program.function, compiler_options=programs.FAST_COMPILE)
            counts[program.name] = len(re.findall(r" fusion\(", program.run.lower(*arguments).compile().as_text()))

    monkeypatch.setattr(programs, "PROGRAMS", programs.Programs())
    monkeypatch.setattr(programs.Program, "compile", count)
    monkeypatch.setattr(stages, "compile_ahead", lambda *_: None)
    jaxgmm.fit(jax.random.key(0), np.random.default_rng(0).normal(size=shape).astype(np.float32), k)
    assert len(counts) <= 5
    assert 0 < sum(counts.values()) <= most, counts
