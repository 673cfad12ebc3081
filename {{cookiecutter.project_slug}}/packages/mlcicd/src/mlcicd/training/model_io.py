"""Saving and loading a fitted pipeline with skops: a file that cannot run code when it is opened, unlike a pickle."""

from __future__ import annotations

import importlib
import io
import json
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

from mlcicd.core import project
from mlcicd.core.errors import InputError
from mlcicd.training import model_contents, model_trust
from mlcicd.training.model_trust import RefusedError

# A small file must not fill the memory, where each node of its schema takes up to a kilobyte: what packs better than
# this is written unpacked.
RATIO, ALLOWANCE = 15, 4_000_000
NOTHING = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": "null", "is_json": True}
IMPORTING = threading.Lock()


def save(model: Any, path: Path) -> None:
    """Write a fitted pipeline; the same one gives the same bytes.

    Raises
    ------
    InputError
        The estimator holds something that skops cannot write or that would be refused on loading.
    """
    try:
        written = _skops().dumps(model)
    except Exception as error:
        raise InputError(f"{project.source('model.py')}: skops cannot save this estimator: {error}") from error
    try:
        settled = _settled(written)
    except RefusedError as error:
        raise InputError(
            f"{project.source('model.py')}, features.py: this model would not be loaded again, since it holds {error}; "
            "docs/security.md says what a model file may hold"
        ) from None
    path.write_bytes(settled)


def _settled(written: bytes) -> bytes:
    """Write the same model as the same bytes, if it would be loaded again.

    skops names parts by their place in memory, zip files hold the time of day, and a bin mapper remembers how many
    threads it was fitted with; none of the three is part of the model.
    """
    numbers: dict[Any, int] = {}
    files: dict[str, str] = {}
    with zipfile.ZipFile(io.BytesIO(written)) as old:
        schema = json.loads(old.read("schema.json"))
        model_trust.named(schema)
        for node in model_trust.nodes(schema):
            if node["__class__"] == "_BinMapper":
                node["content"]["content"]["n_threads"] = dict(NOTHING)
            if "__id__" in node:
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
            if "file" in node:
                suffix = Path(node["file"]).suffix
                node["file"] = files.setdefault(node["file"], f"{len(files)}{suffix}")
        contents = {files[name]: old.read(name) for name in old.namelist() if name in files}
        contents["schema.json"] = json.dumps(schema, separators=(",", ":")).encode()
    settled = _zipped(contents, zipfile.ZIP_DEFLATED)
    return settled if _bounded(settled) else _zipped(contents, zipfile.ZIP_STORED)


def _zipped(contents: dict[str, bytes], method: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name in sorted(contents):
            file.writestr(zipfile.ZipInfo(name), contents[name], method, 1)  # of 1 January 1980
    return packed.getvalue()


def _bounded(content: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        return sum(entry.file_size for entry in packed.infolist()) <= RATIO * len(content) + ALLOWANCE


def load(path: Path) -> Any:
    """Read a fitted pipeline; nothing in the file runs, neither now nor when the model predicts.

    Raises
    ------
    InputError
        The file is missing, cannot be read, is not a skops file (a pickle is refused unopened), or names or holds
        something that is not trusted (see :mod:`model_trust` and :mod:`model_contents`).
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such model; make one with 'ml train --out {path.parent}'") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise InputError(f"{path}: not a skops file; a pickle or anything else is not opened")
    try:
        found = _skops().loads(content, trusted=_check(content))
        if problem := model_contents.harmful(found):
            raise RefusedError(problem)
    except RefusedError as error:
        raise InputError(f"{path}: holds {error}, which this project does not trust; see docs/security.md") from None
    except ImportError as error:
        raise InputError(f"{path}: needs a package that is not installed here ({error})") from None
    except Exception as error:
        kind = type(error).__name__
        raise InputError(f"{path}: is no model that this project wrote ({kind}); train the run again") from None
    return found


def _check(content: bytes) -> list[str]:
    """Return the names in a skops file, all of which are trusted.

    Raises
    ------
    RefusedError
        One is not, or the file would grow far beyond its size.
    """
    if not _bounded(content):
        raise RefusedError(f"parts that unpack to more than {RATIO} times its size")
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        schema = json.loads(packed.read("schema.json"))
    return model_trust.named(schema)


def _skops() -> Any:
    """Import skops without its lists of all of scikit-learn's estimators and all of scipy's elementwise functions.

    For the one it imports every module of scikit-learn, for the other it asks each module that is loaded for each
    function: a second or more of every start. What a model may name is decided here, for these as for others.
    """
    if "skops.io" in sys.modules:
        return sys.modules["skops.io"]
    import scipy.special
    import sklearn.utils

    with IMPORTING:  # of two threads, neither must meet the other's replacements
        everything = sklearn.utils.all_estimators
        sklearn.utils.all_estimators = scipy.special.__dir__ = list
        try:
            return importlib.import_module("skops.io")
        finally:
            sklearn.utils.all_estimators = everything
            del scipy.special.__dir__
