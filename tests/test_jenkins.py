"""The Jenkinsfile of the answer `jenkins`: every stage and step is executed, on good days and on bad ones."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import Project, bake
from jenkins_builds import JVM, Jenkins, groovy
from workflows.conftest import replace, shrink, write

STEP = re.compile(r"(?:def \w+ = readProperties\(text: )?(\w+)[ (]")
STEPS = {
    "sh", "echo", "archiveArtifacts", "catchError", "copyArtifacts", "deleteDir", "readProperties", "stash", "unstash",
    "withCredentials",
}  # fmt: skip


def needed() -> None:
    if shutil.which("groovy") is None or not JVM:
        if "CI" in os.environ:
            pytest.fail("in CI the Jenkinsfile is always executed, but groovy or a JVM is missing")
        pytest.skip("groovy or a JVM is not here: apt-get install groovy default-jre-headless")


@pytest.fixture(scope="module")
def fresh(served: Project, tmp_path_factory: pytest.TempPathFactory) -> Jenkins:
    """The small example in a repository, with nothing built. Do not change it: take a copy."""
    needed()
    root = tmp_path_factory.mktemp("jenkins")
    baked = bake(root / "baked", ci="jenkins")
    shutil.copyfile(served.root / "uv.lock", baked / "uv.lock")
    shrink(baked)
    return Jenkins.open(root / "first", baked, served.environment)


@pytest.fixture
def pretending(fresh: Jenkins, tmp_path: Path) -> Jenkins:
    """One's own, where nothing was built, and what takes long pretends."""
    own = fresh.copy(tmp_path / "jenkins")
    own.pretend()
    return own


def test_the_first_pull_request_with_a_model_is_reviewed_alone(pretending: Jenkins) -> None:
    (pretending.state / "pretends").unlink()
    contract = (pretending.clone / "contract.yaml").read_text(encoding="utf-8")
    params = (pretending.clone / "params.yaml").read_text(encoding="utf-8")

    def without(tree: Path) -> None:
        (tree / "contract.yaml").unlink()
        (tree / "params.yaml").unlink()

    pretending.commit("main", without)
    pretending.commit(
        "first", lambda tree: [write(*file)(tree) for file in (("contract.yaml", contract), ("params.yaml", params))]
    )
    built = pretending.change("first")
    assert built.result == "SUCCESS", built.log
    assert "has no model yet" in pretending.comment()


def test_documentation_alone_trains_nothing_and_a_forks_review_is_archived(pretending: Jenkins) -> None:
    pretending.commit("words", write("docs/Überblick.md", "More.\n"))
    built = pretending.change("words", fork=True)
    assert built.result == "SUCCESS", built.log
    assert "Only documentation changed" in built.read("review/report.md")
    assert built.stages["Check/Review/Say it in the pull request"] == "SKIPPED"
    assert pretending.comment() == ""


def test_where_nothing_can_be_installed_the_comment_says_so_and_a_link_is_not_followed(pretending: Jenkins) -> None:
    (pretending.state / "fails").write_text("sync --locked --no-default-groups\n")
    secret = pretending.root / "secret"
    secret.write_text("a key of this agent")

    # As the branch's own code could, after the folder was cleared.
    planted = f"rm -rf runs review && mkdir review && ln -s {secret} review/report.md"
    pretending.commit("planted", lambda tree: replace(tree / "Jenkinsfile", {"rm -rf runs review": planted}))
    built = pretending.change("planted")
    assert built.result == "FAILURE"
    assert pretending.comment().startswith("## Model review: failed ❌ before it began: https://ci.example/")
    stashed = built.folder / "stash/review/review/report.md"
    assert stashed.is_symlink() and stashed.read_text(encoding="utf-8") == "a key of this agent"


@pytest.mark.parametrize("what", ["ml train", "ml package", "ml smoke"])
def test_whatever_fails_nothing_is_pushed_and_the_next_build_releases(pretending: Jenkins, what: str) -> None:
    (pretending.state / "fails").write_text(what)
    built = pretending.main()
    assert built.result == "FAILURE"
    assert not (pretending.state / "events.jsonl").exists() or pretending.pushed() == []
    assert built.archive == set()


def test_a_killed_release_is_done_again_and_a_finished_one_is_not(pretending: Jenkins) -> None:
    killed = pretending.main(killed='"$ENGINE" push "$ML_IMAGE:$GIT_COMMIT"')
    assert killed.result == "KILLED" and len(pretending.pushed()) == 1
    again = pretending.main()
    assert again.result == "SUCCESS", again.log
    assert pretending.pushed()[1:] == [pretending.pushed()[0], pretending.pushed()[2], "latest"]
    finished = pretending.main()
    assert "is released already: nothing to do." in finished.log and len(pretending.pushed()) == 4
    pretending.commit("main", write("README.md", "More.\n"))
    words = pretending.main()
    assert "Nothing that the model is made of changed" in words.log and len(pretending.pushed()) == 4
    assert "released/model/manifest.json" in words.archive and "runs/baseline/manifest.json" in words.archive

    watched = pretending.main(cause="TimerTrigger")
    assert watched.result == "SUCCESS", watched.log
    assert [name for name, result in watched.stages.items() if result == "SUCCESS"] == [
        "Monitor/Fetch the released model",
        "Monitor/Compare the new data",
    ]
    assert {"drift/drift.md", "released/tags", "runs/baseline/manifest.json"} <= watched.archive
    (pretending.state / "fails").write_text("ml drift")
    assert pretending.main(cause="TimerTrigger").result == "FAILURE"


