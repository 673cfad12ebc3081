"""The house as docs/architecture.md shows it: its rooms, their sizes, and what the owner's package may import.

Who imports whom is checked by import-linter, as the machinery's pyproject.toml says: see test_static.py.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import tomllib
from conftest import MACHINERY, OWNED, TEMPLATE

SOURCES = MACHINERY / "src/mlcicd"
PAGE = TEMPLATE / "docs/architecture.md"
ROOMS = sorted(path.parent.name for path in SOURCES.glob("*/__init__.py"))
MODULES = sorted(SOURCES.rglob("*.py"))
LONGEST = 300


def rows(page: Path) -> list[list[str]]:
    """The cells of each row of a page's tables, heads and rules included."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [line.strip("|").split(" | ") for line in lines if line.startswith("|")]


@pytest.mark.parametrize("page", [PAGE, MACHINERY / "README.md"], ids=["page", "README"])
def test_the_rooms_stand_in_the_order_of_their_imports(page: Path):
    named = [found[1] for row in rows(page) if (found := re.fullmatch(r"\s*`(\w+)`", row[0]))]
    settings = tomllib.loads((MACHINERY / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = settings["tool"]["importlinter"]["contracts"]
    layers = [layer.removeprefix("mlcicd.") for layer in reversed(contract["layers"])]
    assert named == [layer for layer in layers if layer in ROOMS]
    assert sorted(named) == ROOMS
    assert {layer for layer in layers if layer not in ROOMS} == {
        path.stem for path in SOURCES.glob("*.py") if path.stem != "__init__"
    }


def test_the_machinery_has_the_templates_version():
    settings = tomllib.loads((MACHINERY / "pyproject.toml").read_text(encoding="utf-8"))
    answers = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
    assert settings["project"]["version"] == answers["_template_version"]


def test_the_page_fits_a_screen():
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 50


def test_each_file_that_a_change_touches_is_there():
    changes = [cell for row in rows(PAGE) if len(row) == 3 for cell in row[1:]]
    named = {name for cell in changes for name in re.findall(r"`(\w+/\w+\.py)`", cell)}
    assert len(named) >= 8
    assert [name for name in named if not (SOURCES / name).is_file()] == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_small_and_says_what_belongs_there(room: str):
    assert len(list((SOURCES / room).glob("*.py"))) <= 11, "ten modules and __init__.py"
    words = ast.get_docstring(ast.parse((SOURCES / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert "\nBelongs here: " in words and "\nDoes not: " in words


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCES).as_posix())
def test_a_module_is_short_and_its_first_line_says_what_it_is_for(path: Path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    assert len(first.split()) >= 3, first


@pytest.mark.parametrize("folder", OWNED, ids=["generic", "example"])
def test_what_is_yours_is_short_and_needs_nothing_of_the_machinery(folder: Path):
    files = {**{p.name: p for p in OWNED[0].glob("*.py")}, **{p.name: p for p in folder.glob("*.py")}}
    assert files.keys() == {"__init__.py", "prepare.py", "features.py", "model.py", "service.py"}
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files.values()) <= LONGEST
    for name in files.keys() - {"service.py"}:
        assert "mlcicd" not in imported(files[name]), name


def imported(path: Path) -> set[str]:
    """The packages that a file imports anywhere in it, also inside functions."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    whole = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    parts = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in whole | parts}
