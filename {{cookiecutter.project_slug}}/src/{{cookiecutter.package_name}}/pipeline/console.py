"""Where a command's words go: a terminal, pipe or file that may not know all letters, and the summary of a CI job."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path


def print_any_letter() -> None:
    """Let no letter end a command: a pipe or a file on Windows is in a code page that has neither ✅ nor Greek.

    Where nobody chose an encoding, a pipe or file gets UTF-8; else what the encoding lacks becomes a question mark.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            chosen = os.environ.get("PYTHONIOENCODING") or stream.isatty()
            stream.reconfigure(encoding=None if chosen else "utf-8", errors="replace")


def job_summary(*lines: str) -> None:
    """Where CI gives a job summary, what people should see goes there as well."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
