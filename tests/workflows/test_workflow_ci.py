"""`ci` checks every supported Python, lint, types, tests and the data's contract, and its last job sums them up."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from acting import GitHub, workflow
from conftest import PYTHONS, Project

from workflows.conftest import replace, write
from workflows.coverage_table import PROJECT


def leg(hub: GitHub) -> str:
    """The leg of the matrix for which this machine has a Python for certain: the prepared environment's."""
    assert hub.environment
    version = subprocess.check_output([hub.environment / ".venv/bin/python", "-V"], text=True).split()[1]
    return "python:" + ".".join(version.split(".")[:2])


def test_a_clean_pull_request_passes(project: Project, tmp_path: Path) -> None:
    """The real thing, for one Python; the branch and the title would run something if they could."""
    hub = GitHub(tmp_path / "hub", project.root, environment=project.root)
    branch = "$(touch${IFS}pwned)"
    hub.commit(branch, write("docs/more.md", "More.\n"))
    run = hub.on_pull_request("ci", hub.open(branch, title="`touch pwned` ${{ github.token }}"), matrix=leg(hub))
    assert run.conclusion == "success", run.log
    assert set(run.jobs.values()) == {"success"}
    assert not [path for path in hub.root.rglob("pwned") if path.is_file()]


def test_each_supported_python_is_tested(hub: GitHub, fakes: Path) -> None:
    run = hub.on_push("ci", fakes=fakes)
    assert run.conclusion == "success", run.log
    pyproject = (hub.work / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r":: (3\.\d+)", pyproject) == list(PYTHONS)
    assert f"list={json.dumps(PYTHONS, separators=(',', ':'))}" in run.log
    asked = (hub.state / "asked").read_text().splitlines()
    assert [asked.count(command) for command in ("pytest", "ml validate")] == [len(PYTHONS)] * 2
    assert asked.count("pre-commit run --all-files --show-diff-on-failure") == 1


def test_no_classifier_is_an_error_that_says_what_to_do(hub: GitHub, fakes: Path) -> None:
    hub.commit("main", lambda tree: replace(tree / "pyproject.toml", {"Programming Language :: Python ::": "Topic ::"}))
    run = hub.on_push("ci", fakes=fakes)
    assert run.jobs == {"pythons": "failure", "lint": "success", "test": "skipped", "passed": "failure"}
    assert 'No classifier "Programming Language :: Python :: 3.N"' in run.log


def test_one_failing_leg_fails_the_whole(hub: GitHub, fakes: Path) -> None:
    (hub.state / "fails").write_text("pytest")
    run = hub.on_push("ci", fakes=fakes)
    assert (run.jobs["test"], run.jobs["passed"], run.conclusion) == ("failure", "failure", "failure")


def test_without_a_contract_there_is_no_data_to_check(hub: GitHub, fakes: Path) -> None:
    hub.commit("main", lambda tree: (tree / "contract.yaml").unlink())
    run = hub.on_push("ci", fakes=fakes)
    assert run.conclusion == "success"
    assert "No contract.yaml yet" in run.log
    assert "ml validate" not in (hub.state / "asked").read_text()


def test_pull_requests_merge_queues_and_main_are_checked() -> None:
    # The dispatch is for retraining pull requests, which `monitor` opens: what GITHUB_TOKEN pushes starts no workflow.
    asked = {"types": ["opened", "synchronize", "reopened", "edited"]}
    started_by = {"pull_request": asked, "merge_group": None, "push": {"branches": ["main"]}, "workflow_dispatch": None}
    assert workflow(PROJECT, "ci")["on"] == started_by


def test_an_edited_title_runs_nothing_and_passes_nothing(hub: GitHub, fakes: Path) -> None:
    """A required check that is skipped counts as passed: its name must not be there."""
    hub.commit("change", write("src/new.py", "x = 1\n"))
    run = hub.on_pull_request("ci", hub.open("change"), changes={"title": {"from": "x"}}, fakes=fakes)
    assert run.jobs == {"pythons": "skipped", "lint": "skipped"}  # act looks at no job after those
    name = workflow(PROJECT, "ci")["jobs"]["passed"]["name"]
    where = "(github.event.action != 'edited' || github.event.changes.base.ref.from)"
    assert name == f"${{{{ {where} && 'ci passed' || 'only words changed' }}}}"


def test_another_base_is_another_merge(hub: GitHub, fakes: Path) -> None:
    hub.commit("change", write("src/new.py", "x = 1\n"))
    run = hub.on_pull_request("ci", hub.open("change"), changes={"base": {"ref": {"from": "weak"}}}, fakes=fakes)
    assert set(run.jobs.values()) == {"success"}, run.log


def test_a_merge_queues_commit_is_checked(hub: GitHub, fakes: Path) -> None:
    hub.commit("change", write("src/new.py", "x = 1\n"))
    run = hub.on_merge_group("ci", hub.open("change"), fakes=fakes)
    assert set(run.jobs.values()) == {"success"}, run.log
