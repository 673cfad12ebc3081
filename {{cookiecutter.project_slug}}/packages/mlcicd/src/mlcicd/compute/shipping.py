"""How code and data travel to other machines: the project's own code goes along, libraries must be there already.

The user's package is sent by value: a worker that has an older version of it, or none, computes the same. Libraries and
the machinery are compared instead, since other versions may give other numbers.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from mlcicd.core import project
from mlcicd.core.errors import InputError

# What changes numbers, or how they travel.
COMPARED = (
    "scikit-learn",
    "numpy",
    "pandas",
    "scipy",
    "skrub",
    "pyarrow",
    "joblib",
    "cloudpickle",
    "dask",
    "distributed",
)
MACHINERY = "mlcicd"
Versions = dict[str, str | None]


def pack(what: Any) -> bytes:
    """Serialise code and data; classes and functions of the user's package by value.

    Raises
    ------
    InputError
        Something cannot be sent, such as an open file or a lock.
    """
    import cloudpickle

    package = sys.modules.get(project.package_name())
    if package is not None:
        cloudpickle.register_pickle_by_value(package)
    try:
        return bytes(cloudpickle.dumps(what))
    except Exception as error:
        raise InputError(
            f"src/{project.package_name()}: cannot be sent to other processes ({type(error).__name__}: {error}); keep "
            "open files, locks and connections out of estimators and modules"
        ) from error
    finally:
        if package is not None:
            cloudpickle.unregister_pickle_by_value(package)


def by_value(function: Any) -> bytes:
    """Serialise a function of the machinery for a process that may not have the machinery."""
    import cloudpickle

    module = sys.modules[function.__module__]
    cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(function))
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def unpack(content: bytes) -> Any:
    """Return what :func:`pack` was given."""
    import pickle

    return pickle.loads(content)  # noqa: S301 - of this command's own work


@functools.cache
def versions() -> Versions:
    """Return what this process computes with; cached, since it is asked for each piece of work."""
    return look_up(COMPARED)


def look_up(names: tuple[str, ...]) -> Versions:
    """Return Python's version, those of libraries, and a hash of the machinery; None is not installed.

    It is also sent to workers that may lack the machinery, so it imports what it needs by itself.
    """
    import hashlib
    import sys
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec
    from pathlib import Path

    found: dict[str, str | None] = {"Python": "{}.{}".format(*sys.version_info)}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    spec = find_spec("mlcicd")
    folders = (spec and spec.submodule_search_locations) or []
    sources = sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources))
    found["mlcicd"] = digest.hexdigest()[:12] if sources else None
    return found


def difference(theirs: Versions, ours: Versions) -> str:
    """Say in one sentence what a worker has that this process has not, or the other way round; empty if nothing."""
    for name, version in ours.items():
        other = theirs.get(name)
        if other == version:
            continue
        if other is None:
            return f"has no {name}"
        if name == MACHINERY:
            return "has another packages/mlcicd than this project"
        return f"has {name} {other}, and this project runs with {version or 'none'}"
    return ""


REMEDY = "install there what this project's uv.lock names, with 'uv sync --locked', and start it anew"
