"""The command line: fit a mixture to a table of numbers, search for the best one, and apply it to another."""

import csv
import io as streams
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from . import __version__, io, plotting
from .covariance.families import DIAG, FAMILIES, FAMILIES_1D, FULL, SPHERICAL, TIED, Family, get_family
from .datasets import load_faithful
from .files.saved import SavedFit, as_saved_fit
from .fitting.from_data import fit as fit_mixture
from .fitting.selection import CRITERIA
from .fitting.selection import select as select_mixture
from .mixture.density import log_prob, predict, responsibilities
from .report import text as display
from .report.pages import page
from .types import FitError, Status, describe

_MOST = 10**6  # restarts, iterations: room for each is set aside
_SKLEARN = [family.name for family in (FULL, TIED, DIAG, SPHERICAL)]
_LETTERS = [family.letters for family in FAMILIES]
_ONE_FEATURE = [family.name for family in FAMILIES_1D]
_PICTURES = (".png", ".pdf", ".svg")
_EXTRAS = {"matplotlib": "plot", "tqdm": "cli", "safetensors": "io", "pyarrow": "io", "jinja2": "report"}


def run(arguments: Sequence[str]) -> int:
    """Run one command; a refusal is one line on stderr and exit code 2.

    Args:
        arguments: what stands behind ``jaxgmm`` on the command line.

    Returns:
        The exit code: 0, 1 for a fit that failed, 2 for a command that cannot be carried out.

    Example:
        >>> run(["--version"])
        jaxgmm ...
        0
    """
    try:
        with jax.enable_x64(True):
            return _commands.main(list(arguments), prog_name="jaxgmm", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except FitError as error:
        click.echo(f"jaxgmm: fit failed: {error}", err=True)
        return 1
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
    click.echo("jaxgmm: " + " ".join(refusal.split()), err=True)
    return 2


def _destination(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Where output will go, refused before the work where it cannot."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise ValueError(f"{path}: expected a file in a directory that exists")
    return path


def _output(metavar: str, purpose: str, *names: str, required: bool = False) -> Callable[[Any], Any]:
    options: dict[str, Any] = {"type": click.Path(path_type=Path), "callback": _destination, "required": required}
    return click.option(*(names or ("-o", "--output")), metavar=metavar, help=purpose, **options)


_MODEL = _output("MODEL.safetensors", "Where to keep the model; as a numpy archive where it is called .npz.")


def _all_of(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


def _fitting(restarts: int, tol: float) -> Callable[[Any], Any]:
    """What all fits have in common; what goes into the library unchanged has its name there."""
    # fmt: off
    return _all_of(
        click.argument("data", required=False, type=click.Path(path_type=Path), metavar="[DATA.csv]"),
        click.option("--columns", metavar="A,B,...", help="Features to use; default all columns."),
        click.option("--weights", metavar="COLUMN", help="Column of row weights."),
        click.option("--restarts", "n_init", type=click.IntRange(1, _MOST), default=restarts,
                     help="Random starts, of which the best is kept."),
        click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Seed of the random starts."),
        click.option("--ridge", type=click.FloatRange(0), default=1e-6,
                     help="Added to covariances, relative to variances."),
        click.option("--tol", type=click.FloatRange(0), default=tol,
                     help="Gain in nats per row not worth an iteration."),
        click.option("--max-iter", type=click.IntRange(0, _MOST), default=1000, help="Most EM iterations."),
        click.option("--progress/--no-progress", default=lambda: sys.stderr.isatty(),
                     show_default="where stderr is a terminal", help="Show how far it is."),
    )
    # fmt: on


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, message="jaxgmm %(version)s")
def _commands() -> None:
    """Gaussian mixture models fitted by EM."""


@_commands.command()
@click.option("-k", "--components", type=click.IntRange(min=1), default=2, help="Number of components.")
@click.option(
    "--covariance",
    type=click.Choice([*_SKLEARN, *_LETTERS, *_ONE_FEATURE]),
    default="full",
    metavar=f"[{'|'.join(_SKLEARN)}]|LETTERS",
    help=f"Covariance family; in mclust's letters {', '.join(_LETTERS)}, or for one feature E, V.",
)
@_fitting(restarts=16, tol=1e-6)
@_MODEL
def fit(
    data: Path | None, columns: str | None, weights: str | None,
    components: int, covariance: str, seed: int, output: Path | None, **options: Any,
) -> None:  # fmt: skip
    """Fit a mixture to DATA.csv or DATA.parquet; without it, to the embedded Old Faithful data."""
    x, names, row_weights = _features(data, columns, weights)
    with _about(data):
        if covariance in _ONE_FEATURE and x.shape[1] > 1:
            raise ValueError(f"--covariance {covariance} is for one feature, got {x.shape[1]}: use {covariance}II")
        result = fit_mixture(jax.random.key(seed), x, components, row_weights, family=covariance, **options)
    saved = as_saved_fit(result, x, row_weights, family=covariance, feature_names=names)
    click.echo(display.text(display.sections(result, saved, _size(data, x))))
    if not Status(int(result.best.status)).is_usable:
        raise FitError(describe(result.best.status))
    _keep(output, saved)


def _numbers(text: str) -> list[int]:
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,6})(?::(\d{1,6}))?", part.strip(), re.ASCII)
        several = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not several or several[0] < 1:
            raise click.BadParameter(f"expected numbers from 1 up, such as 3, or 1,2,4, or 1:9, got {text!r}")
        numbers.update(several)
    return sorted(numbers)


