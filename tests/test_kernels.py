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


@pytest.fixture
def counts(monkeypatch):
    """Kernels of every program that is compiled, by its name."""
    counts = {}

    def count(program, *arguments):
        with program.lock:
            if program.run is None:
                program.run = jax.jit(program.function, compiler_options=programs.FAST_COMPILE)
                kernels = re.findall(r" fusion\(", program.run.lower(*arguments).compile().as_text())
                counts.setdefault(program.name, []).append(len(kernels))
            return program.run

    monkeypatch.setattr(programs, "PROGRAMS", programs.Programs())
    monkeypatch.setattr(programs.Program, "compile", count)
    monkeypatch.setattr(stages, "compile_ahead", lambda *_: None)
    return counts


@pytest.mark.parametrize(
    ("shape", "k", "most"), [((272, 2), 3, 365), pytest.param((10_000, 2), 5, 590, marks=pytest.mark.slow)]
)
def test_a_fit_is_few_kernels_in_few_programs(counts, shape, k, most):
    jaxgmm.fit(jax.random.key(0), np.random.default_rng(0).normal(size=shape).astype(np.float32), k)
    assert sum(map(len, counts.values())) <= 5
    assert 0 < sum(map(sum, counts.values())) <= most, counts


@pytest.mark.slow
def test_a_search_is_few_kernels_in_few_programs(counts):
    jaxgmm.select(jax.random.key(0), jaxgmm.datasets.load_faithful().x)
    assert len(counts["search_family"]) == 2
    assert 0 < sum(map(sum, counts.values())) <= 1000, counts
