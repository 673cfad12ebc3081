"""`ml init`: real tables from file to comparison without code, and a project that passes its own checks afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MACHINERY_TESTS, TEMPLATE, Project
from test_service import running

# Tables ship in these packages; only their files are used.
PACKAGES = ("lifelines", "palmerpenguins", "statsmodels", "vega_datasets")
ONE = {"OMP_NUM_THREADS": "1"}  # small tables; threads that wait for one another would take most of the time
NAMES = (
    *("breast_cancer", "wine", "diabetes", "rossi", "penguins", "weather", "employment", "modechoice", "recur"),
    *("grunfeld", "fair"),
)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages' files."""
    folder = tmp_path_factory.mktemp("packages")
    command = ["uv", "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(folder)]
    subprocess.run([*command, *PACKAGES], check=True)
    return folder


@pytest.fixture(scope="module")
def results(own_table: Project, packages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Every table, tried in one process of the project's environment."""
    work = tmp_path_factory.mktemp("tables")
    script = str(MACHINERY_TESTS / "realtables.py")
    done = own_table.run("python", script, str(packages), str(work), *NAMES, timeout=1800, **ONE)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.fixture
def copy(own_table: Project, tmp_path: Path) -> Project:
    return own_table.copy(tmp_path / "copy")


def table(folder: Path, **options: str) -> Path:
    """A table with line endings of Windows, trailing blanks and a time, two hundred rows long."""
    path = folder / "visits.csv"
    lines = ["when,age,city,note,bought "]
    lines += [
        f"2026-{i % 12 + 1:02}-{i % 28 + 1:02},{i % 60 + 18},{'ABC'[i % 3]},,{('no', 'yes')[i % 60 > 30]} "
        for i in range(200)
    ]
    path.write_text("\r\n".join(lines).replace("bought ", "bought"), encoding="utf-8", newline="", **options)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_real_table_goes_from_file_to_comparison(results: dict[str, dict], name: str):
    found = results[name]
    for step in ("init", "validate", "main", "branch", "compare"):
        code, out, err = found[step]
        assert code == 0 or (step == "compare" and code == 1), f"{step}: {out}{err}"
    assert found["verdict"] in ("better", "worse", "same", "unclear")


@pytest.mark.parametrize(
    ("name", "split", "task"),
    [
        ("breast_cancer", "stratified", "binary"),
        ("rossi", "stratified", "binary"),
        ("modechoice", "group", "binary"),
        ("wine", "stratified", "multiclass"),
        ("penguins", "stratified", "multiclass"),
        ("weather", "time", "multiclass"),
        ("recur", "group", "multiclass"),
        ("diabetes", "kfold", "regression"),
        ("fair", "kfold", "regression"),
        ("employment", "time", "regression"),
        ("grunfeld", "time-group", "regression"),
    ],
)
def test_split_and_task_are_right_and_the_reason_is_printed(results: dict[str, dict], name: str, split: str, task: str):
    found = results[name]
    assert (found["split"], found["task"]) == (split, task)
    shown = next(line for line in found["init"][1].splitlines() if line.startswith("split:"))
    assert shown.startswith(f"split:  {split}, ")
    assert f"split: {split}, " in found["main"][1]


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_as_good_as_the_default(results: dict[str, dict], name: str):
    found = results[name]
    assert found["ours"] >= found["default"] - 2 * found["error"], found


def test_the_model_is_mostly_better_than_the_default(results: dict[str, dict]):
    better = [found["ours"] > found["default"] for found in results.values()]
    assert sum(better) >= 2 * len(better) / 3


def test_next_months_honest_data_keeps_the_contract(copy: Project, packages: Path, tmp_path: Path):
    source = packages / "statsmodels" / "datasets" / "randhie" / "randhie.csv"
    head, *rows = source.read_text(encoding="utf-8").splitlines()
    for name, part in (("now", rows[::2]), ("next", rows[1::2])):
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *part]) + "\n", encoding="utf-8")
    assert copy.run("ml", "init", str(tmp_path / "now.csv"), "--target", "mdvis").returncode == 0
    done = copy.run("ml", "validate", str(tmp_path / "next.csv"))
    assert done.returncode == 0, done.stderr


