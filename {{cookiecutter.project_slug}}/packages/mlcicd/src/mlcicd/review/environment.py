"""What a commit's own files say of the environment that trains it: the package with its command, and its lock."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

from mlcicd.core.project import declared

SHOWN = 3


def command(tree: Path) -> tuple[str, str] | None:
    """Return the module behind the command ``ml`` of a checked-out commit, and the PYTHONPATH that finds its code.

    pyproject.toml decides, and folders in src/ say nothing. Up to version 0.1 it declares the command itself, now
    the user's package. The sources of workspace members lie below packages/; a machinery that is no member is the
    one that is installed. None where nothing is declared.
    """
    module = _script(tree) or ("mlcicd.cli" if declared(tree) else None)
    if module is None:
        return None
    sources = [tree / "src", *sorted(tree.glob("packages/*/src"))]
    return module, os.pathsep.join(str(folder) for folder in sources)


def _script(tree: Path) -> str | None:
    try:
        document = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    scripts = document.get("project", {}).get("scripts", {})
    return str(scripts["ml"]).partition(":")[0] if "ml" in scripts else None


def differing(lock: str, packages: dict[str, str]) -> list[str]:
    """Name the installed packages whose version is not the one of the lock."""
    locked: dict[str, set[str]] = {}
    for package in tomllib.loads(lock).get("package", []):
        locked.setdefault(normal(package["name"]), set()).add(str(package.get("version", "")))
    installed = {normal(name): version for name, version in packages.items()}
    return [
        f"{name} {installed[name]} instead of {' or '.join(sorted(versions))}"
        for name, versions in sorted(locked.items())
        if name in installed and "" not in versions and installed[name] not in versions
    ]


def normal(name: str) -> str:
    """Spell a package's name as locks and indexes do (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
