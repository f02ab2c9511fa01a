"""The commands: fit, select, report and predict."""

import csv
import io as streams
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from .. import io, plotting
from ..files.saved import SavedFit, as_saved_fit
from ..fitting.from_data import fit as fit_mixture
from ..fitting.selection import select as select_mixture
from ..mixture.density import log_prob, predict, responsibilities
from ..report import text as display
from ..report.pages import page
from ..types import FitError, GMMParams, describe
from .data import Rows, checksum, name_of, naming, reading_of, rows_to_predict, training_rows
from .options import (
    ONE_FEATURE,
    command_and_defaults,
    covariance,
    file,
    fitting,
    model_file,
    no_cache,
    output_file,
    reading,
    searching,
)
from .outputs import STANDARD, check_files, say, write

_PICTURES = (".png", ".pdf", ".svg")


@click.command()
@click.option("-k", "--components", type=click.IntRange(min=1), default=2, help="Number of components.")
@covariance
@fitting(restarts=16, tol=1e-6)
@model_file
def fit(
    data: Path | None, columns: str | None, weights: str | None,
    components: int, covariance: str, seed: int, output: Path | None, **options: Any,
) -> None:  # fmt: skip
    """Fit a mixture to DATA.csv or DATA.parquet; without it, to the embedded Old Faithful data."""
    check_files([data], [output])
    rows = training_rows(data, columns, weights, reading_of(options))
    with naming(data):
        if covariance in ONE_FEATURE and rows.x.shape[1] > 1:
            raise ValueError(f"--covariance {covariance} is for one feature, got {rows.x.shape[1]}: use {covariance}II")
        result = fit_mixture(
            jax.random.key(seed), rows.x, components, weights=rows.weights, family=covariance, **options
        )
    saved = as_saved_fit(result, rows.x, rows.weights, family=covariance, feature_names=rows.names)
    status = result.status
    written = _write_model(output, saved) if status.is_usable else ""
    say(display.text(display.sections(result, saved, _facts(data, rows))) + written, to_stderr=output == STANDARD)
    if not status.is_usable:
        raise FitError(describe(status))


@click.command()
@searching
@model_file
@output_file("PICTURE.png", "Where to draw the criterion: png, pdf or svg.", "--plot")
def select(
    data: Path | None, columns: str | None, weights: str | None,
    components: list[int], seed: int, output: Path | None, plot: Path | None, **options: Any,
) -> None:  # fmt: skip
    """Fit many mixtures to DATA.csv, or to Old Faithful, and keep the one that a criterion likes best."""
    check_files([data], [output, plot])
    figure = _figure(plot)
    rows = training_rows(data, columns, weights, reading_of(options))
    with naming(data):
        selection = select_mixture(jax.random.key(seed), rows.x, components, weights=rows.weights, **options)
    saved = as_saved_fit(selection, rows.x, rows.weights, feature_names=rows.names)
    written = ""
    if plot is not None:
        plotting.criteria(selection, ax=figure.subplots())
        picture = streams.BytesIO()
        figure.savefig(picture, format=plot.suffix[1:].lower(), dpi=150)
        write(plot, picture.getvalue())
        written = f"\n\n{selection.criterion.upper()} drawn to {plot}"
    written += _write_model(output, saved)
    say(display.text(display.sections(selection, saved, _facts(data, rows))) + written, to_stderr=output == STANDARD)


@click.command()
@searching
@output_file("REPORT.html", "Where to write the page.", required=True)
def report(
    data: Path | None, columns: str | None, weights: str | None,
    components: list[int], seed: int, output: Path, **options: Any,
) -> None:  # fmt: skip
    """Search as select does, and write a page of tables and pictures that needs no other file."""
    for package in ("jinja2", "matplotlib"):  # a missing one is reported before the search, not after it
        import_module(package)
    check_files([data], [output])
    rows = training_rows(data, columns, weights, reading_of(options))
    with naming(data):
        selection = select_mixture(jax.random.key(seed), rows.x, components, weights=rows.weights, **options)
        title = f"Gaussian mixtures of {Path(name_of(data)).name}"
        origin = [*_facts(data, rows), *checksum(data), *command_and_defaults()]
        content = page(selection, rows.x, rows.weights, feature_names=rows.names, title=title, origin=origin)
    write(output, content.encode())
    written = f"\n\nreport written to {output}"
    say(display.text([display.Section(_facts(data, rows))]) + written, to_stderr=output == STANDARD)


@click.command("predict")
@click.argument("model", type=file, metavar="MODEL")
@click.argument("data", type=file, metavar="DATA.csv")
@output_file("OUT.csv", "Where to write; default standard output.")
@reading
@no_cache
def predict_rows(model: Path, data: Path, output: Path | None, **options: Any) -> None:
    """Write each row's label, log-density and responsibilities under a fitted model, as CSV."""
    check_files([model, data], [output])
    saved = _read_model(model)
    x, notes = rows_to_predict(data, saved.feature_names, reading_of(options))
    write(output or STANDARD, _predictions(saved.params, x).encode())
    if notes:
        say(f"jaxgmm: {name_of(data)}: {'; '.join(notes)}", to_stderr=True)


COMMANDS = {str(command.name): command for command in (fit, select, report, predict_rows)}


def _predictions(params: GMMParams, x: np.ndarray) -> str:
    """Label, log-density and responsibilities of each row, as comma-separated text under a header."""
    posterior = np.asarray(responsibilities(params, x))
    header = ["label", "log_density", *(f"responsibility_{j}" for j in range(posterior.shape[1]))]
    columns = zip(predict(params, x).tolist(), log_prob(params, x).tolist(), posterior.tolist(), strict=True)
    text = streams.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *([label, density, *row] for label, density, row in columns)])
    return text.getvalue()


def _figure(plot: Path | None) -> Any:
    """An empty figure where a picture is asked for; a missing matplotlib is so reported before the search."""
    if plot is None:
        return None
    if plot.suffix.lower() not in _PICTURES:
        raise ValueError(f"{plot}: expected a file name that ends in one of {', '.join(_PICTURES)}")
    from matplotlib.figure import Figure

    return Figure(figsize=(7, 5), layout="constrained")


def _facts(data: Path | None, rows: Rows) -> display.Facts:
    """The first lines of a summary: where the rows come from, how many there are, and what was guessed of them."""
    name = "Old Faithful (embedded)" if data is None else name_of(data)
    facts = [("data", f"{name}: {display.size(rows.x, rows.weights)}")]
    return [*facts, ("read as", "; ".join(rows.notes))] if rows.notes else facts


def _read_model(path: Path) -> SavedFit:
    if path != STANDARD:
        return io.load(path)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "standard input")
        model.write_bytes(sys.stdin.buffer.read())
        return io.load(model)


def _write_model(output: Path | None, saved: SavedFit) -> str:
    """Write a model where one is to be kept, and say so."""
    if output is None:
        return ""
    if output != STANDARD:
        io.save(output, saved)
        return f"\n\nmodel written to {output}"
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.safetensors")
        io.save(model, saved)
        write(STANDARD, model.read_bytes())
    return ""
