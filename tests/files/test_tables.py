"""Tables from files: delimited text and Parquet."""

import bz2
import gzip
import io
import sys
import warnings

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from jaxgmm.files import tables
from jaxgmm.files.delimited import Layout


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


# ---------------------------------------------------------------------------------------------------- delimited text

NAN = float("nan")


def read(content, *columns, **options):
    """Rows, names and notes of a text."""
    layout = {name: options.pop(name) for name in Layout._fields if name in options}
    table = tables.read_columns(io.BytesIO(content), *columns, layout=Layout(**layout), **options)
    return table.rows.tolist(), list(table.names), list(table.notes)


@pytest.mark.parametrize(
    ("content", "names", "rows"),
    [
        ("a,b\n1,2\n3,4\n", ["a", "b"], [[1, 2], [3, 4]]),
        ("5,2\n3,4", ["x1", "x2"], [[5, 2], [3, 4]]),
        ("1,2", ["x1", "x2"], [[1, 2]]),
        ("\ufeffa,b\r\n1,2\r\n", ["a", "b"], [[1, 2]]),
        ("\ufeff1,2\n", ["x1", "x2"], [[1, 2]]),
        ("a,b\r1,2\r", ["a", "b"], [[1, 2]]),
        ("\n\na,b\n\n1,2\n\n\n", ["a", "b"], [[1, 2]]),
        ("height\n1\n2\n", ["height"], [[1], [2]]),
        ("1\n2\n", ["x1"], [[1], [2]]),
        (' a ,"b, c"\n 1 ,"2"\n', ["a", "b, c"], [[1, 2]]),
        ('"a\nb",c\n1,2\n', ["a\nb", "c"], [[1, 2]]),
        ("größe,b\n1e-300,-2.5E+3\n", ["größe", "b"], [[1e-300, -2500]]),
        ("a,b,c,d\n,NA,nan, \n1,2,3,4\n", ["a", "b", "c", "d"], [[NAN] * 4, [1, 2, 3, 4]]),
        ("a,b\n,\n1,2\n", ["a", "b"], [[NAN, NAN], [1, 2]]),
        ('a\n1\n""\n2\n', ["a"], [[1], [NAN], [2]]),
        (",1\n2,3\n", ["x1", "x2"], [[NAN, 1], [2, 3]]),
        (",b\n1.5,2\n", ["", "b"], [[1.5, 2]]),
        ("a,b\ninf,-Infinity\n", ["a", "b"], [[np.inf, -np.inf]]),
        ("2020_1,2020_2\n1,2\n", ["2020_1", "2020_2"], [[1, 2]]),
        ("a,b\n+5,007\n", ["a", "b"], [[5, 7]]),
        ("feature 0\n1.5\n", ["feature 0"], [[1.5]]),
    ],
)
def test_reading_a_table(content, names, rows, path):
    path.write_bytes(content.encode())
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        found, found_names = tables.read_table(str(path))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.array(rows, float))
    assert found_names == tuple(names)


FAITHFUL = [[1.8, 54], [3.6, 79], [2.2, 62], [4.5, 85]]
TEXT = "1.8,54\n3.6,79\n2.2,62\n4.5,85\n"
COUNTED = "".join(f"{i},{line}\n" for i, line in enumerate(TEXT.split()))


@pytest.mark.parametrize(
    ("content", "names", "first_line"),
    [
        ("0,1\n" + TEXT, ["0", "1"], "names"),
        ("1,2\n" + TEXT, ["1", "2"], "names"),
        (",a,b\n" + COUNTED, ["a", "b"], "names"),
        ("Unnamed: 0,a,b\n" + COUNTED, ["a", "b"], "names"),
        (",0,1\n" + COUNTED, ["0", "1"], "names"),
        (TEXT, ["x1", "x2"], "numbers"),
        (
            "kind,2019,2020\n" + "".join(f"k{i % 2},{line}\n" for i, line in enumerate(TEXT.split())),
            ["2019", "2020"],
            "names",
        ),
        ("".join(f"{line},k{i % 2}\n" for i, line in enumerate(TEXT.split())), ["x1", "x2"], "numbers"),
        ("".join(f"2020-01-0{i + 1},{line}\n" for i, line in enumerate(TEXT.split())), ["x2", "x3"], "numbers"),
        (
            "day,a,b\n" + "".join(f"2020-01-0{i + 1},{line}\n" for i, line in enumerate(TEXT.split())),
            ["a", "b"],
            "names",
        ),
        ("0,1,2\n" + TEXT.replace("\n", ",new\n"), ["0", "1"], "names"),
        ("# a,b\n" + TEXT, ["a", "b"], "names"),
        ("# a b\n" + TEXT.replace(",", " "), ["a", "b"], "names"),
    ],
)
def test_names_and_row_numbers_are_no_rows(content, names, first_line):
    rows, found_names, notes = read(content.encode())
    assert (rows, found_names) == (FAITHFUL, names)
    assert f"first line: {first_line}" in notes


