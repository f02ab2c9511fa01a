"""Fits as text and as HTML: the same facts, nothing unescaped, nothing that raises."""

import re
import sys

import jax
import numpy as np
import pytest
import test_cli_select
from browser import Text, pixels
from problems import FAITHFUL

import jaxgmm
from jaxgmm import EMResult, FitResult, GMMParams, Status, summary
from jaxgmm.covariance.families import FAMILIES_1D
from jaxgmm.report import text as display

PARAMS = GMMParams(np.array([0.25, 0.75]), np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[4.0, 9.0], [1.0, 0.25]]))
ENDED = EMResult(PARAMS, np.array(-40.0), np.array([-50.0, -41, -40, np.nan]), np.array(2), np.array(Status.CONVERGED))
FOUND = FitResult(ENDED, np.array([-40.0, np.nan, -45]), np.array([Status.CONVERGED, Status.NON_FINITE, 1]))
X = np.arange(20.0).reshape(10, 2) % 7


def facts(text):
    return dict(re.findall(r"^(\S+) {2,}(\S.*)$", text.split("\n\n")[0], re.MULTILINE))


# --------------------------------------------------------------------------------------------------------------- text


def test_a_summary_says_what_was_found_and_why_it_stopped():
    said = facts(summary(FOUND, X, family=jaxgmm.DIAG))
    n_parameters = 1 + 4 + 4
    assert said == {
        "data": "n = 10, d = 2",
        "model": "2 components, diag covariances",
        "log-likelihood": "-40.0000 nats",
        "AIC": f"{2 * n_parameters + 80:.4f} (smaller is better)",
        "BIC": f"{n_parameters * np.log(10) + 80:.4f} (smaller is better; "
        f"mclust's sign: {-n_parameters * np.log(10) - 80:.4f})",
        "stopped": f"{jaxgmm.describe(Status.CONVERGED)} (2 iterations)",
        "restarts": "3, of which 1 failed; 1 ended as high as the best",
    }
    table = summary(FOUND, feature_names=["height", "width"]).split("\n\n")[1]
    assert table == (
        "mean ± standard deviation of each component:\n"
        "component  weight  height    width\n"
        "        0  0.2500   0 ± 2    1 ± 3\n"
        "        1  0.7500   2 ± 1  3 ± 0.5"
    )


def test_less_is_said_where_less_is_known():
    assert list(facts(summary(PARAMS))) == ["model"]
    assert list(facts(summary(ENDED))) == ["model", "log-likelihood", "AIC", "stopped"]
    assert list(facts(summary(jaxgmm.as_saved_fit(FOUND, X)))) == ["model", "log-likelihood", "AIC", "BIC", "stopped"]


def test_weights_count_rows():
    twice = facts(summary(FOUND, X, np.full(10, 2.0)))["BIC"]
    assert twice.startswith(f"{9 * np.log(20) + 80:.4f} ")
    assert facts(summary(FOUND, X, np.full(10, 0.1)))["data"] == "n = 10, d = 2; weights sum to 1"


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((2, 2, 2), "full"),
        ((1, 2, 2), "tied"),
        ((2, 2), "diag"),
        ((1, 2), "EEI"),
        ((2, 1), "spherical"),
        ((1, 1), "EII"),
    ],
)
def test_a_family_is_what_the_shape_says_unless_it_is_named(shape, name):
    params = PARAMS._replace(covariances=np.broadcast_to(np.eye(2), shape) if len(shape) == 3 else np.ones(shape))
    assert f"2 components, {name} covariances" in summary(params)
    assert jaxgmm.as_saved_fit(params, family=name).family == name
    if len(shape) == 3 and shape[0] == 2:
        assert jaxgmm.as_saved_fit(params, family="VEV").family == "VEV"


@pytest.mark.parametrize(("shape", "name"), [((2, 1, 1), "full"), ((2, 1), "V"), ((1, 1), "E")])
def test_one_feature_has_families_of_its_own(shape, name):
    params = GMMParams(PARAMS.weights, PARAMS.means[:, :1], np.ones(shape))
    assert f"2 components, {name} covariances" in summary(params)


def test_noise_has_a_line_of_its_own():
    noisy = jaxgmm.with_noise(PARAMS, jaxgmm.box_noise(X), 0.2)
    assert summary(noisy).splitlines()[-1].split() == ["noise", "0.2000"]
    assert "0.2000  0 ± 2" in summary(noisy)


