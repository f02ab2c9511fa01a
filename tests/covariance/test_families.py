"""The union of several families: the M-step of the chosen one, and nothing that belongs to another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm.covariance.families import letters, one_of

STORED_ALIKE = [["VEI", "EVI", "VVI"], ["VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"]]


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


def test_families_that_are_stored_differently_have_no_common_structure():
    union = one_of(families_of(["VII", "VVI"]), jnp.int32(0))
    with pytest.raises(ValueError, match="expected spherical, diag stored alike for k = 3, d = 2"):
        union.structure(3, 2)
    assert union.structure(3, 1) == (3, 1)
