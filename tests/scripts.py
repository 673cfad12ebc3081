"""What `report` runs: the scripts of the generated project and the renderer that they load, here as they are there."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from conftest import TEMPLATE

SCRIPTS = TEMPLATE / "{{cookiecutter.project_slug}}" / ".github" / "scripts"


def script(name: str) -> ModuleType:
    """A script, which imports its neighbours from its own folder."""
    if str(SCRIPTS) not in sys.path:
        sys.path.append(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec and spec.loader
    found = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


machinery = script("machinery")
blocks, markdown, plain_text, report_json = map(
    machinery.load, ("rendering.blocks", "rendering.markdown", "core.plain_text", "rendering.review_json")
)