def _families(text: str) -> list[Family] | None:
    try:
        return None if text == "all" else [get_family(name.strip()) for name in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(str(error).replace("one of", "all, or some of")) from error


_search = _all_of(
    click.option("-k", "--components", type=_numbers, default="1:9", metavar="FIRST:LAST", help="Or 3, or 1,2,4."),
    click.option("--families", type=_families, default="all", metavar="EEE,VVV,...", help="As for fit --covariance."),
    click.option("--criterion", type=click.Choice(CRITERIA), default="bic", help="What the best model has least of."),
    _fitting(restarts=3, tol=1e-5),
)


@_commands.command()
@_search
@_MODEL
@_output("PICTURE.png", "Where to draw the criterion: png, pdf or svg.", "--plot")
def select(
    data: Path | None, columns: str | None, weights: str | None,
    components: list[int], seed: int, output: Path | None, plot: Path | None, **options: Any,
) -> None:  # fmt: skip
    """Fit many mixtures to DATA.csv, or to Old Faithful, and keep the one that a criterion likes best."""
    figure = _figure(plot)
    x, names, row_weights = _features(data, columns, weights)
    with _about(data):
        found = select_mixture(jax.random.key(seed), x, components, weights=row_weights, **options)
    saved = as_saved_fit(found, x, row_weights, feature_names=names)
    click.echo(display.text(display.sections(found, saved, _size(data, x))))
    if plot is not None:
        plotting.criteria(found, ax=figure.subplots())
        io.write_atomically(plot, lambda file: figure.savefig(file, format=plot.suffix[1:].lower(), dpi=150))
        click.echo(f"\n{found.criterion.upper()} drawn to {plot}")
    _keep(output, saved)


@_commands.command()
@_search
@_output("REPORT.html", "Where to write the page.", required=True)
def report(
    data: Path | None, columns: str | None, weights: str | None,
    components: list[int], seed: int, output: Path, **options: Any,
) -> None:  # fmt: skip
    """Search as select does, and write a page of tables and pictures that needs no other file."""
    for package in ("jinja2", "matplotlib"):  # before the work, so that nothing is found missing after it
        import_module(package)
    x, names, row_weights = _features(data, columns, weights)
    with _about(data):
        found = select_mixture(jax.random.key(seed), x, components, weights=row_weights, **options)
        title = f"Gaussian mixtures of {data.name if data else 'Old Faithful'}"
        content = page(found, x, row_weights, feature_names=names, title=title)
    io.write_atomically(output, lambda file: file.write(content.encode()))
    click.echo(f"report written to {output}")


@_commands.command("predict")
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL")
@click.argument("data", type=click.Path(path_type=Path), metavar="DATA.csv")
@_output("OUT.csv", "Where to write; default stdout.")
def predict_rows(model: Path, data: Path, output: Path | None) -> None:
    """Write each row's label, log-density and responsibilities under a fitted model, as CSV."""
    saved = io.load(model)
    params, names = saved.params, saved.feature_names
    x, _ = io.read_columns(data, partial(_columns_of_model, names))
    missing = np.flatnonzero(~np.isfinite(x).all(1))
    if missing.size:
        raise ValueError(f"{data}: expected finite values, got {x[missing[0]]} at row {missing[0]}")
    posterior = np.asarray(responsibilities(params, x))
    header = ["label", "log_density", *(f"responsibility_{j}" for j in range(posterior.shape[1]))]
    columns = zip(predict(params, x).tolist(), log_prob(params, x).tolist(), posterior.tolist(), strict=True)
    text = streams.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [header, *([label, density, *row] for label, density, row in columns)]
    )
    if output is None:
        click.echo(text.getvalue(), nl=False)
    else:
        io.write_atomically(output, lambda file: file.write(text.getvalue().encode()))


def _features(data: Path | None, columns: str | None, weights: str | None) -> tuple[Any, tuple[str, ...], Any]:
    """Rows, feature names, and row weights or None."""
    if data is None:
        if columns is not None or weights is not None:
            raise click.UsageError("--columns and --weights go with a file DATA.csv")
        x, names = load_faithful()
        return x, names, None
    features = None if columns is None else [name.strip() for name in columns.split(",")]
    if weights is None:
        return *io.read_table(data, features), None
    x, names = io.read_columns(data, lambda names: [*_all_but(weights, names, features), weights])
    return x[:, :-1], names[:-1], x[:, -1]


def _all_but(weights: str, names: Sequence[str], features: Sequence[str] | None) -> Sequence[str]:
    """The features to use: by default all columns but that of the row weights."""
    return [name for name in names if name != weights] if features is None else features


def _columns_of_model(features: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """The columns of a table that hold a model's features: by name, or by position where one side has no names."""
    has_no_names = _unnamed(features) or _unnamed(names)
    by_position = has_no_names and len(names) == len(features) and not set(features) <= set(names)
    return names if by_position else features


def _unnamed(names: Sequence[str]) -> bool:
    return list(names) == [f"x{column}" for column in range(1, len(names) + 1)]


@contextmanager
def _about(data: Path | None) -> Iterator[None]:
    """Say of which data a complaint is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{data or 'Old Faithful'}: {error}") from error


def _figure(plot: Path | None) -> Any:
    """An empty figure if there is a file for it, made before the work so that nothing is found missing after it."""
    if plot is None:
        return None
    if plot.suffix.lower() not in _PICTURES:
        raise ValueError(f"{plot}: expected a file name that ends in one of {', '.join(_PICTURES)}")
    from matplotlib.figure import Figure

    return Figure(figsize=(7, 5), layout="constrained")


def _size(data: Path | None, x: Any) -> display.Facts:
    return [("data", f"{data or 'Old Faithful (embedded)'}: {display.size(x)}")]


def _keep(output: Path | None, saved: SavedFit) -> None:
    if output is not None:
        io.save(output, saved)
        click.echo(f"\nmodel written to {output}")