def test_the_project_passes_its_own_checks_without_an_edit(copy: Project, served: Project, tmp_path: Path):
    done = copy.run("ml", "init", str(table(tmp_path)), "--target", "bought")
    assert done.returncode == 0, done.stderr
    assert copy.run("git", "add", "--all").returncode == 0
    assert copy.run("git", "commit", "--quiet", "--message", "our table").returncode == 0
    for command in (
        ("pre-commit", "run", "--all-files", "--show-diff-on-failure"),
        ("mypy",),
        ("pytest", "-q"),
        ("ml", "validate"),
        ("ml", "train"),
    ):
        done = copy.run(*command)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert copy.run("git", "status", "--porcelain").stdout == ""
    with running(Project(copy.root, served.environment), tmp_path) as server:
        done = copy.run("ml", "smoke", server.url)
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_replaced_without_force(copy: Project, tmp_path: Path):
    path = table(tmp_path)
    assert copy.run("ml", "init", str(path), "--target", "bought").returncode == 0
    files = [copy.root / "contract.yaml", copy.root / "params.yaml", copy.root / "data" / "visits.csv"]
    before = [file.read_bytes() for file in files]
    path.write_text(path.read_text(encoding="utf-8").replace("city", "town"), encoding="utf-8")
    again = copy.run("ml", "init", str(path), "--target", "bought")
    assert (again.returncode, again.stderr) == (2, "ml: contract.yaml: exists already; --force replaces it\n")
    assert [file.read_bytes() for file in files] == before
    forced = copy.run("ml", "init", str(path), "--target", "bought", "--force")
    assert forced.returncode == 0, forced.stderr
    assert "town" in (copy.root / "contract.yaml").read_text(encoding="utf-8")
    assert copy.run("ml", "validate").returncode == 0


def test_a_kill_leaves_the_three_files_all_old_or_all_new(started: Project, tmp_path: Path):
    """Each step of the replacement itself: tests/mlcicd/test_outputs.py. Here: the next command finishes it."""
    copy = started.copy(tmp_path / "copy")
    path = table(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("city", "town"), encoding="utf-8")
    script = (
        "import os, signal, sys\n"
        f"from mlcicd import cli; from mlcicd.system import transaction\n"
        "exchange, calls = transaction.exchange, []\n"
        "def killed(*names):\n"
        "    calls.append(names)\n"
        "    if len(calls) == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return exchange(*names)\n"
        "transaction.exchange = killed\n"
        f"sys.argv = ['ml', 'init', {str(path)!r}, '--target', 'bought', '--force']\n"
        "cli.main()\n"
    )
    assert copy.run("python", "-c", script).returncode == -signal.SIGKILL
    assert "town" not in (copy.root / "contract.yaml").read_text(encoding="utf-8")  # the table has been replaced
    assert not copy.run("git", "status", "--porcelain", "--untracked-files=all").stdout.count("?")  # ignored meanwhile
    done = copy.run("ml", "validate")
    assert done.returncode == 0, done.stderr
    assert "town" in (copy.root / "contract.yaml").read_text(encoding="utf-8")
    assert list(copy.root.glob(".init*")) == []


def test_another_table_in_the_example_leaves_a_project_that_trains(project: Project, tmp_path: Path):
    copy = project.copy(tmp_path / "copy")
    done = copy.run("ml", "init", str(table(tmp_path)), "--target", "bought", "--force")
    assert done.returncode == 0, done.stderr
    assert "prepare.py and features.py of the example were replaced by generic ones" in done.stdout
    trained = copy.run("ml", "train")
    assert trained.returncode == 0, trained.stderr
    own = copy.package / "features.py"
    own.write_text(own.read_text(encoding="utf-8") + "\n# mine\n", encoding="utf-8")
    again = copy.run("ml", "init", str(table(tmp_path)), "--target", "bought", "--force")
    assert f"src/{copy.package.name}/features.py stays as it is" in again.stdout
    assert own.read_text(encoding="utf-8").endswith("# mine\n")


def test_what_begins_another_table_is_the_template_s_own_code():
    source = TEMPLATE / "{{cookiecutter.project_slug}}"
    package = Path("src/{{cookiecutter.package_name}}")
    starter = source / "packages/mlcicd/src/mlcicd/onboarding/starter"
    example = json.loads((starter / "example.json").read_text(encoding="utf-8"))
    for name in ("prepare.py", "features.py"):
        assert (starter / name).with_suffix(".txt").read_bytes() == (source / package / name).read_bytes()
        assert example[name] == hashlib.sha256((source / "_churn" / package / name).read_bytes()).hexdigest()


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="needs /proc-like limits of Linux")
def test_a_table_too_large_for_this_machine_is_refused_before_it_is_read(copy: Project, tmp_path: Path):
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.write(b"x,y\n1,2\n")
        file.truncate(4 * 10**12)  # a hole: it takes no space
    done = copy.run("ml", "init", str(huge), "--target", "y", timeout=60)
    assert done.returncode == 2
    assert "needs about 12000 GB of memory" in done.stderr
    assert "leave out columns" in done.stderr


