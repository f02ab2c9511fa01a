"""Imports go downwards only: a module may import from those listed before it."""

import ast
from pathlib import Path

import pytest

import jaxgmm

ROOT = Path(jaxgmm.__file__).parent
ORDER = [
    *("progress", "types", "linalg", "jacobi", "parsimonious", "families", "checks"),
    *("noise", "mixture", "natural", "expectation", "priors", "maximization"),
    *("criteria", "acceleration", "lanes", "driver", "seeding", "hierarchy"),
    *("racing", "fitting", "selection", "classification", "models", "plotting"),
    *("interop", "datasets", "tables", "io", "display", "report", "sklearn", "cli", "__main__"),
]
OPTIONAL = {"click", "jinja2", "matplotlib", "pyarrow", "safetensors", "sklearn", "tqdm"}
OPTIONAL |= {"distrax", "numpyro", "tensorflow_probability"}
FREE_TO_USE_OPTIONAL = {"cli", "display", "interop", "io", "plotting", "progress", "report", "selection", "sklearn"}
FREE_TO_USE_OPTIONAL |= {"tables", "__main__"}


def imports(module):
    """What a module imports from the package, and from elsewhere."""
    path = ROOT / f"{module}.py"
    tree = ast.parse((path if path.exists() else ROOT / module / "__init__.py").read_text())
    inside, outside = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            inside |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            outside.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
    return inside, outside


def test_every_module_has_its_place():
    assert {path.stem for path in ROOT.glob("*.py")} - {"__init__"} | {"datasets"} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_downwards(module):
    inside, outside = imports(module)
    assert "jaxgmm" not in outside
    assert not set(ORDER[ORDER.index(module) :]) & inside


@pytest.mark.parametrize("module", sorted(set(ORDER) - FREE_TO_USE_OPTIONAL))
def test_the_core_imports_no_optional_dependency(module):
    assert not OPTIONAL & imports(module)[1]


def test_names_are_explicit_and_no_module_shadows_a_function():
    assert sorted(jaxgmm.__all__) == sorted(set(jaxgmm.__all__))
    functions = {name for name in jaxgmm.__all__ if callable(getattr(jaxgmm, name))}
    assert not functions & set(ORDER)


def test_import_touches_no_global_configuration():
    for module in ORDER:
        path = ROOT / f"{module}.py"
        assert "jax.config" not in (path.read_text() if path.exists() else "")
