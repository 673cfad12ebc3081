"""`make bench`: one table whatever happens. What it measures is not tested: it takes minutes and an idle machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from conftest import TEMPLATE

sys.path.append(str(TEMPLATE / "benchmarks"))
import bench
import ground
import parts


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """The exit status of the command, and the rows of its table."""
    monkeypatch.setattr(sys, "argv", ["bench.py", *arguments])
    status = bench.main()
    out = capsys.readouterr().out
    assert out.startswith(bench.HEAD)
    return status, out.removeprefix(bench.HEAD).partition("\n\n")[0].strip().splitlines()


def good(_: ground.Ground) -> Iterator[ground.Row]:
    print("what a part prints on its way is no part of the table")
    yield ground.Row("fast", "1.0 s", "slow 2.0 s", 0.5, "≤ 1 ×", True)


def bad(_: ground.Ground) -> Iterator[ground.Row]:
    yield ground.Row("half", "1.0 s", "", None, "≤ 0.5 s", False)
    raise ground.FailedError("no | network")


def gone(_: ground.Ground) -> Iterator[ground.Row]:
    sys.exit("the server did not start")
    yield


def test_a_part_that_fails_says_why_in_its_row_and_the_others_run(monkeypatch, capsys):
    monkeypatch.setattr(bench, "PARTS", {"bad": bad, "gone": gone, "good": good})
    status, rows = run(monkeypatch, capsys)
    assert status == 1
    assert rows == [
        "| half | 1.0 s |  |  | ≤ 0.5 s ❌ missed |",
        "| bad | failed: FailedError: no \\| network |  |  |  |",
        "| gone | failed: SystemExit: the server did not start |  |  |  |",
        "| fast | 1.0 s | slow 2.0 s | 0.50 | ≤ 1 × ✅ |",
    ]
    assert run(monkeypatch, capsys, "good") == (0, rows[3:])


def test_a_part_that_there_is_not_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench.py", "sevrice"])
    with pytest.raises(SystemExit) as stopped:
        bench.main()
    assert stopped.value.code == 2
    assert "no part 'sevrice'" in capsys.readouterr().err


def test_without_an_engine_the_image_is_skipped_by_name(monkeypatch, tmp_path):
    monkeypatch.setattr(parts.shutil, "which", lambda name: None if name == "podman" else name)
    (row,) = parts.image(ground.Ground(tmp_path))
    assert "skipped: no podman" in str(row)


def test_a_command_that_fails_is_told_in_one_line(tmp_path):
    with pytest.raises(ground.FailedError, match=r"exit 3: second$"):
        ground.run(sys.executable, "-c", "print('first'); print('second'); raise SystemExit(3)")
    with pytest.raises(ground.FailedError, match="no-such-program"):
        ground.run("no-such-program", where=tmp_path)


def test_the_tables_that_the_scripts_print_are_read():
    printed = "said\n| a | b |\n|---|--:|\n| 20,000 | 7.9 |\n\n| c |\n| --- |\n| **x** |\nsaid"
    assert ground.cells(printed) == [["20,000", "7.9"], ["**x**"]]
