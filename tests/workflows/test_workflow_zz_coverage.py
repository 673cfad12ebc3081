"""Every job and step of every workflow ran, and every condition went both ways. Named so that it comes last."""

from __future__ import annotations

from pathlib import Path

import pytest

from workflows.coverage_table import REASONS, rows

TESTS = Path(__file__).resolve().parents[1]


def test_every_step_was_executed(request: pytest.FixtureRequest) -> None:
    own = [file for file in TESTS.rglob("test_*.py") if ".venv" not in file.parts]
    executing = {file for file in own if "from acting import" in file.read_text(encoding="utf-8")}
    if request.config.option.keyword or not executing <= {item.path for item in request.session.items}:
        pytest.skip("only some tests of the workflows were asked for")
    gaps = [f"{row.workflow}/{row.job}: {row.name or 'the job'} {row.gap}" for row in rows() if row.gap]
    assert gaps == []


def test_each_reason_is_for_something_that_is_there() -> None:
    assert set(REASONS) <= {(row.workflow, row.job, row.step) for row in rows()}
