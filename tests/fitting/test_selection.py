import csv
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from problems import DATA, FAITHFUL, blobs

import jaxgmm
from jaxgmm import Status
from jaxgmm.seeding import nested_partitions

KEY = jax.random.key(0)
pytestmark = pytest.mark.slow


def mclust_table(data):
    """mclust's BIC, in its sign, by family and number of components."""
    lines = (Path(__file__).parents[1] / "reference" / f"bic_{data}.csv").read_text().splitlines()
    header, *rows = csv.reader(lines)
    return {
        (letters, int(row[0])): float(value)
        for row in rows
        for letters, value in zip(header[1:], row[1:], strict=True)
        if value.strip() != "NA"
    }


@pytest.fixture(scope="module", params=DATA)
def search(request):
    """The families that mclust chooses between on its data sets, searched once."""
    with jax.enable_x64(True):
        return request.param, jaxgmm.select(KEY, DATA[request.param], range(1, 5), families=["EEE", "VEV"])


def test_chooses_what_mclust_chooses(search):
    data, selection = search
    winner = {"faithful": ("EEE", 3, -2314.30), "iris": ("VEV", 2, -561.73)}[data]
    assert (selection.family.letters, selection.k) == winner[:2]
    assert -selection.table.min() == pytest.approx(winner[2], abs=0.05)
    assert selection.best.params.means.shape == (winner[1], DATA[data].shape[1])


def test_a_search_comes_back_from_a_pickle(search, x64):
    _, selection = search
    other = pickle.loads(pickle.dumps(selection))
    assert other == selection
    assert hash(other) == hash(selection)
    assert other.ranking == selection.ranking


@pytest.mark.parametrize("data", DATA)
def test_every_entry_is_at_least_mclusts(data, dtype):
    """All families, 1 to 9 components; in the sign of mclust, more is better."""
    selection = jaxgmm.select(KEY, DATA[data].astype(dtype))
    reached = {
        (family.letters, k): -selection.table[row, column]
        for row, family in enumerate(selection.families)
        for column, k in enumerate(selection.n_components)
    }
    published = mclust_table(data)
    assert len(published) > 120
    assert {
        model: reached[model] - value for model, value in published.items() if not reached[model] > value - 0.01
    } == {}


def test_results_are_what_the_table_says(search):
    data, selection = search
    with jax.enable_x64(True):
        for (name, k), result in selection.results.items():
            family = jaxgmm.get_family(name)
            row, column = selection.families.index(family), selection.n_components.index(k)
            assert result.params.means.shape[0] == k
            assert result.params.covariances.shape == family.structure(k, DATA[data].shape[1])
            criterion = float(jaxgmm.bic(result.params, DATA[data], family=family))
            assert criterion == pytest.approx(selection.table[row, column], abs=1e-6)
            assert result.params.weights.sum() == pytest.approx(1)
    ranked = [
        selection.table[selection.families.index(f), selection.n_components.index(k)] for f, k in selection.ranking
    ]
    assert ranked == sorted(selection.table.ravel())


def test_float32_chooses_the_same(search):
    data, selection = search
    single = jaxgmm.select(KEY, DATA[data].astype(np.float32), range(1, 5), families=["EEE", "VEV"])
    assert (single.family, single.k) == (selection.family, selection.k)
    np.testing.assert_allclose(single.table[:, :2], selection.table[:, :2], atol=0.1)


def test_units_of_single_features_change_no_choice(x64):
    """Of families that are closed under it; the others are under one common scale."""
    units = {"EEE": np.array([1e-3, 1e4]), "VVI": np.array([1e-3, 1e4]), "VEV": np.array([1e-3, 1e-3])}
    for letters, scale in units.items():
        assert jaxgmm.get_family(letters).scale_equivariant == (letters != "VEV")
        a, b = (
            jaxgmm.select(KEY, x, range(1, 5), families=[letters], n_init=8) for x in (FAITHFUL, FAITHFUL * scale + 7)
        )
        np.testing.assert_allclose(b.table - 2 * len(FAITHFUL) * np.log(scale).sum(), a.table, atol=0.02)
        assert b.k == a.k


