"""Tables of measurements: as Markdown, and as a file beside the benchmark that made them."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgmm

Row = dict[str, Any]


def table(rows: list[Row]) -> str:
    """Markdown, with means and the least of each ratio, a column whose name begins with "over", below."""
    columns = list(dict.fromkeys(column for row in rows for column in row))

    def cell(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(column, "")) for column in columns) + " |" for row in rows]
    for column in columns:
        ratios = [row[column] for row in rows if isinstance(row.get(column), float)]
        if column.startswith("over") and ratios:
            mean, median = np.exp(np.mean(np.log(ratios))), np.median(ratios)
            summary = f"geometric mean {mean:.3g}, median {median:.3g}, least {min(ratios):.3g}"
            lines.append(f"\n{column}: {summary}, rows {len(ratios)} of {len(rows)}")
    return "\n".join(lines)


def write(path: Path, title: str, rows: list[Row], *peers: str) -> None:
    """Print the table with versions and machine, and write it to ``path``; ``peers`` are versions of other software."""
    versions = [
        f"jaxgmm {jaxgmm.__version__}",
        *(f"{name} {version(name)}" for name in ("jax", "scikit-learn", "numpy")),
    ]
    device = f"{jax.devices()[0].device_kind}, {os.cpu_count()} {platform.machine()} cores, {jax.default_backend()}"
    text = f"# {title}\n\n{', '.join([*versions, *peers])}; {device}\n\n{table(rows)}\n"
    print(text)
    path.write_text(text)
