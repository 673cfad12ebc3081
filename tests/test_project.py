"""The baked churn project, installed: its own checks pass, and its command keeps its word."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Project, bake, install, newest_python


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Project:
    """A copy of the project to break."""
    return project.copy(tmp_path / "copy")


def assert_passes(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The user's input was wrong: status 2, and one line on stderr that names it."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


def test_the_first_commit_holds_the_lock(project: Project):
    listed = project.run("git", "ls-files", "uv.lock").stdout.strip()
    assert listed == "uv.lock"
    assert_passes(project.run("uv", "lock", "--check"))


def test_its_hooks_pass(project: Project):
    assert_passes(project.run("pre-commit", "run", "--all-files", "--show-diff-on-failure"))
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_its_hooks_need_no_network(project: Project, tmp_path: Path):
    offline = {"UV_OFFLINE": "1", "PRE_COMMIT_HOME": str(tmp_path), "http_proxy": "http://127.0.0.1:9"}
    assert_passes(project.run("pre-commit", "run", "--all-files", **offline))


def test_its_lint_looks_at_its_own_code_alone(project: Project, tmp_path: Path):
    copy = project.copy(tmp_path / "project")
    untidy = "import os\nx  =  1\n"
    for place in (copy.machinery, copy.package):
        (place / "untidy.py").write_text(untidy, encoding="utf-8")
    assert copy.run("git", "add", "--all").returncode == 0
    assert copy.run("pre-commit", "run", "--all-files").returncode == 1
    assert (copy.machinery / "untidy.py").read_text(encoding="utf-8") == untidy
    assert (copy.package / "untidy.py").read_text(encoding="utf-8") != untidy
    (copy.package / "untidy.py").unlink()
    assert_passes(copy.run("ruff", "check", "."))
    assert_passes(copy.run("ruff", "format", "--check", "."))


def test_its_types_pass(project: Project):
    assert_passes(project.run("mypy"))


def test_its_tests_pass(project: Project):
    done = project.run("pytest", "-q", timeout=1200)
    assert_passes(done)
    assert re.search(r"\d+ passed", done.stdout)


def test_its_tests_pass_on_the_newest_python_of_this_machine(project: Project, tmp_path: Path):
    """What `ci` does for each supported Python: here for the newest one beside the oldest, which is the pinned one."""
    pinned = (project.root / ".python-version").read_text(encoding="utf-8").strip()
    python = newest_python(than=pinned)
    if python is None:
        pytest.skip(f"no supported Python newer than {pinned} is installed here")
    newer = install(project.copy(tmp_path / "copy").root, python)
    print(newer.run("python", "--version").stdout)
    assert_passes(newer.run("pytest", "-q", timeout=1200))
    assert_passes(newer.run("ml", "validate"))


@pytest.mark.parametrize("example", ["churn", "none"])
def test_lint_asks_for_nothing_else_when_the_oldest_python_is_newer(project: Project, tmp_path: Path, example: str):
    root = bake(tmp_path, example=example, python_version="3.14")
    newer = Project(root, project.environment)
    assert_passes(newer.run("ruff", "check", "."))
    assert_passes(newer.run("ruff", "format", "--check", "."))


def test_a_project_without_the_example_passes_its_own_checks(tmp_path: Path):
    none = install(bake(tmp_path, lock=True, example="none", project_name='Änna\'s "Best" Model; rm -rf /'))
    assert_passes(none.run("pre-commit", "run", "--all-files", "--show-diff-on-failure"))
    assert_passes(none.run("pytest", "-q"))
    assert_passes(none.run("ml", "--help"))


def imported(project: Project, modules: set[str], *arguments: str) -> str:
    """What a command that succeeds says to standard error; the last line: which of these modules it imports."""
    script = (
        "import sys\n"
        f"from mlcicd.cli import main\n"
        "try:\n    main()\n"
        f"finally:\n    print({modules!r} & sys.modules.keys(), file=sys.stderr)"
    )
    done = project.run("python", "-c", script, *arguments)
    assert_passes(done)
    return done.stderr


def test_help_imports_nothing_heavy(project: Project):
    """How fast it is then, benchmarks/ measures: a clock would measure what else this machine does."""
    assert imported(project, {"numpy", "pandas", "scipy", "sklearn", "pydantic", "yaml"}, "--help") == "set()\n"


def test_a_comparison_fits_nothing_and_imports_no_scikit_learn(trained: Project):
    command = ("compare", "runs/a", "runs/a", "--out", "review")
    assert imported(trained, {"sklearn", "skrub", "skops", "scipy.stats"}, *command).splitlines()[-1] == "set()"


def test_the_readme_names_only_commands_that_exist(project: Project):
    known = set(re.findall(r"^\W*([a-z]+) ", project.run("ml", "--help", TERM="dumb", COLUMNS="100").stdout, re.M))
    named = set(re.findall(r"\bml ([a-z]+)", (project.root / "README.md").read_text(encoding="utf-8")))
    assert named <= known


def test_the_data_keeps_its_contract(project: Project):
    assert_passes(project.run("ml", "validate"))


@pytest.mark.parametrize("module", ["features.py", "model.py"])
def test_a_review_of_code_that_does_not_parse_is_a_report_that_names_the_step(copy: Project, module: str):
    path = copy.package / module
    path.write_text(path.read_text(encoding="utf-8") + "\ndef broken(:\n", encoding="utf-8")
    done = copy.run("ml", "review", "--base", "HEAD", "--out", "review")
    assert done.returncode == 1, done.stdout + done.stderr
    report = (copy.root / "review" / "report.md").read_text(encoding="utf-8")
    assert "failed ❌ in ml train" in report
    assert module in report and "SyntaxError" in report


def test_a_corrupt_amount_is_named_by_column_rule_and_row(copy: Project):
    path = copy.root / "data" / "transactions.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    position = lines[0].split(",").index("amount")
    cells = lines[42].split(",")
    cells[position] = "-5"
    lines[42] = ",".join(cells)
    path.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))
    done = copy.run("ml", "validate")
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "amount" in output
    assert "minimum" in output
    assert re.search(r"\b4[1-3]\b", output), output


def test_a_missing_file_is_one_line(copy: Project):
    (copy.root / "data" / "transactions.csv.gz").unlink()
    assert_one_line(copy.run("ml", "validate"), "transactions.csv.gz")


def test_a_typo_in_the_params_is_one_line(copy: Project):
    path = copy.root / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "\nsede: 1\n", encoding="utf-8")
    assert_one_line(copy.run("ml", "validate"), "params.yaml", "sede")


def test_a_column_that_is_gone_is_one_line(copy: Project):
    path = copy.root / "data" / "transactions.csv.gz"
    rows = [line.split(",") for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    position = rows[0].index("amount")
    text = "\n".join(",".join(cell for i, cell in enumerate(row) if i != position) for row in rows)
    path.write_bytes(gzip.compress(text.encode() + b"\n"))
    assert_one_line(copy.run("ml", "validate"), "amount")


@pytest.fixture(scope="module")
def trained(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy that was trained into runs/a."""
    copy = project.copy(tmp_path_factory.mktemp("trained") / "copy")
    assert_passes(copy.run("ml", "train", "--out", "runs/a"))
    return copy


def test_training_twice_gives_the_same_bytes(trained: Project):
    assert_passes(trained.run("ml", "train", "--out", "runs/b"))
    for name in ("metrics.json", "predictions.parquet", "model.skops"):
        a, b = ((trained.root / "runs" / run / name).read_bytes() for run in "ab")
        assert a == b, name


def test_the_area_under_the_curve_is_neither_a_leak_nor_a_bug(trained: Project):
    metric = json.loads((trained.root / "runs" / "a" / "metrics.json").read_text(encoding="utf-8"))["holdout"][
        "roc_auc"
    ]
    assert 0.77 < metric["value"] < 0.84
    assert metric["low"] < metric["value"] < metric["high"]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL does not exist on Windows")
@pytest.mark.parametrize("delay", [2.0, 4.0])
def test_a_killed_training_leaves_no_run(copy: Project, delay: float):
    process = subprocess.Popen(
        ["ml", "train", "--out", "runs/a"],
        cwd=copy.root,
        env=copy.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(delay)
    ended = process.poll()
    if ended is not None:
        pytest.skip("training was over before it could be killed")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (copy.root / "runs" / "a").exists()
