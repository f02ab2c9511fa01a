"""Tables from files: comma-separated text and Parquet."""

import sys
import tracemalloc

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from jaxgmm.files import tables


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


# ---------------------------------------------------------------------------------------------- comma-separated text

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
    found, found_names = tables.read_table(str(path))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.array(rows, float))
    assert found_names == tables.read_names(str(path)) == tuple(names)


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
    found, names = tables.read_table(path, columns)
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
        tables.read_table(path, columns)
    assert str(refusal.value).startswith(str(path))
    assert complaint in str(refusal.value)


def test_every_digit_survives(path):
    extremes = [np.finfo(float).max, np.finfo(float).tiny, 5e-324, -0.0, 1 / 3, 1 + np.finfo(float).eps]
    path.write_text("".join(f"{value!r}\n" for value in map(float, extremes)))
    np.testing.assert_array_equal(tables.read_table(path)[0][:, 0], extremes)


def test_names_are_read_without_the_numbers(path):
    path.write_bytes(b"a,b\n" + b"1,tall\n" * 10_000 + b"\xff")  # the last byte is no text
    assert tables.read_names(path) == ("a", "b")
    with pytest.raises(ValueError, match="comma-separated text file"):
        tables.read_table(path, ["a"])


def test_a_file_is_parsed_into_no_more_than_its_numbers(path):
    path.write_text("a,b,c\n" + "0.123456789012345678,0.123456789012345678,some text\n" * 50_000)
    tracemalloc.start()
    try:
        rows, _ = tables.read_table(path, ["a", "b"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows.shape == (50_000, 2)
    assert peak < 1.5 * rows.nbytes + 1e6


def test_columns_are_chosen_once_from_all_names(path):
    path.write_text("a,kind,c\n1,tall,3\n")
    seen = []
    rows, names = tables.read_columns(path, lambda names: seen.append(names) or ["c", "a"])
    np.testing.assert_array_equal(rows, [[3, 1]])
    assert (names, seen) == (("c", "a"), [("a", "kind", "c")])


# ------------------------------------------------------------------------------------------------------------ Parquet


@pytest.fixture(params=[".parquet", ".PQ"])
def parquet_path(request, tmp_path):
    return tmp_path / f"file{request.param}"


def test_parquet_holds_numbers_of_any_kind_and_nulls(parquet_path):
    columns = {
        "größe": pyarrow.array([1 / 3, None, float("nan")]),
        "single": pyarrow.array([1.5, 2.5, None], pyarrow.float32()),
        "count": pyarrow.array([1, None, 2**62]),
        "flag": pyarrow.array([True, None, False]),
        "code": pyarrow.array([7, 8, 7]).dictionary_encode(),
    }
    parquet.write_table(pyarrow.table(columns), parquet_path)
    rows, names = tables.read_table(str(parquet_path))
    assert rows.dtype == np.float64
    expected = [[1 / 3, 1.5, 1, 1, 7], [NAN, 2.5, NAN, NAN, 8], [NAN, NAN, 2**62, 0, 7]]
    np.testing.assert_array_equal(rows, np.array(expected, float))
    assert names == tables.read_names(parquet_path) == tuple(columns)


def test_parquet_is_read_by_name_in_the_order_given(parquet_path):
    table = pyarrow.table({"a": [1.0, 2.0], "kind": ["tall", "short"], "c": [3.0, 4.0]})
    parquet.write_table(table, parquet_path)
    rows, names = tables.read_table(parquet_path, ["c", "a"])
    np.testing.assert_array_equal(rows, [[3, 1], [4, 2]])
    assert names == ("c", "a")
    assert tables.read_names(parquet_path) == ("a", "kind", "c")


@pytest.mark.parametrize(
    ("table", "columns", "complaint"),
    [
        (pyarrow.table({"a": [1.0], "kind": ["tall"]}), None, ", column kind: expected numbers, got string"),
        (pyarrow.table({"a": [[1.0]]}), None, ", column a: expected numbers, got list"),
        (pyarrow.table({"a": [1.0], "b": [1.0]}), ["a", "c"], ": expected columns a, c, got a, b"),
        (pyarrow.table([[1.0], [2.0]], ["a", "a"]), None, ": expected each column once, got a, a"),
        (pyarrow.table({"a": pyarrow.array([], "float64")}), None, ": expected at least one row of numbers, got none"),
        (pyarrow.table({}), None, ": expected at least one row of numbers, got none"),
        (b"", None, ": expected a Parquet file, got"),
        (b"a,b\n1,2\n", None, ": expected a Parquet file, got"),
        (b"PAR1" + bytes(100) + b"PAR1", None, ": expected a Parquet file, got"),
    ],
    ids=lambda value: None if isinstance(value, pyarrow.Table) else str(value)[:20],
)
def test_a_bad_parquet_file_is_named_with_its_fault(table, columns, complaint, parquet_path):
    if isinstance(table, bytes):
        parquet_path.write_bytes(table)
    else:
        parquet.write_table(table, parquet_path)
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the message is compared below, without escapes
        tables.read_table(parquet_path, columns)
    assert str(refusal.value).startswith(f"{parquet_path}{complaint}")


def test_a_damaged_parquet_file_is_refused(parquet_path):
    parquet.write_table(pyarrow.table({"a": np.arange(1000.0)}), parquet_path)
    whole = parquet_path.read_bytes()
    for damaged in (whole[:-20], whole[:10] + bytes(200) + whole[210:]):
        parquet_path.write_bytes(damaged)
        with pytest.raises(ValueError, match="expected a Parquet file"):
            tables.read_table(parquet_path)


def test_parquet_is_not_read_where_nobody_asks(parquet_path):
    table = pyarrow.table({"a": np.arange(1000.0), "b": np.arange(1000.0)})
    parquet.write_table(table, parquet_path)
    column = parquet.read_metadata(parquet_path).row_group(0).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(parquet_path.read_bytes())
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    parquet_path.write_bytes(content)
    assert tables.read_names(parquet_path) == ("a", "b")
    np.testing.assert_array_equal(tables.read_table(parquet_path, ["a"])[0][:, 0], np.arange(1000.0))
    with pytest.raises(ValueError, match="expected a Parquet file"):
        tables.read_table(parquet_path, ["b"])


def test_of_two_columns_of_one_name_another_is_read(parquet_path):
    parquet.write_table(pyarrow.table([[1.0], [2.0], [3.0]], ["b", "a", "b"]), parquet_path)
    np.testing.assert_array_equal(tables.read_table(parquet_path, ["a"])[0], [[2.0]])


def test_without_pyarrow_only_parquet_is_missed(parquet_path, path, monkeypatch):
    parquet.write_table(pyarrow.table({"a": [1.0]}), parquet_path)
    path.write_text("a\n1\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert tables.read_table(path)[1] == ("a",)
    with pytest.raises(ModuleNotFoundError, match="pyarrow"):
        tables.read_table(parquet_path)
    with pytest.raises(FileNotFoundError):
        tables.read_table(path.with_name("missing"))
