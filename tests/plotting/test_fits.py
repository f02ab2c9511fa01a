"""Runs, restarts, searches and overviews, read back from what is drawn."""

import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from figures import axes, ellipses, entries, selection
from matplotlib.figure import Figure
from PIL import Image
from problems import FAITHFUL

import jaxgmm
from jaxgmm import Status, plotting

FIGURES = Path(__file__).parents[2] / "docs" / "figures"


def start(dtype):
    return jaxgmm.seeding.from_labels(FAITHFUL.astype(dtype), np.digitize(FAITHFUL[:, 0], [3.0, 4.4]), 3)


@pytest.fixture(scope="module")
def run():
    return jaxgmm.em(start(np.float32), FAITHFUL)


def run_with(history, status=Status.CONVERGED, **fields):
    """A run of EM with two components in two features and a history."""
    params = jaxgmm.GMMParams(np.full(2, 0.5), np.array([[0.0, 0.0], [5.0, 5.0]]), np.ones((2, 1)))
    run = jaxgmm.EMResult(params, history[-1], np.array(history), len(history) - 1, np.int32(status))
    return run._replace(**fields)


def restarted(log_likelihoods, statuses):
    """A fit whose best run reached the highest of usable log-likelihoods."""
    log_likelihoods, statuses = np.array(log_likelihoods, float), np.array(statuses)
    usable = log_likelihoods[jaxgmm.is_usable(statuses)]
    best = run_with([-500.0, max(usable)]) if usable.size else run_with([-500.0], Status.DEGENERATE)
    return jaxgmm.FitResult(best, log_likelihoods, statuses)


# ------------------------------------------------------------------------------------------------------------- trace


def test_trace_is_the_history_without_an_offset_and_the_title_says_what_it_gained(run):
    ax = plotting.trace(run, ax=axes())
    history = np.asarray(run.history)
    history = history[~np.isnan(history)].astype(float)
    iterations, values = ax.lines[0].get_data()
    np.testing.assert_array_equal(values, history)
    np.testing.assert_array_equal(iterations, np.arange(int(run.n_iter) + 1))
    gain = history[-1] - history[0]
    assert ax.get_title() == f"{gain:.4g} nats gained in {int(run.n_iter)} iterations: converged"
    low, high = ax.get_ylim()
    assert low < history[0] < history[-1] < high
    assert gain > 0.85 * (high - low)
    formatter = ax.yaxis.get_major_formatter()
    formatter.set_locs(ax.get_yticks())
    assert formatter.get_offset() == ""
    assert "1130" in formatter(-1130)


def test_trace_of_a_run_that_gains_nothing_does_not_blow_up_rounding():
    low, high = plotting.trace(run_with([-19565.42, -19565.4197]), ax=axes()).get_ylim()
    assert 1 <= high - low < 2


def test_trace_cuts_a_start_that_is_far_below_off_with_a_mark():
    ax = plotting.trace(run_with([-1e6, -1200.0, -1150.0, -1130.0]), ax=axes())
    low, high = ax.get_ylim()
    assert -1400 < low < -1200 < -1130 < high
    marks = ax.lines[1]
    assert (marks.get_xdata().tolist(), marks.get_marker(), marks.get_label()) == ([0], "v", "beyond")


@pytest.mark.parametrize("max_iter", [0, 3])
def test_trace_of_a_fit_cut_short_under_a_prior_draws_the_log_posterior_alone(max_iter):
    prior = jaxgmm.default_prior(FAITHFUL, 3)
    result = jaxgmm.em(start(np.float32), FAITHFUL, prior=prior, max_iter=max_iter)
    ax = plotting.trace(result, ax=axes())
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), result.history)
    assert "stopped at max_iter before converging" in ax.get_title().replace("\n", " ")


def test_trace_takes_the_best_of_several_restarts(run):
    several = jaxgmm.FitResult(run, np.zeros(2), np.zeros(2, int))
    one, other = (plotting.trace(result, ax=axes()).lines[0].get_ydata() for result in (several, run))
    np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------------------------------------------------- restarts


