"""Stand-in for actions/cache: a folder per ref and key.

As on GitHub, a run saves for its own ref alone and reads from its own ref, the base of its pull request and the default
branch; so main never reads what a pull request saved.
"""

import os
import shutil
import sys
from pathlib import Path
from urllib.parse import quote, unquote

from state import STANDIN, record

KEY, FOLDER = os.environ["KEY"], Path(os.environ["FOLDER"])
OWN = os.environ["GITHUB_REF"]


def slot(ref: str) -> Path:
    """Where a ref keeps this key; the path is part of the key, as on GitHub."""
    return STANDIN / "cache" / quote(ref, safe="") / quote(f"{KEY} {FOLDER}", safe="")


def restore() -> None:
    """Copy the first match into place: of the own ref the key, then what begins as one of the other keys."""
    base = os.environ.get("GITHUB_BASE_REF")
    scopes = [OWN, *([f"refs/heads/{base}"] if base else []), "refs/heads/main"]
    others = os.environ.get("RESTORE_KEYS", "").split()
    found = next((match for ref in scopes for match in matches(ref, others)), None)
    if found:
        shutil.copytree(found, FOLDER, dirs_exist_ok=True)
    matched = unquote(found.name).rpartition(" ")[0] if found else ""
    print(f"Cache {'restored from' if found else 'not found for'} key: {matched or KEY}")
    record(event="cache", key=KEY, hit=bool(found))
    with Path(os.environ["GITHUB_OUTPUT"]).open("a") as file:
        hit = "true" if matched == KEY else "false" if matched else ""
        file.write(f"cache-hit={hit}\ncache-primary-key={KEY}\ncache-matched-key={matched}\n")


def matches(ref: str, others: list[str]) -> list[Path]:
    """The key's folder, else the newest whose key begins as one of the others."""
    if slot(ref).is_dir():
        return [slot(ref)]
    kept = sorted(slot(ref).parent.glob("*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    names = [(folder, unquote(folder.name)) for folder in kept]
    return [folder for key in others for folder, name in names if name.startswith(key) and name.endswith(f" {FOLDER}")]


def save() -> None:
    """Copy the folder away, once."""
    if not FOLDER.is_dir():
        print(f"::warning::Path does not exist: {FOLDER}")
        return
    if slot(OWN).exists():
        print(f"::warning::Unable to reserve cache with key {KEY}: it exists already")
        return
    shutil.copytree(FOLDER, slot(OWN))


if __name__ == "__main__":
    if not KEY or "," in KEY or len(KEY) > 512:
        sys.exit(f"::error::Key Validation Error: {KEY!r}")
    {"restore": restore, "save": save}[sys.argv[1]]()
