"""``jaxgmm select`` and the families of ``fit``; one search compiles for seconds, so most tests stand in for it."""

import itertools
import os
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import test_cli
from problems import FAITHFUL, oracle_log_prob

import jaxgmm
from jaxgmm import EMResult, GMMParams, Status, io
from jaxgmm.cli import commands as cli
from jaxgmm.cli import run
from jaxgmm.covariance.families import FAMILIES, FAMILIES_1D
from jaxgmm.fitting.selection import CRITERIA, Selection

folder, call, refused, closed_pipe = test_cli.folder, test_cli.call, test_cli.refused, test_cli.closed_pipe
OLD_FAITHFUL = ["select", "--components", "2:3", "--families", "EEE,VVV", "--restarts", "2"]
PNG = b"\x89PNG\r\n\x1a\n"
LETTERS = ["EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"]


def selection(families, numbers, d=2, criterion="bic"):
    """A search that liked the families in their order, and then few components; its second model is unusable."""
    table = 100.0 + np.arange(len(families) * len(numbers)).reshape(len(families), len(numbers))
    statuses = np.full(table.shape, Status.CONVERGED)
    table.flat[1], statuses.flat[1] = np.nan, Status.DEGENERATE
    results = {}
    for family in families:
        for k in numbers:
            shape = family.structure(k, d)
            covariances = np.broadcast_to(np.eye(d), shape) if len(shape) == 3 else np.ones(shape)
            params = GMMParams(np.full(k, 1 / k), np.zeros((k, d)), covariances)
            results[family.name, k] = EMResult(params, np.array(-40.0), np.zeros(1), np.array(7), np.array(1))
    failed = np.full(table.shape, 2)
    return Selection(
        criterion, tuple(families), tuple(numbers), table, np.full(table.shape, -40.0), statuses, failed, results
    )


@pytest.fixture
def searched(monkeypatch):
    """A search that takes no time; what it was asked for, and what it will have found."""
    seen = {"found": selection(FAMILIES, (1, 2))}

    def search(key, x, n_components, **options):
        seen.update(options, n_components=n_components, seed=int(jax.random.key_data(key)[-1]), x=x)
        return seen["found"]

    monkeypatch.setattr(cli, "select_mixture", search)
    return seen


@pytest.fixture(scope="module")
def old_faithful(tmp_path_factory):
    """The folder where a search wrote its model and its picture, and what it printed."""
    path = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr(cli, "say", lambda text, **_: printed.append(text))
        options = ["-o", str(path / "model.npz"), "--plot", str(path / "bic.png")]
        assert run([*OLD_FAITHFUL, *options]) == 0
    return path, "\n".join(printed)


def ranked(summary):
    """Header and rows of the table of models."""
    lines = summary.split("(smaller is better):\n")[1].split("\n\n")[0].splitlines()
    return lines[0].split(), [line.split() for line in lines[1:] if line.split()[0].isdigit()]


def test_the_best_model_of_old_faithful_is_mclusts(old_faithful):
    folder, summary = old_faithful
    _, rows = ranked(summary)
    assert rows[0] == ["1", "EEE", "3", "11", "-1126.32", "2314.30", "-2314.30", "0.00"]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert {(row[1], row[2], row[3]) for row in rows} == {
        ("EEE", "2", "8"), ("EEE", "3", "11"), ("VVV", "2", "11"), ("VVV", "3", "17")
    }  # fmt: skip
    for row, below in itertools.pairwise(rows):
        assert float(row[5]) <= float(below[5])
        assert float(below[7]) == pytest.approx(float(below[5]) - 2314.30, abs=0.011)
    for fact in (
        "Old Faithful (embedded): n = 272, d = 2",
        "4, of which 0 came to no usable end",
        "3 components, EEE covariances",
        "mclust's sign: -2314.2",
        "stopped         converged",
        "eruptions",
        f"BIC drawn to {folder / 'bic.png'}",
        f"model written to {folder / 'model.npz'}",
    ):
        assert fact in summary
    weights, *_ = test_cli.components(summary)
    assert len(weights) == 3