def test_the_next_release_passes_the_gate_against_the_last(pretending: Jenkins) -> None:
    first = pretending.main()
    pretending.commit("main", write("src/new.py", "x = 1\n"))
    (pretending.state / "fails").write_text("ml compare")
    gated = pretending.main()
    assert gated.result == "FAILURE" and len(pretending.pushed()) == 3
    assert gated.stages["Release/Package"] == "SKIPPED"
    (pretending.state / "fails").unlink()
    second = pretending.main()
    assert second.result == "SUCCESS", second.log
    assert second.stages["Release/Gate against the last release"] == "SUCCESS"
    assert "ml compare released/model runs/baseline --out review" in pretending.asked()
    assert second.read("released/tags").splitlines()[1:] == first.read("released/tags").splitlines()
    assert len(pretending.pushed()) == 6


HOSTILE = "x$(touch${IFS}pwned)`touch${IFS}pwned`;'\"&touch${IFS}pwned"


def test_the_clock_starts_main_alone_and_copies_are_for_changes(pretending: Jenkins) -> None:
    built = pretending.main()
    assert built.cron == "H 5 * * 1"
    assert built.options == {"permission": "PR-*,MR-*", "alone": True, "minutes": 240}
    first, version, latest = pretending.pushed()
    assert (first, latest) == (pretending.git("rev-parse", "HEAD"), "latest")
    assert re.fullmatch(rf"\d{{4}}\.\d\d\.\d\d-{first[:7]}", version)
    assert "password-of-registry" not in built.log
    assert json.loads((pretending.state / "logins.json").read_text()) == {}
    (pretending.root / "jobs/churn/main/permission").write_text("")
    pretending.commit(HOSTILE, write("README.md", "More.\n"))
    changed = pretending.change(HOSTILE)
    assert changed.cron == ""
    assert "Unable to find project for artifact copy: churn/main" in changed.log and changed.result == "SUCCESS"
    assert "Only documentation changed" in pretending.comment() and "token-of-cml" not in changed.log
    assert not list(pretending.root.rglob("pwned"))


REFUSED = {
    "an unknown step": ("            deleteDir()", "            removeDir()"),
    "an unknown section": ("  triggers {", "  trigger {"),
    "two sections on one line": ("  agent none\n\n  options {", "  agent none options {"),
    "two steps on one line": ("deleteDir()\n                unstash", "deleteDir().unstash"),
    "a semicolon": ("  agent none", "  agent none;"),
    "an unknown condition": ("branch 'main'", "branchName 'main'"),
    "an unknown option": ("skipDefaultCheckout()", "skipCheckout()"),
    "an unknown selector": ("selector: lastSuccessful()", "selector: lastStable()"),
    "no agent": ("'ml'", "'ml'"),
}


def test_what_jenkins_refuses_is_refused(fresh: Jenkins, tmp_path: Path) -> None:
    text = (fresh.clone / "Jenkinsfile").read_text(encoding="utf-8")
    given = {
        "env": {"JOB_NAME": "churn/PR-1", "CHANGE_ID": "1", "BRANCH_NAME": "PR-1"},
        "labels": [],
        "credentials": {},
    }
    given |= {name: str(tmp_path) for name in ("folder", "jobs", "workspaces", "remote", "commit")} | {"cause": ""}
    pairs = []
    for name, (old, new) in REFUSED.items():
        assert old in text, name
        file = tmp_path / name.replace(" ", "-")
        file.write_text(text.replace(old, new), encoding="utf-8")
        pairs += [file, tmp_path / "given"]
    (tmp_path / "given").write_text(json.dumps(given))
    done = groovy(*pairs)
    refused = re.findall(r"refused: ([\w-]+): (.*)", done.stdout)
    assert [name.replace("-", " ") for name, _ in refused] == list(REFUSED), done.stdout + done.stderr
    assert [why for _, why in refused if "no nodes" in why] == [refused[-1][1]]


def test_it_installs_groups_that_the_project_has(fresh: Jenkins) -> None:
    groups = set(re.findall(r"--group (\w+)", (fresh.clone / "Jenkinsfile").read_text(encoding="utf-8")))
    declared = (fresh.clone / "pyproject.toml").read_text(encoding="utf-8").partition("[dependency-groups]")[2]
    assert groups == {"dev", "serve"}
    assert all(re.search(rf"^{group} = ", declared, re.MULTILINE) for group in groups)


def test_every_step_was_executed(fresh: Jenkins, request: pytest.FixtureRequest) -> None:
    """The last test here: see what the others executed."""
    own = [item for item in request.session.items if item.path == Path(__file__)]
    if request.config.option.keyword or len(own) < 10:
        pytest.skip("only some tests of Jenkins were asked for")
    lines = (fresh.clone / "Jenkinsfile").read_text(encoding="utf-8").splitlines()
    steps = {number for number, line in enumerate(lines, 1) if is_step(line.strip())}
    assert len(steps) > 50
    assert [lines[number - 1].strip() for number in sorted(steps - fresh.executed)] == []


def is_step(line: str) -> bool:
    found = STEP.match(line)
    return found is not None and found[1] in STEPS