def test_a_line_like_the_others_is_no_header():
    assert read(b"0,1\n1,1\n0,1\n")[0] == [[0, 1], [1, 1], [0, 1]]
    assert read(b"1\n2\n3\n")[0] == [[1], [2], [3]]
    assert read(b"0\n1.8\n3.6\n")[0] == [[1.8], [3.6]]


@pytest.mark.parametrize(("header", "n", "names"), [(True, 3, ["1.8", "54"]), (False, 4, ["x1", "x2"])])
def test_an_option_says_what_the_first_line_is(header, n, names):
    rows, found_names, notes = read(TEXT.encode(), header=header)
    assert (rows, found_names, notes) == (FAITHFUL[-n:], names, [])
    with_counts = read(b"0,1\n" + TEXT.encode(), header=False)[0]
    assert with_counts == [[0, 1], *FAITHFUL]


TIDY = "a;b\n1.5;10.25\n2.5;20.75\n4.0;31.0\n"
R_TABLE = '"long name" b\n"1" 1.5 10.25\n"2" 2.5 20.75\n"3" 4.0 31.0\n'


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (TIDY.encode(), ["separator: ;"]),
        (TIDY.replace(".", ",").encode(), ["separator: ;", "decimal comma"]),
        (TIDY.replace(";", "\t").encode(), ["separator: tab"]),
        (TIDY.replace(";", "|").encode(), ["separator: |"]),
        (TIDY.replace(";", "   ").replace("\n", " \n  ").encode(), ["separator: blanks"]),
        (TIDY.replace(";", " ").replace(".", ",").encode(), ["separator: blanks", "decimal comma"]),
        (R_TABLE.replace("long name", "a").encode(), ["separator: blanks", "left out: row numbers (column 1)"]),
        (TIDY.encode("utf-16"), ["UTF-16", "separator: ;"]),
        (gzip.compress(TIDY.encode(), mtime=0), ["gzip", "separator: ;"]),
        (bz2.compress(TIDY.encode()), ["bz2", "separator: ;"]),
        (pyarrow.compress(TIDY.encode(), "zstd", asbytes=True), ["zstd", "separator: ;"]),
    ],
)
def test_the_layout_is_guessed_and_said(content, notes):
    rows, names, found_notes = read(content)
    assert (rows, names) == ([[1.5, 10.25], [2.5, 20.75], [4, 31]], ["a", "b"])
    assert [note for note in found_notes if note != "first line: names"] == notes


def test_options_overrule_the_layout():
    assert read(b"1,5 2,5\n3,5 4,5\n")[0] == [[1.5, 2.5], [3.5, 4.5]]
    assert read(b"1,5 2,5\n3,5 4,5\n", ["x1", "x3"], separator=",")[0] == [[1, 5], [3, 5]]
    assert read(b"a;b\n1,500;2,250\n", decimal=",")[0] == [[1.5, 2.25]]
    assert read(b'"1,5","2,5"\n', separator=",", decimal=",")[0] == [[1.5, 2.5]]
    assert read(b"a~b\n1~2\n", separator="~")[0] == [[1, 2]]
    assert read(b'"a b" c\n1 2\n')[1] == ["a b", "c"]


def test_what_holds_no_numbers_is_left_out_and_named():
    content = b"id,day,at,kind,gap,a\nx1,2020-01-31,12:30,tall,,1\nx2,2020-02-01,12:31,short,,2\n"
    rows, names, notes = read(content)
    assert (rows, names) == ([[1], [2]], ["a"])
    assert notes[1:] == ["left out: id (text), day (date), at (time), kind (text), gap (empty)"]
    assert read(content, ["a"])[2] == ["first line: names"]
    assert read(b"a,b,\n1,2,\n")[2][1:] == ["left out: column 3 (empty)"]  # a comma ends each line


