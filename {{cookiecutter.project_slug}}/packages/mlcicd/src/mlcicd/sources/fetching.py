"""Start the programs that fetch data, and stop them where nothing arrives any more."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mlcicd.core.errors import InputError
from mlcicd.core.plain_text import without_credentials
from mlcicd.system import processes

PATIENCE = "ML_DATA_PATIENCE"  # seconds
LONGEST = 300  # characters of a program's words in a message


def run(
    command: list[str], tree: Path, settings: dict[str, str], names: Sequence[str], cache: Path | None
) -> tuple[int, str, str]:
    """Run a program that fetches files into a tree; return its exit status, what it printed, and why it was stopped."""
    filled = {(tree / name).parent for name in names}
    if cache:
        filled.add(cache)
    seconds = _patience()
    done = processes.fetching(command, tree, settings, sorted(filled), seconds)
    if done is None:
        return 1, "", f"nothing arrived for {seconds:g} seconds; {PATIENCE}=SECONDS waits longer"
    return done.returncode, done.stdout, ""


def short(said: str) -> str:
    """Return words of a program as a part of a message: on one line, without credentials."""
    return without_credentials(" ".join(said.split()))[:LONGEST]


def _patience() -> float:
    told = os.environ.get(PATIENCE) or "600"
    try:
        seconds = float(told)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise InputError(f"{PATIENCE}={told}: is no number of seconds above 0")
    return seconds
