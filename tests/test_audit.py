"""`ml audit`: a release made under act can be traced to everything it was made of, and names what was tampered with."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

import pytest
from acting import GitHub, git
from conftest import Project
from workflows.conftest import replace

SMALLER = {"max_iter: 150": "max_iter: 20", "folds: 5": "folds: 2", "learning_rate: 0.03": "learning_rate: 0.2"}
REVIEW = "## Model review: better ✅\n\n| metric | main | this branch |\n"


class Released(NamedTuple):
    """A project at the commit that was released, its run as GitHub keeps it, and its bento."""

    project: Project
    run: Path
    bento: Path
    log: str


@pytest.fixture(scope="module")
def released(served: Project, tmp_path_factory: pytest.TempPathFactory) -> Released:
    """A pull request was approved, merged and released."""
    root = tmp_path_factory.mktemp("audit")
    hub = GitHub(root / "hub", served.root, environment=served.root)
    commit = hub.commit("main", lambda tree: replace(tree / "params.yaml", SMALLER), message="A smaller model")
    pull = {"number": 7, "title": "A smaller model", "merged_at": "2026-01-01T00:00:00Z", "merge_commit_sha": commit}
    pull |= {"head": {"sha": "f" * 40}, "user": {"login": "author"}, "base": {"ref": "main"}}
    said = [("first", "APPROVED"), ("second", "APPROVED"), ("second", "CHANGES_REQUESTED"), ("third", "COMMENTED")]
    reviews = [{"user": {"login": who}, "state": state, "commit_id": "f" * 40} for who, state in said]
    hub.answer(f"commits/{commit}/pulls", [pull])
    hub.answer("pulls/7", pull | {"merged_by": {"login": "maintainer"}})
    hub.answer("pulls/7/reviews", reviews)
    hub.answer("collaborators/first/permission", {"permission": "write"})
    check = {"name": "Model review", "app": {"slug": "github-actions"}}
    checks = [check | {"id": n, "output": {"summary": text}} for n, text in ((3, REVIEW), (2, "older"))]
    hub.answer(f"commits/{'f' * 40}/check-runs", {"check_runs": checks})
    try:
        outcome = hub.on_push("release")
    finally:
        hub.stop_containers()
    assert outcome.conclusion == "success", outcome.log[-6000:]
    [asset] = (hub.state / "releases").glob("*/run.tar.gz")
    project = Project(root / "project", served.environment)
    git(root, "clone", "--quiet", str(hub.origin), str(project.root))
    with tarfile.open(asset) as archive:
        archive.extractall(project.root / "runs", filter="data")
    for name in ("provenance.json", "provenance.sigstore.json", "run.tar.gz"):
        shutil.copy(asset.with_name(name), project.root / "runs")
    [bento] = (hub.root / "bentoml/bentos").glob("*/*/")
    return Released(project, project.root / "runs/model", bento, outcome.log)


@pytest.fixture
def tampered(released: Released, tmp_path: Path) -> Released:
    """A copy of everything to tamper with."""
    project = Project(tmp_path / "project", released.project.environment)
    shutil.copytree(released.project.root, project.root)
    bento = tmp_path / "bento"
    shutil.copytree(released.bento, bento)
    return Released(project, project.root / "runs/model", bento, "")


def audit(case: Released, target: Path | str) -> subprocess.CompletedProcess[str]:
    return case.project.run("ml", "audit", str(target))


def flip(file: Path) -> None:
    """Change one byte."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def assert_broken(done: subprocess.CompletedProcess[str], name: str) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    [line] = done.stderr.strip().splitlines()
    assert line.startswith(f"ml: broken: {name} "), line


def test_a_release_answers_every_question(released: Released) -> None:
    done = audit(released, released.run)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert answers["code"] == git(released.project.root, "rev-parse", "HEAD")
    assert answers["data"].startswith("data/transactions.csv.gz ")
    assert {"contract", "params", "lock"} <= set(answers)
    assert answers["approval"] == "#7: first approved, maintainer merged"
    assert answers["review"] == "Model review: better ✅"
    assert "$10.00 a false positive, $4.00 a false negative" in answers["cost"]


def test_its_provenance_is_checked_and_says_how_to_check_the_signature(released: Released) -> None:
    done = audit(released, released.run)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("provenance: ")]
    assert line.startswith("provenance: ghcr.io/acme/churn@sha256:")
    assert "built by .github/workflows/release.yml of https://github.com/acme/churn; signed, and checked by" in line
    verify = "'gh attestation verify run.tar.gz --repo acme/churn --signer-workflow acme/churn/.github/workflows/"
    assert f"{verify}release.yml --source-ref refs/heads/main'" in line