def test_columns_are_ignored_by_name():
    assert read(b"a,b,c\n1,2,3\n", ignore=["b"])[:2] == ([[1, 3]], ["a", "c"])
    assert read(b"a,b\n1,x\n2,5\n", ignore=["b"])[:2] == ([[1], [2]], ["a"])  # some of it looks like numbers
    with pytest.raises(ValueError, match="table: expected columns to ignore among a, b, got c"):
        read(b"a,b\n1,2\n", ignore=["c"])


def test_rows_with_missing_cells_are_dropped_where_told_to():
    content = b"a,b\n1,2\n,4\n\n5,NA\n7,8\n"
    rows, _, notes = read(content, drop_missing=True)
    assert rows == [[1, 2], [7, 8]]
    assert notes[-1] == "dropped: 2 of 4 rows, with missing cells"
    table = tables.read_columns(io.BytesIO(content), drop_missing=True)
    assert table.where(1, "b") == "table, line 6, column b"
    assert np.isnan(read(content)[0]).sum() == 2
    with pytest.raises(ValueError, match="at least one row without missing cells"):
        read(b"a,b\n1,\n,2\n", drop_missing=True)


@pytest.mark.parametrize(
    ("content", "doubt"),
    [
        (b"0,1\n" + TEXT.encode(), "first line: names, not numbers: 0 1"),
        (b"2019,2020\n" + TEXT.encode(), "first line: numbers, not names: 2019 2020"),
        (b"a;b\n1,500;2,250\n", "decimal comma, though three digits follow every comma"),
        (b"a,kind\n1,tall\n", r"left out: kind \(text\)"),
    ],
)
def test_a_doubtful_guess_is_a_warning(content, doubt, path):
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=f"file: {doubt}"):
        tables.read_table(path)


def test_options_leave_no_doubt(path):
    path.write_bytes(b"0,1\n" + TEXT.encode())
    assert len(tables.read_table(path, header=False)[0]) == 5
    path.write_bytes(b"a,kind\n1,tall\n")
    assert tables.read_table(path, ignore=["kind"])[1] == ("a",)


@pytest.mark.parametrize(
    ("content", "columns", "rows"),
    [
        ("a,b,c\n1,2,3\n", ["c", "a"], [[3, 1]]),
        ("a,kind,c\n1,tall,3\n", ["a"], [[1]]),
        ("a,b,b\n1,2,3\n", ["a"], [[1]]),
        ("1,2,3\n", ["x3", "x2"], [[3, 2]]),
        (",a\n0,5\n1,6\n", ["", "a"], [[0, 5], [1, 6]]),
        ("a,b\n1,x\n2,5\n", ["a"], [[1], [2]]),
    ],
)
def test_reading_columns_by_name(content, columns, rows):
    assert read(content.encode(), columns)[:2] == (rows, columns)


