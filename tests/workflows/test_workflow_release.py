"""`release` pushes nothing that has not passed everything, and running it again changes nothing."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from acting import ACTIONS, GitHub, Outcome, step_key, workflow

from workflows.conftest import fake_uv, nothing, write
from workflows.coverage_table import PROJECT

PLANS = json.loads((ACTIONS / "plans.json").read_text(encoding="utf-8"))
BUILD, PUBLISH = (workflow(PROJECT, "release")["jobs"][job]["steps"] for job in ("build", "publish"))
Release = Callable[..., Outcome]


@pytest.fixture
def release(hub: GitHub, fakes: Path) -> Release:
    """Run `release` for main with a `uv` that only pretends: what is tested is the order of things."""
    return lambda **options: hub.on_push("release", fakes=fakes, **options)


def published(hub: GitHub) -> list[str]:
    """The tags of published GitHub releases."""
    return [entry["tagName"] for entry in hub.releases() if not entry["isDraft"]]


def order(hub: GitHub) -> list[str]:
    """What happened to the image and the release, in order, in a word or two each."""
    events = [event for event in hub.events() if event["event"] not in ("dispatch", "upload")]
    return [f"push {event['tag']}" if event["event"] == "push" else event["event"] for event in events]


def test_a_release_tests_before_it_writes_and_ends_with_the_release(hub: GitHub, release: Release) -> None:
    outcome = release()
    assert outcome.conclusion == "success", outcome.log
    commit = hub.head()
    [tag] = published(hub)
    assert re.fullmatch(rf"model-\d{{4}}\.\d\d\.\d\d-{commit[:7]}", tag)
    assert order(hub) == [
        "build", "run", "stopped", "attest", "release created", "login",
        f"push {commit}", f"push {tag.removeprefix('model-')}", "push latest", "release published", "artifact deleted",
    ]  # fmt: skip
    assert len(set(hub.tags().values())) == 1
    [attested] = hub.events("attest")
    assert (attested["image"], attested["digest"]) == ("ghcr.io/acme/churn", hub.tags()["latest"])
    assert hub.releases()[0]["body"].startswith("# Model card\n\n**Provenance**: signed by GitHub.")
    assert hub.releases()[0]["target"] == commit
    assert {file.name for file in (hub.state / "releases" / tag).iterdir()} == {
        "release.json", "run.tar.gz", "sbom.spdx.json", "provenance.json", "provenance.sigstore.json"
    }  # fmt: skip
    asked = (hub.state / "asked").read_text().splitlines()
    assert [line.split()[1] for line in asked if line.startswith("ml ")] == [
        "data",
        "train",
        "package",
        "smoke",
        "card",
    ]


def test_the_real_bento_is_served_and_smoke_tested(hub: GitHub) -> None:
    """Nothing pretends here but the engine and GitHub: the real `ml` trains, packs, serves and asks its own bento."""
    outcome = hub.on_push("release")
    assert outcome.conclusion == "success", outcome.log
    assert "same predictions as the run" in outcome.log
    assert set(hub.tags()) >= {"latest", hub.head()}
    assert hub.releases()[0]["body"].strip()


def test_running_a_finished_release_again_changes_nothing(hub: GitHub, release: Release) -> None:
    release()
    before, tags, releases = order(hub), hub.tags(), hub.releases()
    again = release()
    assert again.conclusion == "success"
    assert again.jobs["publish"] == "skipped"
    assert "is released already: nothing to do" in again.log
    assert (order(hub), hub.tags(), hub.releases()) == (before, tags, releases)


def test_the_next_release_passes_the_gate_against_the_last(hub: GitHub, release: Release) -> None:
    release()
    hub.commit("main", nothing)
    assert release().conclusion == "success"
    asked = (hub.state / "asked").read_text().splitlines()
    assert "ml compare runs/released runs/model --out review" in asked
    assert len(published(hub)) == 2


@pytest.mark.parametrize("what", ["sync", "ml train", "ml compare", "ml package", "ml smoke", "ml card"])
def test_whatever_fails_nothing_is_pushed(hub: GitHub, release: Release, what: str) -> None:
    release()
    before = hub.tags()
    hub.commit("main", nothing)
    (hub.state / "fails").write_text(what)
    outcome = release()
    assert outcome.conclusion == "failure"
    assert outcome.jobs["publish"] == "skipped"
    assert hub.tags() == before
    assert len(hub.releases()) == 1


def test_a_release_says_when_the_data_was_last_looked_at(hub: GitHub, release: Release) -> None:
    looked = {"id": 1, "workflow": "monitor", "conclusion": "success", "created_at": "2020-01-06T05:17:00Z"}
    (hub.state / "runs.json").write_text(json.dumps([looked]))
    outcome = release()
    for text in (hub.releases()[0]["body"], outcome.summary):
        assert "🔴 **`monitor` last looked at new data" in text


def test_a_severe_vulnerability_stops_a_release(hub: GitHub, release: Release) -> None:
    (hub.state / "vulnerabilities").write_text("low critical")
    assert release().conclusion == "failure"
    assert (hub.tags(), hub.releases()) == ({}, [])


def test_a_light_vulnerability_does_not(hub: GitHub, release: Release) -> None:
    (hub.state / "vulnerabilities").write_text("low medium")
    assert release().conclusion == "success"


def test_without_a_contract_there_is_nothing_to_release(hub: GitHub, release: Release) -> None:
    hub.commit("main", lambda tree: (tree / "contract.yaml").unlink())
    outcome = release()
    assert outcome.conclusion == "success"
    assert "There is no contract.yaml yet" in outcome.log
    assert order(hub) == []


def test_only_main_is_released(hub: GitHub, fakes: Path) -> None:
    outcome = hub.on_push("release", event="workflow_dispatch", branch="elsewhere", fakes=fakes)
    assert outcome.jobs["build"] == "skipped"
    assert order(hub) == []


def keys(steps: list[dict[str, object]]) -> list[str]:
    """The names of steps which run a command or an action, apart from the checkout, which act does itself."""
    found = [step_key(index, step) for index, step in enumerate(steps)]
    pairs = zip(found, steps, strict=True)
    ran = [(key, step) for key, step in pairs if "failure()" not in str(step.get("if"))]
    return [key for key, step in ran if "checkout@" not in str(step.get("uses"))]


@pytest.fixture(scope="module")
def released(small: GitHub, tmp_path_factory: pytest.TempPathFactory) -> GitHub:
    """A GitHub with one finished release, and a newer commit that is to be the next."""
    root = tmp_path_factory.mktemp("released")
    own = small.copy(root / "hub")
    assert own.on_push("release", fakes=fake_uv(root)).conclusion == "success"
    own.commit("main", write("src/new.py", "x = 1\n"))
    return own


@pytest.mark.parametrize("step", [f"build/{key}" for key in keys(BUILD)] + [f"publish/{key}" for key in keys(PUBLISH)])
def test_killed_after_any_step_there_is_no_untested_latest(
    released: GitHub, tmp_path: Path, fakes: Path, step: str
) -> None:
    hub = released.copy(tmp_path / "hub")
    [before] = set(hub.tags().values())
    killed = hub.on_push("release", fakes=fakes, stop_after=step)
    hub.stop_containers()
    assert killed.conclusion == "failure"
    assert "publish" not in killed.jobs, f"the run was not killed after {step}"

    latest = hub.tags()["latest"]
    if latest != before:
        smoke_tested = order(hub).count("stopped") == 2
        assert smoke_tested
        assert latest == hub.events("attest")[-1]["digest"]
    # Nothing is pushed before the release is drafted, and that comes after every test.
    if step.startswith("build/"):
        assert len(hub.tags()) == 3
        return
    # The next run brings it to an end, whatever was left behind.
    assert hub.on_push("release", fakes=fakes).conclusion == "success"
    assert len(published(hub)) == 2
    assert hub.tags()["latest"] == hub.tags()[hub.head()] == hub.events("attest")[-1]["digest"]


# Every plan -----------------------------------------------------------------------------------------------------------


def asset(hub: GitHub, name: str, number: int = 0) -> Path:
    """A file of a release."""
    return hub.state / "releases" / hub.releases()[number]["tagName"] / name


@pytest.mark.parametrize("plan", [row["id"] for row in PLANS["setups"] if row["server"] == "GitHub"])
def test_a_release_succeeds_on_every_plan_and_says_whether_it_is_signed(
    hub: GitHub, release: Release, plan: str
) -> None:
    hub.plan = plan
    outcome = release()
    assert outcome.conclusion == "success", outcome.log
    statement = json.loads(asset(hub, "provenance.json").read_text())
    [subject, run, record] = statement["subject"]
    assert (subject["name"], subject["digest"]) == ("ghcr.io/acme/churn", {"sha256": hub.tags()["latest"][7:]})
    assert run == {"name": "run.tar.gz", "digest": {"sha256": sha256(asset(hub, "run.tar.gz"))}}
    with tarfile.open(asset(hub, "run.tar.gz")) as archive:
        packed = archive.extractfile("model/release.json")
        assert packed is not None
        assert record["digest"] == {"sha256": hashlib.sha256(packed.read()).hexdigest()}
    built = statement["predicate"]["buildDefinition"]
    assert built["resolvedDependencies"][0]["digest"] == {"gitCommit": hub.head()}
    note = hub.releases()[0]["body"].partition("**Provenance**: ")[2]
    signed = asset(hub, "provenance.sigstore.json").exists()
    assert signed == (plan in attestations()["allowed"])
    if signed:
        assert note.startswith("signed by GitHub. `gh attestation verify run.tar.gz --repo acme/churn")
        assert "--signer-workflow acme/churn/.github/workflows/release.yml --source-ref refs/heads/main`" in note
    else:
        assert "Failed to persist attestation: Feature not available for" in outcome.log
        assert note.startswith("Nobody signed it: GitHub attests for public repositories and on Enterprise Cloud.")
        assert note.rstrip("\n").count("\n") == 0  # one line, whatever stands below it
        assert "Nobody signed it" in outcome.summary


def attestations() -> dict[str, Any]:
    """What the table says of attestations."""
    return next(entry for entry in PLANS["features"] if entry["id"] == "attestations")


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_what_nobody_signs_is_what_github_would_sign(hub: GitHub, release: Release) -> None:
    release()
    [attested] = hub.events("attest")
    ours = json.loads(asset(hub, "provenance.json").read_text())
    for statement in (ours, attested["statement"]):
        # Numbers that act does not give to a step in the way GitHub does.
        del statement["predicate"]["buildDefinition"]["internalParameters"]["github"]
    assert ours == attested["statement"]


def test_where_a_signature_is_required_nothing_is_released_without(hub: GitHub, release: Release) -> None:
    hub.plan = "private-user-free"
    outcome = release(variables={"SIGNED_RELEASES": "required"})
    assert outcome.conclusion == "failure"
    assert (hub.tags(), hub.releases()) == ({}, [])


def test_a_package_of_another_repository_names_the_setting(hub: GitHub, release: Release) -> None:
    (hub.state / "package-of-another-repository").touch()
    outcome = release()
    assert outcome.conclusion == "failure"
    assert "denied: permission_denied: write_package" in outcome.log
    assert "add acme/churn with the role Write" in outcome.log
    assert published(hub) == []


# Which one is the latest ----------------------------------------------------------------------------------------------


def test_of_three_merges_in_a_minute_the_newest_is_released_and_names_the_others(hub: GitHub, release: Release) -> None:
    """GitHub keeps one waiting run of a group: the second merge's is cancelled by the third's, and never starts."""
    release()
    first, second, third = (hub.commit("main", nothing) for _ in range(3))
    release(commit=first)
    release(commit=third)
    newest = next(entry for entry in hub.releases() if entry["target"] == third)
    assert newest["isLatest"]
    assert f"**Since {hub.releases()[1]['tagName']}**: {second[:7]}, {third[:7]}" in newest["body"]
    latest = hub.tags()["latest"]
    assert latest == hub.tags()[third]

    # Somebody runs the cancelled one again.
    outcome = release(commit=second)
    assert outcome.conclusion == "success", outcome.log
    assert "is released beside the newer" in outcome.log
    assert (hub.tags()["latest"], hub.tags()[second] != latest) == (latest, True)
    assert [entry["isLatest"] for entry in hub.releases()] == [True, True, True, False]


def test_latest_does_not_move_back_past_a_release_that_was_cut_off(hub: GitHub, release: Release, fakes: Path) -> None:
    """`latest` was pushed and the release not yet published: no release says so, the image's label does."""
    older = hub.head()
    newer = hub.commit("main", nothing)
    index = next(i for i, step in enumerate(PUBLISH) if step["name"] == "Push the image as latest")
    hub.on_push("release", fakes=fakes, stop_after=f"publish/{index}")
    hub.stop_containers()
    assert hub.tags()["latest"] == hub.tags()[newer]
    assert release(commit=older).conclusion == "success"
    assert hub.tags()["latest"] == hub.tags()[newer] != hub.tags()[older]


