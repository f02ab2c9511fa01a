"""What ``import jaxgmm`` loads, in a process of its own."""

import inspect
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
    assert "jax" not in loaded_after("import jaxgmm")
    loaded = loaded_after("from jaxgmm import fit")
    assert "jax" in loaded
    assert not loaded & set(HEAVY)


def test_what_is_used_is_loaded():
    loaded = loaded_after("from jaxgmm import plotting, save")
    assert {"jaxgmm.plotting", "jaxgmm.files"} <= loaded
    assert not loaded & {"jaxgmm.interop", "matplotlib", "safetensors"}


def test_a_module_is_loaded_without_an_import_of_its_own():
    assert "jaxgmm.sklearn" in loaded_after("import jaxgmm; jaxgmm.sklearn.GaussianMixture")


def test_dir_shows_what_is_public():
    modules = {"io", "report", "sklearn"}  # not in __all__: a star import should not load them
    assert set(dir(jaxgmm)) == {"__version__", *jaxgmm.__all__, *modules}


@pytest.mark.parametrize("name", [n for n in dir(jaxgmm) if not n.startswith("_")])
def test_signatures_name_their_defaults(name):
    value = getattr(jaxgmm, name)
    if inspect.isfunction(value) or value is jaxgmm.Steps:
        assert " at 0x" not in str(inspect.signature(value))
    elif inspect.ismodule(value):
        assert value.__all__
        assert all(" at 0x" not in str(inspect.signature(f)) for f in vars(value).values() if inspect.isfunction(f))


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_command_line_answers_before_jax_is_there(option):
    assert "jax" not in loaded_after(f"from jaxgmm.cli import run; run(['{option}'])")


def test_every_public_name_is_there():
    assert set(jaxgmm.__all__) <= set(dir(jaxgmm))
    assert all(getattr(jaxgmm, name) is not None for name in jaxgmm.__all__)
    assert jaxgmm.plotting is sys.modules["jaxgmm.plotting"]
    assert jaxgmm.sklearn is sys.modules["jaxgmm.sklearn"]
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        jaxgmm.fitt  # noqa: B018
