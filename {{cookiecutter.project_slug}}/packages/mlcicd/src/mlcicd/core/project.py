"""The project around the machinery: the name of the user's package, its modules, and where its code raised an error."""

from __future__ import annotations

import functools
import importlib
import os
import tomllib
import traceback
from contextlib import suppress
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from mlcicd.core.errors import InputError, fault

GROUP = "mlcicd"
VARIABLE = "ML_PACKAGE"  # tells a service, which runs beside no pyproject.toml
MACHINERY = Path(__file__).parents[1]


_told: list[tuple[str, Path]] = []


def tell(name: str, folder: Path) -> None:
    """Say what the user's package is and where its files lie, in a process that its code was sent to."""
    _told[:] = [(name, folder)]


def package_name() -> str:
    """Return the import name of the user's package, as ``[project.entry-points.mlcicd]`` in pyproject.toml declares it.

    Raises
    ------
    InputError
        Nothing declares it.
    """
    return _told[0][0] if _told else _package_name()


@functools.cache
def _package_name() -> str:
    if name := os.environ.get(VARIABLE):
        return name
    name = declared(Path()) or next((point.value for point in entry_points(group=GROUP, name="package")), None)
    if name is None:
        raise InputError(
            "pyproject.toml: [project.entry-points.mlcicd] declares no 'package'; run 'ml' in the project's folder"
        )
    return name


def declared(root: Path) -> str | None:
    """Return the package that a project's pyproject.toml declares, or None."""
    try:
        document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        name = document["project"]["entry-points"][GROUP]["package"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None


def dependency_groups(root: Path) -> set[str]:
    """Return the names of the dependency groups of a project's pyproject.toml."""
    try:
        return set(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def module(name: str) -> ModuleType:
    """Import one of the user's modules: ``prepare``, ``features`` or ``model``."""
    return importlib.import_module(f"{package_name()}.{name}")


def source(name: str) -> str:
    """Return the path of one of the user's files, for messages: ``src/customer_churn/model.py``."""
    return f"src/{package_name()}/{name}"


def folder() -> Path:
    """Return the folder of the user's package.

    Raises
    ------
    InputError
        It is not installed.
    """
    if _told:
        return _told[0][1]
    spec = find_spec(package_name())
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"src/{package_name()}: the package cannot be imported; 'uv sync' installs it")
    return Path(spec.submodule_search_locations[0])


def unexpected(error: Exception) -> str:
    """Return one line: what the machine cannot do, or what happened at the last place in the user's own code.

    The whole traceback is shown with ML_TRACEBACK=1.
    """
    if os.environ.get("ML_TRACEBACK"):
        traceback.print_exception(error)
    if said := fault(error):
        return said
    message = " ".join(str(error).split())[:300]
    return f"{_place(error)}{type(error).__name__}: {message} (ML_TRACEBACK=1 shows the whole traceback)"


def in_machinery(said: str) -> bool:
    """Whether :func:`unexpected` found no frame of the user's code."""
    return said.startswith(f"{MACHINERY.name}/")


def _place(error: Exception) -> str:
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    places = [MACHINERY]
    with suppress(InputError, ImportError):  # a package that is gone, or whose parent cannot be imported
        places.insert(0, folder())
    for place in places:
        own = [(file, line) for file, line in frames if place in file.parents]
        if own:
            file, line = own[-1]
            return f"{file.relative_to(place.parent).as_posix()}:{line}: "
    return ""
