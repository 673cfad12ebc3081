"""Load the renderer of the machinery from its files: nothing is installed, and no other code of the project runs.

`report` uses it on the default branch's checkout, `model` on the pull request's own.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
FOLDER = next(iter(sorted(ROOT.glob("src/*/pipeline/report_json.py")))).parent
PACKAGE = FOLDER.parent.name


def load(name: str) -> ModuleType:
    """A module of the machinery that needs the standard library alone."""
    if "pipeline" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "pipeline", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
        )
        assert spec and spec.loader
        sys.modules["pipeline"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["pipeline"])
    return importlib.import_module(f"pipeline.{name}")