def test_the_model_kept_is_the_best_and_predicts(old_faithful, folder, call):
    source, summary = old_faithful
    kept = io.load(source / "model.npz")
    assert (jaxgmm.get_family(kept.family).letters, kept.feature_names) == ("EEE", ("eruptions", "waiting"))
    weights, means, _ = test_cli.components(summary)
    np.testing.assert_allclose(kept.params.weights, weights, atol=1e-4)
    np.testing.assert_allclose(kept.params.means, means, rtol=1e-4)
    Path("faithful.csv").write_text(test_cli.table(FAITHFUL, kept.feature_names))
    call("predict", source / "model.npz", "faithful.csv", "-o", "rows.csv")
    density = io.read_table("rows.csv", ["log_density"])[0][:, 0]
    np.testing.assert_allclose(density, oracle_log_prob(kept.params, FAITHFUL))
    assert density.sum() == pytest.approx(-1126.317, abs=0.01)


def test_the_picture_is_a_png_with_nothing_left_beside_it(old_faithful):
    source, _ = old_faithful
    assert (source / "bic.png").read_bytes().startswith(PNG)
    assert sorted(os.listdir(source)) == ["bic.png", "model.npz"]


def test_a_closed_pipe_keeps_neither_picture_nor_model_from_being_written(folder, searched, closed_pipe):
    assert run(["select", "data.csv", "--plot", "a.png", "-o", "model.npz"]) == 0
    assert Path("a.png").read_bytes().startswith(PNG)
    assert io.load("model.npz").feature_names == ("a", "b")


@pytest.mark.parametrize(("name", "start"), [("a.PNG", PNG), ("a.pdf", b"%PDF-"), ("a.svg", b"<?xml")])
def test_pictures_go_by_suffix(name, start, folder, call, searched):
    before = set(os.listdir())
    assert f"BIC drawn to {name}" in call("select", "data.csv", "--plot", name)
    assert Path(name).read_bytes().startswith(start)
    assert set(os.listdir()) == before | {name}


