"""Tables that nobody would call clean: each works with one command, or one line says why not and nothing is written."""

from __future__ import annotations

import json
import sys

import pytest
from conftest import MACHINERY_TESTS, Project

sys.path.append(str(MACHINERY_TESTS))
from adversarial import TABLES

WORKING = [name for name, table in TABLES.items() if not table.says]
REFUSED = [name for name, table in TABLES.items() if table.says]


@pytest.fixture(scope="module")
def results(own_table: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """All tables, tried in one process of the project's environment."""
    done = own_table.run(
        "python",
        str(MACHINERY_TESTS / "adversarial.py"),
        str(tmp_path_factory.mktemp("tables")),
        timeout=1800,
        OMP_NUM_THREADS="1",
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_there_are_more_than_forty():
    assert len(TABLES) >= 40


@pytest.mark.parametrize("name", REFUSED)
def test_one_line_says_what_is_wrong(results: dict[str, dict], name: str):
    code, _, err = results[name]["init"]
    assert code == 2, err
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("ml: ")
    assert TABLES[name].says in err
    assert len(err) < 600
    assert results[name]["files"] == [], "something was written all the same"


@pytest.mark.parametrize("name", WORKING)
def test_it_works(results: dict[str, dict], name: str):
    result, table = results[name], TABLES[name]
    for command in ("init", "validate", "explore", *(["train"] if table.trains else [])):
        code, _, err = result[command]
        assert code == 0, f"{command}: {err}"
        assert all(line.startswith("warning: ") for line in err.splitlines()), f"{command}: {err}"
    assert result["page"] < 10_000_000
    assert table.shows in result["init"][1]
    assert {column: result["types"].get(column, "") for column in table.types} == table.types
    assert result["same"], "the saved model predicts otherwise than the one that was saved, or not at all"


def test_a_line_break_in_a_name_breaks_no_line(results: dict[str, dict]):
    shown = results["names that yaml reads otherwise"]["init"][1].splitlines()
    assert [line for line in shown if line.startswith("two lines ")]
