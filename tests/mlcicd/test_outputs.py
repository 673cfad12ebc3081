"""What commands write is whole or absent, and nothing else is touched."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import visits
from hypothesis import given, settings
from hypothesis import strategies as st
from mlcicd import cli
from mlcicd.core import errors
from mlcicd.system import marks, outputs, signals, transaction

pytestmark = pytest.mark.slow
EXAMPLES = settings(max_examples=15)

FOLDERS = {
    "train": ("train",),
    "review": ("review", "--base", "HEAD"),
    "compare": ("compare", "runs/model", "runs/model"),
    "drift": ("drift", "visits.csv"),
}
FILES = {
    "explore": (("explore",), "page.html"),
    "releases": (("releases", "runs"), "index.html"),
    "predict": (("predict", "visits.csv"), "scored.csv"),
    "predict to Parquet": (("predict", "visits.csv"), "scored.parquet"),
}
WRITTEN = {name: command for name, command in FOLDERS.items() if name != "review"}  # it needs a repository of its own
EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open", "shutil.rmtree", "ctypes.dlsym"}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small table that was begun with and trained on."""
    root = tmp_path_factory.mktemp("begun")
    visits.write(root, 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert ml("init", "visits.csv", "--target", "bought")[0] == 0
        assert ml("train")[0] == 0
    return root


@pytest.fixture
def here(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(begun, root)
    monkeypatch.chdir(root)
    return root


def ml(*command: str) -> tuple[int, str]:
    """Run a command in this process; return its exit status and what it wrote to standard error."""
    said = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        patch.setattr(sys, "argv", ["ml", *command])
        patch.setattr(signals, "install", lambda: None)  # the signals of this process are pytest's
        with pytest.raises(SystemExit) as end:
            cli.main()
    return int(end.value.code or 0), said.getvalue().rstrip("\n")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(folder: Path) -> dict[str, bytes | str | None]:
    """Everything in a folder, and below it."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(folder.rglob("*"))
    }


# Names that outputs have as well: a page of somebody's own, a manifest of another program.
OWN = [
    "manifest.json",
    "report.md",
    "report.html",
    "drift.json",
    "metrics.json",
    ".git/HEAD",
    "plots/a.png",
    "thesis.tex",
]
NAMES = st.sampled_from(OWN) | st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..", marks.MARK)
)
TEXTS = st.sampled_from([b"", b"{}", b'{"files": {}, "commit": null}', b"<!doctype html>\n<p>mine</p>"]) | st.binary(
    max_size=40
)
TREES = st.dictionaries(NAMES, TEXTS, min_size=1, max_size=6)


@EXAMPLES
@given(tree=TREES, command=st.sampled_from(list(FOLDERS)))
def test_no_command_replaces_a_folder_that_it_did_not_write(begun: Path, tree: dict[str, bytes], command: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(begun)
        folder = begun / "mine"
        for name, text in tree.items():
            path = folder / name
            if not path.exists() and not any(parent.is_file() for parent in path.parents):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text)
        try:
            before = content(begun)
            code, said = ml(*FOLDERS[command], "--out", "mine")
            assert (code, said.count("\n")) == (2, 0), said
            assert said.startswith("ml: mine: is not replaced, since it")
            assert content(begun) == before
        finally:
            shutil.rmtree(folder)


@EXAMPLES
@given(text=TEXTS, command=st.sampled_from(list(FILES)))
def test_no_command_replaces_a_file_that_it_did_not_write(begun: Path, text: bytes, command: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(begun)
        words, name = FILES[command]
        path = begun / f"mine-{name}"
        path.write_bytes(text)
        try:
            before = content(begun)
            code, said = ml(*words, "--out", path.name)
            assert (code, said.count("\n")) == (2, 0), said
            assert "'ml' did not write it" in said
            assert content(begun) == before
        finally:
            path.unlink()


@pytest.mark.parametrize(
    "out", [".", "..", "data", "params.yaml", "visits.csv", "runs", "/", "a\0b", "x" * 300, "visits.csv/x"]
)
@pytest.mark.parametrize("command", [*FOLDERS, *FILES])
def test_places_that_hold_a_project_are_refused_in_one_line(here: Path, command: str, out: str):
    words = FOLDERS.get(command) or FILES[command][0]
    before = content(here.parent)
    code, said = ml(*words, "--out", out)
    assert (code, said.count("\n")) == (2, 0), said
    assert content(here.parent) == before


@pytest.mark.parametrize("command", [*WRITTEN, *FILES])
def test_an_output_is_replaced_by_its_own_kind_alone(here: Path, command: str):
    words, out = (WRITTEN[command], "out") if command in WRITTEN else FILES[command]
    beside = sorted([*names(here), out])
    for _ in range(2):
        code, said = ml(*words, "--out", out)
        assert code in (0, 1) if command == "drift" else code == 0, said
        assert names(here) == beside  # nothing else is left: no lock, no private folder
    if command not in WRITTEN:
        return
    (here / out / marks.MARK).unlink()  # as version 0.1 made it, or as a store handed it back
    assert ml(*words, "--out", out)[0] in (0, 1)
    other = next(words for name, words in WRITTEN.items() if name != command)
    before = content(here)
    code, said = ml(*other, "--out", out)
    assert (code, "is not replaced" in said) == (2, True), said
    (here / out / "plots").mkdir(exist_ok=True)
    (here / out / "plots" / "notes.txt").write_text("mine", encoding="utf-8")
    for marked in (True, False):
        if not marked:
            (here / out / marks.MARK).unlink()
        code, said = ml(*words, "--out", out)
        assert (code, "plots/notes.txt" in said) == (2, True), said
    assert content(here).keys() - before.keys() <= {f"{out}/plots", f"{out}/plots/notes.txt"}


def test_what_only_looks_like_a_leftover_stays(here: Path):
    for name in (".model.backup", ".model.99999", ".model.ml-work", ".model.ml-old", ".model.ml-backup"):
        (here / "runs" / name).mkdir()
        (here / "runs" / name / "notes.txt").write_text("mine", encoding="utf-8")
    before = {name: text for name, text in content(here / "runs").items() if name.startswith(".")}
    assert ml("train")[0] == 0
    assert {name: text for name, text in content(here / "runs").items() if name.startswith(".")} == before


def write(out: Path, text: str) -> None:
    with outputs.atomic_directory(out, "drift") as work:
        for name in ("drift.json", "drift.md", "plots/a.png", "plots/b.png"):
            (work / name).parent.mkdir(exist_ok=True)
            (work / name).write_text(text, encoding="utf-8")


def write_page(out: Path, text: str) -> None:
    with outputs.atomic_file(out, lambda path: path.read_text(encoding="utf-8") in ("old", "new")) as work:
        work.write_text(text, encoding="utf-8")


def killed_at(step: int, action: Callable[[], None], place: Path) -> bool:
    """Whether a process that is killed before its so-maniest change below a folder lived to be killed."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = step

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in EVENTS and (event == "ctypes.dlsym" or str(place) in str(arguments[0])):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        action()
    finally:
        os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("way", ["exchange", "two renames", "two renames over an output of version 0.1"])
def test_a_kill_at_each_step_leaves_the_old_or_the_new_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str):
    if way != "exchange":
        monkeypatch.setattr(outputs, "exchange", lambda *_: False)
    if way.endswith("0.1"):
        monkeypatch.setitem(marks.COMPLETE, "drift", (("drift.json", "drift.md"), ("plots/*.png",)))
        monkeypatch.delitem(marks.KEYS, "drift")
    out, seen = tmp_path / "out", set()
    for step in range(200):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        write(out, "old")
        if way.endswith("0.1"):
            (out / marks.MARK).unlink()
        killed = killed_at(step, lambda: write(out, "new"), tmp_path)
        if way == "exchange":  # under its name at once, not only for who reads with this tool
            assert out.is_dir()
        outputs.recover(out)
        found = {text for name, text in content(out).items() if text and name != marks.MARK}
        assert found in ({b"old"}, {b"new"}), step
        assert {"drift.json", "drift.md", "plots/a.png", "plots/b.png"} <= content(out).keys(), step
        seen |= found
        write(out, "newest")
        assert names(tmp_path) == ["out"], step
        if not killed:
            break
    assert seen == {b"old", b"new"} and 10 < step < 199


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_kill_at_each_step_leaves_a_page_whole(tmp_path: Path):
    out, seen = tmp_path / "page.html", set()
    for step in range(100):
        out.write_text("old", encoding="utf-8")
        killed = killed_at(step, lambda: write_page(out, "new"), tmp_path)
        seen.add(out.read_text(encoding="utf-8"))
        write_page(out, "new")
        assert names(tmp_path) == ["page.html"], step
        if not killed:
            break
    assert seen == {"old", "new"} and 3 < step < 99


def replace_three(root: Path, text: str, folder: bool) -> None:
    with transaction.replacing(root) as replacement:
        table = replacement.work / "table"
        if folder:
            table.mkdir()
        (table / "part-0.csv" if folder else table).write_text(text, encoding="utf-8")
        replacement.add(root / "data" / "t", table)
        for name in ("params.yaml", "contract.yaml"):
            (replacement.work / name).write_text(text, encoding="utf-8")
            replacement.add(root / name, replacement.work / name)
        replacement.commit()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("way", ["exchange", "two renames"])
@pytest.mark.parametrize("kind", ["file", "folder", "file for a folder", "nothing"])
def test_a_kill_at_each_step_leaves_what_belongs_together_all_old_or_all_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, kind: str
):
    if way != "exchange":
        monkeypatch.setattr(transaction, "exchange", lambda *_: False)
    seen = set()
    for step in range(200):
        shutil.rmtree(tmp_path)
        (tmp_path / "data").mkdir(parents=True)
        if kind != "nothing":
            replace_three(tmp_path, "old", kind == "folder")
        killed = killed_at(step, lambda: replace_three(tmp_path, "new", kind.endswith("folder")), tmp_path)
        transaction.recover(tmp_path)
        found = {name: text for name, text in content(tmp_path).items() if text and not name.startswith(".init.ml-")}
        assert set(found.values()) in ({b"old"}, {b"new"}, set()), step
        assert len(found) in ((0, 3) if kind == "nothing" else (3,)), step
        seen |= set(found.values())
        replace_three(tmp_path, "newest", folder=False)
        assert set(content(tmp_path)) == {"contract.yaml", "params.yaml", "data", "data/t"}, step
        if not killed:
            break
    assert b"new" in seen and 10 < step < 199


