"""Options of the command line, and what each of them may be."""

import re
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..caching import enable_compilation_cache
from ..covariance.families import DIAG, FAMILIES, FAMILIES_1D, FULL, SPHERICAL, TIED, Family, get_family
from ..fitting.search import CRITERIA

ONE_FEATURE = [family.name for family in FAMILIES_1D]
_MOST = 10**6  # restarts, iterations: memory for each of them is allocated before the fit
_SKLEARN = [family.name for family in (FULL, TIED, DIAG, SPHERICAL)]
_LETTERS = [family.letters for family in FAMILIES]

Decorator = Callable[[Any], Any]

file = click.Path(path_type=Path, readable=False)  # what cannot be read is told by who reads it


def output_file(metavar: str, purpose: str, *names: str, required: bool = False) -> Decorator:
    """An option that names a file to write."""
    flags = names or ("-o", "--output")
    return click.option(*flags, type=file, metavar=metavar, help=purpose, required=required)


def all_of(*options: Decorator) -> Decorator:
    """Several options as one decorator, listed in the help in this order."""
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


def _keep_programs(_context: click.Context, _option: click.Parameter, without: bool) -> None:
    """Use the folder of compiled programs, if it can be used; what goes wrong in it only costs time."""
    if not without:
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
        with suppress(OSError):
            enable_compilation_cache()


no_cache = click.option(
    "--no-cache",
    is_flag=True,
    expose_value=False,
    callback=_keep_programs,
    help="Compile anew: use no programs kept in ~/.cache/jaxgmm by commands before.",
)


def _one_character(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """A separator as one character, from what people call it."""
    if text is None:
        return None
    character = {"tab": "\t", "\\t": "\t", "blanks": " "}.get(text, text)
    if len(character) != 1 or not character.isascii():
        raise click.BadParameter(f"expected one character, or tab, or blanks, got {text!r}")
    return character


def command_and_defaults() -> list[tuple[str, str]]:
    """The command that runs, as it was typed, and the options that it left at their defaults: they reproduce it."""
    context = click.get_current_context()
    left = ParameterSource.DEFAULT
    options = [option for option in context.command.params if context.get_parameter_source(str(option.name)) is left]
    valued = [option for option in options if type(option.default) in (str, int, float)]  # no flags
    return [
        ("command", str(context.obj)),
        ("other options", " ".join(f"{option.opts[-1]} {option.default}" for option in valued)),
    ]


# fmt: off
reading = all_of(
    click.option("--header/--no-header", default=None, show_default="guessed",
                 help="Whether the first line holds names."),
    click.option("--separator", metavar="CHARACTER", callback=_one_character, show_default="guessed",
                 help="What stands between columns: one character, or tab, or blanks."),
    click.option("--decimal", type=click.Choice([".", ","]), show_default="guessed", help="Decimal mark."),
    click.option("--ignore", multiple=True, metavar="COLUMN", help="Column to leave out; may be repeated."),
    click.option("--drop-missing", is_flag=True, help="Leave out rows with missing cells."),
)
# fmt: on


def fitting(restarts: int, tol: float) -> Decorator:
    """Options that fit, select and report share; those passed on to the library have its parameters' names."""
    # fmt: off
    return all_of(
        click.argument("data", required=False, type=file, metavar="[DATA.csv]"),
        click.option("--columns", metavar="A,B,...", help="Features to use; default all columns of numbers."),
        click.option("--weights", metavar="COLUMN", help="Column of row weights."),
        reading,
        click.option("--restarts", "n_init", type=click.IntRange(1, _MOST), default=restarts,
                     help="Restarts of each model, of which the best is kept."),
        click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Seed of the random starts."),
        click.option("--ridge", type=click.FloatRange(0), default=1e-6,
                     help="Added to each variance, relative to it."),
        click.option("--tol", type=click.FloatRange(0), default=tol,
                     help="Stop once the gain still to come is below this, in nats per row."),
        click.option("--max-iter", type=click.IntRange(0, _MOST), default=1000, help="Most EM iterations."),
        click.option("--progress/--no-progress", default=lambda: sys.stderr.isatty(),
                     show_default="where stderr is a terminal", help="Show progress on stderr."),
        no_cache,
    )
    # fmt: on


def _numbers(text: str) -> list[int]:
    """Numbers of components written as 3, 1,2,4 or 1:9, in ascending order."""
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,6})(?::(\d{1,6}))?", part.strip(), re.ASCII)
        several = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not several or several[0] < 1:
            raise click.BadParameter(f"expected numbers from 1 up, such as 3, or 1,2,4, or 1:9, got {text!r}")
        numbers.update(several)
    return sorted(numbers)


def _families(text: str) -> list[Family] | None:
    """Covariance families by name, separated by commas; None for all."""
    try:
        return None if text == "all" else [get_family(name.strip()) for name in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(str(error).replace("one of", "all, or some of")) from error


model_file = output_file("MODEL.safetensors", "Where to keep the model; as a numpy archive where it is called .npz.")

covariance = click.option(
    "--covariance",
    type=click.Choice([*_SKLEARN, *_LETTERS, *ONE_FEATURE]),
    default="full",
    metavar=f"[{'|'.join(_SKLEARN)}]|LETTERS",
    help=f"Covariance family; in mclust's letters {', '.join(_LETTERS)}, or for one feature E, V.",
)

# fmt: off
searching = all_of(
    click.option("-k", "--components", type=_numbers, default="1:9", metavar="FIRST:LAST",
                 help="Numbers of components: 1:9, or 3, or 1,2,4."),
    click.option("--families", type=_families, default="all", metavar="EEE,VVV,...",
                 help="Covariance families, by the names of fit --covariance, or all."),
    click.option("--criterion", type=click.Choice(CRITERIA), default="bic",
                 help="Criterion to choose by, smaller is better: bic, icl, aic or cv."),
    fitting(restarts=10, tol=1e-5),
)
# fmt: on
