"""The example's code gives way to generic code when ``ml init`` begins with another table; the user's own stays."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

PACKAGE = f"src/{__name__.split('.')[0]}"
STARTER = Path(__file__).with_name("starter")
EXAMPLE_TESTS = "tests/test_churn.py"


def generic_code(root: Path) -> tuple[dict[Path, str], list[str]]:
    """Return what the example's untouched files become, by path, and what is to be said of code."""
    example = json.loads((STARTER / "example.json").read_text(encoding="utf-8"))
    texts: dict[Path, str] = {}
    notes = []
    for name in ("prepare.py", "features.py"):
        path, generic = root / PACKAGE / name, (STARTER / name).with_suffix(".txt").read_text(encoding="utf-8")
        if not path.is_file():
            continue
        content = path.read_bytes().replace(b"\r\n", b"\n")
        if hashlib.sha256(content).hexdigest() == example[name]:
            texts[path] = generic
        elif content != generic.encode():
            notes.append(f"{PACKAGE}/{name} stays as it is; it must suit this table")
    if texts:
        names = " and ".join(path.name for path in texts)
        notes.append(f"{names} of the example gave way to generic ones")
        if (root / EXAMPLE_TESTS).is_file():
            notes.append(f"{EXAMPLE_TESTS} tests the example's code: delete it")
    return texts, notes
