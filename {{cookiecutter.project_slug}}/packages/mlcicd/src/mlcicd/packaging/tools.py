"""Run the programs that packaging needs: BentoML, uv, and container engines."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from mlcicd.core.errors import InputError
from mlcicd.system import processes


def bentoml() -> list[str]:
    """Return the command of BentoML."""
    if not find_spec("bentoml"):
        raise InputError("bentoml is not installed; 'uv sync --group serve' installs it")
    return [sys.executable, "-m", "bentoml"]


def run(command: list[str], where: Path, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder whose packages it can import; one that fails is an InputError with its last lines."""
    try:
        done = processes.run(command, where, {"PYTHONPATH": str(where), "BENTOML_DO_NOT_TRACK": "True", **env})
    except FileNotFoundError:
        raise InputError(f"'{command[0]}' is not installed; install it, or choose another --engine") from None
    if check and done.returncode:
        last = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()][-3:]
        raise InputError(f"'{' '.join(command[:4])}' failed: {' | '.join(last)[:600]}")
    return done