def test_restarts_are_sorted_and_told_apart_by_how_they_ended():
    ends = {-100.0: 0, -130.0: 0, -100.05: 0, -110.0: 1, -90.0: 3, np.nan: 2, -100.01: 1}
    ax = plotting.restarts(restarted(list(ends), list(ends.values())), ax=axes())
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert drawn == {
        "agree": [[1, -100.0], [2, -100.01], [3, -100.05]],
        "stopped early": [[4, -110.0]],
        "ended lower": [[5, -130.0]],
        "failed": [[6, 0], [7, 0]],  # at the lower edge: how high they were says nothing
    }
    assert ax.lines[-1].get_transform() == ax.get_xaxis_transform()
    assert ax.get_title() == "3 of 7 restarts agree with the best"
    assert sorted(entries(ax)[1:]) == sorted(drawn)
    low, high = ax.get_ylim()
    assert low < -130 < -100 < high < -90


def test_restarts_far_below_the_others_are_cut_off_with_a_mark():
    ax = plotting.restarts(restarted([-100, -101, -102, -103, -1e5], [0] * 5), ax=axes())
    assert -112 < ax.get_ylim()[0] < -103
    marks = {line.get_label(): line.get_xdata().tolist() for line in ax.lines}
    assert marks["beyond"] == [5]


def test_restarts_that_all_failed_say_so():
    failed = restarted([np.nan, -90], [2, 3])
    ax = plotting.restarts(failed, ax=axes())
    assert ax.get_title().startswith("2 of 2 restarts failed\nnot usable: a covariance collapsed")
    assert not ax.yaxis.get_visible()


# ---------------------------------------------------------------------------------------------------------- criteria


def test_criteria_are_the_table_with_the_best_circled_and_said():
    chosen = selection(["VVV", "EEE", "VVI"], n_components=(2, 3, 5, 9))
    ax = plotting.criteria(chosen, ax=axes())
    lines, circle = ax.lines[:3], ax.lines[-1]
    np.testing.assert_array_equal([line.get_ydata() for line in lines], chosen.table)
    assert all(line.get_xdata().tolist() == [2, 3, 5, 9] for line in lines)
    assert [line.get_label() for line in lines] == ["VVV", "EEE", "VVI"]
    assert circle.get_xydata().tolist() == [[5, 50]]
    assert circle.get_fillstyle() == "none"
    assert ax.get_ylabel() == "ICL (smaller is better)"
    assert ax.get_title() == "Best by ICL: EEE, 5 components (50.00)\n1 of 12 models came to no usable end"
    assert lines[1].get_linewidth() > lines[0].get_linewidth() == lines[2].get_linewidth()


def test_criteria_are_drawn_in_the_order_of_their_numbers():
    chosen = selection(["VVV", "EEE"], n_components=(9, 1, 4))
    for line, values in zip(plotting.criteria(chosen, ax=axes()).lines, chosen.table, strict=False):
        assert line.get_xdata().tolist() == [1, 4, 9]
        np.testing.assert_array_equal(line.get_ydata(), values[[1, 2, 0]])


def test_criteria_show_the_range_of_the_better_models_and_mark_what_is_beyond():
    chosen = selection(["EII", "EEE"], n_components=(1, 2, 3))
    chosen.table = np.array([[9000.0, 5000, 4000], [2400, 2310, 2300]])
    ax = plotting.criteria(chosen, ax=axes())
    low, high = ax.get_ylim()
    median = 3200
    assert low < 2300
    assert high == pytest.approx(2300 + 1.05 * 3 * (median - 2300))
    marks = next(line for line in ax.lines if line.get_label() == "beyond")
    assert (marks.get_xdata().tolist(), marks.get_marker()) == ([1], "^")
    assert "beyond" in entries(ax)


def test_criteria_of_one_model_or_none_are_drawn():
    chosen = selection(["EII", "EEE"], n_components=(1, 2, 3))
    chosen.table = np.array([[np.nan] * 3, [np.nan, 2.0, np.nan]])
    assert "EEE, 2 components (2.00)" in plotting.criteria(chosen, ax=axes()).get_title()
    chosen.table = np.full((2, 3), np.nan)
    title = plotting.criteria(chosen, ax=axes()).get_title()
    assert title == "No model to choose by ICL\n6 of 6 models came to no usable end"


