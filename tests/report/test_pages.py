"""A search as one page, and the command that writes it; the search itself is made up, as it compiles for seconds."""

import hashlib
import re
import sys
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import jax
import numpy as np
import pytest
import test_cli
import test_cli_select
from browser import Text, pixels

import jaxgmm
from jaxgmm import GMMParams
from jaxgmm.cli import commands as cli
from jaxgmm.cli import run
from jaxgmm.covariance.families import FAMILIES_1D
from jaxgmm.report import layout, tables
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
    assert shown.tags.count("h2") == shown.tags.count("/h2") == 5
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
    found = search(9)
    ranked = [row for row in shown if row[0].isdigit() and len(row) == 8]
    assert [row[1:3] for row in ranked] == [["VVV", "2"], ["VEV", "2"], ["VEV", "3"]]
    assert ranked[0][5] == f"{found.table[0, 0]:.2f}"
    components = [row for row in shown if row[0] in "01" and len(row) == 2 + 9]  # all features, however many
    assert [row[2:5] for row in components] == [["0 ± 1"] * 3, ["0 ± 1", "5 ± 1", "5 ± 1"]]


@pytest.mark.parametrize(("shift", "scale"), [(0, 1), (1.7e9, 1), (3, 1e-7), (1e6, 1e3)])
def test_data_are_shown_down_to_the_fourth_digit_of_their_deviation(shift, scale):
    x = shift + scale * rows(2)
    for column, row in zip(x.T, tables.of_data(x, np.ones(60), ("a", "b")).rows[1:], strict=True):
        cells = [number for cell in row[1:] for number in cell.split(" ± ")]
        quartiles = np.quantile(column, [0, 0.25, 0.5, 0.75, 1], method="inverted_cdf")
        place = 10.0 ** (np.floor(np.log10(column.std())) - 3)
        numbers = [column.mean(), column.std(), *quartiles]
        np.testing.assert_allclose(np.array(cells, float), numbers, rtol=0, atol=0.501 * place)
        assert all(len(cell) < 15 for cell in cells)


def test_a_constant_feature_is_shown_with_all_its_digits():
    x = np.column_stack([np.full(5, 20261128.0), np.full(5, 0.1, np.float32)]).astype(np.float32)
    shown = tables.of_data(x, np.ones(5), ("day", "share")).rows
    assert [row[1:3] for row in shown[1:]] == [["20261128 ± 0", "20261128"], ["0.1 ± 0", "0.1"]]


def test_rows_and_their_weights_are_counted_by_component():
    params = GMMParams(np.full(3, 1 / 3), np.array([[0.0], [9.0], [99.0]]), np.ones((3, 1)))
    x = np.array([[0.1], [9.2], [0.3], [8.0], [0.5], [np.nan]])
    shown = tables.of_rows(params, x, np.array([1, 2, 1, 1.5, 0.5, 0]), is_weighted=True)
    assert shown.rows[1:] == [
        ["0", "3", "2.5", "0.4167"], ["1", "2", "3.5", "0.5833"], ["2", "0", "0", "0.0000"]
    ]  # fmt: skip
    plain = tables.of_rows(params, x[:5], np.ones(5), is_weighted=False)
    assert plain.rows[:2] == [["component", "rows", "share"], ["0", "3", "0.6000"]]


def test_correlations_are_listed_strongest_first_and_many_are_cut():
    covariances = np.array([[[4.0, 1, 0], [1, 1, -0.6], [0, -0.6, 9]], np.diag([1.0, 4, 1])])
    params = GMMParams(np.ones(2) / 2, np.zeros((2, 3)), covariances)
    assert [section.rows for section in tables.of_correlations(params, ("a", "b", "c"))] == [
        [["features", "in 0", "in 1"], ["a, b", "0.500", "0.000"], ["b, c", "-0.200", "0.000"],
         ["a, c", "0.000", "0.000"]]
    ]  # fmt: skip
    shared = params._replace(covariances=covariances[:1])
    assert tables.of_correlations(shared, ("a", "b", "c"))[0].rows[0] == ["features", "in each"]
    assert "none" in tables.of_correlations(params._replace(covariances=np.ones((2, 3))), "abc")[0].rows[0][1]
    assert tables.of_correlations(GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1))), "a") == []
    many = 0.5 + 0.5 * np.eye(30)
    many[0, 1] = many[1, 0] = 0.25
    (section,) = tables.of_correlations(GMMParams(np.ones(1), np.zeros((1, 30)), many[None]), ["x"] * 30)
    assert (len(section.rows), section.note) == (1 + 20, f"and {30 * 29 // 2 - 20} more pairs, none beyond ±0.500")


