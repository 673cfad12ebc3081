"""A base whose data Git LFS stores is trained on the data: the real git-lfs, with a repository on disk as remote."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import remote_server
import visits
from mlcicd.core.errors import InputError
from mlcicd.onboarding import init, large_tables
from mlcicd.review import baseline
from mlcicd.sources import git_lfs, raw_files
from mlcicd.sources.pins import NotFetchedError
from test_review import FILES, based, commit, git

ROWS = "id,y\n" + "".join(f"{i},{i % 2}\n" for i in range(50))
ATTRIBUTES = "*.csv filter=lfs diff=lfs merge=lfs -text\n"
UNREACHABLE = "https://someone:s3cret@127.0.0.1:9/none.git"  # nothing listens on this port

pytestmark = pytest.mark.skipif(
    not shutil.which("git-lfs") and "CI" not in os.environ,
    reason="git-lfs is not installed (Debian: apt install git-lfs)",
)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with pointers alone, as it is where nobody ran `git lfs install`; the files lie at its remote."""
    author, remote, folder = (tmp_path / name for name in ("author", "remote.git", "clone"))
    author.mkdir()
    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    git(author, "init", "--quiet")
    git(author, "lfs", "install", "--local")
    git(author, "remote", "add", "origin", f"file://{remote}")
    commit(author, FILES | {".gitattributes": ATTRIBUTES, "data/a.csv": ROWS, "data/b, c.csv": ROWS * 2})
    git(author, "push", "--quiet", "origin", "main")
    monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")
    git(tmp_path, "clone", "--quiet", f"file://{remote}", str(folder))
    assert (folder / "data/a.csv").read_text().startswith("version https://git-lfs")
    return folder


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The data that the training of a base finds; the training itself ends there."""
    found: dict[str, str] = {}
    true = baseline.run_step

    def step(command: list[str], folder: Path, **variables: str) -> tuple[int, str]:
        if "train" not in command:
            return true(command, folder, **variables)
        found.update({path.name: path.read_text() for path in (folder / "data").iterdir()})
        return 2, "ml: it ends here"

    monkeypatch.setattr(baseline, "run_step", step)
    return found


def test_a_base_is_trained_on_the_files_that_git_lfs_stores(clone, tmp_path, trained_on):
    assert "it ends here" in based(clone, tmp_path).why
    assert trained_on == {"a.csv": ROWS, "b, c.csv": ROWS * 2}
    assert (clone / "data/a.csv").read_text().startswith("version https://git-lfs"), "the user's own files stay"
    assert not git(clone, "status", "--porcelain")


def test_a_pull_fetches_the_files_whose_pointers_name_their_version(clone):
    names = ["data/a.csv", "data/b, c.csv"]
    first = raw_files.status(clone, names)[0]
    version = f"sha256:{hashlib.sha256(ROWS.encode()).hexdigest()}"
    assert (first.pin.store, first.pin.version) == ("git-lfs", version)
    assert first.problem.endswith("fetch the data with 'git lfs pull'")
    assert raw_files.pull(clone, names) == names
    assert [one.problem for one in raw_files.status(clone, names)] == ["", ""]
    assert raw_files.pull(clone, names) == []
    (clone / "data/a.csv").write_text(ROWS[:40], encoding="utf-8")
    changed = raw_files.status(clone, names)[0]
    assert changed.pin == first.pin and f"and data/a.csv names {raw_files.short(version)}" in changed.problem


def test_pointers_in_the_base_and_none_in_the_head(clone, tmp_path, trained_on):
    commit(clone, {"data/a.csv": None, "data/b, c.csv": None, ".gitattributes": None, "data/new.csv": ROWS})
    based(clone, tmp_path, "HEAD~1")
    assert trained_on == {"a.csv": ROWS, "b, c.csv": ROWS * 2}


def test_a_remote_that_is_gone_names_file_cause_and_remedy_and_no_credential(clone, tmp_path, trained_on):
    remote = git(clone, "remote", "get-url", "origin")
    git(clone, "remote", "set-url", "origin", UNREACHABLE)
    why = based(clone, tmp_path / "1").why
    head = git(clone, "rev-parse", "HEAD")
    assert "has data/a.csv in Git LFS" in why and "127.0.0.1:9" in why
    assert "s3cret" not in why and "someone" not in why and "\n" not in why
    assert f"run 'git lfs fetch origin {head}'" in why
    assert not trained_on
    assert git(clone, "worktree", "list").count("\n") == 0
    # The remedy holds: what was fetched once is not asked for again.
    git(clone, "remote", "set-url", "origin", remote)
    git(clone, "lfs", "fetch", "origin", head)
    git(clone, "remote", "set-url", "origin", UNREACHABLE)
    based(clone, tmp_path / "2")
    assert trained_on == {"a.csv": ROWS, "b, c.csv": ROWS * 2}


def test_a_pointer_without_its_object_is_named(clone, tmp_path, trained_on):
    shutil.rmtree(tmp_path / "remote.git" / "lfs")
    why = based(clone, tmp_path).why
    assert "has data/a.csv in Git LFS, and it could not be fetched" in why
    assert not trained_on


def test_a_machine_without_git_lfs_is_told_so(clone, tmp_path, trained_on, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").symlink_to(shutil.which("git"))
    monkeypatch.setenv("PATH", str(tools))
    assert subprocess.run(["git", "lfs"], cwd=clone, capture_output=True).returncode
    assert "'lfs' is not a git command" in based(clone, tmp_path).why
    assert not trained_on


def test_a_damaged_copy_is_not_trained_on_and_is_fetched_anew(clone):
    names = ["data/a.csv"]
    raw_files.pull(clone, names)
    stored = (
        clone / ".git/lfs/objects" / (digest := hashlib.sha256(ROWS.encode()).hexdigest())[:2] / digest[2:4] / digest
    )
    stored.unlink()  # it may be a link to the remote's
    stored.write_text(ROWS.replace("7,1", "7,0"), encoding="utf-8")  # git-lfs compares the size alone
    shutil.copyfile(stored, clone / "data/a.csv")  # as a checkout does
    with pytest.raises(NotFetchedError) as caught:
        raw_files.pull(clone, names)
    assert str(caught.value).startswith("data/a.csv: is in Git LFS, and it could not be fetched (the copy")
    assert git_lfs.is_pointer(clone / "data/a.csv") and not stored.exists()
    raw_files.pull(clone, names)
    assert (clone / "data/a.csv").read_text(encoding="utf-8") == ROWS
    (clone / "data/a.csv").write_text(ROWS[:40], encoding="utf-8")
    assert raw_files.pull(clone, names) == [], "what somebody changed is theirs"


# A table that is too large for git


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A repository with a table that nobody has described yet."""
    root = tmp_path / "own"
    root.mkdir()
    visits.write(root, 200)
    git(root, "init", "--quiet")
    (root / ".gitattributes").write_text("* text=auto eol=lf", encoding="utf-8")
    return root


