"""The generated package against the table in docs/architecture.md: who imports whom, how long, and what for."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import TEMPLATE

PACKAGE = TEMPLATE / "{{cookiecutter.project_slug}}" / "src" / "{{cookiecutter.package_name}}"
EXAMPLE = TEMPLATE / "{{cookiecutter.project_slug}}" / "_churn" / "src" / "{{cookiecutter.package_name}}"
YOURS = {"prepare", "features", "model"}
LONGEST = 300


def modules(folder: Path = PACKAGE) -> dict[str, Path]:
    """The modules by name; the machinery's are known by their last part, as on the page."""
    return {path.stem: path for path in sorted(folder.rglob("*.py")) if path.stem != "__init__"}


def imported(path: Path, folder: Path = PACKAGE) -> set[str]:
    """Names of the package's modules that a file imports anywhere in it, also inside functions and for types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        start = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        if start.with_suffix(".py").is_file():
            found.add(start.stem)
        else:  # `from . import contract as contracts`
            found |= {name.name for name in node.names if (start / f"{name.name}.py").is_file()}
    assert found <= modules(folder).keys(), path
    return found


def layers() -> dict[str, int]:
    """The row of each module in the page's table."""
    text = (TEMPLATE / "docs" / "architecture.md").read_text(encoding="utf-8")
    cells = [line.split("|")[2] for line in text.splitlines() if line.startswith("| ") and "`" in line]
    rows = [re.findall(r"`(\w+)`", cell) for cell in cells]
    names = [name for row in rows for name in row]
    assert len(names) == len(set(names)), "a module stands in the table twice"
    return {name: depth for depth, row in enumerate(rows) for name in row}


def test_the_page_names_each_module_and_no_other():
    assert layers().keys() == modules().keys()


def test_the_page_fits_a_screen():
    assert len((TEMPLATE / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines()) <= 45


@pytest.mark.parametrize("name", modules())
def test_a_module_imports_only_from_its_own_layer_and_those_before(name: str):
    depth = layers()
    assert {other for other in imported(modules()[name]) if depth[other] > depth[name]} == set()


def test_no_imports_go_in_a_circle():
    graph = {name: imported(path) for name, path in modules().items()}
    assert len(graph["cli"]) > 10  # the imports inside functions are seen
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("folder", [PACKAGE, EXAMPLE], ids=["generic", "example"])
def test_what_is_yours_needs_nothing_of_the_machinery(folder: Path):
    for name, path in modules(folder).items():
        if name in YOURS:
            assert imported(path, folder) == set(), name


@pytest.mark.parametrize(
    "path", [*sorted(PACKAGE.rglob("*.py")), *sorted(EXAMPLE.rglob("*.py"))], ids=lambda path: path.stem
)
def test_a_module_is_short_and_its_first_line_says_what_it_is_for(path: Path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    assert len(first.split()) >= 3, first
