"""The union of several families: the M-step of the chosen one, and nothing that belongs to another."""

import copy
import pickle
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import linalg
from jaxgmm.acceleration import anderson, momentum, squarem
from jaxgmm.covariance.families import letters, one_of
from jaxgmm.fitting.search import CRITERIA
from jaxgmm.fitting.selection import Selection

STORED_ALIKE = [["VEI", "EVI", "VVI"], ["VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"]]


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def cloudpickled(value):
    return pickle.loads(pytest.importorskip("cloudpickle").dumps(value))


def families_of(names):
    return [jaxgmm.get_family(name) for name in names]


@pytest.mark.parametrize("names", STORED_ALIKE)
def test_a_union_estimates_as_the_chosen_family(names, x64):
    families = families_of(names)
    rows = np.random.default_rng(0).normal(size=(3, 2, 5))
    scatters = jnp.asarray(rows @ rows.swapaxes(1, 2))
    if names[0] == "VEI":
        scatters = jnp.diagonal(scatters, axis1=1, axis2=2)
    counts = jnp.array([4.0, 2.0, 6.0])

    @jax.jit
    def estimates(which):
        union = one_of(families, which)
        assert union.structure(3, 2) == scatters.shape
        assert union.constrained
        return union.estimate(scatters, counts, scatters), union.begin(scatters, counts, scatters)

    for index, family in enumerate(families):
        chosen = estimates(index)
        own = [rule(scatters, counts, scatters) for rule in (family.estimate, family.begin or family.estimate)]
        for actual, expected in zip(chosen, own, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("names", [["VII"], *STORED_ALIKE])
def test_a_union_tells_no_other_familys_numbers(names):
    union = one_of(families_of(names), jnp.int32(0))
    with pytest.raises(ValueError, match=f"expected a single family, got one of {families_of(names)[0].name}"):
        union.n_parameters(3, 2)
    params = jaxgmm.GMMParams(jnp.ones(3) / 3, jnp.zeros((3, 2)), jnp.ones(union.structure(3, 2)))
    with pytest.raises(ValueError, match="n_parameters: expected a single family"):
        jaxgmm.n_parameters(params, union)
    assert union.letters == letters(union) == ""


def test_a_union_is_scale_equivariant_only_if_all_are():
    for names, expected in ((["VEI", "EVI"], True), (["VEE", "EEV"], False), (["EEV", "VEE"], False)):
        assert one_of(families_of(names), jnp.int32(0)).scale_equivariant == expected


@pytest.mark.parametrize(("names", "shape"), [(["VII", "EEI", "VVI"], (3, 2)), (["EEE", "VEV"], (3, 2, 2))])
def test_a_union_of_families_that_are_stored_differently_estimates_as_each_does(names, shape):
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(3, 2, 2)).astype(np.float32)
    matrices = jnp.asarray(roots @ roots.swapaxes(1, 2) + np.eye(2, dtype=np.float32))
    counts = jnp.array([2.0, 3.0, 5.0])
    for which, family in enumerate(families_of(names)):
        union, own = one_of(families_of(names), jnp.int32(which)), family.structure(3, 2)
        scatters = matrices if len(shape) == 3 else jnp.diagonal(matrices, axis1=1, axis2=2)
        assert union.structure(3, 2) == shape
        covariances = union.estimate(scatters, counts, scatters)
        expected = family.estimate(linalg.pool_moments(scatters, own), counts, scatters[: own[0], : own[1]])
        np.testing.assert_allclose(covariances, np.broadcast_to(expected, shape), rtol=1e-6)


def test_families_of_matrices_and_of_diagonals_have_no_common_structure():
    union = one_of(families_of(["VVI", "VVV"]), jnp.int32(0))
    with pytest.raises(ValueError, match="expected diag, full to be all of matrices or all of diagonals"):
        union.structure(3, 2)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, cloudpickled], ids=lambda copied: copied.__name__)
def test_families_and_what_is_made_of_them_survive_a_copy(copied):
    """What is static under jit comes back equal, with the same hash, so that nothing compiles again."""
    table = np.array([[3.0, np.nan]])
    result = jaxgmm.EMResult(None, jnp.float32(1), jnp.ones(3), 2, 0)
    numbers = table, table, np.zeros((1, 2), int), np.zeros((1, 2), int)
    selection = Selection("bic", (jaxgmm.FULL,), (1, 2), *numbers, {("full", 1): result})
    accelerators = [momentum(), squarem(), anderson(3)]
    for value in (*jaxgmm.FAMILIES, jaxgmm.get_family("E"), *accelerators, *CRITERIA.values(), selection):
        other = copied(value)
        assert other == value
        assert hash(other) == hash(value)
    assert anderson(3) != anderson(4)
    assert replace(selection, table=table + 1) != selection
    steps = jaxgmm.gaussian_steps(jaxgmm.get_family("VEV"), chunk_size=7)
    assert jax.tree.structure(copied(steps)) == jax.tree.structure(steps)
