"""Delimited text, as separated by commas: opened, laid out as options or guesses say, and parsed by pyarrow."""

import codecs
import csv
import io as streams
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from ..fitted import default_names
from . import guesses
from .guesses import MISSING, SEPARATORS, Record

_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}  # by a file's first bytes
_ROW_NUMBERS = ("", "Unnamed: 0")  # the names that data frames give to them


class Layout(NamedTuple):
    """How a text file is laid out; what is None is guessed."""

    header: bool | None = None  #: whether the first line holds names
    separator: str | None = None  #: one character; a blank stands for any number of blanks
    decimal: str | None = None  #: a point or a comma


class Columns(NamedTuple):
    """The columns of a file, before any of them are chosen."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]  #: of each: empty for numbers, or what else it holds, such as "text"
    numbers: Callable[[Sequence[int]], np.ndarray]  #: positions of d columns -> (n, d) float64
    where: Callable[[int], str]  #: index of a row -> its place in the file, in words
    notes: tuple[str, ...] = ()  #: what was guessed
    doubts: tuple[str, ...] = ()  #: those guesses that are hardly better than another


class _Text(NamedTuple):
    """A text in UTF-8, its first record apart, and its layout."""

    file: str  # what it is called in errors
    content: bytes
    start: int  # of the second record
    separator: str
    decimal: str
    first_line: int
    first: list[str]
    width: int

    def records(self, first: int = 0) -> Iterator[Record]:
        """The records from one of them on."""
        return islice(guesses.records(self.content, self.separator), first, None)


def columns_of_text(file: str, content: bytes, layout: Layout) -> Columns:
    """The columns of a text file that is called ``file`` in errors."""
    # Text and columns
    try:
        content, notes = _as_utf8(file, content)
        separator = layout.separator or guesses.guess_separator(content)
        decimal = layout.decimal or guesses.guess_decimal(content, separator)
        text = _opened(file, content, separator, decimal)
        columns = _parsed(text)
    except csv.Error as error:
        raise ValueError(f"{file}: expected a text file of separated columns, got {error}") from error

    # Names, or a first row of numbers
    names, kinds, header, doubt = _named(text, columns, layout.header)

    # What was guessed
    notes += [f"first line: {'names' if header else 'numbers'}"] * (layout.header is None)
    notes += [f"separator: {SEPARATORS.get(separator)}"] * (layout.separator is None and separator != ",")
    notes += ["decimal comma"] * (layout.decimal is None and decimal == ",")
    doubts = [doubt] if doubt else []
    if layout.decimal is None and decimal == "," and not re.search(rb"\d,(?!\d{3}(?!\d))\d", content):
        doubts.append("decimal comma, though three digits follow every comma")

    def numbers(positions: Sequence[int]) -> np.ndarray:
        return np.column_stack([_numbers(text, columns[place], place, names[place], header) for place in positions])

    def where(row: int) -> str:
        return f"{file}, line {next(text.records(row + header))[0]}"

    return Columns(tuple(names), tuple(kinds), numbers, where, tuple(notes), tuple(doubts))


def _as_utf8(file: str, content: bytes) -> tuple[bytes, list[str]]:
    """A file's content without compression, in UTF-8 with lines that end in a line feed, and what it was before."""
    import pyarrow

    # Compression and encoding, by the first bytes
    notes = []
    codec = next((codec for start, codec in _COMPRESSED.items() if content.startswith(start)), None)
    if codec:
        try:
            content = pyarrow.CompressedInputStream(pyarrow.BufferReader(content), codec).read()
        except OSError as error:
            raise ValueError(f"{file}: expected a whole {codec} file, got {error}") from error
        notes.append(codec)
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    content = content.removeprefix(codecs.BOM_UTF8).removeprefix(b"#")  # as numpy.savetxt begins a header

    # What is no text
    try:
        if is_utf16:
            content = content.decode("utf-16").encode()
            notes.append("UTF-16")
        content.decode()
        wrong = content.find(0)
    except UnicodeDecodeError as error:
        wrong = error.start
    if wrong >= 0:
        where = f"{file}, line {content.count(10, 0, wrong) + 1}"
        raise ValueError(f"{where}: expected a text file in UTF-8 or UTF-16, got byte 0x{content[wrong]:02x}")
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in content else content, notes


