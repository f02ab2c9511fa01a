"""The command line: fit a mixture to a table of numbers, search for the best one, and apply it to another table."""

from .program import run as run

__all__ = ["run"]
