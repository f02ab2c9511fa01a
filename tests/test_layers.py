"""Imports go downwards only: a module may import from those listed before it."""

import ast
from pathlib import Path

import pytest

import jaxgmm

ROOT = Path(jaxgmm.__file__).parent
ORDER = [
    *("types", "linalg", "jacobi", "parsimonious", "families", "checks"),
    *("noise", "mixture", "expectation", "priors", "maximization"),
    *("criteria", "acceleration", "driver", "seeding", "hierarchy"),
    *("fitting", "racing", "selection", "classification", "plotting"),
    *("datasets", "io", "cli", "__main__"),
]
OPTIONAL = {"click", "matplotlib", "sklearn"}
FREE_TO_USE_OPTIONAL = {"cli", "plotting", "__main__"}


def imports(module):
    path = ROOT / f"{module}.py"
    tree = ast.parse((path if path.exists() else ROOT / module / "__init__.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                yield from [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            else:
                yield node.module.split(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)


def test_every_module_has_its_place():
    assert {path.stem for path in ROOT.glob("*.py")} - {"__init__"} | {"datasets"} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_downwards(module):
    above = set(ORDER[ORDER.index(module) :]) & set(imports(module))
    assert not above


@pytest.mark.parametrize("module", sorted(set(ORDER) - FREE_TO_USE_OPTIONAL))
def test_the_core_imports_no_optional_dependency(module):
    assert not OPTIONAL & set(imports(module))


def test_names_are_explicit_and_no_module_shadows_a_function():
    assert sorted(jaxgmm.__all__) == sorted(set(jaxgmm.__all__))
    functions = {name for name in jaxgmm.__all__ if callable(getattr(jaxgmm, name))}
    assert not functions & set(ORDER)


def test_import_touches_no_global_configuration():
    for module in ORDER:
        path = ROOT / f"{module}.py"
        assert "jax.config" not in (path.read_text() if path.exists() else "")