@pytest.mark.parametrize(
    ("content", "columns", "complaint"),
    [
        (b"", None, ": expected at least one row of numbers, got an empty file"),
        (b"\n\n", None, ": expected at least one row of numbers, got an empty file"),
        (b"\xef\xbb\xbf", None, ": expected at least one row of numbers, got an empty file"),
        (b"a,b\n\n", None, ": expected at least one row of numbers below the header, got none"),
        (b"\xff\xfe\x00", None, ", line 1: expected a text file in UTF-8 or UTF-16, got byte 0x00"),
        (b"a,b\n1,2\n3,\xe9\n", None, ", line 3: expected a text file in UTF-8 or UTF-16, got byte 0xe9"),
        (b"PK\x03\x04\x00", None, ", line 1: expected a text file in UTF-8 or UTF-16, got byte 0x00"),
        (gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9], None, ": expected a whole gzip file, got Truncated"),
        (b"a,b\n" + b"1" * 200_000 + b",2\n", None, ": expected a text file of separated columns, got field larger"),
        (b"a,b\n1,2\n3\n", None, ", line 3: expected 2 columns, got 1"),
        (b"a,b\n1,2\n\n3,4,5\n", None, ", line 4: expected 2 columns, got 3"),
        (b"a\n1\n2,3\n", ["a"], ", line 3: expected 1 columns, got 2"),
        (b"a,b\n1,2\n3,4 cm\n", None, ", line 3, column b: expected a number, got '4 cm'"),
        (b'"a\nb",c\n1,tall\n2,3\n', None, ", line 3, column c: expected a number, got 'tall'"),
        (b'a,b\n1,2\n"1,234",4\n', None, ", line 3, column a: expected a number with a decimal point, got '1,234'"),
        (b"a;b\n1,5;2\n1.234,5;4\n", None, ", line 3, column a: expected a number with a decimal comma, got '1.234,5'"),
        (b"\n0,1\n2,3\n4,5 cm\n", None, ", line 4, column 1: expected a number, got '5 cm'"),
        (b"a,b\n1,?\n2,3\n", None, ", line 2, column b: expected a number, got '?'"),
        (b"a,b\n1,x\n", ["b"], ", line 2, column b: expected a number, got 'x'"),
        (b"kind\ntall\n", None, ": expected at least one column of numbers, got kind (text)"),
        (b"a,b\n1,2\n", ["a", "c"], ": expected columns a, c, got a, b"),
        (b"1,2\n", ["a"], ": expected columns a, got x1, x2"),
        (b"a,a\n1,2\n", None, ": expected each column once, got a, a"),
        (b"a,a\n1,2\n", ["a"], ": expected each column once, got a"),
        (b"a,b\n1,2\n", ["b", "b"], ": expected each column once, got b, b"),
    ],
)
def test_a_bad_table_is_named_with_its_fault(content, columns, complaint, path):
    path.write_bytes(content)
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the message is compared below, without escapes
        tables.read_table(path, columns)
    assert str(refusal.value).startswith(f"{path}{complaint}")


def test_every_digit_survives(path):
    extremes = [np.finfo(float).max, np.finfo(float).tiny, 5e-324, -0.0, 1 / 3, 1 + np.finfo(float).eps]
    path.write_text("".join(f"{value!r}\n" for value in map(float, extremes)))
    np.testing.assert_array_equal(tables.read_table(path)[0][:, 0], extremes)


def test_columns_are_chosen_once_from_those_of_numbers(path):
    path.write_text("a,kind,c\n1,tall,3\n")
    seen = []
    table = tables.read_columns(path, lambda names: seen.append(names) or ["c", "a"])
    np.testing.assert_array_equal(table.rows, [[3, 1]])
    assert (table.names, seen) == (("c", "a"), [["a", "c"]])


def test_a_place_is_a_line_and_a_column():
    content = b'a,b\n\n1,2\n"3\n",4\n5,6\n'
    assert tables.read_columns(io.BytesIO(content)).where(2, "b") == "table, line 6, column b"
    assert tables.read_columns(io.BytesIO(b"5,2\n3,4\n")).where(1, "x1") == "table, line 2, column x1"


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
    assert names == tuple(columns)


def test_parquet_is_read_by_name_in_the_order_given(parquet_path):
    table = pyarrow.table({"a": [1.0, 2.0], "kind": ["tall", "short"], "c": [3.0, 4.0]})
    parquet.write_table(table, parquet_path)
    rows, names = tables.read_table(parquet_path, ["c", "a"])
    np.testing.assert_array_equal(rows, [[3, 1], [4, 2]])
    assert names == ("c", "a")
    with pytest.warns(UserWarning, match=r"left out: kind \(text\)"):
        assert tables.read_table(parquet_path)[1] == ("a", "c")


@pytest.mark.parametrize(
    ("table", "columns", "complaint"),
    [
        (pyarrow.table({"a": [1.0], "kind": ["tall"]}), ["kind"], ", column kind: expected numbers, got string"),
        (pyarrow.table({"kind": ["tall"]}), None, ": expected at least one column of numbers, got kind (text)"),
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
    np.testing.assert_array_equal(tables.read_table(parquet_path, ["a"])[0][:, 0], np.arange(1000.0))
    with pytest.raises(ValueError, match="expected a Parquet file"):
        tables.read_table(parquet_path, ["b"])


def test_of_two_columns_of_one_name_another_is_read(parquet_path):
    parquet.write_table(pyarrow.table([[1.0], [2.0], [3.0]], ["b", "a", "b"]), parquet_path)
    np.testing.assert_array_equal(tables.read_table(parquet_path, ["a"])[0], [[2.0]])


def test_without_pyarrow_an_error_says_what_to_install(path, monkeypatch):
    path.write_text("a\n1\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxgmm\[io\]'"):
        tables.read_table(path)
