"""Tables of facts as plain text and as HTML, and numbers with as many digits as their spread calls for."""

import base64
import io as streams
import math
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

Facts = Sequence[tuple[str, str]]  # name, value

_DIGITS = 4  # of a standard deviation
_LONGEST_NUMBER, _LONGEST_PRECISE = 9, 16  # digits before the point that are written out, where most of them count
_LONGEST_NAME = 40
_WIDEST_TABLE = 96  # characters that fit side by side on paper


class Section(NamedTuple):
    """Part of a report: facts, each a name and a value; or, where there is a title, a table under a header."""

    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""


def text(content: Sequence[Section]) -> str:
    """Sections of a report as plain text: one fact on each line, columns of tables aligned."""

    def lines(section: Section) -> list[str]:
        if not section.title:
            column = max(16, *(len(name) + 2 for name, _ in section.rows))
            return [f"{name:<{column}}{value}".rstrip() for name, value in section.rows]
        widths = [max(map(len, column)) for column in zip(*section.rows, strict=True)]
        table = ("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in section.rows)
        return [f"{section.title}:", *(line.rstrip() for line in table), *([section.note] if section.note else [])]

    return "\n\n".join("\n".join(lines(section)) for section in content)


def components(k: int) -> str:
    """A number of components in words."""
    return "1 component" if k == 1 else f"{k} components"


def html(content: Sequence[Section]) -> str:
    """Sections of a report as HTML tables, with all names and values escaped; cells say of which column they are."""

    def line(cells: Sequence[str], tag: str, align: str, labels: Sequence[str] = ()) -> str:
        style = f'style="text-align: {align}"'  # for each cell, as notebooks style cells themselves
        named = [f'{style} data-label="{escape(label)}"' for label in labels] or [style] * len(cells)
        tags = ["th", *[tag] * (len(cells) - 1)]
        parts = zip(tags, named, cells, strict=True)
        return "<tr>" + "".join(f"<{tag} {about}>{escape(cell)}</{tag}>" for tag, about, cell in parts) + "</tr>"

    def table(section: Section) -> str:
        if not section.title:
            facts = "".join(line(row, "td", "left") for row in section.rows)
            return f'<table class="facts"><tbody>{facts}</tbody></table>'
        header, *body = section.rows
        style = "caption-side: top; text-align: left; white-space: nowrap"
        caption = f'<caption style="{style}">{escape(section.title)}</caption>'
        rows = "".join(line(row, "td", "right", header) for row in body)
        head = f"{caption}<thead>{line(header, 'th', 'right')}</thead>"
        note = f"<p>{escape(section.note)}</p>" if section.note else ""
        return f'<table class="columns">{head}<tbody>{rows}</tbody></table>{note}'

    return "\n".join(table(section) for section in content)


def as_wide_as_paper(section: Section) -> list[Section]:
    """A table, or several where its columns are too many for a sheet of paper; each begins with the first column."""
    if not section.title:
        return [section]
    widths = [max(map(len, column)) + 2 for column in zip(*section.rows, strict=True)]
    parts: list[list[int]] = [[]]
    for column, width in enumerate(widths[1:], start=1):
        if parts[-1] and sum(widths[c] for c in (0, *parts[-1])) + width > _WIDEST_TABLE:
            parts.append([])
        parts[-1].append(column)
    titles = [section.title, *[f"{section.title}, continued"] * (len(parts) - 1)]
    notes = [*[""] * (len(parts) - 1), section.note]
    tables = ([[row[0], *(row[column] for column in part)] for row in section.rows] for part in parts)
    return [Section(*of_part) for of_part in zip(tables, titles, notes, strict=True)]


def image(figure: Any, description: str) -> str:
    """A matplotlib figure as an HTML image that needs no other file, as wide as its place allows."""
    content = streams.BytesIO()
    figure.savefig(content, format="png", dpi=200)
    width = round(96 * figure.get_figwidth())
    source = f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
    return f'<img src="{source}" alt="{escape(description)}" style="width: 100%; max-width: {width}px">'


def shortened(name: str) -> str:
    """A name of a feature, cut where it is long."""
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def with_deviation(mean: float, deviation: float, digits: int = 16) -> str:
    """A mean and a standard deviation, down to the same decimal place: the fourth digit of the deviation.

    Args:
        mean: the mean.
        deviation: how far values are from it, as a rule.
        digits: how many of the mean's are known.

    Example:
        >>> with_deviation(1700000029.4321, 17.318), with_deviation(54.4788, 5.8657), with_deviation(0.0, 2.0)
        ('1700000029.43 ± 17.32', '54.479 ± 5.866', '0 ± 2')
    """
    return f"{to_spread(mean, deviation, digits)} ± {to_spread(deviation, deviation)}"


def to_spread(number: float, deviation: float, digits: int = 16) -> str:
    """A number down to the decimal place of the fourth digit of a standard deviation, if so many ``digits`` are known.

    All that are known where the deviation is zero.

    Example:
        >>> to_spread(1700000029.4321, 17.318), to_spread(1700000029.4321, 17.318, digits=8)
        ('1700000029.43', '1700000000')
    """
    if not (math.isfinite(number) and math.isfinite(deviation) and deviation > 0):
        return f"{number:.{5 if deviation else min(digits, 15)}g}"
    place = _magnitude(deviation) - _DIGITS + 1  # of the last digit
    return _to_place(number, max(place, _magnitude(number) - digits + 1))


def _magnitude(number: float) -> int:
    """The place of the first digit, as a power of ten."""
    return math.floor(math.log10(abs(number))) if number else -400


def _to_place(number: float, place: int) -> str:
    """A number rounded to a power of ten; without trailing zeros where it needs no rounding."""
    magnitude = max(_magnitude(number), place)
    if -5 <= magnitude < _LONGEST_NUMBER or (0 < magnitude < _LONGEST_PRECISE and place < 4):
        shown = f"{round(number, -place) + 0.0:.{max(0, -place)}f}"
        is_exact = "." in shown and float(shown) == number
        return shown.rstrip("0").rstrip(".") if is_exact else shown
    return f"{number:.{magnitude - place}e}"