def test_init_offers_git_lfs_above_the_limit_and_prepares_it_where_it_is_asked_to(own, monkeypatch):
    monkeypatch.setattr(large_tables, "MAX_PUSHED_BYTES", 1000)
    said = init.init(own / "visits.csv", "bought", {}, None, False, own)
    assert "note:   data/visits.csv has 0 MB, and GitHub refuses files of more than 100: save it as Parquet" in said
    assert "run this again with --lfs --force" in said
    assert (own / ".gitattributes").read_text(encoding="utf-8") == "* text=auto eol=lf", "nobody asked for it"
    for _ in range(2):
        said = init.init(own / "visits.csv", "bought", {}, None, True, own, None, True)
    assert "git add .gitattributes 'data/visits.csv'" in said and "GitHub refuses" not in said
    text = (own / ".gitattributes").read_text(encoding="utf-8")
    assert text == "* text=auto eol=lf\n/data/visits.csv filter=lfs diff=lfs merge=lfs -text\n"
    git(own, "add", ".gitattributes", "data/visits.csv")
    assert git(own, "cat-file", "blob", ":data/visits.csv").startswith("version https://git-lfs.github.com/spec/v1\n")
    assert "GitHub refuses" not in init.init(own / "visits.csv", "bought", {}, None, True, own)


def test_init_gives_git_lfs_a_folder_with_an_unusual_name(own):
    folder = own / "data" / "a #b [c]"
    folder.mkdir(parents=True)
    (own / "visits.csv").rename(folder / "part-0.csv")
    init.init(folder, "bought", {}, None, False, own, None, True)
    git(own, "add", "data")
    assert git(own, "cat-file", "blob", ":data/a #b [c]/part-0.csv").startswith("version https://git-lfs")


def test_init_outside_of_a_repository_writes_nothing_where_git_lfs_is_asked_for(own):
    shutil.rmtree(own / ".git")
    before = sorted(own.rglob("*"))
    with pytest.raises(
        InputError, match=r"^--lfs: Git LFS cannot be set up here \(.+\); install git-lfs, and run this"
    ):
        init.init(own / "visits.csv", "bought", {}, None, False, own, None, True)
    assert sorted(own.rglob("*")) == before


