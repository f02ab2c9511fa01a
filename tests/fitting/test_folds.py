"""What the folds of a cross-validated search hold out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgmm.fitting.selection import _folds

KEY = jax.random.key(0)


@pytest.mark.parametrize("weights", [[0, 1, 1, 1] * 30, [0.5, 0, 2.5, 1] * 30], ids=["rows", "no counts"])
def test_rows_are_held_out_whole(weights):
    weights = np.float32(weights)
    held_out = np.asarray(_folds(KEY, jnp.asarray(weights)))
    assert held_out.shape == (120, 10)
    np.testing.assert_array_equal(held_out.sum(1), weights)
    np.testing.assert_array_equal((held_out > 0).sum(1), weights > 0)


def test_counts_are_divided():
    """As the rows that they stand for would be: of each count a tenth, give or take a standard deviation of three."""
    held_out = np.asarray(_folds(KEY, jnp.float32([100] * 500 + [0, 1])))
    np.testing.assert_array_equal(held_out.sum(1), [100] * 500 + [0, 1])
    assert held_out[:500].mean() == 10
    assert held_out[:500].std() == pytest.approx(3, rel=0.05)
