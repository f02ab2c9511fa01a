"""The command line in-process, through ``cli.run``; most fits share a shape, since each shape compiles for seconds."""

import io as streams
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pyarrow
import pyarrow.csv
import pytest
from problems import MCLUST_FITS, matrices, mclust_params, oracle_log_prob, oracle_responsibilities
from pyarrow import parquet

import jaxgmm
from jaxgmm import __main__, io
from jaxgmm.cli import commands as cli
from jaxgmm.cli import run
from jaxgmm.files import tables

FAST = ["--restarts", "2"]


def two_groups(n=40, d=2, seed=0):
    """Rows around two centres far apart, so that every start ends at the same maximum."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + 8.0 * (np.arange(n)[:, None] % 3 == 0)


X = two_groups()


def table(x, names=("a", "b")):
    """CSV of rows, with every digit; without a header where there are no names."""
    header = [",".join(names)] if names else []
    return "\n".join([*header, *(",".join(map(str, row)) for row in np.asarray(x, object).tolist()), ""])


def snapshot(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a table and a file that stands where output may go."""
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text(table(X))
    Path("out").write_bytes(b"as it was")
    Path("directory").mkdir()
    return tmp_path


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A model of ``X``, with features a and b."""
    path = tmp_path_factory.mktemp("model")
    (path / "data.csv").write_text(table(X))
    assert run(["fit", str(path / "data.csv"), *FAST, "-o", str(path / "model.npz")]) == 0
    return path / "model.npz"


@pytest.fixture
def call(capsys):
    """Run a command that succeeds, and return what it prints."""

    def command(*arguments):
        code = run([str(argument) for argument in arguments])
        printed, complaints = capsys.readouterr()
        assert (code, complaints) == (0, "")
        return printed

    return command


@pytest.fixture
def refused(capsys, folder):
    """Run a command that must be refused in one line and change no file; return that line."""

    def command(*arguments):
        before = snapshot(folder)
        code = run([str(argument) for argument in arguments])
        line = capsys.readouterr().err
        assert code == 2
        assert re.fullmatch(r"jaxgmm: \S.*\n", line)
        assert snapshot(folder) == before
        return line

    return command


def components(summary):
    """Weights, means and standard deviations, from the table that ends a summary."""
    lines = summary.split("each component:\n")[1].split("\n\n")[0].splitlines()[1:]
    cells = [line.replace("±", " ").split()[1:] for line in lines if line[:9].strip().isdigit()]
    numbers = np.array(cells, float)
    return numbers[:, 0], numbers[:, 1::2], numbers[:, 2::2]


# ---------------------------------------------------------------------------------------------------------------- fit


def test_fit_without_a_file_fits_old_faithful(call):
    summary = call("fit")
    family, fit = next(f[1:3] for f in MCLUST_FITS if f[0] == "faithful" and f[2]["model"] == "VVV" and f[2]["G"] == 2)
    reference = mclust_params(family, fit)
    order = np.argsort(-reference.weights)
    weights, means, deviations = components(summary)
    np.testing.assert_allclose(weights, reference.weights[order], atol=1e-4)
    np.testing.assert_allclose(weights, [0.6441, 0.3559], atol=1e-4)
    np.testing.assert_allclose(means, [[4.290, 79.97], [2.037, 54.48]], rtol=3e-4)
    variances = np.diagonal(matrices(reference)[order], axis1=1, axis2=2)
    np.testing.assert_allclose(deviations, np.sqrt(variances), rtol=2e-3)
    bic = 2 * 1130.2640 + 11 * np.log(272)
    assert float(re.search(r"BIC +(\S+)", summary)[1]) == pytest.approx(bic, abs=1e-3)
    for fact in ("n = 272, d = 2", "-1130.2640 nats", "stopped         converged", "eruptions", "waiting", "16, of"):
        assert fact in summary


def test_the_documented_command_keeps_the_fit_of_the_library(folder, call):
    options = ["--components", 3, "--covariance", "full", "--restarts", 16, "--seed", 0, "--output", "model.npz"]
    assert "model written to model.npz" in call("fit", "data.csv", *options)
    kept = io.load("model.npz")
    assert (kept.family, kept.feature_names) == ("full", ("a", "b"))
    with jax.enable_x64(True):
        expected = jaxgmm.fit(jax.random.key(0), X, 3).best.params
    for leaf, other in zip(kept.params, expected, strict=True):
        assert leaf.dtype == np.float64
        np.testing.assert_array_equal(leaf, other)


@pytest.mark.parametrize(
    ("arguments", "option", "value"),
    [
        ("-k 4", "n_components", 4),
        ("--components 5", "n_components", 5),
        ("--covariance tied", "family", "tied"),
        ("--covariance spherical", "family", "spherical"),
        ("--restarts 3", "n_init", 3),
        ("--ridge 0.25", "ridge", 0.25),
        ("--tol 0.125", "tol", 0.125),
        ("--max-iter 0", "max_iter", 0),
        ("--seed 4294967295", "seed", 4294967295),
        ("", "n_components", 2),
        ("", "n_init", 16),
        ("", "family", "full"),
    ],
)
def test_every_option_reaches_the_fit(arguments, option, value, monkeypatch, refused):
    seen = {}

    def fit(key, x, n_components, weights, **options):
        seen.update(options, n_components=n_components, seed=int(jax.random.key_data(key)[-1]))
        raise ValueError("seen enough")

    monkeypatch.setattr(cli, "fit_mixture", fit)
    assert "seen enough" in refused("fit", "data.csv", *arguments.split())
    assert seen[option] == value


@pytest.mark.parametrize(
    "content",
    [
        table(X),
        table(X, names=None),
        "\ufeff" + table(X).replace("\n", "\r\n"),
        table(X).replace("\n", "\n\n") + "\n",
        re.sub("([^,\n]+)", r'"\1"', table(X)),
        table(X).replace(",", " , "),
    ],
    ids=["header", "no header", "BOM and CRLF", "blank lines", "quotes", "spaces"],
)
def test_the_dress_of_a_table_does_not_matter(content, folder, call):
    expected = call("fit", "data.csv", *FAST)
    Path("data.csv").write_bytes(content.encode())
    summary = call("fit", "data.csv", *FAST)
    for before, after in zip(components(expected), components(summary), strict=True):
        np.testing.assert_array_equal(before, after)
    assert "n = 40, d = 2" in summary


@pytest.mark.parametrize("d", [1, 30])
def test_one_component_is_the_moments_of_the_data_at_any_width(d, folder, call):
    x, names = two_groups(50, d), [f"feature {i}" for i in range(d)]
    Path("data.csv").write_text(table(x, names))
    summary = call("fit", "data.csv", "-k", 1, "--restarts", 1, "--ridge", 0, "-o", "model.npz")
    params = io.load("model.npz").params
    covariance = np.cov(x.T, bias=True).reshape(1, d, d)
    np.testing.assert_allclose(params.means, x.mean(0)[None], rtol=1e-9)
    np.testing.assert_allclose(params.covariances, covariance, rtol=1e-9, atol=1e-9)
    total = -50 / 2 * (d * np.log(2 * np.pi) + np.linalg.slogdet(covariance[0])[1] + d)
    assert float(re.search(r"log-likelihood +(\S+)", summary)[1]) == pytest.approx(total, abs=1e-3)
    _, means, deviations = components(summary)
    np.testing.assert_allclose(means, x.mean(0)[None, :6], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(deviations, x.std(0)[None, :6], rtol=1e-3)
    assert ("and 24 more features" in summary) == (d == 30)

    call("predict", "model.npz", "data.csv", "-o", "rows.csv")
    np.testing.assert_allclose(io.read_table("rows.csv", ["log_density"])[0][:, 0], oracle_log_prob(params, x))


def test_integer_weights_equal_repetition(folder, call):
    counts = np.where(np.arange(len(X)) % 2, 0, 2)
    rows = np.column_stack([X, counts]).astype(object)
    rows[1, 0] = ""  # what has no weight may be blank
    Path("weighted.csv").write_text(table(rows, ["a", "b", "w"]))
    Path("repeated.csv").write_text(table(np.repeat(X, counts, axis=0)))  # of the same shape, which saves compiling
    call("fit", "weighted.csv", "--weights", "w", *FAST, "--tol", 1e-12, "-o", "weighted.npz")
    call("fit", "repeated.csv", *FAST, "--tol", 1e-12, "-o", "repeated.npz")
    weighted, repeated = io.load("weighted.npz"), io.load("repeated.npz")
    assert weighted.feature_names == ("a", "b")
    for leaf, other in zip(weighted.params, repeated.params, strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-6, atol=1e-9)


def test_columns_are_chosen_by_name_in_the_order_given(folder, call, model):
    rows = np.array([["iris", b, 1, a] for a, b in X.tolist()], object)
    Path("wide.csv").write_text(table(rows, ["kind", "b", "w", "a"]))
    plain = ["fit", "wide.csv", "--columns", "a, b", *FAST]
    unweighted, weighted = call(*plain, "-o", "one.npz"), call(*plain, "--weights", "w", "-o", "one.npz")
    assert weighted == unweighted.replace("d = 2", "d = 2; weights sum to 40")
    expected, kept = io.load(model), io.load("one.npz")
    assert kept.feature_names == expected.feature_names
    for leaf, other in zip(kept.params, expected.params, strict=True):
        np.testing.assert_array_equal(leaf, other)

    call("fit", "wide.csv", "--columns", "b,a", *FAST, "-o", "two.npz")
    swapped = io.load("two.npz")
    assert swapped.feature_names == ("b", "a")
    np.testing.assert_allclose(swapped.params.means, expected.params.means[:, ::-1], atol=1e-4)


def test_a_fit_that_fails_is_no_refusal_and_is_not_kept(folder, capsys):
    huge = np.where(np.arange(40) % 2, 1e308, -1e308)  # their variance is beyond float64
    Path("data.csv").write_text(table(np.column_stack([huge, X[:, 1]])))
    before = snapshot(folder)
    code = run(["fit", "data.csv", *FAST, "-o", "out"])
    printed, complaint = capsys.readouterr()
    assert code == 1
    assert re.fullmatch("jaxgmm: fit failed: .*not finite.*\n", complaint)
    assert "2, of which 2 failed" in printed
    assert snapshot(folder) == before


def test_what_is_kept_is_all_that_is_known(model):
    kept = io.load(model)
    with jax.enable_x64(True):
        result = jaxgmm.fit(jax.random.key(0), X, 2, n_init=2)
        expected = jaxgmm.as_saved_fit(result, X, feature_names=("a", "b"))
        bic = float(jaxgmm.bic(result.best.params, X))
    assert kept._replace(params=None, standardisation=None) == expected._replace(params=None, standardisation=None)
    assert kept.criteria["bic"] == pytest.approx(bic)
    assert (kept.status, list(kept.criteria)) == (jaxgmm.Status.CONVERGED, ["log_likelihood", "aic", "bic"])
    lower, median, upper = np.quantile(X, [0.25, 0.5, 0.75], axis=0, method="inverted_cdf")
    np.testing.assert_allclose(kept.standardisation.shift, median)
    np.testing.assert_allclose(kept.standardisation.scale, upper - lower)


def test_parquet_and_safetensors_do_as_well(folder, call, model):
    parquet.write_table(pyarrow.table({"kind": ["text"] * len(X), "b": X[:, 1], "a": X[:, 0]}), "data.parquet")
    summary = call("fit", "data.parquet", "--columns", "a,b", *FAST, "-o", "model.safetensors")
    assert "data.parquet: n = 40, d = 2" in summary
    for leaf, other in zip(io.load("model.safetensors").params, io.load(model).params, strict=True):
        np.testing.assert_array_equal(leaf, other)
    expected = call("predict", model, "data.csv")
    assert call("predict", "model.safetensors", "data.parquet") == expected


def test_a_terminal_shows_how_long_a_fit_takes_unless_told_not_to(folder, monkeypatch, capsys):
    seen = []

    def fit(*_, progress, **__):
        seen.append(progress)
        raise ValueError("seen enough")

    monkeypatch.setattr(cli, "fit_mixture", fit)
    for is_terminal in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda is_terminal=is_terminal: is_terminal)
        for option in ([], ["--progress"], ["--no-progress"]):
            run(["fit", "data.csv", *option])
    assert seen == [True, True, False, False, True, False]


# ------------------------------------------------------------------------------------------------------------ predict


def test_predict_writes_what_the_library_computes_in_float64(folder, call, model):
    printed = call("predict", model, "data.csv")
    assert call("predict", model, "data.csv", "--output", "out") == ""
    assert Path("out").read_text() == printed
    rows, names = io.read_table("out")
    assert names == ("label", "log_density", "responsibility_0", "responsibility_1")
    params = io.load(model).params
    with jax.enable_x64(True):
        expected = [jaxgmm.predict(params, X), jaxgmm.log_prob(params, X), *jaxgmm.responsibilities(params, X).T]
    np.testing.assert_array_equal(rows, np.column_stack(expected))
    np.testing.assert_allclose(rows[:, 1], oracle_log_prob(params, X), rtol=1e-12)
    np.testing.assert_allclose(rows[:, 2:], oracle_responsibilities(params, X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["b", "a"], [1, 0]),
        (["kind", "b", "a"], [2, 1, 0]),
        (["a", "kind", "kind", "b"], [0, 2, 2, 1]),
        (None, [0, 1]),
    ],
    ids=["reordered", "beside a text", "beside two of one name", "by position without a header"],
)
def test_predict_finds_its_columns(names, order, folder, call, model):
    expected = call("predict", model, "data.csv")
    rows = np.column_stack([X.astype(object), ["text"] * len(X)])
    Path("other.csv").write_text(table(rows[:, order], names))
    assert call("predict", model, "other.csv") == expected


def test_predict_tells_noise_from_components(folder, call, model):
    params = io.load(model).params
    with jax.enable_x64(True):
        noisy = jaxgmm.with_noise(params, jaxgmm.box_noise(np.r_[X, [[40.0, 40.0]]]), 0.1)
        io.save("noisy.npz", noisy)
        Path("rows.csv").write_text(table([*X.tolist(), [40.0, 40.0]], ["x1", "x2"]))
        call("predict", "noisy.npz", "rows.csv", "-o", "out")
        rows, names = io.read_table("out")
        expected = jaxgmm.responsibilities(noisy, np.r_[X, [[40.0, 40.0]]])
    assert names == (
        "label",
        "log_density",
        *(f"responsibility_{j}" for j in range(3)),
    )  # that of the noise is the last
    np.testing.assert_array_equal(rows[:, 2:], expected)
    assert rows[-1, 0] == -1
    assert rows[-1, -1] == pytest.approx(1)
    assert np.isfinite(rows[:, 1]).all()


def test_a_model_without_names_takes_columns_by_position(folder, call, model):
    expected = call("predict", model, "data.csv")
    io.save("unnamed.npz", io.load(model)._replace(feature_names=("x1", "x2")))
    assert call("predict", "unnamed.npz", "data.csv") == expected
    Path("other.csv").write_text(table(X[:, ::-1], ["x2", "x1"]))
    assert call("predict", "unnamed.npz", "other.csv") == expected


# ------------------------------------------------------------------------------------------------------ reading a file

ONE = ["-k", "1", "--restarts", "1"]
ROWS = "1.8,54\n3.6,79\n2.2,62\n4.5,85\n2.8,55\n4.7,88\n3.9,74\n1.9,51\n"
COUNTED = "".join(f"{row},{line}\n" for row, line in enumerate(ROWS.split()))
FRAMES = {
    "0,1\n" + ROWS: "first line: names",
    ",a,b\n" + COUNTED: "first line: names; left out: row numbers (column 1)",
    ",0,1\n" + COUNTED: "first line: names; left out: row numbers (column 1)",
    ROWS: "first line: numbers",
    ("a,b\n" + ROWS).replace(",", ";").replace(".", ","): "first line: names; separator: ;; decimal comma",
    "a,kind,b\n" + ROWS.replace(",", ",old,"): "first line: names; left out: kind (text)",
}


@pytest.mark.parametrize(("content", "notes"), FRAMES.items(), ids=FRAMES.values())
def test_the_same_rows_however_they_are_written(content, notes, folder, call):
    Path("data.csv").write_text(content)
    summary = call("fit", "data.csv", *ONE)
    for fact in ("data.csv: n = 8, d = 2", "-35.2781 nats", f"read as         {notes}\n"):
        assert fact in summary


@pytest.fixture
def fitted_to(monkeypatch, folder):
    """What reaches the fit of a command: rows, row weights, and what is said of them."""

    def command(*arguments, content=None):
        if content is not None:
            Path("data.csv").write_text(content)
        seen = {}

        def fit(key, x, n_components, weights, **_):
            seen.update(x=np.asarray(x).tolist(), weights=weights if weights is None else list(weights))
            raise ValueError("seen enough")

        monkeypatch.setattr(cli, "fit_mixture", fit)
        run(["fit", *arguments])
        return seen

    return command


@pytest.mark.parametrize(
    ("options", "content", "x"),
    [
        ("", "0,1\n2.5,3\n", [[2.5, 3]]),
        ("--no-header", "0,1\n2.5,3\n", [[0, 1], [2.5, 3]]),
        ("--header", "5,9\n2.5,3\n", [[2.5, 3]]),
        ("--separator blanks", "a  b\n1   2\n", [[1, 2]]),
        ("--separator tab", "a\tb\n1\t2\n", [[1, 2]]),
        ("--separator ~", "a~b\n1~2\n", [[1, 2]]),
        ("--decimal ,", 'a\n"1,500"\n', [[1.5]]),
        ("--ignore b --ignore c", "a,b,c\n1,x,3\n", [[1]]),
        ("--drop-missing", "a,b\n1,2\n3,\n5,6\n", [[1, 2], [5, 6]]),
    ],
)
def test_options_say_how_a_table_is_read(options, content, x, fitted_to):
    assert fitted_to("data.csv", *options.split(), content=content)["x"] == x


def test_weights_are_a_column_anywhere(fitted_to):
    seen = fitted_to("data.csv", "--weights", "w", content="a,w,kind,b\n1,0,x,\n3,4,y,6\n")
    np.testing.assert_array_equal(seen["x"], [[1, np.nan], [3, 6]])
    assert seen["weights"] == [0, 4]


def test_dropped_rows_are_counted(folder, call, model):
    Path("data.csv").write_text(table(X) + "1,\n")
    assert "dropped: 1 of 41 rows" in call("fit", "data.csv", *ONE, "--drop-missing")
    assert run(["predict", str(model), "data.csv", "--drop-missing", "-o", "out"]) == 0
    assert len(io.read_table("out")[0]) == len(X)


def test_predict_says_what_is_doubtful(folder, model, capsys):
    io.save("unnamed.npz", io.load(model)._replace(feature_names=("x1", "x2")))
    Path("data.csv").write_text("0,1\n" + ROWS)
    assert run(["predict", "unnamed.npz", "data.csv", "-o", "out"]) == 0
    assert capsys.readouterr().err == "jaxgmm: data.csv: first line: names\n"


def test_standard_input_and_output(folder, model, monkeypatch, capsys):
    def piped(content, *arguments):
        monkeypatch.setattr(sys, "stdin", streams.TextIOWrapper(streams.BytesIO(content)))
        monkeypatch.setattr(sys, "stdout", streams.TextIOWrapper(streams.BytesIO()))
        assert run(arguments) == 0
        return sys.stdout.buffer.getvalue()

    rows = Path("data.csv").read_bytes()
    expected = piped(b"", "predict", str(model), "data.csv")
    assert piped(rows, "predict", str(model), "-") == expected
    kept = piped(rows, "fit", "-", *FAST, "-o", "-")
    assert "standard input: n = 40, d = 2" in capsys.readouterr().err
    assert piped(kept, "predict", "-", "data.csv", "-o", "-") == expected


@pytest.fixture
def times_read(monkeypatch):
    """How often tables were opened, and parsed: as text, as Parquet."""
    counts = {"open": 0, "text": 0, "parquet": 0}

    def counted(what, function):
        def call(*arguments, **options):
            counts[what] += 1
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(tables, "open", counted("open", open), raising=False)
    monkeypatch.setattr(pyarrow.csv, "read_csv", counted("text", pyarrow.csv.read_csv))
    monkeypatch.setattr(parquet.ParquetFile, "read", counted("parquet", parquet.ParquetFile.read))
    return counts


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
@pytest.mark.parametrize("command", ["fit", "fit --weights a", "fit --columns b --weights a", "predict"])
def test_a_file_is_read_once(command, name, folder, model, times_read, monkeypatch):
    kind = "parquet" if name.endswith("parquet") else "text"
    if kind == "parquet":
        parquet.write_table(pyarrow.table({"a": X[:, 0], "b": X[:, 1]}), name)
    else:
        Path(name).write_text(table(X))

    def nothing(*_, **__):
        raise ValueError("seen enough")

    monkeypatch.setattr(cli, "fit_mixture", nothing)
    monkeypatch.setattr(cli, "responsibilities", nothing)
    command, *options = command.split()
    run([command, *([str(model)] if command == "predict" else []), name, *options])
    assert times_read == {"open": 1, "text": 0, "parquet": 0, kind: 1}


# ----------------------------------------------------------------------------------------------------------- refusals

BAD_TABLES = {
    "empty": (b"", "empty file"),
    "blank lines": (b"\n\r\n\n", "empty file"),
    "header only": (b"a,b\n", "below the header"),
    "binary": (b"\x89PNG\r\n\x1a\n\x00\xff", "text file"),
    "endless field": (b"a,b\n" + b"1" * 200_000 + b",2\n", "text file"),
    "short row": (b"a,b\n1,2\n3\n4,5\n", "line 3: expected 2 columns, got 1"),
    "long row": (b"a,b\n1,2\n3,4,5\n", "line 3: expected 2 columns, got 3"),
    "text": (b"a,b\n1,2\n\n3,tall\n", "line 4, column b: expected a number, got 'tall'"),
    "blank cell": (table(X).encode() + b",1\n", "line 42, column a: expected a finite number, got a missing cell"),
    "NaN": (table(X).encode() + b"NaN,1\n", "line 42, column a: expected a finite number, got a missing cell"),
    "NA": (table(X).encode() + b"1,NA\n", "line 42, column b: expected a finite number, got a missing cell"),
    "infinity": (table(X).encode() + b"1,-inf\n", "line 42, column b: expected a finite number, got -inf"),
    "row of blanks": (table(X).encode() + b",\n", "line 42, column a: expected a finite number, got a missing cell"),
    "a name twice": (b"a,b,b\n1,2,3\n4,5,6\n", "each column once, got b"),
}


@pytest.mark.parametrize(("content", "complaint"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_bad_table_is_refused(content, complaint, refused, model):
    Path("data.csv").write_bytes(content)
    for command in (["fit", "data.csv"], ["predict", model, "data.csv"]):
        line = refused(*command, "--output", "out")
        assert "data.csv" in line
        assert complaint in line or "expected columns a, b" in line


@pytest.mark.parametrize(("path", "complaint"), [("missing.csv", "No such file"), ("directory", "directory")])
def test_a_path_that_is_no_file_is_refused(path, complaint, refused, model):
    for command in (["fit", path], ["predict", model, path], ["predict", path, "data.csv"]):
        line = refused(*command, "-o", "out")
        assert path in line
        assert complaint in line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("nope", "'nope'"),
        ("--nope", "--nope"),
        ("fit --nope", "--nope"),
        ("fit data.csv out", "extra argument"),
        ("predict", "MODEL"),
        ("predict out", "DATA.csv"),
        ("fit --components", "requires an argument"),
        ("fit -k 0", "--components"),
        ("fit -k two", "'two'"),
        ("fit -k 41 data.csv", "at most 40"),
        ("fit --covariance round", "'round'"),
        ("fit --restarts 0", "--restarts"),
        ("fit --restarts 999999999999", "--restarts"),
        ("fit --seed -1", "--seed"),
        ("fit --seed 4294967296", "--seed"),
        ("fit --ridge -1", "--ridge"),
        ("fit --ridge inf", "ridge: expected a finite number"),
        ("fit --tol nan", "tol: expected a finite number"),
        ("fit --tol small", "'small'"),
        ("fit --max-iter -1", "--max-iter"),
        ("fit --max-iter 99999999999", "--max-iter"),
        ("fit --columns a", "DATA.csv"),
        ("fit --columns=", "DATA.csv"),
        ("fit --weights a", "DATA.csv"),
        ("fit data.csv --columns a,c", "expected columns a, c, got a, b"),
        ("fit data.csv --columns a,a", "each column once"),
        ("fit data.csv --columns=", "got a, b"),
        ("fit data.csv --weights w", "got a, b"),
        ("fit data.csv --weights b", "weights: expected finite values >= 0"),
        ("fit data.csv --columns a --weights a", "each column once"),
    ],
)
def test_a_bad_command_is_refused(arguments, complaint, refused):
    assert complaint in refused(*arguments.split(), *(["-o", "out"] if "data.csv" in arguments else []))


def test_weights_alone_are_no_features(refused):
    Path("data.csv").write_text("w\n1\n2\n")
    assert "one feature" in refused("fit", "data.csv", "--weights", "w")


@pytest.mark.parametrize("names", [["a", "c"], ["a"], ["a", "c", "d"], None], ids=str)
def test_columns_that_are_not_the_models_are_refused(names, refused, model):
    width = len(names or "abc")
    Path("data.csv").write_text(table(np.ones((3, width)), names))
    assert "data.csv: expected columns a, b, got " in refused("predict", model, "data.csv", "-o", "out")


@pytest.mark.parametrize("output", ["directory", "missing/out", "data.csv/out"])
def test_an_output_that_cannot_be_written_is_refused(output, refused, model):
    for command in (["fit", "data.csv", *FAST], ["predict", model, "data.csv"]):
        assert f"jaxgmm: {output}: " in refused(*command, "-o", output)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("fit data.csv -o data.csv", "data.csv: expected an output that is no input"),
        ("fit data.csv -o directory/../data.csv", "data.csv: expected an output that is no input"),
        ("fit data.csv -o link", "link: expected an output that is no input"),
        ("predict out data.csv -o out", "out: expected an output that is no input"),
        ("predict out data.csv -o data.csv", "data.csv: expected an output that is no input"),
        ("predict - -", "expected one input from standard input, got two"),
        ("report data.csv -o data.csv", "data.csv: expected an output that is no input"),
        ("select data.csv --plot s.png -o s.png", "s.png: expected two outputs in two files, got one"),
        ("select data.csv --plot s.png -o directory/../s.png", "expected two outputs in two files, got one"),
        ("select s.png --plot s.png", "s.png: expected an output that is no input"),
    ],
)
def test_an_output_over_something_else_is_refused(arguments, complaint, refused):
    Path("link").symlink_to("data.csv")
    assert complaint in refused(*arguments.split())


def test_an_output_that_must_not_be_written_is_refused_before_any_work(refused, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert refused("fit", "missing.csv", "-o", "out") == "jaxgmm: out: Permission denied\n"


@pytest.fixture
def closed_pipe(monkeypatch):
    """Standard output that nobody reads any more."""

    def echo(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("click.echo", echo)
    monkeypatch.setattr("os.dup2", lambda *_: None)


def test_a_closed_pipe_keeps_no_model_from_being_written(folder, closed_pipe):
    assert run(["fit", "data.csv", *FAST, "-o", "model.npz"]) == 0
    assert io.load("model.npz").feature_names == ("a", "b")


@pytest.mark.parametrize("content", [b"", b"label\n", b"PK\x03\x04"], ids=["empty", "text", "truncated"])
def test_a_bad_model_is_refused(content, refused):
    Path("model.npz").write_bytes(content)
    line = refused("predict", "model.npz", "data.csv", "-o", "out")
    assert "model.npz: expected a fit saved by jaxgmm" in line


@pytest.mark.parametrize("package", ["safetensors", "pyarrow"])
def test_a_missing_package_is_said_in_one_line(package, refused, model, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    Path("data.parquet").write_bytes(b"PAR1")
    Path("model").write_bytes(b"12345678{}")
    arguments = ["model", "data.csv"] if package == "safetensors" else [model, "data.parquet"]
    assert refused("predict", *arguments) == f"jaxgmm: this needs {package}: pip install 'jaxgmm[io]'\n"


def test_a_bad_parquet_file_is_refused(refused, model):
    Path("data.parquet").write_text(table(X))
    for command in (["fit", "data.parquet"], ["predict", model, "data.parquet"]):
        assert "jaxgmm: data.parquet: expected a Parquet file, got" in refused(*command, "-o", "out")


def test_running_out_of_memory_is_said_in_one_line(monkeypatch, refused):
    def fit(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating 1 bytes.")

    monkeypatch.setattr(cli, "fit_mixture", fit)
    assert "Out of memory allocating" in refused("fit", "data.csv")


# --------------------------------------------------------------------------------------------------- the program itself


def test_help_and_version(call, capsys):
    assert call("--version") == f"jaxgmm {jaxgmm.__version__}\n"
    assert "--covariance [full|tied|diag|spherical]" in call("fit", "-h")
    assert run([]) == 2
    assert "predict" in capsys.readouterr().out


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize(("arguments", "code"), [("predict {} data.csv", 0), ("predict {} out", 2)])
def test_global_configuration_is_untouched(arguments, code, x64, folder, model):
    with jax.enable_x64(x64):
        before = dict(jax.config.values)
        assert run(arguments.format(model).split()) == code
        assert dict(jax.config.values) == before
        assert jax.config.jax_enable_x64 == x64


def test_main_exits_with_the_code_of_the_command(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["jaxgmm", "fit", "missing.csv"])
    monkeypatch.setattr(__main__, "_end_on_interrupt", lambda: None)
    with pytest.raises(SystemExit) as exit_:
        __main__.main()
    assert exit_.value.code == 2
    assert "missing.csv" in capsys.readouterr().err


def test_main_hides_no_other_missing_module(monkeypatch):
    monkeypatch.setattr(__main__, "_end_on_interrupt", lambda: None)
    monkeypatch.setitem(sys.modules, "jaxgmm.cli", None)
    with pytest.raises(ModuleNotFoundError, match=r"jaxgmm\.cli"):
        __main__.main()


def module(*arguments, **environment):
    command = [sys.executable, "-m", "jaxgmm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)


def test_python_m_runs_the_command_line(folder, model, call):
    done = module("predict", model, "data.csv")
    assert (done.returncode, done.stderr) == (0, "")
    Path("out").write_text(done.stdout)
    call("predict", model, "data.csv", "-o", "expected")
    np.testing.assert_allclose(io.read_table("out")[0], io.read_table("expected")[0], rtol=1e-12, atol=1e-300)


def test_without_click_one_line_says_what_to_install(folder):
    Path("click.py").write_text("raise ModuleNotFoundError(\"No module named 'click'\", name='click')\n")
    done = module("fit", PYTHONPATH=os.pathsep.join([str(folder), str(Path(jaxgmm.__file__).parents[1])]))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"jaxgmm: .*pip install 'jaxgmm\[cli\]'\n", done.stderr)


def test_an_interruption_is_no_refusal(folder, monkeypatch, capsys):
    def fit(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "fit_mixture", fit)
    assert run(["fit", "data.csv"]) == 130
    assert capsys.readouterr().err.strip() == "jaxgmm: interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("times", [[0.2], [1], [3], [5], [3, 3.1]], ids=str)
def test_ctrl_c_ends_a_command_at_once(times, folder):
    """While Python starts, while JAX is imported, and while several threads compile."""
    before = snapshot(folder)
    command = [sys.executable, "-m", "jaxgmm", "select", "data.csv", "--no-cache", "-o", "out", "--plot", "a.png"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    start = time.monotonic()
    for moment in times:
        time.sleep(max(0, moment - (time.monotonic() - start)))
        process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=2) == ("", "jaxgmm: interrupted\n")
    assert process.returncode == 130
    assert snapshot(folder) == before


@pytest.mark.slow
def test_an_interruption_in_python_leaves_the_process_usable():
    program = """
import _thread, threading, jax, jaxgmm
x = jaxgmm.datasets.load_faithful().x
threading.Timer(3, _thread.interrupt_main).start()
try:
    jaxgmm.select(jax.random.key(0), x)
except KeyboardInterrupt:
    print(round(float(jaxgmm.fit(jax.random.key(0), x, 2).best.log_likelihood)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("-1130\n", "", 0)