def test_no_table_is_wider_than_paper_and_no_column_is_lost():
    header = ["component", *(f"feature {j}" for j in range(30))]
    wide = layout.Section(
        [header, *([str(i), *(f"{i} ± {j}" for j in range(30))] for i in range(3))], "means", "a note"
    )
    parts = layout.as_wide_as_paper(wide)
    for part in parts:
        assert max(map(len, layout.text([part._replace(note="")]).splitlines()[1:])) <= 96
        assert [row[0] for row in part.rows] == ["component", "0", "1", "2"]
    for number, row in enumerate(wide.rows):
        assert [cell for part in parts for cell in part.rows[number][1:]] == row[1:]
    assert [part.note for part in parts] == [""] * (len(parts) - 1) + ["a note"]
    assert [part.title for part in parts[:2]] == ["means", "means, continued"]
    assert layout.as_wide_as_paper(wide._replace(title="")) == [wide._replace(title="")]


def test_every_cell_says_of_which_column_it_is_and_nothing_scrolls(pages):
    for page in pages.values():
        shown = re.findall(r'<table class="columns">.*?</table>', page)
        assert len(shown) >= 4
        for table in shown:
            columns = [unescape(cell) for cell in re.findall(r"<th [^>]*>(.*?)</th>", table.split("</thead>")[0])]
            for row in re.findall("<tr>.*?</tr>", table.split("<tbody>")[1]):
                assert [unescape(label) for label in re.findall('data-label="(.*?)"', row)] == columns
        assert "overflow-x" not in page
        assert "@media print" in page
        assert "prefers-color-scheme: dark" in page


def test_weights_count_rows_of_the_data():
    x, weights = rows(2), np.arange(60) % 3
    twice = report.page(search(2), np.repeat(x, weights, axis=0), feature_names=("<a>", "b"))
    once = report.page(search(2), x, weights, feature_names=("<a>", "b"))
    assert f"n = 60, d = 2; weights sum to {weights.sum()}" in once
    assert Text(once).rows[1:3] == Text(twice).rows[1:3]
    assert Text(once).rows[1][0] == "<a>"


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
        again = report.page(search(2), test_cli.X, feature_names=("a", "b"), title=title)
    start, end = "<h1>", "<h2>How this page was made</h2>"
    assert page.split(start)[1].split(end)[0] == again.split(start)[1].split(end)[0]


def test_the_page_says_how_it_was_made(folder, call, searched):
    searched["found"] = search(2)
    Path("my data.csv").write_text("a,b,w\n1,2,0.5\n3,4,0.25\n5,7,0.75\n")
    call("report", "my data.csv", "--weights", "w", "--seed", 3, "-o", "out.html")
    said = dict(row for row in Text(Path("out.html").read_text("utf-8")).rows if len(row) == 2)
    assert said["data"] == "my data.csv: n = 3, d = 2; weights sum to 1.5"
    assert said["sha256"] == hashlib.sha256(Path("my data.csv").read_bytes()).hexdigest()
    assert said["command"] == "jaxgmm report 'my data.csv' --weights w --seed 3 -o out.html"
    expected = "--components 1:9 --families all --criterion bic --restarts 10 --ridge 1e-06 --tol 1e-05 --max-iter 1000"
    assert said["other options"] == expected
    assert said["searched"] == "families VVV, VEV with 2, 3 components, by BIC"
    assert said["software"].startswith(f"jaxgmm {jaxgmm.__version__}, jax {jax.__version__}, Python 3.")
    made = datetime.strptime(said["made"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    assert timedelta(0) <= datetime.now(UTC) - made < timedelta(minutes=5)


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
