"""What ``import jaxgmm`` loads, in a process of its own."""

import subprocess
import sys

import pytest

import jaxgmm

HEAVY = (
    "click", "jinja2", "matplotlib", "pandas", "pyarrow", "rich", "safetensors", "scipy", "sklearn", "tqdm",
    "jaxgmm.classification", "jaxgmm.cli", "jaxgmm.files", "jaxgmm.interop", "jaxgmm.io", "jaxgmm.plotting",
    "jaxgmm.report", "jaxgmm.sklearn",
)  # fmt: skip


def loaded_after(statement):
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_import_loads_nothing_heavy():
    loaded = loaded_after("import jaxgmm")
    assert "jax" in loaded
    assert not loaded & set(HEAVY)


def test_what_is_used_is_loaded():
    loaded = loaded_after("from jaxgmm import plotting, save")
    assert {"jaxgmm.plotting", "jaxgmm.files"} <= loaded
    assert not loaded & {"jaxgmm.interop", "matplotlib", "safetensors"}


def test_every_public_name_is_there():
    assert set(jaxgmm.__all__) <= set(dir(jaxgmm))
    assert all(getattr(jaxgmm, name) is not None for name in jaxgmm.__all__)
    assert jaxgmm.plotting is sys.modules["jaxgmm.plotting"]
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        jaxgmm.fitt  # noqa: B018
