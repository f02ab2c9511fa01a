"""The program: which commands there are, without importing them, and how errors are told."""

import shlex
from collections.abc import Sequence
from typing import Any

import click

from .. import __version__

_PURPOSES = {
    "fit": "Fit a mixture to a table, or to Old Faithful.",
    "select": "Fit many mixtures, and keep the one that a criterion likes best.",
    "report": "Search as select does, and write a page of tables and pictures.",
    "predict": "Write each row's label, log-density and responsibilities, as CSV.",
}
_EXTRAS = {"matplotlib": "plot", "tqdm": "cli", "safetensors": "io", "pyarrow": "io", "jinja2": "report"}


class _Commands(click.Group):
    """The commands, imported when one of them is called: importing JAX takes a second or two."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_PURPOSES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _PURPOSES:
            return None
        from .commands import COMMANDS

        return COMMANDS[cmd_name]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_PURPOSES.items()))

    def invoke(self, ctx: click.Context) -> Any:
        import jax

        with jax.enable_x64(True):  # whatever JAX's setting
            return super().invoke(ctx)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, message="jaxgmm %(version)s")
def _program() -> None:
    """Gaussian mixture models fitted by EM."""


def run(arguments: Sequence[str]) -> int:
    """Run one command of the command line; what cannot be carried out is refused in one line on stderr.

    Args:
        arguments: the words behind ``jaxgmm`` on the command line.

    Returns:
        The exit code: 0, 1 for a fit that failed, 2 for a command that cannot be carried out, 130 for an interruption.

    Example:
        >>> run(["--version"])
        jaxgmm ...
        0
    """
    try:
        typed = shlex.join(["jaxgmm", *arguments])
        return _program.main(list(arguments), prog_name="jaxgmm", standalone_mode=False, obj=typed) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except (click.Abort, KeyboardInterrupt):
        code, line = 130, "interrupted"
    except Exception as error:
        code, line = _told(error)
    click.echo("jaxgmm: " + " ".join(line.split()), err=True)  # one line, however many the error had
    return code


def _told(error: Exception) -> tuple[int, str]:
    """Exit code and words for an error of the options, the data, memory, files or packages; others are raised."""
    if isinstance(error, click.ClickException):
        return 2, error.format_message()
    if isinstance(error, OSError):
        return 2, f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if package in _EXTRAS:
            return 2, f"this needs {package}: pip install 'jaxgmm[{_EXTRAS[package]}]'"
        raise error

    # The library's own, and the compiler's
    from jax.errors import JaxRuntimeError

    from ..types import FitError

    if isinstance(error, FitError):
        return 1, f"fit failed: {error}"
    if isinstance(error, ValueError | TypeError | MemoryError | JaxRuntimeError):
        return 2, str(error)
    raise error
