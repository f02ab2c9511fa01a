import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from problems import eps

from jaxgmm import linalg
from jaxgmm.linalg import products

SIZES = [
    1,
    2,
    5,
    products.LARGEST_UNROLLED,
    products.LARGEST_UNROLLED + 1,
    16,
    30,
    70,
]  # features, unrolled and by blocks


def positive_definite(k, d, seed=0):
    a = np.random.default_rng(seed).normal(size=(k, d, d + 2))
    return a @ a.swapaxes(1, 2)


@pytest.mark.parametrize("d", SIZES)
def test_factors_agree_with_numpy(d, dtype):
    matrices = positive_definite(3, d)
    factor = linalg.factorize(jnp.asarray(matrices, dtype), d)
    root = np.linalg.cholesky(matrices)
    tolerance = 20 * eps(dtype) * np.linalg.cond(matrices).max()
    np.testing.assert_allclose(factor.root, root, atol=tolerance * abs(root).max())
    np.testing.assert_allclose(factor.inverse, np.linalg.inv(root), atol=tolerance * abs(np.linalg.inv(root)).max())
    np.testing.assert_allclose(factor.log_det, np.linalg.slogdet(matrices)[1] / 2, atol=tolerance)
    assert (np.triu(factor.root, 1) == 0).all()
    assert (np.triu(factor.inverse, 1) == 0).all()


@pytest.mark.parametrize("d", SIZES)
def test_what_is_not_positive_definite_is_not_finite_and_alone(d, dtype):
    matrices = positive_definite(3, d)
    matrices[1] -= 2 * np.linalg.eigvalsh(matrices[1])[0] * np.eye(d)
    matrices[1, -1, -1] -= 1e3
    covariances = jnp.asarray(matrices, dtype)
    factor = linalg.factorize(covariances, d)
    assert [bool(np.isfinite(root).all()) for root in factor.root] == [True, False, True]
    assert linalg.is_positive_definite(factor, covariances).tolist() == [True, False, True]


@pytest.mark.parametrize("d", [3, products.LARGEST_UNROLLED + 1])
def test_factors_are_differentiable_and_batch(d, x64):
    matrices = jnp.asarray(positive_definite(2, d))
    check_grads(lambda matrices: linalg.factorize(matrices, d), (matrices,), order=2, modes=("fwd", "rev"), rtol=1e-4)
    batch = jax.vmap(lambda matrices: linalg.factorize(matrices, d))(jnp.stack([matrices, 2 * matrices]))
    np.testing.assert_allclose(batch.root[1], np.sqrt(2) * np.asarray(batch.root[0]), rtol=1e-12)


def test_large_batches_do_not_wait_for_each_other():
    """Batched LAPACK on threads that wait for their own work is a deadlock: in a process that can be killed."""
    program = """
import jax, jax.numpy as jnp
from jaxgmm import linalg
jax.config.update("jax_enable_x64", True)
def again(matrices):
    factor = linalg.factorize(matrices, 64)
    return matrices + 0 * (factor.root + factor.inverse)
batches = [scale * jnp.tile(jnp.eye(64), (32, 1, 1)) for scale in (1.0, 2.0, 3.0, 4.0)]
results = jax.lax.fori_loop(0, 200, lambda _, batches: jax.tree.map(again, batches), batches)
print([round(float(batch[0, 0, 0])) for batch in results])
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert process.stdout.strip() == "[1, 2, 3, 4]", process.stderr
