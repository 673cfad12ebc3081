"""Where a command's words go: a terminal, pipe or file that may not know all letters, and the summary of a CI job."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path


class _Stream(io.FileIO):
    """A standard stream whose reader may leave: what nobody reads is no failure of the command."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            return len(data)  # type: ignore[arg-type]


def open_streams() -> None:
    """Let neither a letter nor a reader that leaves end a command, nor a stream that was closed from the start.

    A pipe or a file on Windows is in a code page that has neither ✅ nor Greek: where nobody chose an encoding, it gets
    UTF-8; else what the encoding lacks becomes a question mark.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) < 3:  # else the next file would get the number of a closed stream
        os.set_inheritable(opened, True)
    os.close(opened)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is not None and (stream.isatty() or _number(stream) != number):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
            continue
        raw = io.BufferedWriter(_Stream(number, "w", closefd=False))
        encoding = stream.encoding if stream and os.environ.get("PYTHONIOENCODING") else "utf-8"
        setattr(sys, name, io.TextIOWrapper(raw, encoding, "replace", line_buffering=True))


def _number(stream: io.TextIOBase) -> int | None:
    try:
        return stream.fileno()
    except OSError:
        return None


def job_summary(*lines: str) -> None:
    """Where CI gives a job summary, what people should see goes there as well."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
