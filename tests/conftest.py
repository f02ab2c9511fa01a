"""A hostile configuration: four devices, strict promotion, no implicit broadcasting across ranks."""

import itertools
import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"

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
