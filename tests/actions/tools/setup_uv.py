"""Stand-in for astral-sh/setup-uv: give the job a copy of a prepared environment (hard links, so it costs no space)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

for name, allowed in (("ENABLE", ("true", "false", "auto")), ("SAVE", ("true", "false"))):
    if os.environ[name] not in allowed:
        sys.exit(f"::error::{name} is {os.environ[name]!r}, not one of {allowed}")
if not os.environ["VERSION"]:
    sys.exit("::error::uv is not pinned")
if shutil.which("uv") is None:
    sys.exit("::error::the stand-in needs uv on PATH")
python = os.environ["PYTHON"]
if python:
    with Path(os.environ["GITHUB_ENV"]).open("a") as file:
        file.write(f"UV_PYTHON={python}\n")
prepared = Path(os.environ.get("STANDIN_ENVIRONMENT", "")) / ".venv"
if prepared.is_dir() and not Path(".venv").exists():
    subprocess.run(["cp", "--archive", "--link", prepared, ".venv"], check=True)