def _opened(file: str, content: bytes, separator: str, decimal: str) -> _Text:
    """A text, its first record apart."""
    stream = streams.BytesIO(content)
    records = guesses.records(content, separator, stream)
    line, first = next(records, (0, []))
    start = stream.tell()
    second = next(records, (0, first))[1]
    if not first:
        raise ValueError(f"{file}: expected at least one row of numbers, got an empty file")
    has_row_names = guesses.has_row_names(separator, len(first), len(second))
    return _Text(file, content, start, separator, decimal, line, first, len(first) + has_row_names)


def _parsed(text: _Text) -> list[Any]:
    """The columns below the first record, as arrays of pyarrow."""
    import pyarrow
    from pyarrow import csv as parser

    if next(text.records(1), None) is None:
        return [pyarrow.chunked_array([pyarrow.nulls(0)])] * text.width
    stream = pyarrow.BufferOutputStream()  # a copy that is pyarrow's own, as its threads may let go of it last
    body = memoryview(text.content)[text.start :]
    stream.write(guesses.with_single_blanks(bytes(body)) if text.separator == " " else body)
    buffer = stream.getvalue()
    try:
        table = parser.read_csv(
            pyarrow.BufferReader(buffer),
            parser.ReadOptions(column_names=list(map(str, range(text.width))), block_size=min(buffer.size + 1, 2**30)),
            parser.ParseOptions(delimiter=text.separator, newlines_in_values=b'"' in text.content),
            parser.ConvertOptions(
                null_values=[blanks + word for blanks in ("", " ", "  ") for word in MISSING],
                strings_can_be_null=True,
                decimal_point=text.decimal,
                true_values=[],  # or 1 would be one
                false_values=[],
            ),
        )
    except pyarrow.ArrowInvalid as error:
        for line, fields in text.records(1):
            _check_width(text, line, fields)
        raise ValueError(f"{text.file}: expected a text file of separated columns, got {error}") from error
    return list(table.columns)


def _named(text: _Text, columns: Sequence[Any], header: bool | None) -> tuple[list[str], list[str], bool, str]:
    """Names and kinds of the columns, whether the first record is a header, and a doubt about it."""
    kinds, first, doubt = [guesses.kind_of(column) for column in columns], text.first, ""
    if header is None:
        header, doubt = (True, "") if len(first) < text.width else guesses.guess_header(first, columns, kinds)
    if not header:
        _check_width(text, text.first_line, first)
        kinds = ["" if len(column) == 0 else kind for column, kind in zip(columns, kinds, strict=True)]
        return default_names(text.width), kinds, False, doubt
    if not len(columns[0]):
        raise ValueError(f"{text.file}: expected at least one row of numbers below the header, got none")
    names = [""] * (text.width - len(first)) + first  # R writes none for the names of rows
    if len(names) > 1 and names[0] in _ROW_NUMBERS and all(names[1:]) and guesses.are_row_numbers(columns[0]):
        kinds[0] = "row numbers"
    return names, kinds, True, doubt


def _numbers(text: _Text, column: Any, position: int, name: str, header: bool) -> np.ndarray:
    """A column as numbers ``(n,)``, with the first record where that is no header."""

    def value(line: int, fields: Sequence[str]) -> float:
        found = guesses.number(fields[position], text.decimal)
        if found is None:
            mark = {".": "point", ",": "comma"}[text.decimal]
            expected = f"a number with a decimal {mark}" if guesses.looks_like_number(fields[position]) else "a number"
            where = f"{text.file}, line {line}, column {name}"
            raise ValueError(f"{where}: expected {expected}, got {fields[position]!r}")
        return found

    above = [] if header else [value(text.first_line, text.first)]
    if guesses.is_number(column.type):
        return np.concatenate([above, guesses.as_floats(column)])
    return np.array([*above, *(value(line, fields) for line, fields in text.records(1))])  # up to what is no number


def _check_width(text: _Text, line: int, fields: Sequence[str]) -> None:
    if len(fields) != text.width:
        raise ValueError(f"{text.file}, line {line}: expected {text.width} columns, got {len(fields)}")