@pytest.mark.parametrize("criterion", ["icl", "aic", "cv"])
def test_other_criteria(criterion, x64):
    x = np.r_[blobs(150, k=1), blobs(150, k=1, seed=3) + 12]
    selection = jaxgmm.select(KEY, x, [1, 2, 3], families=["EEE"], criterion=criterion, n_init=8)
    if criterion == "cv":
        assert selection.table[0, 1] < selection.table[0, 0] - 100
        held_out = float(jaxgmm.log_prob(selection.results["tied", 2].params, x).sum())
        assert -2 * held_out < selection.table[0, 1] < -2 * held_out + 60  # some 8 parameters, one for one
    else:
        for column, k in enumerate((1, 2, 3)):
            expected = getattr(jaxgmm, criterion)(selection.results["tied", k].params, x)
            assert float(expected) == pytest.approx(selection.table[0, column], abs=1e-6)
    if criterion == "icl":
        assert selection.k == 2


def test_weights_are_repetition_and_deletion(x64):
    weights = np.arange(len(FAITHFUL)) % 3
    dirty = np.where(weights[:, None] == 0, np.nan, FAITHFUL)
    arguments = {"n_components": [1, 2], "families": ["VVV"], "n_init": 8}
    weighted = jaxgmm.select(KEY, dirty, weights=weights, **arguments)
    repeated = jaxgmm.select(KEY, np.repeat(FAITHFUL, weights, axis=0), **arguments)
    np.testing.assert_allclose(weighted.table, repeated.table, atol=0.02)


def test_weights_that_are_no_counts_are_named(x64):
    arguments = {"n_components": [1, 2], "families": ["VVV"], "n_init": 1}
    with pytest.warns(UserWarning, match="weights: expected counts, .* got 272 rows with a sum of 1. Unless"):
        shares = jaxgmm.select(KEY, FAITHFUL, weights=np.full(272, 1 / 272), **arguments)
    ones = jaxgmm.select(KEY, FAITHFUL, weights=272 * np.full(272, 1 / 272), **arguments)  # warnings are errors here
    np.testing.assert_allclose(272 * shares.log_likelihoods, ones.log_likelihoods, rtol=1e-6)
    assert shares.best.total_weight == pytest.approx(1)


def test_cross_validation_holds_out_counts(x64):
    """By counts of a histogram as by its values, up to which of them are held out together."""
    middles = np.arange(-20, 20.0) + 0.5
    density = np.exp(-((middles + 5) ** 2) / 8) / 5.013 + np.exp(-((middles - 5) ** 2) / 18) / 7.520
    counts = np.round(200 * density).astype(int)
    arguments = {"n_components": [1, 2, 3], "families": ["V"], "criterion": "cv", "n_init": 4}
    weighted = jaxgmm.select(KEY, middles, weights=counts, **arguments)
    repeated = jaxgmm.select(KEY, np.repeat(middles, counts), **arguments)
    assert weighted.k == repeated.k == 2
    np.testing.assert_allclose(weighted.table, repeated.table, atol=20)  # with whole bins held out 50 and more
    held_out = -2 * float(counts @ np.asarray(jaxgmm.log_prob(weighted.results["V", 2].params, middles)))
    assert held_out < weighted.table[0, 1] < held_out + 30


def test_one_feature_has_two_families(x64):
    selection = jaxgmm.select(KEY, FAITHFUL[:, 1], [1, 2], n_init=6)
    assert [family.name for family in selection.families] == ["E", "V"]
    assert selection.k == 2
    assert selection.table[0, 0] == pytest.approx(selection.table[1, 0])  # one component is one model


def test_a_prior_is_a_value_or_a_rule_here_and_in_fit(x64):
    rule = jaxgmm.default_prior
    options = {"families": ["VVV"], "n_init": 4, "max_iter": 200}
    by_rule = jaxgmm.select(KEY, FAITHFUL, [2, 3], prior=rule, **options)
    assert (by_rule.failed == 0).all()
    plain = jaxgmm.fit(KEY, FAITHFUL, 2).best
    assert 0 < float(plain.log_likelihood) - by_rule.log_likelihoods[0, 0] < 1
    by_value = jaxgmm.select(KEY, FAITHFUL, [2], prior=rule(FAITHFUL, 2), **options)
    fits = [jaxgmm.fit(KEY, FAITHFUL, 2, prior=prior).best for prior in (rule, rule(FAITHFUL, 2))]
    for other in (by_value.log_likelihoods[0, 0], *(float(fit.log_likelihood) for fit in fits)):
        assert float(other) == pytest.approx(by_rule.log_likelihoods[0, 0], abs=1e-3)


