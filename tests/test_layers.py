"""The house: imports go downwards, files and functions stay short. The table is read from CONTRIBUTING.md."""

import ast
import re
from pathlib import Path

import pytest

import jaxgmm

ROOT = Path(jaxgmm.__file__).parent
TABLE = (ROOT.parent / "CONTRIBUTING.md").read_text().split("## Layers")[1].split("\n## ")[0]
LAYERS = {
    name: int(number)
    for number, names in re.findall(r"^\| (\d) \| (.+?) \|", TABLE, re.MULTILINE)
    for name in re.findall(r"`(\w+)`", names)
}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")
OPTIONAL = {"click", "jinja2", "matplotlib", "pyarrow", "safetensors", "sklearn", "tqdm"}
OPTIONAL |= {"distrax", "numpyro", "tensorflow_probability"}
LONGEST_FILE, LONGEST_BODY = 300, 40  # lines


def module_of(path):
    """The dotted name inside the package: ``linalg.cholesky``; of a folder's ``__init__``, ``linalg``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports(path):
    """Modules of the package, and packages from elsewhere, that a file imports."""
    inside, outside = set(), set()
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            outside.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            base = ".".join(part for part in base if part)
            for alias in node.names:
                full = f"{base}.{alias.name}".strip(".")
                inside.add(full if full in MODULES else base)
    return inside - {""}, outside


def layer(module):
    return LAYERS[module.split(".")[0]]


def test_functions_of_a_fit_are_where_the_guide_says():
    guide = (ROOT.parent / "CONTRIBUTING.md").read_text().split("## How to read a fit")[1].split("\n## ")[0]
    rows = re.findall(r"^\| \d* ?\| (`.+?`) \| `(.+?)` \|", guide, re.MULTILINE)
    assert len(rows) > 10
    for names, file in rows:
        defined = {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert set(re.findall(r"`(\w+)`", names)) <= defined, file


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downwards(module):
    inside, outside = imports(MODULES[module])
    assert "jaxgmm" not in outside
    folder = module.split(".")[0]
    upward = {other for other in inside if other.split(".")[0] != folder and layer(other) >= layer(module)}
    if layer(module) in (0, 9):  # single files, in the order that the table lists them
        names = list(LAYERS)
        upward = {other for other in upward if names.index(other.split(".")[0]) > names.index(folder)}
    assert not upward


def test_no_circles_inside_a_folder():
    graph = {module: {other for other in imports(path)[0] if other != module} for module, path in MODULES.items()}
    graph = {m: {o for o in others if MODULES[o].name != "__init__.py"} for m, others in graph.items()}
    while graph:
        leaves = {module for module, others in graph.items() if not others & set(graph)}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {module: others for module, others in graph.items() if module not in leaves}


def test_the_table_lists_what_there_is():
    assert set(LAYERS) == {module.split(".")[0] for module in MODULES}


@pytest.mark.parametrize("module", [m for m in MODULES if layer(m) < 8 and m != "progress"])
def test_the_core_imports_no_optional_dependency(module):
    outside = imports(MODULES[module])[1]
    assert not outside & (OPTIONAL - ({"tqdm"} if module.startswith("fitting") else set()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            assert body[-1].end_lineno - body[0].lineno < LONGEST_BODY, node.name


def test_names_are_explicit_and_no_module_shadows_a_function():
    assert sorted(jaxgmm.__all__) == sorted(set(jaxgmm.__all__))
    functions = {name for name in jaxgmm.__all__ if callable(getattr(jaxgmm, name))}
    assert not functions & set(LAYERS)


def test_only_caching_changes_global_configuration_and_only_the_command_line_calls_it():
    assert [module for module, path in MODULES.items() if "jax.config.update" in path.read_text()] == ["caching"]
    assert [module for module, path in MODULES.items() if "caching" in imports(path)[0]] == ["cli.options"]
