"""Raw data in DVC: the real DVC, in an environment of its own, with folders on disk as remote and as project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
import remote_server
from mlcicd.contract import document as contracts
from mlcicd.core.errors import InputError
from mlcicd.core.yaml_edit import with_values
from mlcicd.data import load, table_files
from mlcicd.lifecycle import audit as audits
from mlcicd.review import baseline
from mlcicd.sources import dvc as store
from mlcicd.sources import raw_files
from mlcicd.sources.pins import NotFetchedError, Pin
from mlcicd.training import run
from test_review import FILES, based, commit, git

HERE = Path(__file__).parent
ROWS = "id,y\n" + "".join(f"{i},{i % 2}\n" for i in range(50))
NAMES = ["data/a.csv", "data/parts"]
UNREACHABLE = "https://someone:s3cret@127.0.0.1:9/none"  # nothing listens on this port
CONTRACT = """\
apiVersion: v3.2.0
kind: DataContract
id: x
version: 1.0.0
status: active
schema:
  - name: a
    physicalName: data/a.csv
    properties:
      - {name: id, logicalType: integer, customProperties: [{property: role, value: id}]}
      - {name: y, logicalType: integer, customProperties: [{property: role, value: target}]}
  - name: parts
    physicalName: data/parts
    properties: [{name: id, logicalType: integer}]
"""


@pytest.fixture(scope="session", autouse=True)
def _program() -> Iterator[None]:
    """DVC, installed as a tool of its own: its hundred packages stay out of the environment that is tested."""
    tools = HERE / ".venv" / "tools"
    own = {"UV_TOOL_DIR": str(tools), "UV_TOOL_BIN_DIR": str(tools / "bin")}
    subprocess.run(["uv", "tool", "install", "--quiet", "dvc==3.67.1"], check=True, env=os.environ | own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tools / 'bin'}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # each start of DVC would compile it anew
        yield


def dvc(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["dvc", *arguments], cwd=folder, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def published(_program: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project in git and DVC, ``author``, and its DVC remote, ``remote``; never changed."""
    folder = tmp_path_factory.mktemp("published")
    author = folder / "author"
    author.mkdir()
    git(author, "init", "--quiet")
    dvc(author, "init", "--quiet")
    dvc(author, "remote", "add", "--quiet", "--default", "storage", "../remote")
    files = {"data/a.csv": ROWS, "data/parts/1.csv": "id\n1\n", "data/parts/10.csv": "id\n10\n"}
    for name, text in files.items():
        (author / name).parent.mkdir(parents=True, exist_ok=True)
        (author / name).write_text(text, encoding="utf-8")
    dvc(author, "add", "--quiet", *NAMES)
    dvc(author, "push", "--quiet")
    commit(author, FILES | {"contract.yaml": CONTRACT})
    return folder


@pytest.fixture
def clone(published: Path, tmp_path: Path) -> Path:
    """A clone of the project without its data, beside a remote of its own."""
    shutil.copytree(published / "remote", tmp_path / "remote")
    git(tmp_path, "clone", "--quiet", str(published / "author"), "clone")
    return tmp_path / "clone"


def stored(clone: Path, name: str = "data/a.csv") -> Path:
    """The remote's copy of a file."""
    digest = raw_files.pin_of(clone, name).version.removeprefix("md5:")
    return clone.parent / "remote/files/md5" / digest[:2] / digest[2:]


def refused(clone: Path) -> str:
    """Pull what cannot be had; return the line, once nothing of the file is left."""
    with pytest.raises(NotFetchedError) as caught:
        raw_files.pull(clone, NAMES)
    assert not (clone / "data/a.csv").exists()
    assert "\n" not in str(caught.value) and str(caught.value).startswith("data/a.csv: is in DVC, and it could not")
    return str(caught.value)


# What is here


def test_the_hashes_of_a_file_and_of_a_folder_are_those_of_dvc(published):
    author = published / "author"
    assert [one.problem for one in raw_files.status(author, NAMES)] == ["", ""]
    assert [one.pin.version.partition(":")[0] for one in raw_files.status(author, NAMES)] == ["md5", "md5"]
    assert raw_files.pin_of(author, "data/parts").version.endswith(".dir")
    inside = raw_files.pin_of(author, "data/parts/1.csv")
    assert (inside.store, inside.pointer) == ("dvc", "data/parts.dvc")


