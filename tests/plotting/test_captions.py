"""What all pictures share: titles, legends, names, axes, and what they refuse."""

import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from figures import NAMES, axes, entries, is_within, many, mixture, rendered, rows, selection
from matplotlib.figure import Figure

import jaxgmm
from jaxgmm import GMMParams, plotting

PLANAR = (plotting.clusters, plotting.uncertainty, plotting.density)
MCLUST = ["EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"]


@pytest.fixture(scope="module")
def run():
    return jaxgmm.EMResult(mixture(), -8.0, np.array([-9.0, -8.0]), 1, np.int32(0))


@pytest.fixture(scope="module")
def everything(run):
    """Each picture on axes, and what it is drawn of."""
    drawings = [(draw, (mixture(), rows())) for draw in (*PLANAR, plotting.density_1d)]
    drawings += [(plotting.trace, (run,)), (plotting.restarts, (jaxgmm.FitResult(run, [-8.0, -9], [0, 0]),))]
    return [*drawings, (plotting.criteria, (selection(["full", "tied"]),))]


def test_every_picture_has_a_title_and_a_legend_within_the_figure(everything):
    for draw, arguments in everything:
        ax = draw(*arguments, ax=(figure := Figure(figsize=(4, 3))).subplots())
        rendered(figure)
        title, legend = ax.title.get_window_extent(), ax.get_legend().get_window_extent()
        assert ax.get_title()
        assert len(entries(ax)) > 1
        assert legend.y1 <= ax.xaxis.get_tightbbox().y0 < ax.bbox.y0
        assert ax.bbox.y1 <= title.y0
        assert is_within(title, figure.bbox)
        assert is_within(legend, figure.bbox)


@pytest.mark.parametrize("names", [MCLUST, ["full", "tied", "diag", "spherical"], ["a rather long name", "other"]])
def test_legend_of_the_criteria_is_within_the_figure_and_off_the_lines(names):
    figure = Figure()
    ax = plotting.criteria(selection(names), ax=figure.subplots())
    box = rendered(figure).axes[0].get_legend().get_window_extent()
    assert entries(ax)[1:] == names
    assert is_within(box, figure.bbox)
    assert box.y1 <= ax.xaxis.get_tightbbox().y0
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == len(names) + 1


def test_a_layout_of_the_callers_is_kept():
    figure = Figure(layout="tight")
    before = figure.get_layout_engine()
    plotting.clusters(many(3), ax=figure.subplots())
    assert figure.get_layout_engine() is before


def test_the_default_is_to_draw_on_the_current_axes(everything, run):
    plt.switch_backend("agg")
    before = dict(matplotlib.rcParams)
    for draw, arguments in everything:
        current = plt.figure().subplots()
        assert draw(*arguments) is current
    assert plotting.pairs(mixture(), rows())[0, 0].figure is plt.gcf()
    assert plotting.fit(run, rows())[0].figure is plt.gcf()
    plt.close("all")
    assert dict(matplotlib.rcParams) == before


def test_results_are_drawn_as_their_parameters_are(run):
    for draw in (*PLANAR, plotting.density_1d):
        for result in (run, jaxgmm.FitResult(run, [-8.0], [0])):
            one, other = (draw(drawn, rows(), ax=axes()) for drawn in (result, run.params))
            assert (one.get_title(), entries(one)) == (other.get_title(), entries(other))


def test_names_are_those_given_or_those_of_a_data_frame():
    pandas = pytest.importorskip("pandas")

    for columns, expected in ((NAMES, NAMES), (None, ("x1", "x2", "x3"))):
        x = pandas.DataFrame(rows(), columns=columns)
        drawn = plotting.clusters(mixture(), x, features=(0, 2), ax=axes())
        assert (drawn.get_xlabel(), drawn.get_ylabel()) == (expected[0], expected[2])
        drawn = plotting.clusters(mixture(), x, features=(0, 2), feature_names="abc", ax=axes())
        assert (drawn.get_xlabel(), drawn.get_ylabel()) == ("a", "c")