def test_where_the_registry_does_not_answer_latest_stays(hub: GitHub, release: Release) -> None:
    release()
    latest = hub.tags()["latest"]
    hub.commit("main", nothing)
    (hub.state / "registry-is-down").touch()
    assert release().conclusion == "failure"
    assert hub.tags()["latest"] == latest
    (hub.state / "registry-is-down").unlink()
    assert release().conclusion == "success"
    assert hub.tags()["latest"] == hub.tags()[hub.head()] != latest


def test_what_is_not_on_main_any_more_is_not_released(hub: GitHub, release: Release) -> None:
    gone = hub.commit("main", nothing)
    hub.commit("main", write("src/other.py", "x = 1\n"), base="main~1", force=True)
    outcome = release(commit=gone)
    assert outcome.conclusion == "failure"
    assert f"{gone} is not on main any more" in outcome.log
    assert (hub.tags(), hub.releases()) == ({}, [])


# Storage --------------------------------------------------------------------------------------------------------------
# A hundredth of everything: 171 MB of image and 500 MB of quota, in tenths of milliseconds to write.

IMAGE, QUOTA = 1_710_000, 5_000_000


@pytest.fixture
def small_quota(hub: GitHub) -> GitHub:
    """A private repository on the Free plan, where an image is a third of what may be kept."""
    hub.plan = "private-user-free"
    (hub.state / "image-bytes").write_text(str(IMAGE))
    (hub.state / "quota-bytes").write_text(str(QUOTA))
    return hub