@pytest.mark.parametrize(
    ("arguments", "option", "value"),
    [
        ("", "n_components", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("--components 3", "n_components", [3]),
        ("--components 1,2,4", "n_components", [1, 2, 4]),
        ("--components 2:4", "n_components", [2, 3, 4]),
        ("-k 5:5", "n_components", [5]),
        ("-k 4,1:2,2", "n_components", [1, 2, 4]),
        ("", "families", None),
        ("--families all", "families", None),
        ("--families full,EEE", "families", [jaxgmm.FULL, jaxgmm.TIED]),
        ("", "criterion", "bic"),
        *[(f"--criterion {name}", "criterion", name) for name in CRITERIA],
        ("", "n_init", 10),
        ("--restarts 5", "n_init", 5),
        ("--seed 4294967295", "seed", 4294967295),
        ("--ridge 0.25", "ridge", 0.25),
        ("", "tol", 1e-5),
        ("--tol 0.125", "tol", 0.125),
        ("--max-iter 0", "max_iter", 0),
        ("", "weights", None),
        ("", "progress", False),
        ("--progress", "progress", True),
    ],
)
def test_every_option_reaches_the_search(arguments, option, value, folder, call, searched):
    call("select", "data.csv", *arguments.split())
    assert searched[option] == value


def test_a_terminal_shows_progress_unless_told_not_to(folder, call, searched, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for arguments, shown in ([], True), (["--no-progress"], False):
        call("select", "data.csv", *arguments)
        assert searched["progress"] == shown


def test_columns_and_weights_are_chosen_as_in_fit(folder, call, searched):
    searched["found"] = selection(FAMILIES_1D, (2, 3), d=1)
    summary = call("select", "data.csv", "--columns", "a", "--weights", "b")
    assert f"n = 40, d = 1; weights sum to {test_cli.X[:, 1].sum():.10g}\n" in summary
    np.testing.assert_array_equal(searched["x"], test_cli.X[:, :1])
    np.testing.assert_array_equal(searched["weights"], test_cli.X[:, 1])


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_table_is_by_the_criterion_and_has_mclusts_sign_where_mclust_has_one(criterion, folder, call, searched):
    searched["found"] = selection(FAMILIES, (1, 2), criterion=criterion)
    summary, name = call("select", "data.csv"), criterion.upper()
    header, rows = ranked(summary)
    assert header[:6] == ["rank", "family", "components", "parameters", "log-likelihood", name]
    assert (f"mclust's {name}" in summary) == (criterion in ("bic", "icl"))
    assert {len(row) for row in rows} == {8 if criterion in ("bic", "icl") else 7}
    assert re.search(rf"^{name} +100.0000 \(smaller is better", summary, re.MULTILINE)
    assert [row[1:3] for row in rows[:3]] == [["EII", "1"], ["VII", "1"], ["VII", "2"]]
    assert (len(rows), rows[2][3], rows[7][-1]) == (8, "7", "8.00")
    for fact in ("28, of which 1 came to no usable end", "56 failed", "and 19 more models", "stopped at max_iter"):
        assert fact in summary


def test_one_feature_has_families_e_and_v(folder, call, searched):
    searched["found"] = selection(FAMILIES_1D, (2, 3), d=1)
    summary = call("select", "data.csv", "--columns", "a", "-o", "model.npz")
    assert [row[1:4] for row in ranked(summary)[1]] == [["E", "2", "4"], ["V", "2", "5"], ["V", "3", "8"]]
    assert "E covariances" in summary
    assert io.load("model.npz").family == "E"


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("text", ["", "two", "0", "0:3", "5:3", "1:", ":3", "1:2:3", "-1", "1.5", "1,,2", "1:9999999"])
def test_bad_numbers_of_components_are_refused(text, refused, searched):
    line = refused("select", "data.csv", f"--components={text}", "-o", "model.npz")
    assert "'--components': expected numbers from 1 up, such as 3, or 1,2,4, or 1:9" in line
    assert line.endswith(f"got {text!r}\n")


@pytest.mark.parametrize("text", ["", "XXX", "EEE,round", "all,EEE", "eee"])
def test_an_unknown_family_is_refused_with_those_there_are(text, refused, searched):
    line = refused("select", "data.csv", f"--families={text}", "-o", "model.npz")
    assert "'--families'" in line
    assert all(name in line for name in [*LETTERS, "full", "tied", "diag", "spherical"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--criterion dic", "'dic' is not one of 'bic', 'icl', 'aic', 'cv'"),
        ("--restarts 0", "--restarts"),
        ("--seed -1", "--seed"),
        ("--ridge -1", "--ridge"),
        ("--ridge inf", "data.csv: ridge: expected a finite number"),
        ("--tol nan", "data.csv: tol: expected a finite number"),
        ("--max-iter -1", "--max-iter"),
        ("--columns a,c", "expected columns a, c, got a, b"),
        ("--weights w", "got a, b"),
        ("--weights b", "data.csv: weights: expected finite values >= 0"),
        ("-k 41", "data.csv: n_components: expected at most 40"),
        ("-k 1:999999", "data.csv: n_components: expected at most 40"),
        ("--families E", "data.csv: families: expected some of EII,"),
        ("--columns a --families VVV", "data.csv: families: expected some of E, V for 1 feature"),
        ("missing.csv", "extra argument"),
    ],
)
def test_a_bad_search_is_refused(arguments, complaint, refused):
    assert complaint in refused("select", "data.csv", *arguments.split(), "-o", "model.npz", "--plot", "a.png")


@pytest.mark.parametrize("option", ["--output", "--plot"])
@pytest.mark.parametrize("path", ["directory", "missing/a.png", "data.csv/a.png"])
def test_output_that_cannot_be_written_is_refused_before_the_search(option, path, refused, searched):
    assert f"jaxgmm: {path}: " in refused("select", "data.csv", option, path)
    assert "x" not in searched


@pytest.mark.parametrize("name", ["out", "a.jpg", "a.png.gz", ".png"])
def test_an_unknown_kind_of_picture_is_refused_before_the_search(name, refused, searched):
    line = refused("select", "data.csv", "-o", "model.npz", "--plot", name)
    assert f"jaxgmm: {name}: expected a file name that ends in one of .png, .pdf, .svg\n" == line
    assert "x" not in searched


@pytest.mark.parametrize(("command", "complaint"), [("missing.csv", "No such file"), ("--columns a", "DATA.csv")])
def test_bad_data_is_refused(command, complaint, refused):
    assert complaint in refused("select", *command.split(), "-o", "model.npz")


def test_without_matplotlib_one_line_says_what_to_install(refused, searched, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    line = refused("select", "data.csv", "-o", "model.npz", "--plot", "a.png")
    assert line == "jaxgmm: this needs matplotlib: pip install 'jaxgmm[plot]'\n"
    assert "x" not in searched


def test_no_other_missing_module_is_hidden(folder, monkeypatch):
    def search(*_, **__):
        import nowhere  # noqa: F401

    monkeypatch.setattr(cli, "select_mixture", search)
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        run(["select", "data.csv"])


def test_a_picture_that_fails_leaves_nothing(folder, refused, searched, monkeypatch):
    def draw(*_, **__):
        raise ValueError("no ink")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", draw)
    assert "no ink" in refused("select", "data.csv", "-o", "model.npz", "--plot", "a.png")


def test_a_search_without_a_usable_model_is_no_refusal_and_keeps_nothing(folder, capsys, monkeypatch):
    def search(*_, **__):
        raise jaxgmm.FitError("none of 4 models came to a usable end")

    monkeypatch.setattr(cli, "select_mixture", search)
    before = test_cli.snapshot(folder)
    assert run(["select", "data.csv", "-o", "model.npz", "--plot", "a.png"]) == 1
    assert capsys.readouterr().err == "jaxgmm: fit failed: none of 4 models came to a usable end\n"
    assert test_cli.snapshot(folder) == before


# ---------------------------------------------------------------------------------------------------------------- fit


def test_fit_keeps_a_family_of_three_letters_under_its_name(folder, call):
    assert "2 components, VEV covariances" in call(
        "fit", "data.csv", "--covariance", "VEV", *test_cli.FAST, "-o", "model.npz"
    )
    kept = io.load("model.npz")
    assert kept.family == "VEV"
    variances = np.linalg.eigvalsh(kept.params.covariances)
    np.testing.assert_allclose(*(variances[:, 1] / variances[:, 0]), rtol=1e-3)
    assert call("predict", "model.npz", "data.csv").startswith("label,log_density,")


@pytest.mark.parametrize("name", [*LETTERS, "E", "V"])
def test_every_family_reaches_the_fit(name, refused, monkeypatch):
    def fit(*_, family, **__):
        raise ValueError(f"seen {family}")

    monkeypatch.setattr(cli, "fit_mixture", fit)
    columns = ["--columns", "a"] if len(name) == 1 else []
    assert f"seen {name}" in refused("fit", "data.csv", "--covariance", name, *columns)


def test_a_family_that_fit_does_not_know_is_refused(refused):
    line = refused("fit", "data.csv", "--covariance", "XXX", "-o", "model.npz")
    assert re.search("full.*tied.*diag.*spherical.*" + ".*".join(LETTERS), line)
    assert "E is for one feature, got 2: use EII" in refused("fit", "data.csv", "--covariance", "E", "-o", "model.npz")
