"""A hostile configuration: four devices, strict promotion, no implicit broadcasting across ranks."""

import itertools
import os
import tempfile

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # the first process makes it, the workers inherit it
    _programs = tempfile.TemporaryDirectory(prefix="jaxgmm-programs-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _programs.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Both precisions, each under the setting of x64 that its users have."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


_finished = itertools.count(1)


@pytest.fixture(autouse=True)
def bounded_number_of_programs():
    """Every compiled program holds memory maps, of which the kernel grants a process some 65,000."""
    yield
    if next(_finished) % 25 == 0:
        jax.clear_caches()