def test_a_file_in_git_has_the_version_of_its_object_unless_it_is_changed(clone):
    name, blob = "params.yaml", git(clone, "rev-parse", "HEAD:params.yaml")
    assert raw_files.pin_of(clone, name) == raw_files.pin_of(clone, name, "HEAD") == Pin("git", f"git:{blob}", name)
    (clone / name).write_text("seed: 8\n", encoding="utf-8")
    assert raw_files.pin_of(clone, name).version is None
    assert raw_files.pin_of(clone, name, "HEAD").version == f"git:{blob}"
    (clone / "data/new.csv").write_text(ROWS, encoding="utf-8")
    assert raw_files.status(clone, ["data/new.csv"]) == [("data/new.csv", Pin("git", None, "data/new.csv"), "")]


def test_a_file_that_is_not_here_is_named_with_the_command_that_fetches_it(clone, monkeypatch):
    monkeypatch.chdir(clone)
    for path, said in {
        "data/a.csv": "data/a.csv: is stored in DVC, and is not here; fetch it with 'dvc pull data/a.csv.dvc'",
        "data/parts": "fetch it with 'dvc pull data/parts.dvc'",
        "data/parts/1.csv": "is stored in DVC, and is not here; fetch it with 'dvc pull data/parts.dvc'",
        "data/a.csv.dvc": "is a pointer of DVC, not the data; name data/a.csv",
        "data": "lacks a.csv, which is stored in DVC; fetch it with 'dvc pull data/a.csv.dvc'",
        "data/none.csv": "data/none.csv: no such file; check it",
    }.items():
        (clone / "data/b.csv").write_text(ROWS, encoding="utf-8")
        with pytest.raises(InputError) as caught:
            table_files.parts(Path(path), "check it")
        assert said in str(caught.value)
    assert all(one.problem for one in raw_files.status(clone, NAMES))


def test_a_pull_fetches_what_is_not_here_and_then_asks_nobody(clone, monkeypatch):
    assert raw_files.pull(clone, NAMES) == NAMES
    assert (clone / "data/a.csv").read_text(encoding="utf-8") == ROWS
    assert {path.name for path in (clone / "data/parts").iterdir()} == {"1.csv", "10.csv"}
    assert not git(clone, "status", "--porcelain")
    monkeypatch.setattr(store.fetching, "run", lambda *_: pytest.fail("DVC was started"))
    assert raw_files.pull(clone, NAMES) == []


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_other_bytes_than_the_pointer_names_are_not_read(published, tmp_path, damage):
    root = tmp_path / "author"
    shutil.copytree(published / "author", root)
    path = root / "data/a.csv"
    path.unlink()  # it may be a link into the cache
    path.write_text(ROWS[:40] if damage == "cut" else ROWS.replace("7,1", "7,0"), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load.read_raw(contracts.load(root / "contract.yaml"), root)
    pinned = raw_files.pin_of(root, "data/a.csv").version
    assert str(caught.value).startswith("data/a.csv: is md5 ")
    assert f"data/a.csv.dvc names {raw_files.short(pinned)}" in str(caught.value)
    assert "'dvc checkout --force data/a.csv.dvc' brings the other back" in str(caught.value)
    dvc(root, "checkout", "--force", "--quiet", "data/a.csv.dvc")
    assert len(load.read_raw(contracts.load(root / "contract.yaml"), root)[0]["a"]) == 50


@pytest.mark.parametrize(
    "text", ["", "outs: 7", "outs: []", "outs:\n- path: a.csv\n", "<<<<<<< HEAD\nouts:\n", "[" * 50]
)
def test_what_is_no_pointer_is_the_users_error(clone, text):
    (clone / "data/a.csv.dvc").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"^data/a\.csv\.dvc: "):
        raw_files.status(clone, NAMES)


@pytest.mark.parametrize(
    ("value", "said"),
    [(date(1998, 3, 31), "'1998-03-31'"), ("1998-03-31", "'1998-03-31'"), (7, "7")],
)
def test_a_quoted_date_of_the_params_stays_quoted_since_dvc_reads_no_other(value, said):
    text = "prepare:\n  as_of: '1997-12-31' # why\n  since: 1997-12-31\n"
    edited = with_values(text, "prepare", {"as_of": value, "since": date(1998, 3, 31)})
    assert edited == f"prepare:\n  as_of: {said} # why\n  since: 1998-03-31\n"


# Remotes that do not deliver


def test_a_remote_that_is_gone_and_a_file_that_was_never_pushed_are_one_line(clone):
    version = raw_files.pin_of(clone, "data/a.csv").version
    stored(clone).unlink()
    said = refused(clone)
    assert f"neither the cache nor the remote has {version}" in said and "run 'dvc pull data/a.csv.dvc'" in said
    shutil.rmtree(clone.parent / "remote")
    assert f"neither the cache nor the remote has {version}" in refused(clone)