@pytest.mark.parametrize("n_init", [1, 2, 3])
def test_few_restarts_are_enough(n_init, x64):
    selection = jaxgmm.select(KEY, FAITHFUL, [2], families=["EEE"], n_init=n_init)
    assert selection.table[0, 0] == pytest.approx(2325.2, abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": []}, "n_components: expected at least one"),
        ({"n_components": range(3)}, "n_components: expected at least 1, got 0"),
        ({"n_components": [2, 273]}, "n_components: expected at most 272"),
        ({"families": []}, "families: expected at least one"),
        ({"families": ["VVV", "XYZ"]}, "family: expected one of .*VEV.*, got 'XYZ'"),
        ({"families": ["E"]}, "families: expected some of EII, .* for 2 feature"),
        ({"criterion": "best"}, "criterion: expected one of bic, icl, aic, cv, or a Criterion, got 'best'"),
        ({"n_init": 0}, "n_init: expected at least 1, got 0"),
    ],
)
def test_bad_searches_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        jaxgmm.select(KEY, FAITHFUL, **options)


def test_families_of_several_features_do_not_exist_in_one():
    with pytest.raises(ValueError, match="families: expected some of E, V for 1 feature"):
        jaxgmm.select(KEY, FAITHFUL[:, 0], families=["VEV"])


def test_a_search_without_a_usable_model_says_so(x64):
    with pytest.raises(jaxgmm.FitError, match="none of 1 models"):
        jaxgmm.select(KEY, np.c_[FAITHFUL, FAITHFUL[:, 0]], [2], families=["VVV"], ridge=0, n_init=4)


def test_a_spurious_restart_is_reported_and_not_chosen(x64):
    """From mclust-like small groups on iris, full, k = 4, some restarts end on seven nearly collinear rows."""
    result = jaxgmm.fit(KEY, DATA["iris"], 4, n_init=32)
    assert (np.asarray(result.statuses) == Status.DEGENERATE).any()
    assert result.best.status == Status.CONVERGED
    assert float(result.best.log_likelihood) < float(jnp.nanmax(result.log_likelihoods))


def test_the_devices_of_a_mesh_share_the_rows():
    x = np.random.default_rng(0).normal(size=(60_000, 4)).astype(np.float32)
    x[:20_000] += 3
    search = {"n_components": [1, 2], "families": ["EEE", "VVV", "VII"], "n_init": 4}
    alone, mesh = jaxgmm.select(KEY, x, **search), jax.make_mesh((4,), ("rows",), axis_types=(AxisType.Auto,))
    with jax.set_mesh(mesh):
        shared = jaxgmm.select(KEY, x, **search)
    np.testing.assert_allclose(shared.table, alone.table, rtol=1e-6)


def test_random_partitions_of_several_numbers_at_once(dtype):
    x = jnp.asarray(blobs(200), dtype)
    for n_init in (0, 1, 4):
        labels = np.asarray(nested_partitions(KEY, x, jnp.ones(200, dtype), (1, 3, 5), n_init))
        assert labels.shape == (3, n_init, 200)
        for number, of_number in zip((1, 3, 5), labels, strict=True):
            assert all(set(start) <= set(range(number)) for start in of_number.tolist())


def test_a_family_ends_alike_whichever_are_searched_beside_it():
    """Beside a cluster so far out that float32 leaves its rows no digits: components share the floor of the nearest."""
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=(150, 2)), rng.normal(size=(50, 2)) + 5e6]).astype(np.float32)
    together = jaxgmm.select(0, x, [2], families=["EEI", "diag"], n_init=4)
    assert not jaxgmm.is_usable(together.statuses[0, 0])
    with pytest.raises(jaxgmm.FitError, match="none of 1 models"):
        jaxgmm.select(0, x, [2], families=["EEI"], n_init=4)