def kept(hub: GitHub) -> dict[str, Any]:
    """What is stored, and the most there has been."""
    return json.loads((hub.state / "storage.json").read_text())


def test_a_week_of_releases_stays_under_the_quota(small_quota: GitHub, release: Release) -> None:
    """Twenty were tried; seven show the same, since a release that ends well leaves nothing behind."""
    hub = small_quota
    push = next(i for i, step in enumerate(PUBLISH) if step["name"] == "Push the image under its version")
    for hour, cut_off in ((0, False), (1, True), (2, True), (3, True), (8, False), (16, True), (24, False)):
        (hub.state / "hours").write_text(str(hour))
        hub.commit("main", nothing)
        outcome = release(stop_after=f"publish/{push}" if cut_off else "")
        hub.stop_containers()
        assert outcome.conclusion == ("failure" if cut_off else "success"), outcome.log
        assert len(kept(hub)["kept"]) == cut_off, "what it left, and nothing of those before"
    assert len(published(hub)) == 3
    assert IMAGE < kept(hub)["most"] < QUOTA


def test_a_release_hands_over_its_compressed_image_and_little_else(small_quota: GitHub, release: Release) -> None:
    release()
    [upload] = [event for event in small_quota.events("upload") if event["name"] == "release"]
    assert IMAGE <= upload["size"] <= IMAGE * 1.02


