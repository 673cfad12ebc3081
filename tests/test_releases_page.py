"""The page of releases: three releases, what monitoring found, the model cards; and it asks nobody for anything.

Needs Chromium (Debian's) and npm for the browser's part; skips that and says so where one is missing.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from acting import GitHub, Outcome, git
from conftest import Project
from test_monitor import hub, released  # noqa: F401 - fixtures
from test_report_pages import SAY, browse, packages  # noqa: F401 - a fixture, and what works with it
from workflows.conftest import archive, replace

TAGS = ["model-1998.01.01-aaaaaaa", "model-1998.02.01-bbbbbbb", "model-1998.03.01-ccccccc"]


@pytest.fixture(scope="module")
def history(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the runs of three releases in `releases`, and a drift report."""
    copy = project.copy(tmp_path_factory.mktemp("history") / "copy")
    replace(copy.root / "params.yaml", {"folds: 5": "folds: 2"})
    trees = 150
    for place, tag in enumerate(TAGS):
        replace(copy.root / "params.yaml", {f"max_iter: {trees}": f"max_iter: {20 + place}"})
        trees = 20 + place
        git(copy.root, "commit", "--quiet", "--all", "--message", tag, f"--date=1998-0{place + 1}-01T00:00:00Z")
        done = copy.run("ml", "train", "--out", f"releases/{tag}")
        assert done.returncode == 0, done.stderr
        manifest = copy.root / "releases" / tag / "manifest.json"
        made = json.loads(manifest.read_text()) | {"commit_time": str(884_000_000 + place * 2_500_000)}
        manifest.write_text(json.dumps(made))
    record = {"approved_by": ["<b>someone</b>"], "review": "Model review: better ✅", "pull_request": 7}
    (copy.root / "releases" / TAGS[1] / "release.json").write_text(json.dumps(record))
    assert copy.run("ml", "drift", "--run", f"releases/{TAGS[2]}").returncode == 1
    return copy


@pytest.fixture(scope="module")
def page(history: Project) -> Path:
    done = history.run("ml", "releases", "releases", "--drift", "drift/drift.json")
    assert done.returncode == 0, done.stderr
    return history.root / "site/index.html"


