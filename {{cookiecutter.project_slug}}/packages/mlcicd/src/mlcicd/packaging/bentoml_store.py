"""BentoML's store of bentos and models. A bento refers to its model, so that a push or an export carries both."""

from __future__ import annotations

import json
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from mlcicd.core.json_files import read_json
from mlcicd.packaging import tools
from mlcicd.system import outputs
from mlcicd.training.run import RELEASE, Run

SAVE = """
import json, shutil, sys
import bentoml
about = json.loads(sys.argv[1])
with bentoml.models.create(about["tag"], labels=about["labels"], metadata=about["metadata"]) as model:
    shutil.copytree("run", model.path, dirs_exist_ok=True)
"""


def save_model(run: Run, tag: str, work: Path, home: Path) -> None:
    """Save ``work/run``, a run as it is served, as a model in the store of ``home``.

    Its bytes depend on the run alone: the model's time is that of the commit.
    """
    released = read_json(run.path / RELEASE) if (run.path / RELEASE).is_file() else {}
    labels = {"commit": run.manifest["commit"], "contract": run.manifest["contract"], "verdict": released.get("review")}
    about = {
        "tag": tag,
        "labels": {name: str(value or "none") for name, value in labels.items()},
        "metadata": {name: _number(estimate["value"]) for name, estimate in run.metrics["holdout"].items()},
    }
    tools.run([sys.executable, "-c", SAVE, json.dumps(about)], work, BENTOML_HOME=str(home))
    path = home / "models" / tag.replace(":", "/") / "model.yaml"
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["creation_time"] = datetime.fromtimestamp(int(run.manifest["commit_time"] or 0), UTC).isoformat()
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


def _number(value: float) -> float | None:
    return round(value, 6) if value == value else None  # NaN is none of BentoML's values


def keep(home: Path, kind: Literal["bento", "model"], tag: str) -> Path:
    """Move a bento or a model to the user's store, where it replaces an earlier one of the same run; return its folder.

    What is interrupted leaves nothing there.
    """
    store = Path(os.environ.get("BENTOML_HOME", "~/bentoml")).expanduser()
    place = Path(f"{kind}s", *tag.split(":"))
    folder = store / place
    with outputs.atomic_directory(folder, kind, beside=store) as work:
        shutil.copytree(home / place, work, dirs_exist_ok=True)
    with outputs.atomic_file(folder.with_name("latest"), lambda _: True, beside=store) as latest:
        latest.write_text(folder.name, encoding="utf-8")
    return folder
