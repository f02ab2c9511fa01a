"""The documentation builds without a warning and covers every public name."""

import subprocess
import sys
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

import jaxgmm

pytestmark = pytest.mark.slow  # the pictures of the pages are drawn
DOCS = Path(__file__).parents[1] / "docs"
MODULES = (
    jaxgmm.acceleration,
    jaxgmm.classification,
    jaxgmm.datasets,
    jaxgmm.interop,
    jaxgmm.io,
    jaxgmm.plotting,
    jaxgmm.report,
    jaxgmm.seeding,
)


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    """Names that the built pages document, such as ``jaxgmm.fit``."""
    output = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-d", str(output / "doctrees"), str(DOCS), str(output)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not process.returncode, process.stderr
    entries = InventoryFile.loads((output / "objects.inv").read_bytes(), uri="").data
    return {name for kind, names in entries.items() if kind.startswith("py:") for name in names}


def test_every_public_name_is_documented(inventory):
    public = {f"jaxgmm.{name}" for name in jaxgmm.__all__ if name != "datasets"}
    assert not public - inventory


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_of_a_module_is_documented(module, inventory):
    own = [name for name in module.__all__ if getattr(jaxgmm, name, None) is not getattr(module, name)]
    public = {f"{module.__name__}.{name}" for name in own}
    assert public
    assert not public - inventory
