"""What ``pip install`` brings: the extras and what the package says of itself."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OF_USERS = {"click", "jinja2", "matplotlib", "pyarrow", "safetensors", "scikit-learn", "tqdm"}


def packages(extra):
    """The names of all packages of an extra, those of extras that it names included."""
    found = set()
    for requirement in EXTRAS[extra]:
        name, others = re.match(r"([\w.-]+)(?:\[([\w,]+)\])?", requirement).groups()
        found |= set().union(*map(packages, others.split(","))) if name == "jaxgmm" else {name}
    return found


def test_all_is_what_users_need_and_no_more():
    assert packages("all") == OF_USERS


@pytest.mark.parametrize("extra", EXTRAS)
def test_no_extra_needs_a_nightly_version(extra):
    assert not {name for name in packages(extra) if "nightly" in name or name == "distrax"}


def test_every_extra_that_is_named_exists():
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "jaxgmm").rglob("*.py")]
    named = {
        name
        for file in files
        for names in re.findall(r"jaxgmm\[([\w,]+)\]", file.read_text())
        for name in names.split(",")
    }
    assert {"cli", "sklearn"} <= named <= set(EXTRAS)


def test_classifiers_name_the_oldest_python():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert named[0] == oldest
