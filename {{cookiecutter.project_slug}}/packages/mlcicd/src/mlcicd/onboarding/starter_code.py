"""Replace the example's code with generic code when ``ml init`` starts with another table; changed files stay."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mlcicd.core import project

STARTER = Path(__file__).with_name("starter")
EXAMPLE_TESTS = "tests/test_churn.py"


def generic_code(root: Path) -> tuple[dict[Path, str], list[str]]:
    """Return the new content of the example's unchanged files, by path, and notes for the user."""
    example = json.loads((STARTER / "example.json").read_text(encoding="utf-8"))
    texts: dict[Path, str] = {}
    notes = []
    for name in ("prepare.py", "features.py"):
        path, generic = root / project.source(name), (STARTER / name).with_suffix(".txt").read_text(encoding="utf-8")
        if not path.is_file():
            continue
        content = path.read_bytes().replace(b"\r\n", b"\n")
        if hashlib.sha256(content).hexdigest() == example[name]:
            texts[path] = generic
        elif content != generic.encode():
            notes.append(f"{project.source(name)} stays as it is; it must suit this table")
    if texts:
        names = " and ".join(path.name for path in texts)
        notes.append(f"{names} of the example were replaced by generic ones")
        if (root / EXAMPLE_TESTS).is_file():
            notes.append(f"{EXAMPLE_TESTS} tests the example's code: delete it")
    return texts, notes
