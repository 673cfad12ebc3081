"""Raw files that Git LFS stores, of which git itself has only pointers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from mlcicd.sources import fetching
from mlcicd.sources.pins import NotFetchedError, Pin
from mlcicd.system.git import git, small_blob

NAME, LABEL = "git-lfs", "Git LFS"
POINTER = b"version https://git-lfs.github.com/spec/"
OID = re.compile(rb"^oid (sha256:[0-9a-f]{64})$", re.MULTILINE)
# What `git lfs install` sets; without it git-lfs fetches files and does not check them out.
FILTERS = (
    "clean=git-lfs clean -- %f",
    "smudge=git-lfs smudge -- %f",
    "process=git-lfs filter-process",
    "required=true",
)
SPECIAL = re.compile(r"[][\\*?,]")  # --include takes patterns, with commas between them
# Nobody may be there to answer for a password, and who skips the files of clones still wants these.
SETTINGS = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "0"}


def pin(root: Path, name: str, commit: str | None) -> Pin | None:
    """Return the version that a file's pointer in git names."""
    content = small_blob(root, commit, name) or b""
    found = OID.search(content) if content.startswith(POINTER) else None
    return Pin(NAME, found[1].decode(), name) if found else None


def unfetched(path: Path) -> str | None:
    """Recognise a pointer by its content, whatever git says of the file."""
    if is_pointer(path):
        return "is a pointer of Git LFS, not the data; fetch the data with 'git lfs pull'"
    return None


def differs(path: Path, version: str) -> str | None:
    """Compare the hash of the bytes with the pointer's."""
    with path.open("rb") as file:
        found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    return None if found == version else found


def pull(tree: Path, root: Path, names: Sequence[str] = ()) -> None:  # noqa: ARG001 - a worktree shares its objects
    """Replace all pointers in a folder of a checked-out commit by the files themselves, and check those with names."""
    if pointers := _pointers(tree):
        _fetch(tree, pointers)
    for name in names:
        found = pin(tree, name, None)
        other = found and found.version and differs(tree / name, found.version)
        if not found or not found.version or not other:
            continue
        copy = _copy(tree, found.version)
        # Else somebody has changed the file, and it is theirs.
        if copy and copy.is_file() and differs(copy, found.version) == other:
            copy.unlink()  # git-lfs would trust it again: it compares the size alone
            (tree / name).write_bytes(small_blob(tree, None, name) or b"")
            cause = f"the copy in Git LFS's folder on this machine is damaged: it is {other}, not {found.version}"
            raise NotFetchedError(name, LABEL, cause, "it was removed; run 'ml data pull' again")


def _copy(tree: Path, version: str) -> Path | None:
    """Return where git-lfs keeps the bytes of a version on this machine."""
    lines = (git(tree, "lfs", "env") or "").splitlines()
    folder = next((line.partition("=")[2] for line in lines if line.startswith("LocalMediaDir=")), None)
    digest = version.partition(":")[2]
    return Path(folder, digest[:2], digest[2:4], digest) if folder else None


def _fetch(tree: Path, pointers: Sequence[str]) -> None:
    filters = [word for setting in FILTERS for word in ("-c", f"filter.lfs.{setting}")]
    # Eight times by default, with pauses that double.
    filters += ["-c", "lfs.transfer.maxretries=2"]
    command = ["git", *filters, "lfs", "pull", "--include", ",".join(SPECIAL.sub("?", name) for name in pointers)]
    top = Path(git(tree, "rev-parse", "--show-toplevel") or tree)
    common = git(tree, "rev-parse", "--git-common-dir")
    cache = tree / common / "lfs" if common else None
    code, said, stopped = fetching.run(command, top, SETTINGS, pointers, cache)
    missing = _pointers(tree)
    if code == 0 and not missing:
        return
    lines = [line.strip() for line in re.split(r"[\r\n]+", said) if line.strip()]
    lines = [line for line in lines if not line.startswith(("Downloading LFS objects", "warning: "))]
    cause = stopped or fetching.short(lines[0] if lines else "git-lfs does not say why")
    remedy = f"run 'git lfs fetch origin {git(tree, 'rev-parse', 'HEAD')}', then try again"
    raise NotFetchedError((missing or pointers)[0], LABEL, cause, remedy)


def _pointers(tree: Path) -> list[str]:
    """Return the unfetched files below a folder, as they are named from the top of the repository."""
    top = Path(git(tree, "rev-parse", "--show-toplevel") or tree)
    listed = git(tree, "grep", "--cached", "-Ilz", "--full-name", "-e", f"^{POINTER.decode()}", "--", ".")
    return [name for name in (listed or "").split("\0") if name and is_pointer(top / name)]


def is_pointer(path: Path) -> bool:
    """Return whether a file holds a pointer in place of its bytes."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False
