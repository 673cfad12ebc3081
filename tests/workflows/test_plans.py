"""What GitHub allows is one table: it drives the stand-ins, it is on the project's page, and it leaves no step out."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
from acting import ACTIONS, workflow
from conftest import TEMPLATE

from workflows.coverage_table import PROJECT, names

sys.path.insert(0, str(TEMPLATE / "docs"))
import plans

TABLE: dict[str, Any] = json.loads((ACTIONS / "plans.json").read_text(encoding="utf-8"))
FEATURES = {feature["id"] for feature in TABLE["features"]}
PAGE = (PROJECT / "docs/plans.md").read_text(encoding="utf-8")
SECURITY = (PROJECT / "docs/security.md").read_text(encoding="utf-8")

# Which feature of the table an action, or a command in a script, needs.
ACTIONS_NEED = {
    "actions/checkout": {"actions"},
    "actions/upload-artifact": {"actions", "artifact storage"},
    "actions/upload-pages-artifact": {"actions", "artifact storage"},
    "actions/download-artifact": {"actions"},
    "actions/cache/restore": {"cache storage"},
    "actions/cache/save": {"cache storage"},
    "actions/attest-build-provenance": {"attestations"},
    "actions/deploy-pages": {"pages"},
    "astral-sh/setup-uv": {"cache storage"},
    "iterative/setup-cml": set(),
    "docker/login-action": set(),
    "anchore/scan-action": set(),
    "anchore/sbom-action": set(),
}
# What may depend on a plan, or on the network: a step that starts one has to be looked up first.
UNKNOWN = re.compile(r"^\s*(?:if ! )?(curl|wget|podman|buildah|cosign|npm|pip|az|aws|gcloud)\b", re.MULTILINE)


@pytest.mark.parametrize("name", names())
def test_no_step_is_unknown_to_the_table(name: str) -> None:
    for key, job in workflow(PROJECT, name)["jobs"].items():
        assert job["runs-on"] == "ubuntu-latest", "a larger machine is a matter of the plan"
        assert set(job.get("permissions", {})) <= {
            "actions", "attestations", "checks", "contents", "id-token", "issues", "packages", "pages", "pull-requests"
        }  # fmt: skip
        if "environment" in job:
            assert {"environments", "required reviewers"} <= FEATURES
        for step in job["steps"]:
            action = step.get("uses", "").partition("@")[0]
            assert not action or ACTIONS_NEED[action] <= FEATURES, f"{name}/{key}: {action}"
            assert not UNKNOWN.search(step.get("run", "")), f"{name}/{key}: {step['name']}"


def test_the_page_shows_the_table() -> None:
    assert plans.render(TABLE) in PAGE, "python docs/plans.py prints what docs/plans.md of the project has to hold"


def test_each_refusal_has_its_words_and_each_row_its_page() -> None:
    rows = {row["id"] for row in TABLE["setups"]}
    for feature in TABLE["features"]:
        assert set(feature["allowed"]) <= rows
        assert feature["source"].startswith("https://") and feature["then"]
        assert bool(feature["refusal"]) == bool(feature["wording"]), "words that nobody has seen are no refusal"


def test_the_page_lists_the_actions_that_an_organisation_has_to_allow() -> None:
    used = {action for action in ACTIONS_NEED if not action.startswith("actions/")}
    texts = [file.read_text(encoding="utf-8") for file in (PROJECT / ".github/workflows").glob("*.yml")]
    assert used == {a for text in texts for a in re.findall(r"uses: ([\w-]+/[\w-]+)@", text) if a[:8] != "actions/"}
    assert "".join(f"{action}@*,\n" for action in sorted(used)) in PAGE


def test_the_page_counts_the_jobs() -> None:
    jobs = {name: len(workflow(PROJECT, name)["jobs"]) for name in names()}
    jobs["ci"] += 2  # three Pythons
    jobs["model"] -= 1  # a review or a baseline
    found = dict(re.findall(r"^\| (a review|a merge|a week of monitoring): [^|]*\| (\d+) \|", PAGE, re.MULTILINE))
    assert int(found["a review"]) == jobs["ci"] + jobs["model"] + jobs["report"]
    assert int(found["a merge"]) == jobs["ci"] + jobs["model"] + jobs["release"] + jobs["pages"]
    assert int(found["a week of monitoring"]) == jobs["monitor"] + jobs["pages"]


def test_every_sentence_that_is_tested_names_its_test() -> None:
    own = [file for file in (TEMPLATE / "tests").rglob("*.py") if ".venv" not in file.parts]
    tests = "\n".join(file.read_text(encoding="utf-8") for file in own)
    claims = re.findall(r"\*Tested(.*?)\*", SECURITY.replace("test_*", ""), re.DOTALL)
    assert len(claims) >= 15
    for claim in claims[1:]:  # the first explains the word
        named = re.findall(r"`(test_\w+)`", claim)
        files = re.findall(r"`(tests/[\w/]+\.py)`", claim)
        assert named or files, claim
        for name in named:
            assert f"def {name}(" in tests, name
        for file in files:
            assert (TEMPLATE / file).is_file(), file


def test_no_page_verifies_by_the_owner_alone() -> None:
    for folder in (PROJECT, TEMPLATE / "docs"):
        for page in folder.rglob("*.md"):
            text = page.read_text(encoding="utf-8").replace("\\\n", " ")
            for command in re.findall(r"gh attestation verify [^`\n]+", text):
                for option in ("--repo ", "--signer-workflow ", "--source-ref "):
                    assert option in command, f"{page.name}: {command}"