def test_init_gives_a_large_table_of_a_project_with_dvc_to_dvc(own, monkeypatch):
    monkeypatch.setattr(large_tables, "MAX_PUSHED_BYTES", 1000)
    (own / ".dvc").mkdir()
    said = init.init(own / "visits.csv", "bought", {}, None, False, own)
    assert "data/visits.csv has 0 MB; give it to DVC before git has it: uv run dvc add 'data/visits.csv'" in said


# Remotes that do not deliver


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("401", "Authentication required"),
        ("403", "not for you"),
        ("500", "Fatal error"),
        ("half", "unexpected EOF"),
        ("changed", "expected OID"),
        ("hang", "nothing arrived for 2 seconds; ML_DATA_PATIENCE=SECONDS waits longer"),
    ],
)
def test_a_remote_that_does_not_deliver_is_one_line_and_leaves_the_pointer(clone, monkeypatch, fault, said):
    files = {hashlib.sha256(text.encode()).hexdigest(): text.encode() for text in (ROWS, ROWS * 2)}
    monkeypatch.setenv("ML_DATA_PATIENCE", "2" if fault == "hang" else "60")
    with remote_server.serving(files, fault) as address:
        git(clone, "remote", "set-url", "origin", f"http://someone:s3cret@{address}/none.git")
        with pytest.raises(NotFetchedError) as caught:
            raw_files.pull(clone, ["data/a.csv"])
    line = str(caught.value)
    assert line.startswith("data/a.csv: is in Git LFS, and it could not be fetched (") and said in line
    assert "run 'git lfs fetch origin" in line and "\n" not in line and "s3cret" not in line and "someone" not in line
    assert git_lfs.is_pointer(clone / "data/a.csv") and not git(clone, "status", "--porcelain")
    assert not [path for path in (clone / ".git/lfs/objects").rglob("*") if path.is_file()]


def test_a_server_over_http_delivers(clone):
    """So that the faults above are the faults' own."""
    files = {hashlib.sha256(text.encode()).hexdigest(): text.encode() for text in (ROWS, ROWS * 2)}
    with remote_server.serving(files) as address:
        git(clone, "remote", "set-url", "origin", f"http://{address}/none.git")
        raw_files.pull(clone, ["data/a.csv"])
    assert (clone / "data/a.csv").read_text(encoding="utf-8") == ROWS


def test_a_full_disk_is_one_line_and_leaves_the_pointer(clone, tmp_path, small_disk):
    large = "".join(f"{i},{i * i}\n" for i in range(200_000))
    commit(tmp_path / "author", {"data/a.csv": large})
    git(tmp_path / "author", "push", "--quiet", "origin", "main")
    git(tmp_path, "clone", "--quiet", git(clone, "remote", "get-url", "origin"), str(small_disk / "clone"))
    with pytest.raises(NotFetchedError, match=r"^data/a\.csv: is in Git LFS, .*no space left on device.*again$"):
        raw_files.pull(small_disk / "clone", ["data/a.csv"])
    assert git_lfs.is_pointer(small_disk / "clone/data/a.csv")


def test_two_pulls_at_once_both_have_the_files(clone):
    code = "from pathlib import Path; from mlcicd.sources import raw_files; raw_files.pull(Path(), ['data/a.csv'])"
    pulls = [subprocess.Popen([sys.executable, "-c", code], cwd=clone, stderr=subprocess.PIPE) for _ in range(2)]
    said = [pull.communicate()[1].decode() for pull in pulls]
    assert [pull.returncode for pull in pulls] == [0, 0], said
    assert (clone / "data/a.csv").read_text(encoding="utf-8") == ROWS
    assert not git(clone, "-c", "filter.lfs.clean=git-lfs clean -- %f", "status", "--porcelain")


def test_pointers_in_the_head_and_none_in_the_base(clone, tmp_path, trained_on):
    commit(clone, {"data/a.csv": None, "data/b, c.csv": None, ".gitattributes": None, "data/new.csv": ROWS})
    git(clone, "revert", "--no-edit", "HEAD")
    based(clone, tmp_path, "HEAD~1")
    assert trained_on == {"new.csv": ROWS}
    assert raw_files.pull(clone, ["data/a.csv"]) == ["data/a.csv"]
    assert (clone / "data/a.csv").read_text(encoding="utf-8") == ROWS


@pytest.mark.parametrize("told", ["0", "-1", "inf", "nan", "soon"])
def test_a_patience_that_is_none_is_the_users_error(clone, monkeypatch, told):
    monkeypatch.setenv("ML_DATA_PATIENCE", told)
    with pytest.raises(InputError, match=r"^ML_DATA_PATIENCE=.+: is no number of seconds above 0$"):
        raw_files.pull(clone, ["data/a.csv"])