def test_a_damaged_copy_is_refused_and_reaches_neither_project_nor_cache(clone):
    there = stored(clone)
    whole = there.read_bytes()
    there.chmod(0o644)
    there.write_bytes(whole[:40])
    there.chmod(0o444)  # DVC trusts what nobody may write
    assert "the remote's copy is damaged" in refused(clone)
    there.chmod(0o644)
    there.write_bytes(whole)
    assert "data/a.csv" in raw_files.pull(clone, NAMES)
    assert (clone / "data/a.csv").read_bytes() == whole


def test_no_credential_of_a_remote_is_shown(clone):
    (clone / ".dvc/config.local").write_text(f"['remote \"storage\"']\n    url = {UNREACHABLE}\n", encoding="utf-8")
    said = refused(clone)
    assert "s3cret" not in said and "someone" not in said
    (clone / ".dvc/config.local").write_text("[core]\n    remote = elsewhere\n", encoding="utf-8")
    assert "remote 'elsewhere' doesn't exist" in refused(clone)


def test_a_machine_without_dvc_is_told_so(clone, tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").symlink_to(shutil.which("git"))
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(
        InputError, match="DVC is not installed, and the data is stored in it; run 'uv tool install dvc'"
    ):
        raw_files.pull(clone, NAMES)


def test_two_pulls_at_once_both_have_the_files(clone):
    code = f"from pathlib import Path; from mlcicd.sources import raw_files; raw_files.pull(Path(), {NAMES})"
    pulls = [subprocess.Popen([sys.executable, "-c", code], cwd=clone, stderr=subprocess.PIPE) for _ in range(2)]
    said = [pull.communicate()[1].decode() for pull in pulls]
    assert [pull.returncode for pull in pulls] == [0, 0], said
    assert [one.problem for one in raw_files.status(clone, NAMES)] == ["", ""]


# The base of a review


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rows that the training of a base finds; the training itself ends there."""
    found: list[str] = []
    true = baseline.run_step

    def step(command: list[str], folder: Path, **variables: str) -> tuple[int, str]:
        if "train" not in command:
            return true(command, folder, **variables)
        found.append((folder / "data/a.csv").read_text(encoding="utf-8"))
        return 2, "ml: it ends here"

    monkeypatch.setattr(baseline, "run_step", step)
    return found


def test_a_base_is_trained_on_its_own_data_from_a_cache_that_both_share(clone, tmp_path, trained_on):
    assert "it ends here" in based(clone, tmp_path / "1").why
    assert trained_on == [ROWS]
    assert not (clone / "data/a.csv").exists() and not git(clone, "status", "--porcelain")
    # What was fetched once is not asked for again; and data that was in git, now in DVC, and the other way round.
    shutil.rmtree(tmp_path / "remote")
    commit(clone, {"data/a.csv.dvc": None, ".dvc/config": None, "data/.gitignore": None, "data/a.csv": "id,y\n1,1\n"})
    assert "it ends here" in based(clone, tmp_path / "2", "HEAD~1").why
    assert trained_on == [ROWS, ROWS]


def test_a_base_whose_remote_has_moved_is_fetched_from_where_the_project_is_now(clone, tmp_path, trained_on):
    (tmp_path / "remote").rename(tmp_path / "moved")
    (clone / ".dvc/config.local").write_text("['remote \"storage\"']\n    url = ../../moved\n", encoding="utf-8")
    assert "it ends here" in based(clone, tmp_path).why
    assert trained_on == [ROWS]


def test_a_base_that_cannot_be_fetched_is_named_with_file_and_remedy(clone, tmp_path, trained_on):
    shutil.rmtree(tmp_path / "remote")
    why = based(clone, tmp_path).why
    assert f"commit {git(clone, 'rev-parse', 'HEAD')[:7]}, the base, has data/a.csv in DVC" in why
    assert not trained_on and git(clone, "worktree", "list").count("\n") == 0


# What a run says of its data


@pytest.fixture
def released(published: Path, tmp_path: Path) -> SimpleNamespace:
    """A copy of the author's project, and what `ml audit` says of a run that was trained in it."""
    root = tmp_path / "author"
    shutil.copytree(published / "author", root)
    manifest = run.provenance(root, NAMES) | {"files": {}}
    (root / "run").mkdir()
    (root / "run/metrics.json").write_text('{"task": "binary", "classes": [0, 1]}', encoding="utf-8")
    (root / "run/manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    def audit() -> list[str]:
        answers, links = audits.audit(str(root / "run"), root)
        assert "(dvc, md5 " in answers["data"]
        return [f"{link.name} {link.problem}" for link in links if link.problem]

    return SimpleNamespace(root=root, audit=audit)


def test_a_manifest_names_store_and_version_and_an_audit_compares_them_with_the_bytes(released):
    assert released.audit() == []
    (released.root / "data/a.csv").unlink()
    assert released.audit() == [], "the cache has it"
    shutil.rmtree(released.root / ".dvc/cache")
    [said] = released.audit()
    assert said.startswith("data/a.csv is not here as data/a.csv.dvc names it; fetch it with")
    (released.root / "data/a.csv").write_text(ROWS[:-4], encoding="utf-8")
    assert released.audit() == [said], "other bytes are not those of the release"


def test_an_audit_finds_a_pointer_and_a_manifest_of_two_versions(released):
    path = released.root / "run/manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["sources"]["data/a.csv"]["version"] = "md5:" + "0" * 32
    path.write_text(json.dumps(manifest), encoding="utf-8")
    [said] = released.audit()
    assert said.startswith("data/a.csv.dvc names md5 ") and "and manifest.json md5 000000000000…" in said


# Faults of a remote over HTTP, of the disk, and credentials

SECRETS = ("a-planted-user", "a-planted-password")


def over_http(clone: Path, address: str) -> None:
    """Let the clone fetch from a server, with credentials that no message may show."""
    user, password = SECRETS
    lines = ["['remote \"storage\"']", f"url = http://{address}/files", "auth = basic", f"user = {user}"]
    (clone / ".dvc/config.local").write_text("\n    ".join([*lines, f"password = {password}"]) + "\n", encoding="utf-8")


@pytest.mark.parametrize("fault", ["401", "half", "hang"])
def test_a_server_that_does_not_deliver_is_one_line_and_leaves_nothing(clone, monkeypatch, fault):
    digest = raw_files.pin_of(clone, "data/a.csv").version.removeprefix("md5:")
    shutil.rmtree(clone / "data/parts", ignore_errors=True)
    (clone / "data/parts.dvc").unlink()
    monkeypatch.setenv("ML_DATA_PATIENCE", "8" if fault == "hang" else "300")
    with remote_server.serving({digest: ROWS.encode()}, fault) as address:
        over_http(clone, address)
        said = refused(clone)
    assert not any(secret in said for secret in SECRETS), said
    assert "run 'dvc pull data/a.csv.dvc' to see more" in said
    assert fault != "hang" or "nothing arrived for 8 seconds" in said
    assert not (clone / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).exists(), "half a file would count as whole"


def test_a_full_disk_is_one_line_and_leaves_nothing(clone, tmp_path, small_disk):
    large = tmp_path / "large.csv"
    large.write_text("".join(f"{i},{i * i}\n" for i in range(200_000)), encoding="utf-8")
    digest = store._md5(large)
    target = tmp_path / "remote/files/md5" / digest[:2] / digest[2:]
    target.parent.mkdir(parents=True, exist_ok=True)
    large.rename(target)
    pointer = f"outs:\n- md5: {digest}\n  size: {target.stat().st_size}\n  hash: md5\n  path: a.csv\n"
    commit(clone, {"data/a.csv.dvc": pointer, "data/parts.dvc": None})
    git(small_disk, "clone", "--quiet", str(clone), str(small_disk / "clone"))
    config = f"['remote \"storage\"']\n    url = {tmp_path / 'remote'}\n"
    (small_disk / "clone/.dvc/config.local").write_text(config, encoding="utf-8")
    assert re.search("No space left on device|disk is full", refused(small_disk / "clone"))


def test_data_that_was_in_git_is_in_dvc_now(clone, tmp_path, trained_on):
    commit(clone, {"data/a.csv.dvc": None, ".dvc/config": None, "data/.gitignore": None, "data/a.csv": "id,y\n1,1\n"})
    git(clone, "revert", "--no-edit", "HEAD")
    assert "it ends here" in based(clone, tmp_path, "HEAD~1").why
    assert trained_on == ["id,y\n1,1\n"]
    assert not (clone / "data/a.csv").exists() and not git(clone, "status", "--porcelain")


def test_nothing_that_is_written_holds_a_credential(clone, tmp_path, trained_on, monkeypatch):
    """The secrets of a remote, of git's server and of the environment, planted at once."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS[1])
    git(clone, "remote", "set-url", "origin", f"https://{SECRETS[0]}:{SECRETS[1]}@127.0.0.1:9/none.git")
    over_http(clone, "127.0.0.1:9")
    shutil.rmtree(tmp_path / "remote")
    raw = raw_files.status(clone, NAMES)
    said = [refused(clone), based(clone, tmp_path / "review").why, str(raw)]
    (clone / "data/a.csv").write_text(ROWS, encoding="utf-8")
    said.append(json.dumps(run.provenance(clone, NAMES)))
    left = [path for path in (tmp_path / "review").rglob("*") if path.is_file()]
    said += [path.read_text(encoding="utf-8", errors="replace") for path in left]
    assert not trained_on and "md5:" in said[-1 - len(left)]
    assert not [text for text in said for secret in SECRETS if secret in text]
