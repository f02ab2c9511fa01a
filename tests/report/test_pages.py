"""A search as one page, and the command that writes it; the search itself is made up, as it compiles for seconds."""

import re
import sys
from html import unescape
from pathlib import Path

import jax
import numpy as np
import pytest
import test_cli
import test_cli_select
from browser import Text, pixels

import jaxgmm
from jaxgmm.cli import commands as cli
from jaxgmm.cli import run
from jaxgmm.covariance.families import FAMILIES_1D
from jaxgmm.report import pages as report

folder, call, refused, searched = test_cli.folder, test_cli.call, test_cli.refused, test_cli_select.searched
FAMILIES = [jaxgmm.FULL, jaxgmm.get_family("VEV")]
NUMBER_OF_PICTURES = {1: 3, 2: 5, 3: 6, 9: 5}


def search(d):
    """Its best model has two components; features 1 and 2 tell them apart, where there are so many."""
    found = test_cli_select.selection(FAMILIES_1D if d == 1 else FAMILIES, (2, 3), d)
    means = np.zeros((2, d))
    means[1, 1:3] = 5
    for name, result in found.results.items():
        if name[1] == 2:
            found.results[name] = result._replace(params=result.params._replace(means=means))
    return found


def rows(d, n=60):
    return test_cli.two_groups(n, d)


@pytest.fixture(scope="module")
def pages():
    return {d: report.page(search(d), rows(d), title="a & b") for d in NUMBER_OF_PICTURES}


@pytest.mark.parametrize("d", NUMBER_OF_PICTURES)
def test_a_page_needs_no_other_file(d, pages):
    page = pages[d]
    shown = Text(page)
    assert page.startswith("<!DOCTYPE html>")
    assert "default-src 'none'" in page
    assert not {"script", "link", "iframe", "object"} & set(shown.tags)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'(?:src|href)="([^"]*)', page))
    assert not re.search(r"url\(|@import|https?:", page)
    assert shown.tags.count("h2") == shown.tags.count("/h2") == 4
    assert "<h1>a &amp; b</h1>" in page


@pytest.mark.parametrize(("d", "number"), NUMBER_OF_PICTURES.items())
def test_every_picture_has_something_in_it_and_says_what(d, number, pages):
    images = Text(pages[d]).images
    assert len(images) == number
    for image in images:
        assert pixels(image)[..., :3].std() > 0.05
        assert image["alt"].endswith(".")
        assert f"<figcaption>{image['alt']}</figcaption>" in unescape(pages[d])


def test_a_page_has_the_data_the_search_and_the_best_model(pages):
    shown = Text(pages[9]).rows
    x = rows(9)
    data = {row[0]: row[1:] for row in shown[1:10]}
    for feature, column in enumerate(x.T, start=1):
        quartiles = np.quantile(column, [0, 0.25, 0.5, 0.75, 1], method="inverted_cdf")
        assert data[f"x{feature}"] == [f"{number:.5g}" for number in (column.mean(), column.std(), *quartiles)]
    found = search(9)
    ranked = [row for row in shown if row[0].isdigit() and len(row) == 8]
    assert [row[1:3] for row in ranked] == [["VVV", "2"], ["VEV", "2"], ["VEV", "3"]]
    assert ranked[0][5] == f"{found.table[0, 0]:.2f}"
    components = [row for row in shown if row[0] in "01" and len(row) == 2 + 9]  # all features, however many
    assert [row[2:5] for row in components] == [["0 ± 1"] * 3, ["0 ± 1", "5 ± 1", "5 ± 1"]]


def test_weights_count_rows_of_the_data():
    x, weights = rows(2), np.arange(60) % 3
    twice = report.page(search(2), np.repeat(x, weights, axis=0), feature_names=("<a>", "b"))
    once = report.page(search(2), x, weights, feature_names=("<a>", "b"))
    assert Text(once).rows[1:3] == Text(twice).rows[1:3]
    assert Text(once).rows[1][0] == "<a>"
    assert "n = 60, d = 2" in once


def test_of_many_features_the_separating_ones_are_drawn(pages):
    assert "The two of 9 features" in pages[9]
    assert "The two of" not in pages[2]


# ------------------------------------------------------------------------------------------------------ the command


def test_the_command_writes_the_page_of_a_search(folder, call, searched):
    searched["found"] = search(2)
    printed = call("report", "data.csv", "--components", "2:3", "--output", "out.html")
    assert printed.endswith("\n\nreport written to out.html\n")
    assert searched["n_components"] == [2, 3]
    page = Path("out.html").read_text("utf-8")
    assert "<title>Gaussian mixtures of data.csv</title>" in page
    assert [row[0] for row in Text(page).rows[1:3]] == ["a", "b"]
    with jax.enable_x64(True):
        title = "Gaussian mixtures of data.csv"
        assert page == report.page(search(2), test_cli.X, feature_names=("a", "b"), title=title)


def test_a_real_search_is_reported(folder, call):
    call("report", *test_cli_select.OLD_FAITHFUL[1:], "-o", "out.html")
    shown = Text(Path("out.html").read_text("utf-8"))
    assert ["1", "EEE", "3", "11", "-1126.32", "2314.30", "-2314.30", "0.00"] in shown.rows
    assert ["model", "3 components, EEE covariances"] in shown.rows
    assert [row[0] for row in shown.rows[:3]] == ["feature", "eruptions", "waiting"]
    assert len(shown.images) == NUMBER_OF_PICTURES[2]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "--output"),
        ("-o directory", "directory: expected a file"),
        ("-o missing/out.html", "missing/out.html: expected a file in a directory that exists"),
        ("-o out -k 0", "--components"),
        ("-o out --families XXX", "--families"),
        ("-o out --columns a,c", "expected columns a, c, got a, b"),
        ("-o out --weights b", "data.csv: weights: expected finite values >= 0"),
        ("-o out -k 41", "data.csv: n_components: expected at most 40"),
    ],
)
def test_a_bad_report_is_refused(arguments, complaint, refused):
    assert complaint in refused("report", "data.csv", *arguments.split())


@pytest.mark.parametrize(("package", "extra"), [("jinja2", "report"), ("matplotlib", "plot")])
def test_what_is_missing_is_found_missing_before_the_work(package, extra, refused, searched, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    line = refused("report", "data.csv", "-o", "out")
    assert line == f"jaxgmm: this needs {package}: pip install 'jaxgmm[{extra}]'\n"
    assert "x" not in searched


def test_the_page_of_a_search_without_a_usable_model_is_not_written(folder, capsys, monkeypatch):
    def nothing(*_, **__):
        raise jaxgmm.FitError("none of 4 models came to a usable end")

    monkeypatch.setattr(cli, "select_mixture", nothing)
    before = test_cli.snapshot(folder)
    assert run(["report", "data.csv", "-o", "out"]) == 1
    assert capsys.readouterr().err == "jaxgmm: fit failed: none of 4 models came to a usable end\n"
    assert test_cli.snapshot(folder) == before