def test_criteria_go_by_mclusts_letters():
    for names, expected in [(["tied", "VEV"], ["EEE", "VEV"]), (["E", "V"], ["E", "V"])]:
        chosen = selection(names)
        chosen.families = tuple(map(jaxgmm.get_family, names))
        assert [line.get_label() for line in plotting.criteria(chosen, ax=axes()).lines[:2]] == expected


# ---------------------------------------------------------------------------------------------------------- overview


def test_the_overview_has_what_there_is_of_a_fit(run):
    one_feature = run_with([-10.0, -9.0], params=jaxgmm.GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1))))
    fitted = jaxgmm.FitResult(run, np.full(3, run.log_likelihood), np.zeros(3, int))
    expected = {
        "clusters": "component", "density": "Density", "density_1d": "Density of x1",
        "trace": "nats gained", "restarts": "restarts agree",
    }  # fmt: skip
    for result, x, drawn in [
        (fitted, FAITHFUL, ["clusters", "density", "restarts", "trace"]),
        (fitted, None, ["clusters", "restarts", "trace"]),
        (run, FAITHFUL, ["clusters", "density", "trace"]),
        (one_feature, [0.0, 1.0], ["density_1d", "trace"]),
    ]:
        axes = plotting.fit(result, x, figure=Figure())
        assert axes.shape == (len(drawn),)
        for ax, name in zip(axes, drawn, strict=True):
            assert expected[name] in ax.get_title()
    assert plotting.fit(run, FAITHFUL, feature_names=["a", "b"], figure=Figure())[0].get_xlabel() == "a"


def test_the_overview_of_a_search_has_the_models(run):
    results = {("tied", k): run for k in (2, 3)}
    table = np.array([[20.0, 10.0]])
    tied = (jaxgmm.get_family("EEE"),)
    search = jaxgmm.Selection("bic", tied, (2, 3), table, -table, np.zeros((1, 2), int), np.zeros((1, 2), int), results)
    titles = [ax.get_title() for ax in plotting.fit(search, FAITHFUL, figure=Figure())]
    assert titles[2].replace("\n", " ") == "Best by BIC: EEE, 3 components (10.00)"
    assert len(titles) == 4
    assert len(ellipses(plotting.clusters(search, ax=axes()))) == 3


@pytest.mark.parametrize("finite", [True, False])
def test_every_picture_of_a_failed_fit_says_so(finite):
    params = jaxgmm.GMMParams(np.full(2, 0.5), np.array([[0.0, 0.0], [5.0, 5.0]]), np.ones((2, 1)))
    if not finite:
        params = jax.tree.map(lambda leaf: np.full(leaf.shape, np.nan), params)
    history, status = ([-9.0, -8.0], Status.DEGENERATE) if finite else ([np.nan], Status.NON_FINITE)
    failed = jaxgmm.FitResult(run_with(history, status, params=params), np.full(2, np.nan), np.full(2, status))
    x = np.random.default_rng(0).normal(size=(30, 2))
    pictures = [*plotting.fit(failed, x, figure=Figure()), plotting.density_1d(failed, x, ax=axes())]
    pictures.append(plotting.uncertainty(failed, x, ax=axes()))
    for ax in pictures:
        assert "not usable" in ax.get_title().replace("\n", " ")
        assert np.isfinite([ax.get_xlim(), ax.get_ylim()]).all()
    assert len(ellipses(pictures[0])) == (2 if finite else 0)
    plotting.pairs(failed, x, figure=(figure := Figure()))
    assert "not usable" in figure.get_suptitle()


# ----------------------------------------------------------------------------------------------- the README's picture


@pytest.mark.slow
def test_the_readmes_picture_is_what_the_library_draws():
    """The file says what was drawn into it: titles, names, legends and limits."""
    spec = importlib.util.spec_from_file_location("make", FIGURES / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    drawn = make.described(make.draw())
    with Image.open(FIGURES / "faithful.png") as image:
        stored = json.loads(image.text["Description"])
    for now, then in zip(drawn, stored, strict=True):
        assert np.array(now.pop("limits")) == pytest.approx(np.array(then.pop("limits")), rel=0.01)
        assert now == then
