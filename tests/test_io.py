import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from problems import FAMILIES, random_params

import jaxgmm
from jaxgmm import io

PARAMS = jaxgmm.GMMParams(np.array([0.25, 0.75]), np.array([[0.0, 1.0], [2.0, 3.0]]), np.stack([np.eye(2)] * 2))
MODEL = io.Model(PARAMS, "full", ("a", "b"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def content_of(model, **changes):
    """What a model's file holds, changed; a change to None leaves an entry out."""
    content = {f"params.{field}": value for field, value in model.params._asdict().items()}
    content |= {"format": 1, "family": model.family, "feature_names": list(model.feature_names)} | changes
    return {name: value for name, value in content.items() if value is not None}


def write_npz(path, content):
    with open(path, "wb") as file:
        np.savez(file, **content)


# ------------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_model_comes_back_as_it_was_saved(family, path, dtype):
    params = jaxgmm.GMMParams(*map(np.asarray, random_params(family, d=3, dtype=dtype)))
    io.save(str(path), io.Model(params, family.name, ("größe", "two words", "x,y")))
    assert os.listdir(path.parent) == ["file"]  # the name as given, no extension added
    back = io.load(str(path))
    assert back[1:] == (family.name, ("größe", "two words", "x,y"))
    for leaf, other in zip(back.params, params, strict=True):
        assert leaf.dtype == dtype
        np.testing.assert_array_equal(leaf, other)


def test_precision_does_not_depend_on_configuration(path):
    io.save(path, MODEL._replace(params=PARAMS._replace(weights=np.array([1 / 3, 2 / 3]))))
    np.testing.assert_array_equal(io.load(path).params.weights, np.array([1 / 3, 2 / 3]))  # though x64 is off


def test_a_hand_made_file_of_the_right_content_is_a_model(path):
    """So that each change below is what is refused."""
    write_npz(path, content_of(MODEL))
    assert io.load(path).feature_names == ("a", "b")


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in content_of(MODEL)),
        {"format": "one"},
        {"format": [1, 1]},
        {"family": "round"},
        {"family": "diag"},
        {"feature_names": ["a"]},
        {"feature_names": "ab"},
        {"params.means": np.zeros(2)},
        {"params.weights": np.ones(3) / 3},
        {"params.weights": ["a", "b"]},
        {"params.covariances": np.ones((2, 3, 3))},
        {"params.weights": np.array([0.25, None])},
    ],
    ids=str,
)
def test_a_file_that_is_no_consistent_model_is_refused(changes, path):
    write_npz(path, content_of(MODEL, **changes))
    with pytest.raises(ValueError, match=r"file: expected a model saved by jaxgmm, got a damaged or foreign file"):
        io.load(path)


@pytest.mark.parametrize("changes", [{}, {"params.weights": None, "params.logits": np.zeros(2)}], ids=["same", "other"])
def test_a_newer_format_is_named_whatever_it_holds(changes, path):
    write_npz(path, content_of(MODEL, format=2, **changes))
    with pytest.raises(ValueError, match="file: expected format 1 or older, got 2; update jaxgmm"):
        io.load(path)


def test_a_foreign_file_is_refused(path):
    for content in (b"", b"a,b\n1,2\n", bytes(range(256)), b"\x80\x04K\x01."):  # the last is a pickle
        path.write_bytes(content)
        with pytest.raises(ValueError, match="damaged or foreign"):
            io.load(path)
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="damaged or foreign"):
        io.load(path)


def test_a_truncated_model_is_refused(path):
    io.save(path, MODEL)
    whole = path.read_bytes()
    for length in range(0, len(whole), 101):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="damaged or foreign"):
            io.load(path)


def test_a_flipped_bit_is_refused_or_harmless(path):
    io.save(path, MODEL)
    whole, n_refused = path.read_bytes(), 0
    for position in [*range(0, len(whole), 13), *range(len(whole) - 22, len(whole))]:  # the zip directory ends with 22
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            model = io.load(path)
        except ValueError as error:
            assert "damaged or foreign" in str(error)  # noqa: PT017 - either outcome is right
            n_refused += 1
        else:
            assert model[1:] == MODEL[1:]
            for leaf, other in zip(model.params, PARAMS, strict=True):
                np.testing.assert_array_equal(leaf, other)
    assert n_refused > 50


def test_what_cannot_be_opened_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        io.load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        io.load(tmp_path)


# ------------------------------------------------------------------------------------------------------------- tables

NAN = float("nan")


