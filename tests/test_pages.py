"""Pages say what the library and its neighbours have today: options, arguments, attributes, the first lines to type."""

import doctest
import inspect
import re
from operator import attrgetter
from pathlib import Path

import click
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn import mixture

import jaxgmm
from jaxgmm.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def first_cells(page):
    """Names in the first column of a page's tables."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    cells = [line.split("|")[1] for line in lines if line.startswith("| `")]
    return {name.strip("()") for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def option_row(option):
    """An option of the command line as cells of a table: how to write it, its help, its default."""
    metavar = f" {option.metavar}" if option.metavar and "|" not in option.metavar else ""
    flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
    flags = flags.removesuffix("`") + f"{metavar}`"
    default = option.show_default if isinstance(option.show_default, str) else option.default
    is_shown = isinstance(default, str | int | float) and not isinstance(default, bool)
    return f"| {flags} | {option.help} | {default if is_shown else ''} |"


def test_names_on_the_pages_exist():
    names = {name for page in PAGES for name in re.findall(r"\bjaxgmm(?:\.[A-Za-z_]\w*)+", page.read_text())}
    assert len(names) > 40
    for name in names:
        attrgetter(name.removeprefix("jaxgmm."))(jaxgmm)


def test_files_that_the_readme_links_to_exist():
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / "README.md").read_text())
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_page_of_the_command_line_lists_its_options():
    commands = {}
    for name, command in COMMANDS.items():
        for option in command.params:
            if isinstance(option, click.Option):
                commands.setdefault(option_row(option), []).append(name)
    expected = [f"{row} {', '.join(names)} |" for row, names in commands.items()]
    lines = (ROOT / "docs" / "command_line.md").read_text().splitlines()
    assert [line for line in lines if line.startswith("| `-")] == expected


def test_page_on_scikit_learn_names_every_argument_attribute_and_method():
    estimator = mixture.GaussianMixture
    fitted = estimator().fit(np.array([[0.0], [1.0], [3.0]]))
    attributes = {name for name in vars(fitted) if name.endswith("_")}
    methods = {name for name, _ in inspect.getmembers(estimator, callable) if not name.startswith("_")}
    expected = attributes | methods | set(inspect.signature(estimator).parameters)
    assert not expected - first_cells("from_sklearn.md")


def test_first_lines_of_the_readme_go_from_a_table_to_clusters_a_picture_and_a_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = r"```python\n(import jaxgmm\n.*?)```.*?```text\n(.*?)```"
    lines, printed = re.search(blocks, (ROOT / "README.md").read_text(), re.DOTALL).groups()
    names = {}
    exec(lines, names)
    assert doctest.OutputChecker().check_output(printed, capsys.readouterr().out, doctest.ELLIPSIS)
    assert names["labels"][:5].tolist() == [0, 1, 0, 1, 0]
    assert pd.read_csv("clusters.csv")["cluster"].value_counts().sort_index().tolist() == [175, 97]
    assert (tmp_path / "clusters.png").read_bytes().startswith(b"\x89PNG")
    assert jaxgmm.load(tmp_path / "geyser.safetensors").feature_names == ("eruptions", "waiting")
    plt.close("all")