def test_where_there_is_no_room_it_says_what_to_do(small_quota: GitHub, release: Release) -> None:
    hub = small_quota
    full = {"kept": {"1": ["something", QUOTA + 1, 14]}, "counted": QUOTA + 1, "at": 0, "most": QUOTA + 1}
    (hub.state / "storage.json").write_text(json.dumps(full))
    outcome = release()
    assert outcome.conclusion == "failure"
    assert "Failed to CreateArtifact: Artifact storage quota has been hit." in outcome.log
    assert "delete artifacts (Actions → a run → Artifacts)" in outcome.log
    assert (hub.tags(), hub.releases()) == ({}, [])
    # It has run out: the same run, started again.
    (hub.state / "hours").write_text(str(14 * 24))
    assert release().conclusion == "success"


def test_it_starts_when_the_model_can_have_changed() -> None:
    paths = workflow(PROJECT, "release")["on"]["push"]["paths"]
    files = ("params.yaml", "contract.yaml", "uv.lock", ".python-version")
    for changed in ("src/churn/features.py", "data/transactions.csv.gz", *files):
        assert any(fnmatch(changed, pattern) for pattern in paths), changed
    for changed in ("README.md", "docs/security.md", ".github/workflows/ci.yml", "tests/test_churn.py"):
        assert not any(fnmatch(changed, pattern) for pattern in paths), changed


def test_releases_wait_for_each_other() -> None:
    assert workflow(PROJECT, "release")["concurrency"] == {"group": "release", "cancel-in-progress": False}


def test_only_the_job_that_publishes_may_write() -> None:
    jobs = workflow(PROJECT, "release")["jobs"]
    assert set(jobs["build"]["permissions"].values()) == {"read"}
    assert set(jobs["publish"]["permissions"].values()) == {"write"}
    # It runs nothing of the project: no checkout, no uv.
    assert not any("checkout" in str(step) or "uv " in str(step) for step in jobs["publish"]["steps"])
