"""The commands: fit, select, report and predict, and how their errors are told."""

import csv
import io as streams
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from .. import __version__, io, plotting
from ..files.saved import SavedFit, as_saved_fit
from ..fitting.from_data import fit as fit_mixture
from ..fitting.selection import select as select_mixture
from ..mixture.density import log_prob, predict, responsibilities
from ..report import text as display
from ..report.pages import page
from ..types import FitError, GMMParams, Status, describe
from .data import naming, rows_to_predict, training_rows
from .options import ONE_FEATURE, covariance, fitting, model_file, no_cache, output_file, searching

_PICTURES = (".png", ".pdf", ".svg")
_EXTRAS = {"matplotlib": "plot", "tqdm": "cli", "safetensors": "io", "pyarrow": "io", "jinja2": "report"}


def run(arguments: Sequence[str]) -> int:
    """Run one command of the command line; what cannot be carried out is refused in one line on stderr.

    Args:
        arguments: the words behind ``jaxgmm`` on the command line.

    Returns:
        The exit code: 0, 1 for a fit that failed, 2 for a command that cannot be carried out.

    Example:
        >>> run(["--version"])
        jaxgmm ...
        0
    """
    # The command, in float64 whatever JAX's setting.
    try:
        with jax.enable_x64(True):
            return _commands.main(list(arguments), prog_name="jaxgmm", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except FitError as error:
        click.echo(f"jaxgmm: fit failed: {error}", err=True)
        return 1

    # Refusals: options, data, memory, files, packages, and the user's interruption.
    except click.ClickException as error:
        refusal = error.format_message()
    except (ValueError, TypeError, MemoryError, jax.errors.JaxRuntimeError) as error:
        refusal = str(error)
    except OSError as error:
        refusal = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        refusal = f"this needs {package}: pip install 'jaxgmm[{_EXTRAS[package]}]'"
    except (click.Abort, KeyboardInterrupt):
        refusal = "interrupted"

    # One line, however many the error had.
    click.echo("jaxgmm: " + " ".join(refusal.split()), err=True)
    return 2


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, message="jaxgmm %(version)s")
def _commands() -> None:
    """Gaussian mixture models fitted by EM."""


@_commands.command()
@click.option("-k", "--components", type=click.IntRange(min=1), default=2, help="Number of components.")
@covariance
@fitting(restarts=16, tol=1e-6)
@model_file
def fit(
    data: Path | None, columns: str | None, weights: str | None,
    components: int, covariance: str, seed: int, output: Path | None, **options: Any,
) -> None:  # fmt: skip
    """Fit a mixture to DATA.csv or DATA.parquet; without it, to the embedded Old Faithful data."""
    x, names, row_weights = training_rows(data, columns, weights)
    with naming(data):
        if covariance in ONE_FEATURE and x.shape[1] > 1:
            raise ValueError(f"--covariance {covariance} is for one feature, got {x.shape[1]}: use {covariance}II")
        result = fit_mixture(jax.random.key(seed), x, components, weights=row_weights, family=covariance, **options)
    saved = as_saved_fit(result, x, row_weights, family=covariance, feature_names=names)
    click.echo(display.text(display.sections(result, saved, _facts(data, x))))
    status = Status(int(result.best.status))
    if not status.is_usable:
        raise FitError(describe(status))
    _write_model(output, saved)


@_commands.command()
@searching
@model_file
@output_file("PICTURE.png", "Where to draw the criterion: png, pdf or svg.", "--plot")
def select(
    data: Path | None, columns: str | None, weights: str | None,
    components: list[int], seed: int, output: Path | None, plot: Path | None, **options: Any,
) -> None:  # fmt: skip
    """Fit many mixtures to DATA.csv, or to Old Faithful, and keep the one that a criterion likes best."""
    figure = _figure(plot)
    x, names, row_weights = training_rows(data, columns, weights)
    with naming(data):
        selection = select_mixture(jax.random.key(seed), x, components, weights=row_weights, **options)
    saved = as_saved_fit(selection, x, row_weights, feature_names=names)
    click.echo(display.text(display.sections(selection, saved, _facts(data, x))))
    if plot is not None:
        plotting.criteria(selection, ax=figure.subplots())
        io.write_atomically(plot, lambda file: figure.savefig(file, format=plot.suffix[1:].lower(), dpi=150))
        click.echo(f"\n{selection.criterion.upper()} drawn to {plot}")
    _write_model(output, saved)


@_commands.command()
@searching
@output_file("REPORT.html", "Where to write the page.", required=True)
def report(
    data: Path | None, columns: str | None, weights: str | None,
    components: list[int], seed: int, output: Path, **options: Any,
) -> None:  # fmt: skip
    """Search as select does, and write a page of tables and pictures that needs no other file."""
    for package in ("jinja2", "matplotlib"):  # a missing one is reported before the search, not after it
        import_module(package)
    x, names, row_weights = training_rows(data, columns, weights)
    with naming(data):
        selection = select_mixture(jax.random.key(seed), x, components, weights=row_weights, **options)
        title = f"Gaussian mixtures of {data.name if data else 'Old Faithful'}"
        content = page(selection, x, row_weights, feature_names=names, title=title)
    io.write_atomically(output, lambda file: file.write(content.encode()))
    click.echo(f"report written to {output}")


@_commands.command("predict")
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL")
@click.argument("data", type=click.Path(path_type=Path), metavar="DATA.csv")
@output_file("OUT.csv", "Where to write; default stdout.")
@no_cache
def predict_rows(model: Path, data: Path, output: Path | None) -> None:
    """Write each row's label, log-density and responsibilities under a fitted model, as CSV."""
    saved = io.load(model)
    content = _predictions(saved.params, rows_to_predict(data, saved.feature_names))
    if output is None:
        click.echo(content, nl=False)
    else:
        io.write_atomically(output, lambda file: file.write(content.encode()))


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


def _facts(data: Path | None, x: Any) -> display.Facts:
    """The first line of a summary: where the rows come from, and how many there are."""
    return [("data", f"{data or 'Old Faithful (embedded)'}: {display.size(x)}")]


def _write_model(output: Path | None, saved: SavedFit) -> None:
    if output is not None:
        io.save(output, saved)
        click.echo(f"\nmodel written to {output}")