@pytest.mark.parametrize("d", [1, 2])
def test_a_fit_with_noise_has_tables_and_a_picture(d):
    params = GMMParams(PARAMS.weights, PARAMS.means[:, :d], PARAMS.covariances[:, :d])
    ended = ENDED._replace(params=jaxgmm.with_noise(params, jaxgmm.box_noise(X[:, :d]), 0.2))
    n_parameters = (1 + 4 + 4 if d == 2 else 1 + 2 + 2) + 2
    for found in (ended, FOUND._replace(best=ended)):
        assert facts(summary(found, X[:, :d], family=jaxgmm.DIAG if d == 2 else "V"))["AIC"].startswith(
            f"{2 * n_parameters + 80:.4f} "
        )
        shown = Text(found._repr_html_())
        assert pixels(shown.images[0])[..., :3].std() > 0.05
        assert [row[1] for row in shown.rows if row[0] in ("0", "1", "noise")] == ["0.2000", "0.6000", "0.2000"]


def test_a_batch_is_counted():
    statuses = np.array([Status.CONVERGED, Status.DEGENERATE, Status.CONVERGED])
    batch = jax.tree.map(lambda leaf: np.stack([leaf] * 3), FOUND)
    batch = batch._replace(best=batch.best._replace(status=statuses))
    for found in (batch, batch.best):
        assert facts(summary(found)) == {"fits": "3", "converged": "2", "degenerate": "1"}
        rows = [["each", "2 components, d = 2"], ["fits", "3"], ["converged", "2"], ["degenerate", "1"]]
        assert Text(found._repr_html_()).rows[1:] == rows
    with pytest.raises(ValueError, match="expected one fit, got a batch of shape"):
        jaxgmm.as_saved_fit(batch)


@pytest.mark.parametrize(
    ("arguments", "options", "complaint"),
    [
        ((ENDED,), {"feature_names": ["a"]}, "feature_names: expected 2"),
        ((ENDED,), {"family": "full"}, "covariances: expected shape"),
        ((ENDED,), {"family": "round"}, "family: expected one of"),
        ((ENDED, X, np.ones(3)), {}, "weights: expected shape"),
        ((PARAMS._replace(weights=np.ones(3)),), {}, "params.weights: expected shape"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, options, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        summary(*arguments, **options)


def test_what_is_no_fit_is_refused():
    for thing in (X, None, tuple(PARAMS), EMResult(None, *ENDED[1:])):
        with pytest.raises(TypeError, match="expected a fit, a SavedFit or GMMParams, got"):
            summary(thing)


# --------------------------------------------------------------------------------------------------------------- HTML


def test_html_shows_the_same_as_text():
    selection = test_cli_select.selection([jaxgmm.FULL, jaxgmm.get_family("VEV")], (1, 2, 5, 8, 9))
    for found in (PARAMS, ENDED, FOUND, selection):
        content = display.sections(found, jaxgmm.as_saved_fit(found))
        shown = [cell for row in Text(display.html(content)).rows for cell in row]
        assert shown == [cell for section in content for row in section.rows for cell in row]
        assert set(re.findall(r"\S+", " ".join(shown))) <= set(re.findall(r"\S+", display.text(content)))


def test_html_is_escaped():
    names = ["<script>alert(1)</script>", '"&']
    page = display.html(display.sections(ENDED, jaxgmm.as_saved_fit(ENDED, feature_names=names)))
    assert "script" not in Text(page).tags
    assert Text(page).rows[-3][2:] == names


@pytest.mark.parametrize("d", [1, 2])
def test_notebooks_show_tables_and_a_picture(d):
    params = GMMParams(PARAMS.weights, PARAMS.means[:, :d], PARAMS.covariances[:, :d])
    ended = ENDED._replace(params=params)
    selection = test_cli_select.selection(FAMILIES_1D if d == 1 else [jaxgmm.FULL], (1, 2), d)
    for found in (ended, FOUND._replace(best=ended), selection, jaxgmm.as_saved_fit(ended)):
        shown = Text(found._repr_html_())
        (image,) = shown.images
        assert pixels(image)[..., :3].std() > 0.05  # something is drawn
        assert [row[1] for row in shown.rows if row[0] == "component"] == ["weight"]


def test_without_matplotlib_notebooks_show_the_tables_alone(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    shown = Text(ENDED._repr_html_())
    assert (shown.images, len(shown.rows)) == ([], 6 + 3)


def test_trees_of_something_else_have_their_plain_repr():
    shapes = jax.tree.map(np.shape, ENDED)
    nothing = EMResult(*[None] * 5)
    seen = []
    jax.jit(lambda found: seen.append(found._repr_html_()))(FOUND)
    seen.append(jax.eval_shape(lambda: jax.tree.map(jax.numpy.asarray, FOUND))._repr_html_())
    assert [*seen, shapes._repr_html_(), nothing._repr_html_()] == [None] * 4


def test_a_fit_of_real_data_is_shown():
    found = jaxgmm.em(PARAMS._replace(means=np.array([[2.0, 54.0], [4.3, 80.0]])), FAITHFUL, family=jaxgmm.DIAG)
    weights = [row[1] for row in Text(found._repr_html_()).rows[-2:]]
    assert weights == [f"{weight:.4f}" for weight in np.asarray(found.params.weights).tolist()]
    assert f"({int(found.n_iter)} iterations)" in summary(found)
