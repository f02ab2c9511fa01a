"""Starting partitions by k-means++ and at random: weights, errors, and several numbers of components at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import blobs

from jaxgmm import seeding
from jaxgmm.seeding.partitions import nested_partitions

KEY = jax.random.key(0)


def test_more_random_rows_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="k=3"):
        seeding.random_rows(KEY, jnp.ones((2, 1)), jnp.ones(2), 3)


@pytest.mark.parametrize("name", ["kmeans_plus_plus", "random_rows"])
def test_rows_of_weight_zero_are_no_centres(name, x64):
    x = jnp.array([[0.0], [1.0], [1e3], [1e6]])
    labels = jax.vmap(lambda key: getattr(seeding, name)(key, x, jnp.array([1.0, 1.0, 0.0, 0.0]), 2).argmax(1))(
        jax.random.split(KEY, 20)
    )
    assert (labels[:, 0] != labels[:, 1]).all()
    assert (labels[:, 2:] == labels[:, 1:2]).all()  # nearest to the centre at one


def test_fewer_components_take_the_first_centres_of_the_same_draws(x64):
    x, n_init = jnp.asarray(blobs(60)), 4
    three, both = (nested_partitions(KEY, x, jnp.ones(60), numbers, n_init) for numbers in ((3,), (2, 3)))
    np.testing.assert_array_equal(three[0], both[1])
    assert [len(np.unique(start)) for start in both[0]] == [2] * n_init
