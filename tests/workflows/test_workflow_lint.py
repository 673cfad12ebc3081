"""What a security reviewer's tools say of the workflows: nothing, but for one documented ignore."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from acting import ACTIONS, step_key, workflow
from conftest import TEMPLATE

from workflows.coverage_table import PROJECT, names

DEPLOY = [PROJECT / "_deploy" / answer for answer in ("kubernetes", "sagemaker")]  # answers with a workflow
FILES = [*((PROJECT, name) for name in names()), *((folder, "deploy") for folder in DEPLOY)]
JOBS = [(folder, name, job) for folder, name in FILES for job in workflow(folder, name)["jobs"]]


@pytest.mark.parametrize(
    "folder", [folder / ".github" for folder in (PROJECT, *DEPLOY, TEMPLATE)], ids=lambda folder: folder.parent.name
)
def test_zizmor_finds_nothing(folder: Path) -> None:
    command = ["zizmor", "--persona=auditor", "--offline", "--format=json", "--quiet", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("folder", [PROJECT, *DEPLOY, TEMPLATE], ids=lambda folder: folder.name)
def test_actionlint_and_shellcheck_find_nothing(folder: Path) -> None:
    assert shutil.which("shellcheck"), "without it actionlint reads no script, and says nothing about that"
    files = sorted(map(str, (folder / ".github/workflows").glob("*.yml")))
    done = subprocess.run(["actionlint", *files], capture_output=True, text=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, "")


def test_one_thing_is_ignored_and_says_why_and_secrets_of_an_answer() -> None:
    texts = [file.read_text(encoding="utf-8") for file in (PROJECT / ".github").rglob("*.yml")]
    ignores = [line for text in texts for line in text.splitlines() if "zizmor: ignore" in line]
    (first, *answers) = sorted(ignores, key=lambda line: "# with " in line)
    assert re.search(r"ignore\[dangerous-triggers\] \w+", first)
    assert all(re.search(r"secrets\.\w+ }} # zizmor: ignore\[secrets-outside-env\] \w+", line) for line in answers)
    assert not list(PROJECT.rglob("zizmor.y*ml"))


@pytest.mark.parametrize(("folder", "name", "job"), JOBS)
def test_every_job_has_the_least_it_needs(folder: Path, name: str, job: str) -> None:
    whole = workflow(folder, name)
    content = whole["jobs"][job]
    assert whole["permissions"] == {}
    assert "permissions" in content
    assert 0 < content["timeout-minutes"] <= 90
    assert whole["defaults"] == {"run": {"shell": "bash"}}
    assert "concurrency" in whole
    for index, step in enumerate(content["steps"]):
        where = step_key(index, step)
        assert "name" in step, where
        assert "${{" not in step.get("run", ""), f"{where}: an expression in a script can be an injection"
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False, where


@pytest.mark.parametrize(("folder", "name"), FILES)
def test_actions_are_pinned_and_get_inputs_that_they_have(folder: Path, name: str) -> None:
    text = (folder / f".github/workflows/{name}.yml").read_text(encoding="utf-8")
    uses = re.findall(r"uses: (.*)", text)
    for line in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*", line), line
    for job in workflow(folder, name)["jobs"].values():
        for step in job["steps"]:
            action = step.get("uses", "").partition("@")[0]
            if action and action != "actions/checkout":
                known = yaml.safe_load((ACTIONS / action / "action.yml").read_text(encoding="utf-8"))["inputs"]
                assert set(step.get("with", {})) <= set(known), f"{action} has no such input"
                missing = {key for key, value in known.items() if value.get("required")} - set(step.get("with", {}))
                assert not missing, action


PINS = json.loads((ACTIONS / "pins.json").read_text(encoding="utf-8"))
RUNTIMES = {"node24", "composite"}
# Declares a runtime that the runners no longer have, and no release of it is newer: its failing must cost nothing.
OUTDATED = {"iterative/setup-cml"}


@pytest.mark.parametrize("folder", [PROJECT, *DEPLOY, TEMPLATE], ids=lambda folder: folder.name)
def test_every_action_is_one_of_the_verified_pins_and_starts_on_todays_runners(folder: Path) -> None:
    for file in sorted((folder / ".github/workflows").glob("*.yml")):
        found = re.findall(r"uses: ([\w-]+/[\w-]+)[\w/-]*@(\w+) # (\S+)", file.read_text(encoding="utf-8"))
        assert len(found) == file.read_text(encoding="utf-8").count("uses: "), file.name
        for action, commit, version in found:
            assert (PINS[action]["commit"], PINS[action]["version"]) == (commit, version), f"{file.name}: {action}"
            assert PINS[action]["runtime"] in RUNTIMES or action in OUTDATED, f"{file.name}: {action}"
    assert all(PINS[action]["runtime"] not in RUNTIMES for action in OUTDATED), "no exception that is not needed"


def test_what_may_not_start_any_more_stops_nothing() -> None:
    for folder, name, job in JOBS:
        for step in workflow(folder, name)["jobs"][job]["steps"]:
            if step.get("uses", "").partition("@")[0] in OUTDATED:
                assert step["continue-on-error"] is True, f"{name}/{job}: see test_without_cml_the_same_comment…"


@pytest.mark.parametrize(("folder", "name"), FILES)
def test_only_main_fills_caches(folder: Path, name: str) -> None:
    """A pull request can poison nothing that main reads, and a release reads nothing; whatever the answers were."""
    text = (folder / f".github/workflows/{name}.yml").read_text(encoding="utf-8")
    for job in yaml.safe_load(text)["jobs"].values():
        for step in job["steps"]:
            action, options = step.get("uses", "").partition("@")[0], step.get("with", {})
            assert action != "actions/cache", "it saves wherever it restores"
            if action == "actions/cache/save":
                assert job["if"] == "github.event_name == 'push'"
            if action == "astral-sh/setup-uv" and options["enable-cache"] == "true":
                assert options["save-cache"] in ("false", "${{ github.event_name == 'push' }}")
            if name in ("release", "deploy"):
                assert options.get("enable-cache", "false") == "false" and "actions/cache" not in action


def test_the_privileged_workflow_runs_no_code_of_a_pull_request() -> None:
    steps = workflow(PROJECT, "report")["jobs"]["post"]["steps"]
    [checkout] = [step for step in steps if "actions/checkout@" in step.get("uses", "")]
    assert set(checkout["with"]) == {"persist-credentials", "sparse-checkout"}, "main's own copy and nothing else"
    commands = {line.split()[0] for step in steps for line in step.get("run", "").splitlines()}
    assert commands <= {"python3", "cml", "gh", "-f", "-F", "echo", "exit"}


# A program that the logic of a step may lie in: `ml` itself, and clients of what only GitHub's machines reach.
CLIENT = re.compile(r"(if !? ?)?(\w+=\$\()?(uv run --no-sync ml|gh|skopeo|docker) |.*\| (gh|skopeo|docker) ")
LONGEST = 5


def shell_lines(script: str) -> list[str]:
    """The lines of a script that are the shell's own: no comment, no client of something, nor how its call goes on."""
    own, client, previous = [], False, ""
    for line in script.splitlines():
        text = line.strip()
        client = client if previous.endswith("\\") else bool(CLIENT.match(text))
        previous = text
        if text and not text.startswith("#") and not client:
            own.append(text)
    return own


def test_a_clients_call_does_not_count_and_all_else_does() -> None:
    script = """
        # A comment.
        if ! skopeo copy a \\
          b; then
          echo c \\
            d
        fi
        x=$(gh api y)
        python3 z.py
        mlx
    """
    assert shell_lines(script) == ["echo c \\", "d", "fi", "python3 z.py", "mlx"]


@pytest.mark.parametrize("name", ["model", "release"])
def test_no_step_holds_logic_that_no_other_test_could_reach(name: str) -> None:
    """What a step decides is Python, with tests of its own; the shell starts it."""
    whole = yaml.safe_load((PROJECT / f".github/workflows/{name}.yml").read_text(encoding="utf-8"))
    steps = [step for job in whole["jobs"].values() for step in job["steps"] if "run" in step]
    longest = {step["name"]: own for step in steps if len(own := shell_lines(step["run"])) > LONGEST}
    assert len(steps) > 5 and longest == {}
