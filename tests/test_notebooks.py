"""Notebooks are executed: an error in one is a failing test."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


LONG = ("02_choosing_a_model", "03_composing", "04_from_scikit_learn")  # a minute each on one core
MARKED = [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in LONG), id=path.stem) for path in NOTEBOOKS]


@pytest.mark.parametrize("path", MARKED)
def test_notebook_runs(path):
    NotebookClient(nbformat.read(path, as_version=4), timeout=600, kernel_name="python3").execute()