# ---------------------------------------------------------------------------------------------------------- refusals


def test_nothing_is_drawn_before_arguments_are_found_good():
    plt.switch_backend("agg")
    plt.close("all")
    for draw in PLANAR:
        with pytest.raises(ValueError, match="features"):
            draw(mixture(), rows(), features=(0, 3))
    assert plt.get_fignums() == []


def test_module_is_importable_without_matplotlib():
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import numpy as np, jaxgmm\n"
        "params = jaxgmm.GMMParams(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))\n"
        "try: jaxgmm.plotting.clusters(params)\n"
        "except ImportError as error: print(error.name)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split()[0].startswith("matplotlib")


ONE = GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
MISSING = np.full((4, 3), np.nan)

BAD = {
    "repeated": (lambda f: f(mixture(), rows(), features=(1, 1)), r"features: .* two different .* 0..2, got \(1, 1\)"),
    "out of range": (lambda f: f(mixture(), rows(), features=(0, 3)), r"features: .* 0..2, got \(0, 3\)"),
    "negative": (lambda f: f(mixture(), rows(), features=(0, -1)), r"features: expected at least 0, got -1"),
    "three": (lambda f: f(mixture(), rows(), features=(0, 1, 2)), r"features: .* got \(0, 1, 2\)"),
    "names": (lambda f: f(mixture(), rows(), feature_names=["a"]), r"feature_names: expected 3, one for each .* got 1"),
    "d = 1": (lambda f: f(ONE, rows()[:, 0]), r"x: expected at least two features, got 1: .* density_1d"),
    "shapes": (lambda f: f(ONE, rows()), r"x: expected 1 features"),
}


@pytest.mark.parametrize("draw", PLANAR, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", BAD)
def test_planar_plots_refuse(name, draw):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call(draw)


def batch():
    return jaxgmm.EMResult(mixture(), np.zeros(2), np.zeros((2, 3)), np.ones(2, int), np.zeros(2, int))


IS_BATCH = r"result: expected one fit, got a batch of shape \(2,\)"
OTHERS = {
    "feature": (lambda: plotting.density_1d(mixture(), rows(), feature=3), r"feature: expected one of 0..2, got 3"),
    "negative": (lambda: plotting.density_1d(mixture(), rows(), feature=-1), r"feature: expected at least 0, got -1"),
    "names": (lambda: plotting.density_1d(mixture(), rows(), feature_names=NAMES[:2]), r"expected 3.* got 2"),
    "missing": (lambda: plotting.density_1d(mixture(), MISSING), r"x: .* one finite row, got none of 4"),
    "missing pairs": (lambda: plotting.density(mixture(), MISSING), r"x: .* one finite row, got none of 4"),
    "levels": (lambda: plotting.density(mixture(), rows(), levels=(0.5, 95)), r"levels: .* got \(0.5, 95\)"),
    "pair names": (lambda: plotting.pairs(mixture(), rows(), feature_names=["a"]), r"feature_names: .* got 1"),
    "pair features": (lambda: plotting.pairs(mixture(), rows(), features=(0, 3)), r"features: .* 0..2, got \(0, 3\)"),
    "batch": (lambda: plotting.trace(batch()), IS_BATCH),
    "batch of restarts": (lambda: plotting.restarts(jaxgmm.FitResult(batch(), [0, 0], [0, 0])), IS_BATCH),
    "batch of clusters": (lambda: plotting.clusters(batch()), IS_BATCH),
    "batch at a glance": (lambda: plotting.fit(batch()), IS_BATCH),
}


@pytest.mark.parametrize("name", OTHERS)
def test_plots_refuse(name):
    call, message = OTHERS[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("draw", [plotting.trace, plotting.restarts, plotting.fit], ids=lambda f: f.__name__)
def test_pictures_of_fits_refuse_parameters_alone(draw):
    with pytest.raises(TypeError, match=r"result: expected .* got GMMParams"):
        draw(mixture())