def test_what_nobody_signed_says_so(tampered: Released) -> None:
    (tampered.run.parent / "provenance.sigstore.json").unlink()
    done = audit(tampered, tampered.run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "provenance: ghcr.io/acme/churn@sha256:" in done.stdout and "; nobody signed it" in done.stdout


def test_a_bento_is_checked_against_the_statement_that_is_named(tampered: Released) -> None:
    statement = tampered.run.parent / "provenance.json"
    done = tampered.project.run("ml", "audit", str(tampered.bento))
    assert "provenance: not here" in done.stdout
    done = tampered.project.run("ml", "audit", str(tampered.bento), "--provenance", str(statement))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "provenance: ghcr.io/acme/churn@sha256:" in done.stdout


# What is changed in the statement, and what the audit says.
STATEMENTS = {
    "another commit": ('"gitCommit": "', '"gitCommit": "f', "is about another commit"),
    "another workflow": ("workflows/release.yml", "workflows/evil.yml", "names another workflow or branch"),
    "another branch": ('"ref": "refs/heads/main"', '"ref": "refs/heads/x"', "names another workflow or branch"),
    "another kind": ("slsa.dev/provenance/v1", "slsa.dev/verification", "another kind of statement"),
    "signs of a terminal": ("ghcr.io/acme", "ghcr.io/\\u001b[31m", "is not what 'release' writes"),
    "no subjects": ('"subject": [', '"subject": [], "others": [', "is not what 'release' writes"),
    "no JSON": ("{", "", "is not what 'release' writes"),
    "another bundle": ("ghcr.io/acme/churn", "ghcr.io/acme/other", "is not what provenance.sigstore.json holds"),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_a_statement_about_something_else_is_noticed(tampered: Released, case: str) -> None:
    old, new, words = STATEMENTS[case]
    replace(tampered.run.parent / "provenance.json", {old: new})
    done = audit(tampered, tampered.run)
    assert_broken(done, "provenance.json")
    assert words in done.stderr


def test_another_archive_than_the_statements_is_noticed(tampered: Released) -> None:
    flip(tampered.run.parent / "run.tar.gz")
    assert_broken(audit(tampered, tampered.run), "provenance.json")


def test_who_rewrites_every_hash_of_a_run_ends_at_the_statement(tampered: Released) -> None:
    record = tampered.run / "release.json"
    replace(record, {'"approved_by": [\n    "first"': '"approved_by": [\n    "mallory"'})
    assert_broken(audit(tampered, tampered.run), "provenance.json")


def test_its_bento_is_traced_to_the_same_commit_code_included(released: Released) -> None:
    done = audit(released, released.bento)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "#7: first approved" in done.stdout


@pytest.mark.parametrize(
    "name",
    [
        "model.skops",
        "metrics.json",
        "predictions.parquet",
        "contract.yaml",
        "params.yaml",
        "review.md",
        "manifest.json",
    ],
)
def test_one_byte_of_the_run_is_noticed(tampered: Released, name: str) -> None:
    if name == "manifest.json":  # a byte that leaves it JSON
        replace(tampered.run / name, {'"uncommitted_changes": false': '"uncommitted_changes": true '})
    else:
        flip(tampered.run / name)
    assert_broken(audit(tampered, tampered.run), name)


def test_a_file_that_is_gone_is_noticed(tampered: Released) -> None:
    (tampered.run / "model.skops").unlink()
    assert_broken(audit(tampered, tampered.run), "model.skops")


def test_one_byte_of_the_data_is_noticed(tampered: Released) -> None:
    flip(tampered.project.root / "data/transactions.csv.gz")
    assert_broken(audit(tampered, tampered.run), "data/transactions.csv.gz")


def test_data_and_contract_of_later_commits_are_later_releases_business(tampered: Released) -> None:
    flip(tampered.project.root / "data/transactions.csv.gz")
    git(tampered.project.root, "commit", "--quiet", "--all", "--message", "Newer data")
    done = audit(tampered, tampered.run)
    assert done.returncode == 0, done.stdout + done.stderr


def test_who_changes_a_hash_as_well_is_caught_by_the_next_one(tampered: Released) -> None:
    flip(tampered.run / "model.skops")
    manifest = json.loads((tampered.run / "manifest.json").read_text())
    digest = subprocess.check_output(["sha256sum", tampered.run / "model.skops"], text=True).split()[0]
    manifest["files"]["model.skops"] = digest
    (tampered.run / "manifest.json").write_text(json.dumps(manifest))
    assert_broken(audit(tampered, tampered.run), "manifest.json")


def test_one_byte_of_the_packed_model_or_code_is_noticed(tampered: Released) -> None:
    flip(tampered.bento / "src/run/model.skops")
    assert_broken(audit(tampered, tampered.bento), "model.skops")
    flip(tampered.bento / "src/run/model.skops")
    service = next(tampered.bento.glob("src/*/service.py"))
    service.write_text(service.read_text(encoding="utf-8") + "# backdoor\n", encoding="utf-8")
    assert_broken(audit(tampered, tampered.bento), f"{service.parent.name}/service.py")


def test_a_commit_that_nobody_has_is_the_broken_link(tampered: Released) -> None:
    git(tampered.project.root, "checkout", "--quiet", "--orphan", "other")
    shutil.rmtree(tampered.project.root / ".git")
    git(tampered.project.root, "init", "--quiet")
    assert_broken(audit(tampered, tampered.run), "commit")


def test_what_is_no_model_is_one_line(released: Released, tmp_path: Path) -> None:
    for target in (tmp_path, "no/such:image"):
        done = audit(released, target)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_run_of_ones_own_says_that_it_was_not_released(served: Project) -> None:
    done = served.run("ml", "audit", "runs/model")
    assert done.returncode == 0, done.stderr
    assert "this was not released" in done.stdout