SPACE = {"learning_rate", "max_iter", "max_leaf_nodes", "min_samples_leaf", "l2_regularization"}


@pytest.fixture(scope="module")
def started(own_table: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project on the small table. Do not change it: `ask_for` a copy."""
    folder = tmp_path_factory.mktemp("started")
    project = own_table.copy(folder / "project")
    assert project.run("ml", "init", str(table(folder)), "--target", "bought").returncode == 0
    assert project.run("git", "add", "--all").returncode == 0
    assert project.run("git", "commit", "--quiet", "--message", "our table").returncode == 0
    return project


def ask_for(started: Project, tmp_path: Path, search: str) -> Project:
    """A copy of it, with a search in its params."""
    copy = started.copy(tmp_path / "copy")
    with (copy.root / "params.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\nsearch: {search}\n")
    return copy


@pytest.mark.parametrize(
    ("search", "fits"),
    [
        ("{method: random, fits: 7, folds: 2}", 6),
        ("{method: halving, fits: 30, folds: 2}", 30),  # 11 candidates, then 3, then 1
        ("{fits: 5000, folds: 2, minutes: 0.001}", 2),  # what has begun is finished
    ],
)
def test_a_search_stays_in_its_budget_and_says_what_it_found(started: Project, tmp_path: Path, search: str, fits: int):
    copy = ask_for(started, tmp_path, search)
    done = copy.run("ml", "train", **ONE)
    assert done.returncode == 0, done.stderr
    found = json.loads((copy.root / "runs" / "model" / "metrics.json").read_text(encoding="utf-8"))["search"]
    assert found["fits"] == fits
    assert set(found["model"]) <= SPACE


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("{method: grid}", "search.method"),
        ("{method: halving, fits: 30}", "halving with 3 folds needs at least 39 fits"),
        ("{jobs: 0}", "-1 takes every core"),
    ],
)
def test_a_search_that_cannot_be_is_refused(started: Project, tmp_path: Path, search: str, words: str):
    copy = ask_for(started, tmp_path, search)
    refused = copy.run("ml", "train")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert words in refused.stderr


def test_an_interrupted_search_says_what_is_lost(started: Project, tmp_path: Path):
    copy = ask_for(started, tmp_path, "{fits: 2000, folds: 2, jobs: 1}")
    # The signal comes from inside, after the first fit: no race with the start of Python. The other fit of the
    # candidate takes longer than the time that is left to clean up after other signals.
    script = (
        "import os, signal, sys\n"
        "from mlcicd import cli; from mlcicd.system import signals; from mlcicd.training import fitting\n"
        "signals.GRACE = 0.001\n"
        "quality = fitting.quality\n"
        "def interrupting(*given):\n"
        "    if not asked:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    asked.append(given)\n"
        "    return quality(*given)\n"
        "asked, fitting.quality = [], interrupting\n"
        "sys.argv = ['ml', 'train']\n"
        "cli.main()\n"
    )
    done = copy.run("python", "-c", script, OMP_NUM_THREADS="1", timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("ml: search stopped after 2 fits; no run was written; best so far: ")
    assert not (copy.root / "runs" / "model").exists()


def test_the_page_about_a_table_needs_nothing_but_itself(copy: Project, tmp_path: Path):
    path = table(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace(",A,", ",<script>alert(1)</script>,"), encoding="utf-8")
    assert copy.run("ml", "init", str(path), "--target", "bought", "--time", "when").returncode == 0
    done = copy.run("ml", "explore", "--out", "page.html")
    assert done.returncode == 0, done.stderr
    page = (copy.root / "page.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "default-src 'none'" in page
    for heading in ("Association with the target", "Missing values", "Over time", "Every column"):
        assert f"<h2>{heading}</h2>" in page
    assert not re.search(r"(?:src|url\()\s*=?\s*['\"]?https?:", page)


def test_a_column_of_zeros_with_few_other_values_is_not_one_level(copy: Project, tmp_path: Path):
    path = tmp_path / "rare.csv"
    rows = [f"{i % 37 / 7:.3f},{i // 160 * (i - 100)},{'no' if i < 160 else 'yes'}" for i in range(200)]
    path.write_text("\n".join(["weight,returns,bought", *rows]) + "\n", encoding="utf-8")
    assert copy.run("ml", "init", str(path), "--target", "bought").returncode == 0
    done = copy.run("ml", "explore", "--out", "page.html")
    assert done.returncode == 0, done.stderr
    page = (copy.root / "page.html").read_text(encoding="utf-8")
    assert "returns: explains 100.0%" in page
    assert "≤ 0" in page
