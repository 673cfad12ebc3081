"""Load the renderer of the machinery from its files: nothing is installed, and no other code of the project runs.

`report` uses it on the default branch's checkout, `model` on the pull request's own. Where the machinery comes from an
index instead of `packages/`, its wheel is fetched and must have the hash that the checkout's uv.lock holds.
"""

import hashlib
import importlib
import sys
import tempfile
import tomllib
import urllib.request
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "packages" / "mlcicd" / "src"
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGE: str = DECLARED["project"]["entry-points"]["mlcicd"]["package"]


def load(name: str) -> ModuleType:
    """A module of the machinery that needs the standard library alone, such as ``rendering.markdown``."""
    place = str(SOURCES if SOURCES.is_dir() else wheel())
    if place not in sys.path:
        sys.path.insert(0, place)
    return importlib.import_module(f"mlcicd.{name}")


@cache
def wheel() -> Path:
    """The wheel that uv.lock names; Python imports from it as it is."""
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    named = next(package for package in locked if package["name"] == "mlcicd")["wheels"][0]
    with urllib.request.urlopen(named["url"], timeout=60) as answer:  # noqa: S310 - an address of the checkout's own lock
        content = answer.read()
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != named["hash"]:
        sys.exit(f"{named['url']} is not the file that uv.lock names")
    path = Path(tempfile.mkdtemp()) / "mlcicd.whl"
    path.write_bytes(content)
    return path