@pytest.mark.parametrize(
    ("content", "names", "rows"),
    [
        ("a,b\n1,2\n3,4\n", ["a", "b"], [[1, 2], [3, 4]]),
        ("1,2\n3,4", ["x1", "x2"], [[1, 2], [3, 4]]),
        ("\ufeffa,b\r\n1,2\r\n", ["a", "b"], [[1, 2]]),
        ("\ufeff1,2\n", ["x1", "x2"], [[1, 2]]),
        ("a,b\r1,2\r", ["a", "b"], [[1, 2]]),
        ("\n\na,b\n\n1,2\n\n\n", ["a", "b"], [[1, 2]]),
        ("height\n1\n2\n", ["height"], [[1], [2]]),
        ("1\n2\n", ["x1"], [[1], [2]]),
        (' a ,"b, c"\n 1 ,"2"\n', ["a", "b, c"], [[1, 2]]),
        ('"a\nb",c\n1,2\n', ["a\nb", "c"], [[1, 2]]),
        ("größe,b\n1e-300,-2.5E+3\n", ["größe", "b"], [[1e-300, -2500]]),
        ("a,b,c,d\n,NA,nan, \n", ["a", "b", "c", "d"], [[NAN] * 4]),
        ("a,b\n,\n1,2\n", ["a", "b"], [[NAN, NAN], [1, 2]]),
        ('a\n1\n""\n2\n', ["a"], [[1], [NAN], [2]]),
        (",1\n2,3\n", ["x1", "x2"], [[NAN, 1], [2, 3]]),
        (",b\n1,2\n", ["", "b"], [[1, 2]]),
        ("a,b\ninf,-Infinity\n", ["a", "b"], [[np.inf, -np.inf]]),
        ("2020_1,2020_2\n1,2\n", ["2020_1", "2020_2"], [[1, 2]]),
    ],
)
def test_reading_a_table(content, names, rows, path):
    path.write_bytes(content.encode())
    found, found_names = io.read_table(str(path))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.array(rows, float))
    assert found_names == io.read_names(str(path)) == tuple(names)


@pytest.mark.parametrize(
    ("content", "columns", "rows"),
    [
        ("a,b,c\n1,2,3\n", ["c", "a"], [[3, 1]]),
        ("a,kind,c\n1,tall,3\n", ["a"], [[1]]),
        ("a,b,b\n1,2,3\n", ["a"], [[1]]),
        ("1,2,3\n", ["x3", "x2"], [[3, 2]]),
    ],
)
def test_reading_columns_by_name(content, columns, rows, path):
    path.write_text(content)
    found, names = io.read_table(path, columns)
    np.testing.assert_array_equal(found, np.array(rows, float))
    assert names == tuple(columns)


@pytest.mark.parametrize(
    ("content", "columns", "complaint"),
    [
        (b"", None, "empty file"),
        (b"\n\n", None, "empty file"),
        (b"\xef\xbb\xbf", None, "empty file"),
        (b"a,b\n\n", None, "below the header, got none"),
        (b"\xff\xfe\x00", None, "comma-separated text file"),
        (b"a,b\n1,2\n3\n", None, "line 3: expected 2 columns, got 1"),
        (b"a\n1\n2,3\n", ["a"], "line 3: expected 1 columns, got 2"),
        (b"a,b\n1,2\n3,4 cm\n", None, "line 3, column b: expected a number, got '4 cm'"),
        (b'"a\nb",c\n1,tall\n', None, "line 3, column c: expected a number, got 'tall'"),
        (b"a,b\n1_000,2\n", None, "column a: expected a number, got '1_000'"),
        (b"a,b\n1,x\n", ["b"], "column b: expected a number, got 'x'"),
        (b"a,b\n1,2\n", ["a", "c"], "expected columns a, c, got a, b"),
        (b"1,2\n", ["a"], "expected columns a, got x1, x2"),
        (b"a,a\n1,2\n", None, "expected each column once, got a, a"),
        (b"a,a\n1,2\n", ["a"], "expected each column once, got a"),
        (b"a,b\n1,2\n", ["b", "b"], "expected each column once, got b, b"),
    ],
)
def test_a_bad_table_is_named_with_its_fault(content, columns, complaint, path):
    path.write_bytes(content)
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the message is compared below, without escapes
        io.read_table(path, columns)
    assert str(refusal.value).startswith(str(path))
    assert complaint in str(refusal.value)


def test_every_digit_survives(path):
    extremes = [np.finfo(float).max, np.finfo(float).tiny, 5e-324, -0.0, 1 / 3, 1 + np.finfo(float).eps]
    path.write_text("".join(f"{value!r}\n" for value in map(float, extremes)))
    np.testing.assert_array_equal(io.read_table(path)[0][:, 0], extremes)


# ------------------------------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize("before", [None, b"as it was"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("no"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_nothing_behind(error, before, path):
    if before is not None:
        path.write_bytes(before)

    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        io.write_atomically(path, write)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == ({} if before is None else {"file": before})


def test_an_error_names_the_file_asked_for(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "missing" / "file", tmp_path / "file" / "file"):
        with pytest.raises(OSError, match=r".*") as refusal:
            io.write_atomically(path, lambda file: file.write(b"new"))
        assert refusal.value.filename == str(path)
        assert refusal.value.strerror
    assert os.listdir(tmp_path) == ["file"]


def test_a_new_file_has_the_permissions_of_any_other(path):
    before = os.umask(0o027)
    try:
        io.write_atomically(path, lambda file: file.write(b"new"))
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_longest_name_and_a_relative_one_can_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "n" * os.pathconf(tmp_path, "PC_NAME_MAX")
    io.write_atomically(name, lambda file: file.write(b"new"))
    assert Path(name).read_bytes() == b"new"


def test_a_link_stays_a_link(path):
    target = path.with_name("target")
    target.write_bytes(b"old")
    path.symlink_to(target)
    io.write_atomically(path, lambda file: file.write(b"new"))
    assert path.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_not_replaced(path):
    os.mkfifo(path)
    received = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()), daemon=True)
    reader.start()
    io.write_atomically(path, lambda file: file.write(b"new"))
    reader.join(10)
    assert received == [b"new"]
    assert path.is_fifo()
