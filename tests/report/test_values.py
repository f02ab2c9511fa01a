"""Values as they print: within a screen, whatever they hold, and without an error."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_cli_select
from browser import Text
from problems import FAITHFUL

import jaxgmm
from jaxgmm import EMResult, FitResult, GMMParams, Status
from jaxgmm.covariance.families import FAMILIES
from jaxgmm.report import layout

PARAMS = GMMParams(np.array([0.25, 0.75]), np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[4.0, 9.0], [1.0, 0.25]]))
ENDED = EMResult(
    PARAMS, np.array(-40.0), np.zeros(9), np.array(2), np.array(Status.MAX_ITER), np.array(10.0), jaxgmm.DIAG,
    jaxgmm.types.FeatureNames(("height", "width")),
)  # fmt: skip
FOUND = FitResult(ENDED, np.array([-40.0, np.nan, -45, -40.05]), np.array([1, Status.NON_FINITE, 1, 0]))
X = np.arange(20.0).reshape(10, 2) % 7


def large(k, d):
    """A failed fit of many components in many features, and its parts."""
    covariances = np.broadcast_to(np.eye(d, dtype=np.float32), (k, d, d))
    params = GMMParams(np.full(k, 1 / k, np.float32), np.full((k, d), 123456.789, np.float32), covariances)
    names = jaxgmm.types.FeatureNames(f"a feature with quite a long name, number {i}" for i in range(d))
    run = EMResult(
        params, np.float32(-1e7), np.zeros(1000), np.int32(7), np.int32(Status.DEGENERATE), np.float32(1e6),
        jaxgmm.FULL, names,
    )  # fmt: skip
    fit = FitResult(run._replace(excess=np.zeros(k)), np.zeros(99), np.zeros(99, int))
    stats = jaxgmm.Stats(np.float32(-1e7), params.weights, params.means, params.covariances)
    prior = jaxgmm.Prior(*(np.float32(1),), params.means[0], np.float32(1), np.float32(1), covariances[0])
    noisy = jaxgmm.with_noise(PARAMS, jaxgmm.box_noise(X))._replace(mixture=params)
    return [params, run, fit, run._replace(params=noisy), stats, prior, noisy]


VALUES = [
    *large(100, 1000), ENDED, FOUND, jaxgmm.FULL, Status.DEGENERATE, jaxgmm.box_noise(X), jaxgmm.gaussian_steps(),
    test_cli_select.selection(FAMILIES, range(1, 10)), jaxgmm.as_saved_fit(FOUND), jaxgmm.acceleration.momentum(),
    jaxgmm.classification.Classifier(np.ones(30), (PARAMS,) * 30), jaxgmm.Observations(X),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_value_prints_within_a_screen(value):
    for shown in (repr(value), str(value)):
        assert shown.count("\n") < 40
        assert len(shown) < 4000
        assert "0x" not in shown


def test_a_fit_says_what_it_is_how_it_ended_and_what_it_found():
    first, table = repr(FOUND).split("\n\n")
    said = dict(re.split(" {2,}", line, maxsplit=1) for line in first.splitlines())
    assert said["FitResult"] == "MAX_ITER"
    assert said["data"] == "n = 10, d = 2"
    assert said["model"] == "2 components, diag covariances"
    assert said["BIC"].startswith(f"{9 * np.log(10) + 80:.4f}")
    assert said["stopped"].startswith("stopped at max_iter before converging: raise max_iter")
    assert said["restarts"] == "4, of which 1 failed; 2 ended as high as the best"
    assert table.splitlines()[1].split() == ["component", "weight", "height", "width"]
    assert table.splitlines()[-1] == "        1  0.7500   2 ± 1  3 ± 0.5"
    for part in (ENDED, PARAMS):
        assert repr(part).splitlines()[-1].endswith("3 ± 0.5")


def test_parameters_of_a_constrained_family_count_as_its_own():
    shape = (2, 2, 2)
    params = PARAMS._replace(covariances=np.broadcast_to(np.eye(2), shape))
    run = ENDED._replace(params=params, family=jaxgmm.get_family("VEE"))
    assert "VEE covariances" in repr(run)
    n_parameters = jaxgmm.n_parameters(params, jaxgmm.get_family("VEE"))
    assert f"{n_parameters * np.log(10) + 80:.4f} (smaller" in repr(run)
    assert jaxgmm.n_parameters(run) == n_parameters < jaxgmm.n_parameters(params)


def test_components_without_a_spread_are_named():
    assert "without spread  components [1]" in repr(FOUND._replace(best=ENDED._replace(excess=np.array([0.0, 12.0]))))


def test_what_is_traced_says_so():
    seen = []
    jax.jit(lambda found: seen.append(repr(found)))(jax.tree.map(jnp.asarray, FOUND))
    jax.vmap(lambda params: seen.append(str(params)))(jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), PARAMS))
    for shown in seen:
        assert "traced: its values are known once the program runs" in shown
    assert re.search(r"best\.params\.means +float32\[2, 2\]", seen[0])


def test_a_batch_says_its_shape():
    batch = jax.tree.map(lambda leaf: np.stack([leaf] * 3), FOUND)
    for part in (batch, batch.best, batch.params):
        assert "a batch of shape (3,)" in repr(part)
    assert re.search(r"^max_iter +3$", repr(batch), re.MULTILINE)
    assert batch.agrees.sum(1).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    "change", [lambda leaf: None, np.shape, jax.typeof, lambda leaf: "text", lambda leaf: np.array(["a"]), np.ravel]
)
@pytest.mark.parametrize("value", [PARAMS, ENDED, FOUND, jaxgmm.box_noise(X)], ids=lambda value: type(value).__name__)
def test_nothing_that_a_value_may_hold_makes_it_raise(change, value):
    with np.errstate(all="raise"):
        assert type(value).__name__ in repr(jax.tree.map(change, value))


def test_results_of_another_model_show_what_they_hold():
    shown = repr(ENDED._replace(params={"rate": np.array([0.5, 2.0])}, family=None))
    assert shown.startswith("EMResult        MAX_ITER: stopped at max_iter")
    assert re.search(r"params\['rate'\] +\[0\.5, 2\. \]", shown)
    assert re.search(r"log_likelihood +-40", shown)


def test_statuses_print_as_a_word_and_what_to_do():
    assert (
        str(Status.MAX_ITER)
        == f"{Status.MAX_ITER}"
        == "MAX_ITER: stopped at max_iter before converging: " + ("raise max_iter, or tol")
    )
    assert repr(Status.CONVERGED).startswith("<Status.CONVERGED: the estimated remaining gain")
    assert f"{Status.DEGENERATE:d}" == "3"
    assert FOUND.status is Status.MAX_ITER


def test_families_print_as_what_makes_them():
    assert [repr(family) for family in (jaxgmm.FULL, jaxgmm.get_family("VEV"))] == [
        "get_family('full')",
        "get_family('VEV')",
    ]
    assert all(jaxgmm.get_family(family.name) is family for family in FAMILIES)
    assert str(jaxgmm.get_family("VEI")) == "VEI covariances: variable volume, equal shape, axes along the features"


@pytest.mark.parametrize(
    ("mean", "deviation", "expected"),
    [
        (1700000029.4321, 17.3181, "1700000029.43 ± 17.32"),  # seconds since 1970
        (54.4788, 5.86571, "54.479 ± 5.866"),
        (-1e-9, 2.1234, "0.000 ± 2.123"),
        (123456.0, 1234567.0, "123000 ± 1235000"),
        (1.7e9, 1.2344e12, "2e+09 ± 1.234e+12"),
        (3e-8, 1.2344e-8, "3.000e-08 ± 1.234e-08"),
        (5.0, 0.0, "5 ± 0"),
        (np.nan, 1.0, "nan ± 1"),
    ],
)
def test_numbers_have_the_digits_that_the_deviation_calls_for(mean, deviation, expected):
    assert layout.with_deviation(mean, deviation) == expected


def test_no_digit_is_shown_that_float32_has_not():
    assert layout.with_deviation(1.7e9, 17.3, digits=8).startswith("1700000000 ")


def test_old_faithful_prints_the_moments_of_its_clusters():
    result = jaxgmm.em(jaxgmm.seeding.from_labels(FAITHFUL, (FAITHFUL[:, 0] > 3).astype(int), 2), FAITHFUL)
    assert re.search(r"0  0\.355\d  2\.036\d ± 0\.26\d\d  54\.4\d\d ± 5\.8\d\d", repr(result))
    assert "n = 272, d = 2" in repr(result)


@pytest.mark.parametrize("value", [*VALUES[7:9], PARAMS, jaxgmm.with_noise(PARAMS, jaxgmm.box_noise(X)), VALUES[4]])
def test_notebooks_show_what_prints(value):
    shown = Text(value._repr_html_())
    assert shown.rows[0][0] == type(value).__name__
    cells = {word for row in shown.rows for cell in row for word in cell.split()}
    assert set(re.findall(r"\S+", repr(value))) >= cells