def test_the_page_shows_three_releases_drift_and_cards(history: Project, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    table = text.partition("<caption>Every release")[2].partition("</table>")[0]
    assert [tag for tag in TAGS[::-1] if f">{tag}</th>" in table] == TAGS[::-1]
    assert table.index(TAGS[2]) < table.index(TAGS[1]) < table.index(TAGS[0])
    for tag in TAGS:
        measured = json.loads((history.root / "releases" / tag / "metrics.json").read_text())["holdout"]
        for name in ("roc_auc", "cost"):
            low, high = measured[name]["low"], measured[name]["high"]
            assert f"{measured[name]['value']:.3f} ({low:.3f} to {high:.3f})" in table
        assert text.count(f"<h2>{tag}</h2>") == 1
    assert "Model review: better ✅" in table and "&lt;b&gt;someone&lt;/b&gt;" in table
    assert "Data since training: drift" in text and "last_purchase" in text
    assert text.count("Intended use: Tell which customers") == 3
    assert "release, oldest first" in text


def test_the_page_asks_nobody_for_anything(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "src=" not in text and "href=" not in text and "@import" not in text and "url(" not in text


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_browser_finds_no_request_and_no_accessibility_violation(
    page: Path,
    packages: Path,  # noqa: F811
    dark: bool,
) -> None:
    axe = (packages / "axe-core" / "axe.min.js").read_text(encoding="utf-8").replace("</script", "<\\/script")
    answer = "say({violations: f.violations, passes: f.passes.length, asked: performance.getEntriesByType('resource')})"
    run = f"axe.run({{exclude: ['#result']}}).then(f => {answer});"
    found = browse(page, dark=dark, script=f"{axe}\n{SAY}\n{run}")
    assert [v["id"] for v in found["violations"]] == [], json.dumps(found["violations"], indent=1)[:3000]
    assert found["passes"] > 10
    assert found["asked"] == []


def test_a_release_of_an_older_pipeline_keeps_its_place(history: Project, tmp_path: Path) -> None:
    copy = tmp_path / "releases"
    shutil.copytree(history.root / "releases", copy)
    file = copy / TAGS[0] / "metrics.json"
    old = json.loads(file.read_text())
    del old["checks"], old["holdout"]["cost"]
    file.write_text(json.dumps(old))
    done = history.run("ml", "releases", str(copy), "--out", str(tmp_path / "page.html"))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("Made by an older version of the pipeline") == 1
    assert f">{TAGS[0]}</th>" in text


def test_a_first_release_has_a_page_and_none_has_not(history: Project, tmp_path: Path) -> None:
    shutil.copytree(history.root / "releases" / TAGS[0], tmp_path / "releases" / TAGS[0])
    done = history.run("ml", "releases", str(tmp_path / "releases"), "--out", str(tmp_path / "page.html"))
    assert done.returncode == 0, done.stderr
    assert "Over time" not in (tmp_path / "page.html").read_text(encoding="utf-8")
    for folder in (tmp_path / "nowhere", tmp_path):
        done = history.run("ml", "releases", str(folder), "--out", str(tmp_path / "none.html"))
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
        assert not (tmp_path / "none.html").exists()


# The workflow ---------------------------------------------------------------------------------------------------------


def publish(hub: GitHub) -> Outcome:  # noqa: F811
    outcome = hub.on_push("pages", event="workflow_dispatch")
    assert outcome.conclusion == "success", outcome.log[-6000:]
    return outcome


def add_releases(hub: GitHub, history: Project) -> None:  # noqa: F811
    """Put the three releases where GitHub keeps releases."""
    shutil.rmtree(hub.state / "releases")
    for order, tag in enumerate(TAGS, start=1):
        folder = hub.state / "releases" / tag
        folder.mkdir(parents=True)
        with tarfile.open(folder / "run.tar.gz", "w:gz") as archive:
            archive.add(history.root / "releases" / tag, "model")
        entry = {"tagName": tag, "isDraft": False, "target": "", "body": "", "order": order}
        (folder / "release.json").write_text(json.dumps(entry))


needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed: apt-get install jq")


@needs_jq
def test_the_workflow_publishes_releases_and_what_monitor_found(hub: GitHub, history: Project) -> None:  # noqa: F811
    add_releases(hub, history)
    hub.answer("pages", {"build_type": "workflow"})
    seen = hub.on_push("monitor", event="schedule")
    (hub.state / "runs.json").write_text(json.dumps([{"id": seen.id, "workflow": "monitor", "conclusion": "success"}]))
    assert publish(hub).jobs == {"build": "success", "deploy": "success"}
    text = (hub.state / "pages/index.html").read_text(encoding="utf-8")
    assert all(tag in text for tag in TAGS)
    assert "Data since training: drift" in text
    assert "monitor last looked at new data" in text


STRANGERS = {
    "a pull request's own copy of monitor, from a fork's main": {"event": "pull_request"},
    "a push to another branch": {"event": "push", "branch": "elsewhere"},
    "another branch, by hand": {"event": "workflow_dispatch", "branch": "elsewhere"},
}


@needs_jq
@pytest.mark.parametrize("case", STRANGERS)
def test_what_another_run_of_monitor_left_is_not_shown(hub: GitHub, case: str) -> None:  # noqa: F811
    hub.answer("pages", {"build_type": "workflow"})
    hostile = {"id": 900, "workflow": "monitor", "conclusion": "success", **STRANGERS[case]}
    (hub.state / "runs.json").write_text(json.dumps([hostile]))
    found = b'{"verdict": "drift", "window": {}}'
    hub.set_artifact(Outcome("monitor", 900, {}), archive({"drift.json": found}), name="drift")
    assert publish(hub).jobs == {"build": "success", "deploy": "success"}
    assert "Data since training" not in (hub.state / "pages/index.html").read_text(encoding="utf-8")


@needs_jq
@pytest.mark.parametrize("found", [b"{", b"[]", b"{}", b'{"verdict": 1, "columns": "x"}', b"\xff"])
def test_a_page_is_written_whatever_the_finding_holds(hub: GitHub, found: bytes) -> None:  # noqa: F811
    hub.answer("pages", {"build_type": "workflow"})
    (hub.state / "runs.json").write_text(json.dumps([{"id": 900, "workflow": "monitor", "conclusion": "success"}]))
    hub.set_artifact(Outcome("monitor", 900, {}), archive({"drift.json": found}), name="drift")
    assert publish(hub).jobs == {"build": "success", "deploy": "success"}
    text = (hub.state / "pages/index.html").read_text(encoding="utf-8")
    assert "The last drift report cannot be read" in text


@needs_jq
def test_where_pages_is_off_the_page_is_an_artifact(hub: GitHub) -> None:  # noqa: F811
    outcome = publish(hub)
    assert outcome.jobs == {"build": "success", "deploy": "skipped"}
    assert "Settings → Pages" in outcome.log
    assert "index.html" in hub.artifact(outcome, "github-pages").namelist()


@needs_jq
def test_before_the_first_release_there_is_no_page(hub: GitHub) -> None:  # noqa: F811
    shutil.rmtree(hub.state / "releases")
    outcome = publish(hub)
    assert outcome.jobs == {"build": "success", "deploy": "skipped"}
    assert "Nothing is released yet" in outcome.log


def test_only_mains_page_is_written(hub: GitHub) -> None:  # noqa: F811
    outcome = hub.on_push("pages", event="workflow_dispatch", branch="elsewhere")
    assert outcome.jobs["build"] == "skipped"
