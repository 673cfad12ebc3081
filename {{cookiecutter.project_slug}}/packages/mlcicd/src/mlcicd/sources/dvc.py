"""Raw files that DVC stores: a ``.dvc`` file in git pins each by the MD5 of its bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mlcicd.core.errors import InputError
from mlcicd.core.yaml_io import parse_yaml
from mlcicd.sources import dvc_tree, fetching
from mlcicd.sources.pins import NotFetchedError, Pin
from mlcicd.system.git import small_blob

NAME, LABEL = "dvc", "DVC"
SUFFIX = ".dvc"
LONGEST = 100_000  # bytes; a pointer has a few hundred


def pin(root: Path, name: str, commit: str | None) -> Pin | None:
    """Return the version that the ``.dvc`` file of a file, or of a folder around it, names."""
    for pointer, inside in _pointers(name):
        if commit is None:
            content = (root / pointer).read_bytes() if (root / pointer).is_file() else None
        else:
            content = small_blob(root, commit, pointer, LONGEST)
        if content is not None:
            # The pointer of a folder does not name the versions of the files in it.
            return Pin(NAME, None if inside else _version(content, pointer), pointer)
    return None


def unfetched(path: Path) -> str | None:
    """Recognise a file that is not here, but has a pointer, and a pointer itself."""
    if path.suffix == SUFFIX and path.is_file():
        return f"is a pointer of DVC, not the data; name {path.with_suffix('')}, and fetch it with 'dvc pull {path}'"
    if path.is_dir():
        inside = _missing_inside(path)
        return (
            f"lacks {inside[0].stem}, which is stored in DVC; fetch it with 'dvc pull {inside[0]}'" if inside else None
        )
    if path.exists():
        return None
    beside = (path.parent / PurePosixPath(pointer).name for pointer, _ in _pointers(path.name))
    around = (parent.with_name(f"{parent.name}{SUFFIX}") for parent in path.parents if parent.name)
    found = next((pointer for pointer in (*beside, *around) if pointer.is_file()), None)
    return f"is stored in DVC, and is not here; fetch it with 'dvc pull {found}'" if found else None


def differs(path: Path, version: str) -> str | None:
    """Compare the hash of the bytes with the pointer's; that of a folder covers the names of its files, too."""
    kind, _, expected = version.partition(":")
    if kind != "md5":
        return None
    found = _md5_of_folder(path) if path.is_dir() else _md5(path)
    return None if found == expected else f"md5:{found}"


def places(root: Path, name: str, pin: Pin) -> list[Path]:
    """Return where the bytes of a pinned file may be on this machine: in the project, and in the cache."""
    kind, _, digest = (pin.version or "").partition(":")
    cached = kind == "md5" and "." not in digest and dvc_tree.cache(root)
    return [root / name, *([cached / "files" / "md5" / digest[:2] / digest[2:]] if cached else [])]


def pull(tree: Path, root: Path, names: Sequence[str]) -> None:
    """Fetch files by ``dvc pull``, from the remote that the project has today, into the cache that it has."""
    pins = [(name, found) for name in names if not (tree / name).exists() and (found := pin(tree, name, None))]
    pins += [
        (file, found)
        for name in names
        for pointer in _missing_inside(tree / name)
        if (found := pin(tree, file := pointer.relative_to(tree).with_suffix("").as_posix(), None))
    ]
    if not pins:
        return
    pointers = sorted({found.pointer for _, found in pins})
    if tree.resolve() != root.resolve():
        dvc_tree.share(tree, root)
    code, said, stopped = fetching.run(
        [*dvc_tree.command(root), "pull", *pointers], tree, dvc_tree.SETTINGS, names, dvc_tree.cache(root)
    )
    still = [(name, found) for name, found in pins if not (tree / name).exists()]
    if code or still:
        name, first = (still or pins)[0]
        cause = stopped or _cause(said, first.version)
        raise NotFetchedError(name, LABEL, cause, f"run 'dvc pull {first.pointer}' to see more")
    for name, found in pins:
        if found.version and (other := differs(tree / name, found.version)):
            _discard(tree, name, found)
            cause = f"the remote's copy is damaged: it is {other}, not {found.version}"
            raise NotFetchedError(name, LABEL, cause, "push it again from where it is whole, with 'dvc push'")


def _discard(tree: Path, name: str, pin: Pin) -> None:
    """Remove damaged bytes, also from the cache, where DVC would trust them: it checks no file that is read-only."""
    for place in places(tree, name, pin):
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)


def _missing_inside(folder: Path) -> list[Path]:
    """Return the pointers in a folder whose files are not here."""
    pointers = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    return [pointer for pointer in pointers if pointer.is_file() and not pointer.with_suffix("").exists()]


def _pointers(name: str) -> list[tuple[str, bool]]:
    """Return the names of the pointers that a file may have, and whether they are of a folder around it."""
    path = PurePosixPath(name)
    around = [parent for parent in path.parents if parent.name]
    return [(f"{path}{SUFFIX}", False), *((f"{parent}{SUFFIX}", True) for parent in around)]


def _version(content: bytes, pointer: str) -> str:
    document = parse_yaml(content.decode(errors="replace"), pointer)
    outs: Any = document.get("outs") if isinstance(document, dict) else None
    out = outs[0] if isinstance(outs, list) and len(outs) == 1 else None
    digest = out.get("md5") if isinstance(out, dict) else None
    if not isinstance(out, dict) or not isinstance(digest, str):
        raise InputError(f"{pointer}: is no pointer of DVC to one file or folder; write it anew with 'dvc add'")
    # Before version 3, DVC hashed text with other line ends than it has, and called that md5, too.
    return f"{'md5' if out.get('hash') == 'md5' else 'md5-dos2unix'}:{digest}"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _md5_of_folder(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = [{"md5": _md5(path), "relpath": path.relative_to(folder).as_posix()} for path in files]
    listed = json.dumps(sorted(found, key=lambda entry: entry["relpath"]), sort_keys=True)
    return f"{hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()}.dir"


def _cause(said: str, version: str | None) -> str:
    """Return why DVC fetched nothing, in one line. It does not tell a missing file from a remote that is gone."""
    if "Missing cache files" in said:
        return f"neither the cache nor the remote has {version or 'it'}: is the remote there, and was 'dvc push' run?"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    shown = (errors or lines or ["DVC does not say why"])[0]
    return fetching.short(shown.rpartition(" - ")[2])