def test_one_that_cannot_be_replaced_leaves_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for way in (transaction.exchange, lambda *_: False):
        (tmp_path / "data").mkdir(exist_ok=True)
        replace_three(tmp_path, "old", folder=False)
        before = content(tmp_path)
        calls = []

        def refuse(one: Path, other: Path, way: Callable[[Path, Path], bool] = way, calls: list[Path] = calls) -> bool:
            calls.append(other)
            if len(calls) == 3:
                raise PermissionError(1, "Operation not permitted", str(other))
            return way(one, other)

        with monkeypatch.context() as patch, pytest.raises(PermissionError):
            patch.setattr(transaction, "exchange", refuse)
            replace_three(tmp_path, "new", folder=False)
        assert content(tmp_path) == before


def test_what_was_changed_after_a_kill_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "data").mkdir()
    replace_three(tmp_path, "old", folder=False)

    def stop(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(transaction, "_apply", stop)
        patch.setattr(outputs.shutil, "rmtree", lambda *_, **__: None)
        replace_three(tmp_path, "new", folder=False)
    (tmp_path / "params.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(errors.InputError, match=r"params.yaml: was changed after 'ml init' was stopped half-way"):
        transaction.recover(tmp_path)
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == "mine"


def test_two_at_once_into_one_output_do_not_mix(tmp_path: Path):
    out = tmp_path / "out"
    with outputs.atomic_directory(out, "drift") as work:
        (work / "drift.md").write_text("first", encoding="utf-8")
        with pytest.raises(errors.InputError, match="is being written by another 'ml'"):
            write(out, "second")
        assert work.is_dir()  # the second swept nothing of the first
    assert content(out).keys() == {"drift.md", marks.MARK}
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("what", [InterruptedError, KeyboardInterrupt, SystemExit, errors.InputError])
def test_what_fails_or_is_stopped_leaves_the_older_output_and_nothing_else(tmp_path: Path, what: type[BaseException]):
    out = tmp_path / "deep" / "out"
    with pytest.raises(what), outputs.atomic_directory(out, "drift") as work:
        (work / "drift.md").write_text("half", encoding="utf-8")
        raise what("")
    assert names(tmp_path) == []
    write(out, "old")
    with pytest.raises(what), outputs.atomic_directory(out, "drift") as work:
        raise what("")
    assert names(tmp_path / "deep") == ["out"]
    assert (out / "drift.md").read_text(encoding="utf-8") == "old"


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_an_output_behind_a_link_is_written_where_the_link_leads(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "run")
    for text in ("old", "new"):
        write(tmp_path / "out", text)
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "run" / "drift.md").read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["disk", "out"] and names(tmp_path / "disk") == ["run"]


def test_an_old_output_that_cannot_be_removed_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    write(out, "old")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(outputs.shutil, "rmtree", refuse)
        for text in ("new", "newer"):
            write(out, text)
            assert (out / "drift.md").read_text(encoding="utf-8") == text
            assert "cannot be removed (Permission denied)" in capsys.readouterr().err
    write(out, "newest")
    assert "warning" not in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system of Linux")
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", [*WRITTEN, *FILES])
def test_on_a_full_disk_the_older_output_stays(tmp_path: Path, command: str):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12M", "tmpfs", disk], capture_output=True).returncode:
        assert not (os.environ.get("CI") and os.geteuid() == 0), "CI runs this as root: a file system can be mounted"
        pytest.skip("no right to mount a file system")
    try:
        words, name = (WRITTEN[command], "out") if command in WRITTEN else FILES[command]
        assert ml(*words, "--out", f"{disk}/{name}")[0] in (0, 1)
        # All but a few pages is taken: enough for a lock and a private folder, not for what comes into it.
        free = shutil.disk_usage(disk).free
        (disk / "taken").write_bytes(b"x" * (free - 4096))
        before = content(disk)
        code, said = ml(*words, "--out", f"{disk}/{name}")
        assert (code, said.count("\n")) == (2, 0), said
        assert "cannot be written" in said and "No space left" in said
        assert content(disk) == before
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
