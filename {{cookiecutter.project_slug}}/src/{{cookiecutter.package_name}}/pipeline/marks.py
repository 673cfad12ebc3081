"""Which folders and pages are outputs of this tool, and may therefore be replaced or removed.

Each output folder holds ``.ml-output.json`` with the names of the files that were written. Nothing else in it is ours.
Folders without one, made by version 0.1 or passed through a store that drops hidden files, are recognised by being
complete: all files of an output of that kind, and no other.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

MARK = ".ml-output.json"
PART = f"{MARK}.part"
MADE_BY = "ml (cookiecutter-ml-cicd)"
GENERATOR = f'<meta name="generator" content="{MADE_BY}">'
OLD_PAGES = "--s0: #0a5ea8; --s1: #b3480a;"  # colours that pages of version 0.1 declare in their head
HEAD = 16_384
# Added to an output by the project's workflows, or by file managers.
ADDED = {"run": ("release.json", "review.md"), "review": ("meta.json",), "drift": (), "bento": ()}
JUNK = {".DS_Store", "Thumbs.db", "desktop.ini"}
# An output without a mark must hold the first, and may hold the second.
COMPLETE = {
    "run": (
        ("manifest.json", "metrics.json", "predictions.parquet", "holdout.parquet", "model.skops"),
        ("rows.parquet", "contract.yaml", "params.yaml", "plots/*.png"),
    ),
    "review": (("report.md", "report.html"), ("comparison.json", "review.json", "plots/*.png")),
    "drift": (("drift.json", "drift.md", "drift.html"), ("params.yaml",)),
    # BentoML's own folder, which goes into the image as it is.
    "bento": (("bento.yaml", "src/Containerfile", "src/run/manifest.json", "src/run/model.skops"), ("*",)),
}
MARKED = COMPLETE.keys() - {"bento"}
# The keys that its JSON file must have.
KEYS = {
    "run": ("manifest.json", {"commit", "data", "contract", "params", "files", "seeds"}),
    "drift": ("drift.json", {"verdict", "columns", "moved", "window"}),
}


def read_mark(folder: Path) -> dict[str, Any] | None:
    """Return a folder's mark, None where it has none of this tool."""
    found = _json(folder / MARK)
    return found if found.get("made_by") == MADE_BY else None


def write_mark(folder: Path, kind: str, *, whole: bool) -> None:
    """Mark a folder: as whole, with the files in it by name, or as private, all of it to be removed."""
    names = sorted(path.relative_to(folder).as_posix() for path in files_of(folder)) if whole else []
    mark = {"made_by": MADE_BY, "kind": kind, "whole": whole, "files": [n for n in names if n not in (MARK, PART)]}
    part = folder / PART
    part.write_text(json.dumps(mark, indent=1) + "\n", encoding="utf-8")
    part.replace(folder / MARK)


def foreign(folder: Path, kind: str) -> str | None:
    """Return what keeps a folder from being replaced by an output of this kind; None where nothing does."""
    names = sorted(path.relative_to(folder).as_posix() for path in files_of(folder))
    if set(names) <= {PART}:
        return None
    mark = read_mark(folder)
    if mark is None:
        return _incomplete(folder, kind, names)
    if not mark["whole"]:
        return None
    if mark["kind"] != kind:
        return f"it is a {mark['kind']}, not a {kind}"
    return _unknown(folder, kind, names, set(mark["files"]))


def kind_of(folder: Path) -> str | None:
    """Return what kind of output a folder is; None where it is none."""
    mark = read_mark(folder)
    if mark is not None:
        return str(mark["kind"])
    return next((kind for kind in COMPLETE if any(folder.iterdir()) and foreign(folder, kind) is None), None)


def files_of(folder: Path) -> Iterator[Path]:
    """Everything below a folder that is no folder; what links lead to is not below it."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from files_of(Path(entry.path))
        else:
            yield Path(entry.path)


def is_page(path: Path) -> bool:
    """Whether an HTML page was written by this tool."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD).decode("utf-8", "replace")
    except OSError:
        return False
    return GENERATOR in head or (head.startswith('<!doctype html>\n<html lang="en">') and OLD_PAGES in head)


def is_scored(path: Path) -> bool:
    """Whether a table of predictions was written by ``ml predict``: Parquet says so, a CSV has its quoted columns."""
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)
        columns, marked = schema.names, (schema.metadata or {}).get(b"made_by") == MADE_BY.encode()
    except pyarrow.ArrowException:
        marked = False
        columns = _quoted(path)
    except OSError:
        return False
    shapes = ["prediction"], ["prediction", "probability", "decision"]
    known = any(columns[skip:] in shapes for skip in (0, 1))  # after the id, if there is one
    return marked or known or any(_by_class(columns[skip:]) for skip in (0, 1))


def _quoted(path: Path) -> list[str]:
    """The first line's columns where each is quoted, as in what ``ml predict`` writes; none where one is not."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            line = file.readline(HEAD).decode("utf-8", "replace").rstrip("\r\n")
    except (OSError, EOFError, zlib.error):
        return []
    if not (line.startswith('"') and line.endswith('"')):
        return []
    return next(csv.reader([line], delimiter="\t" if "\t" in line else ","), [])


def _by_class(columns: list[str]) -> bool:
    return len(columns) > 2 and columns[0] == "prediction" and all(name.startswith("p_") for name in columns[1:])


def _unknown(folder: Path, kind: str, names: list[str], known: set[str]) -> str | None:
    """The first file that is not one of ours. A run inside a review answers for itself."""
    for name in names:
        inner, _, rest = name.partition("/")
        if name in known or name in ADDED[kind] or name in (MARK, PART) or Path(name).name in JUNK:
            continue
        if kind == "review" and inner in ("candidate", "baseline") and rest and foreign(folder / inner, "run") is None:
            continue
        if name.endswith(".html") and is_page(folder / name):  # of `ml explore`
            continue
        return f"it holds {name}, which 'ml' did not write"
    return None


def _incomplete(folder: Path, kind: str, names: list[str]) -> str | None:
    must, may = COMPLETE[kind]
    file, keys = KEYS.get(kind, ("", set()))
    complete = set(must) <= set(names) and (not file or keys <= _json(folder / file).keys())
    pages = [name for name in must if name.endswith(".html")]
    if not complete or not all(is_page(folder / name) for name in pages):
        return f"it holds {names[0]} and was not written by 'ml'"
    return _unknown(folder, kind, names, {n for n in names if any(fnmatchcase(n, p) for p in (*must, *may))})


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
