"""`release` pushes nothing that has not passed everything, and running it again changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest
from acting import GitHub, Outcome, step_key, workflow

from workflows.conftest import fake_uv, nothing, write
from workflows.coverage_table import PROJECT

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
    events = [event for event in hub.events() if event["event"] != "dispatch"]
    return [f"push {event['tag']}" if event["event"] == "push" else event["event"] for event in events]


def test_a_release_tests_before_it_writes_and_ends_with_the_release(hub: GitHub, release: Release) -> None:
    outcome = release()
    assert outcome.conclusion == "success", outcome.log
    commit = hub.head()
    [tag] = published(hub)
    assert re.fullmatch(rf"model-\d{{4}}\.\d\d\.\d\d-{commit[:7]}", tag)
    assert order(hub) == [
        "build", "run", "stopped", "attest", "release created", "login",
        f"push {commit}", f"push {tag.removeprefix('model-')}", "push latest", "release published",
    ]  # fmt: skip
    assert len(set(hub.tags().values())) == 1
    [attested] = hub.events("attest")
    assert (attested["image"], attested["digest"]) == ("ghcr.io/acme/churn", hub.tags()["latest"])
    assert hub.releases()[0]["body"] == "# Model card\n"
    assert hub.releases()[0]["target"] == commit
    assert {file.name for file in (hub.state / "releases" / tag).iterdir()} == {
        "release.json", "run.tar.gz", "sbom.spdx.json"
    }  # fmt: skip
    asked = (hub.state / "asked").read_text().splitlines()
    assert [line.split()[1] for line in asked if line.startswith("ml ")] == ["train", "package", "smoke", "card"]


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
    assert "No contract.yaml yet" in outcome.log
    assert order(hub) == []


def test_only_main_is_released(hub: GitHub, fakes: Path) -> None:
    outcome = hub.on_push("release", event="workflow_dispatch", branch="elsewhere", fakes=fakes)
    assert outcome.jobs["build"] == "skipped"
    assert order(hub) == []


def keys(steps: list[dict[str, object]]) -> list[str]:
    """The names of steps which run a command or an action, apart from the checkout, which act does itself."""
    found = [step_key(index, step) for index, step in enumerate(steps)]
    return [key for key, step in zip(found, steps, strict=True) if "checkout@" not in str(step.get("uses"))]


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


def test_it_starts_when_the_model_can_have_changed() -> None:
    paths = workflow(PROJECT, "release")["on"]["push"]["paths"]
    for changed in ("src/churn/features.py", "data/transactions.csv.gz", "params.yaml", "contract.yaml", "uv.lock"):
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
