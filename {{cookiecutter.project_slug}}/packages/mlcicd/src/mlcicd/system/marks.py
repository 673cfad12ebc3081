"""Recognise outputs of this tool, which may be replaced or removed.

Each output folder contains ``.ml-output.json``, which lists the files that this tool wrote. A folder without it, from
version 0.1 or from a store that drops hidden files, is recognised if it contains exactly the files of an output.
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
OLD_PAGES = "--s0: #0a5ea8; --s1: #b3480a;"  # colours in the head of pages from version 0.1
HEAD = 16_384
# Files that the project's workflows and file managers add to an output.
ADDED = {
    **{"run": ("release.json", "review.md"), "review": ("meta.json",), "drift": (), "predictions": ()},
    **{"bento": (), "model": ()},
}
JUNK = {".DS_Store", "Thumbs.db", "desktop.ini"}
# (required, allowed) files of an output without a mark.
COMPLETE = {
    "run": (
        ("manifest.json", "metrics.json", "predictions.parquet", "holdout.parquet", "model.skops"),
        ("rows.parquet", "contract.yaml", "params.yaml", "plots/*.png"),
    ),
    "review": (("report.md", "report.html"), ("comparison.json", "review.json", "plots/*.png")),
    "drift": (("drift.json", "drift.md", "drift.html"), ("params.yaml",)),
    "predictions": (("_manifest.json",), ("*",)),
    # BentoML's folders are copied, pushed and exported as they are, so they have no mark.
    "bento": (("bento.yaml", "src/Containerfile", "src/run/manifest.json", "src/run/model.skops"), ("*",)),
    "model": (("model.yaml", "manifest.json", "model.skops", "serving.json"), ("*",)),
}
MARKED = COMPLETE.keys() - {"bento", "model"}
# A JSON file of an output without a mark, and the keys that it must have.
KEYS = {
    "run": ("manifest.json", {"commit", "data", "contract", "params", "files", "seeds"}),
    "drift": ("drift.json", {"verdict", "columns", "moved", "window"}),
    "predictions": ("_manifest.json", {"made_by", "model", "parts"}),
}


def read_mark(folder: Path) -> dict[str, Any] | None:
    """Return the mark in a folder, or None if it has none from this tool."""
    mark = _json(folder / MARK)
    return mark if mark.get("made_by") == MADE_BY else None


def write_mark(folder: Path, kind: str, *, whole: bool) -> None:
    """Mark a folder as a complete output, listing its files, or as a temporary folder that may be removed."""
    names = sorted(path.relative_to(folder).as_posix() for path in files_of(folder)) if whole else []
    mark = {"made_by": MADE_BY, "kind": kind, "whole": whole, "files": [n for n in names if n not in (MARK, PART)]}
    part = folder / PART
    part.write_text(json.dumps(mark, indent=1) + "\n", encoding="utf-8")
    part.replace(folder / MARK)


def replace_problem(folder: Path, kind: str) -> str | None:
    """Return why a folder must not be replaced by an output of this kind, or None if it may be."""
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
    """Return a folder's kind of output, or None if it is not an output."""
    mark = read_mark(folder)
    if mark is not None:
        return str(mark["kind"])
    return next((kind for kind in COMPLETE if any(folder.iterdir()) and replace_problem(folder, kind) is None), None)


def files_of(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, without following symbolic links."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from files_of(Path(entry.path))
        else:
            yield Path(entry.path)


def is_page(path: Path) -> bool:
    """Return whether an HTML page was written by this tool."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD).decode("utf-8", "replace")
    except OSError:
        return False
    return GENERATOR in head or (head.startswith('<!doctype html>\n<html lang="en">') and OLD_PAGES in head)


def is_scored(path: Path) -> bool:
    """Return whether a table was written by ``ml predict``, by its Parquet metadata or its quoted CSV header."""
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
    """Return the columns of a CSV header if all are quoted, as ``ml predict`` writes it; else an empty list."""
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
    """Return a message about the first file that this tool did not write; runs inside a review are checked as runs."""
    for name in names:
        inner, _, rest = name.partition("/")
        if name in known or name in ADDED[kind] or name in (MARK, PART) or Path(name).name in JUNK:
            continue
        if (
            kind == "review"
            and inner in ("candidate", "baseline")
            and rest
            and replace_problem(folder / inner, "run") is None
        ):
            continue
        if name.endswith(".html") and is_page(folder / name):  # written by `ml explore`
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
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
