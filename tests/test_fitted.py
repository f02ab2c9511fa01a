"""A result goes where parameters go, and brings the names of its features along."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import test_cli_select
from problems import FAITHFUL

import jaxgmm
from jaxgmm import EMResult, FitResult, Status
from jaxgmm.fitted import feature_names_of

KEY = jax.random.key(0)
X = FAITHFUL.astype(np.float32)
FRAME = pd.DataFrame(X, columns=["eruptions", "waiting"])
START = jaxgmm.seeding.from_labels(X, (X[:, 0] > 3).astype(int), 2)
RUN = jaxgmm.em(START, FRAME)
FOUND = FitResult(RUN, RUN.log_likelihood[None], RUN.status[None])
SELECTION = test_cli_select.selection([jaxgmm.FULL], (2, 3))
SELECTION.results["full", 2] = RUN
FITTED = {"run": RUN, "fit": FOUND, "selection": SELECTION, "saved": jaxgmm.as_saved_fit(FOUND)}
PRIOR = jaxgmm.default_prior(X, 2)
CALLS = {
    "log_prob": lambda p: jaxgmm.log_prob(p, X),
    "joint_log_prob": lambda p: jaxgmm.joint_log_prob(p, X),
    "responsibilities": lambda p: jaxgmm.responsibilities(p, X),
    "predict": lambda p: jaxgmm.predict(p, X),
    "sample": lambda p: jaxgmm.sample(KEY, p, 5),
    "score": lambda p: jaxgmm.score(p, X),
    "aic": lambda p: jaxgmm.aic(p, X),
    "bic": lambda p: jaxgmm.bic(p, X),
    "icl": lambda p: jaxgmm.icl(p, X),
    "n_parameters": jaxgmm.n_parameters,
    "e_step": lambda p: jaxgmm.e_step(p, X),
    "log_prior": lambda p: jaxgmm.log_prior(p, PRIOR),
    "with_noise": lambda p: jaxgmm.with_noise(p, jaxgmm.box_noise(X)),
    "em": lambda p: jaxgmm.em(p, X, max_iter=2).params,
    "to_unconstrained": jaxgmm.interop.to_unconstrained,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_result_gives_the_answer_of_its_parameters(name):
    expected = CALLS[name](RUN.params)
    for fitted in FITTED.values():
        jax.tree.map(np.testing.assert_array_equal, CALLS[name](fitted), expected)


@pytest.mark.parametrize("fitted", FITTED.values(), ids=FITTED)
def test_a_result_is_a_start_a_model_to_save_and_a_picture(fitted, tmp_path):
    start = jaxgmm.fit(KEY, X, 2, start=fitted, max_iter=2)
    np.testing.assert_allclose(start.params.means, RUN.params.means, rtol=1e-3)
    jaxgmm.save(tmp_path / "model.npz", fitted)
    loaded = jaxgmm.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.params.means, RUN.params.means)
    assert loaded.feature_names == ("eruptions", "waiting")
    assert jaxgmm.plotting.clusters(fitted).patches


def test_columns_of_a_table_are_found_by_their_names():
    swapped = FRAME[["waiting", "eruptions"]].assign(row=np.arange(len(X)))
    for fitted in FITTED.values():
        np.testing.assert_array_equal(jaxgmm.predict(fitted, swapped), jaxgmm.predict(fitted, X))
    for function in (jaxgmm.score, jaxgmm.aic, jaxgmm.bic, jaxgmm.icl, jaxgmm.log_prob, jaxgmm.responsibilities):
        np.testing.assert_array_equal(function(FOUND, swapped.assign(note="text")), function(FOUND, X))
    assert jaxgmm.e_step(FOUND, swapped).log_likelihood == RUN.log_likelihood
    assert jaxgmm.em(FOUND, swapped).feature_names == ("eruptions", "waiting")
    start = jaxgmm.fit(KEY, swapped, 2, start=FOUND, max_iter=1)
    np.testing.assert_allclose(start.params.means, RUN.params.means, rtol=1e-3)
    assert start.feature_names == ("eruptions", "waiting")
    points = jaxgmm.plotting.clusters(FOUND, swapped).collections[0].get_offsets()
    np.testing.assert_array_equal(points, jaxgmm.plotting.clusters(FOUND, FRAME).collections[0].get_offsets())
    assert "n = 272, d = 2" in jaxgmm.summary(FOUND, swapped)
    batch = jaxgmm.em_batch(jax.tree.map(lambda leaf: leaf[None], RUN.params), FRAME)
    assert batch.feature_names == ("eruptions", "waiting")


def test_a_table_without_a_column_of_the_fit_is_refused():
    message = "x: expected the columns of the fit, eruptions, waiting; got eruptions, wait, without 'waiting'"
    with pytest.raises(ValueError, match=message):
        jaxgmm.predict(FOUND, FRAME.rename(columns={"waiting": "wait"}))
    with pytest.raises(ValueError, match="x: expected each column of the fit once, got eruptions, waiting, waiting"):
        jaxgmm.predict(FOUND, pd.concat([FRAME, FRAME[["waiting"]]], axis=1))
    for nameless in (X, pd.DataFrame(X), FRAME.rename(columns={"waiting": "wait"})):
        fitted = jaxgmm.as_saved_fit(RUN.params) if nameless is not X else FOUND  # names x1, x2 stand for none
        np.testing.assert_array_equal(jaxgmm.predict(fitted, nameless), jaxgmm.predict(FOUND, X))


def test_results_say_what_people_look_for():
    for fitted in FITTED.values():
        assert fitted.params.k == 2
        assert int(fitted.status) == Status.CONVERGED
    for result in (RUN, FOUND, SELECTION):
        assert (bool(result.converged), result.k, result.family) == (True, 2, jaxgmm.FULL)
        assert result.feature_names == ("eruptions", "waiting")
        assert float(result.log_likelihood) == float(RUN.log_likelihood)
    assert len(jaxgmm.trimmed_history(FOUND)) == int(FOUND.n_iter) + 1


def test_under_jit_and_vmap_a_result_is_a_tree_of_arrays():
    expected = jaxgmm.predict(RUN, X)
    np.testing.assert_array_equal(jax.jit(jaxgmm.predict)(FOUND, X), expected)
    results = jax.vmap(lambda x: jaxgmm.em(START, x))(jnp.stack([X, X]))
    assert (results.family, results.total_weight.tolist()) == (jaxgmm.FULL, [272, 272])
    np.testing.assert_array_equal(jax.vmap(jaxgmm.predict, (0, None))(results, X), jnp.stack([expected] * 2))
    named = jax.jit(lambda found: found._replace(statuses=found.statuses + 1))(FOUND)
    assert (named.feature_names, named.family) == (FOUND.feature_names, jaxgmm.FULL)


@pytest.mark.parametrize("status", [Status.DEGENERATE, Status.NON_FINITE, Status.DECREASED, Status.RUNNING])
def test_parameters_of_a_fit_that_failed_are_used_with_a_warning(status):
    failed = RUN._replace(status=jnp.int32(status))
    for fitted in (failed, FOUND._replace(best=failed)):
        with pytest.warns(UserWarning, match=f"of a fit that failed. {status.name}: ") as seen:
            jaxgmm.bic(fitted, X)
        assert [warning.filename for warning in seen] == [__file__]
        with pytest.warns(UserWarning, match="of a fit that failed"):
            exec("bic(fitted, x)", {"bic": jaxgmm.bic, "fitted": fitted, "x": X})  # a caller whose module has no name
        np.testing.assert_array_equal(jax.jit(jaxgmm.predict)(fitted, X), jaxgmm.predict(RUN, X))


def test_criteria_count_the_parameters_of_the_family_that_was_fitted():
    family = jaxgmm.get_family("VEE")
    run = jaxgmm.em(START, X, family=family, max_iter=2)
    assert run.family is family
    assert (
        float(jaxgmm.bic(run, X)) == float(jaxgmm.bic(run.params, X, family=family)) < float(jaxgmm.bic(run.params, X))
    )
    assert jaxgmm.as_saved_fit(run).family == "VEE"


def test_what_the_steps_of_another_model_find_has_no_family():
    assert jaxgmm.em(START, X, m_step=lambda params, stats: params, max_iter=1).family is None
    assert jaxgmm.em(START, X, steps=jaxgmm.gaussian_steps(), max_iter=1).family is None


@pytest.mark.parametrize("value", [RUN, FOUND, SELECTION], ids=["run", "fit", "selection"])
def test_results_and_families_come_back_from_pickles(value):
    for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert (again.family, hash(again.family)) == (value.family, hash(value.family))
        assert again.feature_names == value.feature_names
        np.testing.assert_array_equal(jaxgmm.predict(again, X), jaxgmm.predict(value, X))


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (FRAME, ("eruptions", "waiting")),
        (FRAME["waiting"], ("waiting",)),
        (jaxgmm.Observations(FRAME), ("eruptions", "waiting")),
        (FRAME.set_axis([0, 1], axis=1), None),
        (X, None),
        (jaxgmm.datasets.load_iris(), jaxgmm.datasets.load_iris().feature_names),
    ],
)
def test_names_are_those_of_the_columns(table, names):
    assert feature_names_of(table) == names


def test_names_go_from_a_table_to_the_summary():
    assert "waiting" in jaxgmm.summary(RUN)
    assert "waiting" in jaxgmm.summary(RUN.params, FRAME)
    assert "x2" in jaxgmm.summary(RUN.params)
    assert "minutes" in jaxgmm.summary(RUN, FRAME, feature_names=["minutes", "wait"])


def test_results_made_by_hand_need_no_more_than_before():
    plain = EMResult(*RUN[:5])
    assert (plain.family, plain.feature_names, plain.total_weight) == (None, None, None)
    assert "full covariances" in repr(plain)
    np.testing.assert_array_equal(jaxgmm.predict(plain, X), jaxgmm.predict(RUN, X))
