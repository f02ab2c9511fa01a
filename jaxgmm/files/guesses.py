"""What a text file does not say of itself, guessed from what stands in it: separator, decimal mark, header, text."""

import csv
import io as streams
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

SEPARATORS = {"\t": "tab", ";": ";", "|": "|", ",": ",", " ": "blanks"}  # those that are guessed, and their names
MISSING = ["", "NA", "N/A", "#N/A", "n/a", "nan", "NaN", "-nan", "-NaN", "NULL", "null", "None", "<NA>"]

_THOUSANDS = r"[0-9]{1,3}([.,' ][0-9]{3})+([.,][0-9]+)?"
_NUMBER_LIKE = rf"[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+|{_THOUSANDS})(e[+-]?[0-9]+)?\s*%?|[+-]?inf(inity)?"
_BLANKS = "\t "  # separators of the files that R writes

Record = tuple[int, list[str]]  # number of its last line, and its fields without blanks around them


def records(content: bytes, separator: str, stream: streams.BytesIO | None = None) -> Iterator[Record]:
    """The records of a text but blank lines, one by one: for the first ones, and for errors."""
    lines: Iterator[bytes] = iter(stream or streams.BytesIO(content))
    if separator == " ":
        lines = (with_single_blanks(line) for line in lines)
    reader = csv.reader((line.decode() for line in lines), delimiter=separator)
    return ((reader.line_num, [field.strip() for field in fields]) for fields in reader if fields)


def with_single_blanks(content: bytes) -> bytes:
    """Lines without blanks around them, and with one where there were several."""
    return b"\n".join([b" ".join(line.split()) for line in content.split(b"\n")])


def guess_separator(content: bytes) -> str:
    """The separator with which two records have as many fields each, and most of these look like numbers."""
    best, most = ",", -1.0
    for separator in SEPARATORS:
        head = list(islice(records(content, separator), 2))
        first, last = (len(fields) for _, fields in (head[0], head[-1])) if head else (0, 0)
        agree = first == last or has_row_names(separator, first, last)
        if max(first, last) > 1 and (agree or separator != " "):
            looks = agree + sum(map(looks_like_number, head[-1][1])) / last
            if looks > most:
                best, most = separator, looks
    return best


def has_row_names(separator: str, first: int, second: int) -> bool:
    """Whether a header of so many fields is one of R's, which has none for the names of the rows."""
    return separator in _BLANKS and second == first + 1


def guess_decimal(content: bytes, separator: str) -> str:
    """A comma where it separates no columns, and some fields are numbers with a comma but none with a point."""
    if separator == "," or b"," not in content:
        return "."
    edge = rb"[ \t]" if separator == " " else re.escape(separator.encode())

    def some_field(mark: bytes) -> bool:
        field = rb'(^|%b)[ "]*[+-]?\d*%b\d+(e[+-]?\d+)?[ "]*(%b|$)' % (edge, mark, edge)
        return re.search(field, content, re.IGNORECASE | re.MULTILINE) is not None

    return "," if some_field(b",") and not (b"." in content and some_field(rb"\.")) else "."


def guess_header(first: Sequence[str], columns: Sequence[Any], kinds: Sequence[str]) -> tuple[bool, str]:
    """Whether the first record of a text holds names.

    Args:
        first: its fields.
        columns: what stands below them, as arrays of pyarrow.
        kinds: of each column, as :func:`kind_of` says.

    Returns:
        The answer, and a doubt where another answer would be as good.
    """
    # A name stands above what is no text; text that recurs, and a date above dates, are rows
    is_text = [bool(field) and field not in MISSING and not looks_like_number(field) for field in first]
    text = [below for below in zip(first, kinds, columns, is_text, strict=True) if below[3]]
    is_date = [kind in ("date", "time") and field[0].isdigit() for field, kind, _, _ in text]
    if all(is_text) or any(kind != "text" and not date for (_, kind, _, _), date in zip(text, is_date, strict=True)):
        return True, ""
    if any(is_date) or any(_holds(column, field) for field, _, column, _ in text):
        return False, ""

    # Numbers are names where they count the columns, as data frames do that have no names
    has_index = not first[0] and (kinds[0] == "text" or are_row_numbers(columns[0])) and len(columns[0]) > 1
    places = [place for place, is_name in enumerate(is_text) if not is_name][has_index:]
    labels = [first[place] for place in places]
    start = int(labels[0]) if labels and labels[0].isdecimal() else None
    count = start is not None and labels == [str(start + i) for i in range(len(labels))]
    shown = " ".join(first)[:40]
    names, row = (True, f"first line: names, not numbers: {shown}"), (False, f"first line: numbers, not names: {shown}")
    if not count or (text and len(labels) == 1):
        return row if text or has_index else (False, "")
    if has_index or text:
        return (True, "") if has_index else names
    if start not in (0, 1) or not len(columns[0]):
        return row if len(labels) > 1 and len(columns[0]) else (False, "")

    # Counts above numbers are a row where others are like it
    if not all(is_number(columns[place].type) for place in places):
        return names
    rows = np.column_stack([as_floats(columns[place]) for place in places])
    recurs = (rows == np.array(labels, float)).all(1).any()
    return (False, "") if recurs or (len(labels) == 1 and (rows % 1 == 0).all()) else names


def kind_of(column: Any) -> str:
    """What a column of pyarrow holds: empty for numbers, or for text of which some looks like a number."""
    from pyarrow import compute, types

    kind = column.type
    if types.is_null(kind):
        return "empty"
    if types.is_temporal(kind):
        return "time" if types.is_time(kind) or types.is_duration(kind) else "date"
    if types.is_string(kind) or types.is_large_string(kind):
        numbers = compute.match_substring_regex(column, rf"(?i)^\s*({_NUMBER_LIKE})\s*$")
        return "" if compute.any(numbers).as_py() else "text"
    return ""


def is_number(kind: Any) -> bool:
    """Whether pyarrow has parsed a column of this type as numbers, or found it empty."""
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind))


def are_row_numbers(column: Any) -> bool:
    """Whether a column holds whole numbers, each once."""
    from pyarrow import types

    return types.is_integer(column.type) and not column.null_count and len(column.unique()) == len(column)


def as_floats(column: Any) -> np.ndarray:
    """A column of numbers as float64, NaN where they are missing."""
    import pyarrow

    values: np.ndarray = column.cast(pyarrow.float64(), safe=False).to_numpy()  # unsafe: rounds large integers
    return values


def number(field: str, decimal: str) -> float | None:
    """A field as a number, NaN where it is missing, None where it is text."""
    if field in MISSING:
        return float("nan")
    try:
        return None if "_" in field or (decimal == "," and "." in field) else float(field.replace(decimal, "."))
    except ValueError:
        return None


def looks_like_number(field: str) -> bool:
    """Whether a field is a number in some notation, or missing."""
    return field in MISSING or re.fullmatch(_NUMBER_LIKE, field, re.IGNORECASE) is not None


def _holds(column: Any, field: str) -> bool:
    from pyarrow import compute

    return bool(compute.any(compute.equal(column, field)).as_py())
