"""Saving and loading a fitted pipeline with skops: a file that cannot run code when it is opened, unlike a pickle."""

from __future__ import annotations

import importlib
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError

# What a model file may name: classes of the libraries of the lock and elementwise functions such as scipy's expit (not
# other functions, which may run what they are given), the few functions that skrub and scikit-learn keep in fitted
# models, and this package's own code.
CLASSES_OF = ("sklearn", "numpy", "scipy", "pandas", "skrub", "datetime", "collections")
BOOSTERS = ("lightgbm", "xgboost", "catboost")
FUNCTIONS = (
    "functools.partial",  # of a function that is checked as well
    "sklearn.utils.validation.check_array",
    "skrub._dataframe._common.is_",
    "skrub.selectors._selectors._cardinality_below",
    "skrub._table_vectorizer._created_by_predicate",
)
OWN_PACKAGE = __name__.split(".")[0]


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
        raise InputError(f"src/{OWN_PACKAGE}/model.py: skops cannot save this estimator: {error}") from error
    path.write_bytes(_settled(written))
    untrusted(path)


def _settled(written: bytes) -> bytes:
    """Number what skops names by its place in memory, and leave out the time of day."""
    numbers: dict[str, str] = {}
    settled = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(written)) as old,
        zipfile.ZipFile(settled, "w") as new,
    ):
        schema = re.sub(
            r'("__id__": |"file": ")(\d+)',
            lambda found: found[1] + numbers.setdefault(found[2], str(len(numbers))),
            old.read("schema.json").decode(),
        )
        for name in old.namelist():
            stem, dot, kind = name.partition(".")
            content = schema if name == "schema.json" else old.read(name)
            entry = zipfile.ZipInfo(numbers.get(stem, stem) + dot + kind)  # of 1 January 1980
            new.writestr(entry, content, zipfile.ZIP_DEFLATED, 1)
    return settled.getvalue()


def load(path: Path) -> Any:
    """Read a fitted pipeline.

    Raises
    ------
    InputError
        The file is missing, is not a skops file (a pickle is refused unopened), or names a type that is not trusted.
    """
    return _skops().load(path, trusted=untrusted(path))


def untrusted(path: Path) -> list[str]:
    """Return the types that skops asks about, each of them from a trusted place."""
    if not path.is_file():
        raise InputError(f"{path}: no such model; make one with 'ml train --out {path.parent}'")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not a skops file; a pickle or anything else is not opened")
    found = _skops().get_untrusted_types(file=path)
    for name in found:
        if not _trusted(name):
            raise InputError(f"{path}: holds {name}, which this project does not trust (pipeline/models.py)")
    return list(found)


def _skops() -> Any:
    """Import skops without its lists of all of scikit-learn's estimators and all of scipy's elementwise functions.

    For the one it imports every module of scikit-learn, for the other it asks each module that is loaded for each
    function: a second or more of every start. What a model may name is decided here, for these as for others.
    """
    import scipy.special
    import sklearn.utils

    everything = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = scipy.special.__dir__ = list
    try:
        return importlib.import_module("skops.io")
    finally:
        sklearn.utils.all_estimators = everything
        del scipy.special.__dir__


def _trusted(name: str) -> bool:
    module, _, item = name.rpartition(".")
    root = module.split(".")[0]
    if root == OWN_PACKAGE or name.startswith(FUNCTIONS):
        return True
    if root not in CLASSES_OF + BOOSTERS or "__" in module:  # importing a __main__ would run it
        return False
    try:
        found = getattr(importlib.import_module(module), item, None)
    except ImportError:
        return False
    return isinstance(found, np.ufunc) or (isinstance(found, type) and found.__module__.split(".")[0] == root)
