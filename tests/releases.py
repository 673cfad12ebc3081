"""What `release` attaches to a release, made of any run: for the tests of what comes after it."""

from __future__ import annotations

import json
import shutil
import tarfile
from hashlib import sha256
from pathlib import Path

from conftest import Project
from rollouts import digest

STATEMENT, RUN = "provenance.json", "run.tar.gz"
OTHERWISE = """
import sys
import pandas as pd
table = pd.read_parquet(sys.argv[1])
table.assign(prediction=1 - table["prediction"]).to_parquet(sys.argv[1])
"""


def pack(run: Path, folder: Path) -> Path:
    """Pack a run as each of the releases to come has it."""
    with tarfile.open(folder / RUN, "w:gz", compresslevel=1) as packed:
        packed.add(run, "model")
    return folder


def publish(packed: Path, folder: Path, image: str) -> str:
    """Write the files of a release of a packed run into a folder that has its name; return the image's digest."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(packed / RUN, folder)
    run = sha256((folder / RUN).read_bytes()).hexdigest()
    found = ((image, digest(folder.name).removeprefix("sha256:")), (RUN, run))
    subjects = [{"name": name, "digest": {"sha256": value}} for name, value in found]
    (folder / STATEMENT).write_text(json.dumps({"subject": subjects}), encoding="utf-8")
    return digest(folder.name)


def otherwise(project: Project, packed: Path, folder: Path) -> Path:
    """Pack the same run with other predictions: a service of it fails its smoke test."""
    with tarfile.open(packed / RUN) as archive:
        archive.extractall(folder, filter="data")
    done = project.run("python", "-c", OTHERWISE, str(folder / "model/predictions.parquet"))
    assert done.returncode == 0, done.stderr
    return pack(folder / "model", folder)
