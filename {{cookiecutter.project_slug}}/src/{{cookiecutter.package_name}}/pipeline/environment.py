"""What a commit's own files say of the environment that trains it: the package with its command, and its lock."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

SHOWN = 3


def command_module(tree: Path) -> str | None:
    """Return the module behind the command ``ml``, as pyproject.toml declares it; folders in src/ say nothing."""
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
