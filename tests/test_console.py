"""What `ml` prints and writes into job summaries is no workflow command and moves no terminal, whatever data says."""

from __future__ import annotations

import csv
import io
import random
import re
import sys
from pathlib import Path

import pytest
from conftest import Project
from github_markdown import alive, page
from hypothesis import example, given
from hypothesis import strategies as st
from scripts import plain_text, script

COMMAND = re.compile(r"^[^\S\n]*::|##\[", re.MULTILINE)
TERMINAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
PIECES = [
    "::",
    ":",
    "##[",
    "#",
    "[",
    "\n",
    "\r",
    " ",
    "\t",
    "error::",
    "\x1b[31m",
    "\x1b]0;x\x07",
    "\x9b",
    "\u2028",
    "a",
    "\ud800",
]


def harmless_stream() -> tuple[object, io.StringIO]:
    console = script("machinery").load("rendering.console")
    out = io.StringIO()
    return console.HarmlessStream(out), out


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30))
@example(["a\n", ":", ":error::x"])
@example(["#", "#", "[group]"])
@example(["a\r::error::x"])
def test_no_line_is_a_command_however_it_is_written(parts: list[str]) -> None:
    stream, out = harmless_stream()
    for part in parts:
        stream.write(part)
    assert not COMMAND.search(out.getvalue()) and not TERMINAL.search(out.getvalue())
    assert out.getvalue() == plain_text.harmless("".join(parts))


@given(st.text(alphabet="aäß:#. \n,-", max_size=50))
def test_what_is_no_command_is_printed_as_it_is(text: str) -> None:
    assert plain_text.harmless(text).replace("\\", "") == text
    if "::" not in text:
        assert plain_text.harmless(text) == text


def test_lines_are_cut_by_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a log with letters of several bytes, in a job where nothing could be installed."""
    (tmp_path / "setup.log").write_bytes(
        ("é" * 500 + "\n").encode() + b"\xff\xfe broken\n::error::x\n\x1b[31mred\x1b[0m\n"
    )
    environment = {"SKIP": "", "CHANGES": "success", "SETUP": "failure", "NUMBER": "7", "HEAD": "a" * 40}
    summary = tmp_path / "summary.md"
    for name, value in {**environment, "RUNNER_TEMP": str(tmp_path), "GITHUB_STEP_SUMMARY": str(summary)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["hand_over.py", str(tmp_path / "review")])
    script("hand_over").main()
    text = (tmp_path / "review" / "report.md").read_text(encoding="utf-8")
    assert "The step **Install what the lock says** failed before there was a review." in text
    assert f"\n{'é' * 400}\n" in text and "\nred\n" in text and "�� broken" in text
    assert summary.read_text(encoding="utf-8") == text
    assert (tmp_path / "review" / "review.json").read_bytes().decode()


NAMES = ["a\n::error::owned", "##[error]x <img src=x> @everyone #1", "cat\x1b[31m\u202ex"]


@pytest.fixture(scope="module")
def hostile(own_table: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A table whose names and values would act on a log, a terminal or a summary."""
    project = own_table.copy(tmp_path_factory.mktemp("hostile") / "project")
    rng = random.Random(1)
    with (project.root / "t.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", *NAMES, "y"])
        for number in range(300):
            words = rng.choice(["u\n::add-mask::x", "v", "<b>w</b>"]), rng.choice(["k\r::error::z", "##[group]l"])
            value = rng.gauss(0, 1)
            rows.writerow([number, round(value, 3), *words, int(value + rng.gauss(0, 1) > 0)])
    return project


def test_no_command_speaks_for_the_data(hostile: Project) -> None:
    summary = hostile.root / "summary.md"
    bad = "id,y\n::error::x,1\n\x1b[31m2,1\n"
    (hostile.root / "bad.csv").write_text(bad, encoding="utf-8")
    commands = [
        "init t.csv --target y --id id",
        "validate",
        "validate bad.csv",
        "train",
        "compare runs/model runs/model",
    ]
    said = ""
    for command in commands:
        done = hostile.run("ml", *command.split(), GITHUB_STEP_SUMMARY=str(summary))
        assert "Traceback" not in done.stderr
        assert done.returncode == (2 if "bad" in command else 0), done.stdout + done.stderr
        said += done.stdout + done.stderr
    assert "owned" in said and not COMMAND.search(said) and not TERMINAL.search(said)
    text = summary.read_text(encoding="utf-8")
    assert "Data contract ✅" in text and "Model review: same" in text
    assert alive(page(text)) == []
