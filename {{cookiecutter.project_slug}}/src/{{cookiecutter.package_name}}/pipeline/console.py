"""Where a command's words go: a terminal, pipe or file that may not know all letters, and the summary of a CI job."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from . import markdown
from .blocks import Block, Report
from .plain_text import harmless, visible


class _Stream(io.FileIO):
    """A standard stream whose reader may leave: what nobody reads is no failure of the command."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if isinstance(error, BrokenPipeError) or self.fileno() == 2:
                return len(data)  # type: ignore[arg-type]
            raise


class HarmlessStream:
    """A text stream whose lines are no commands, whoever prints them: this program, its libraries or your code."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._line = stream, ""

    def write(self, text: str) -> int:
        """Write text; what would act is written out."""
        before = harmless(self._line)
        self._stream.write(harmless(self._line + text)[len(before) :])
        line = (self._line + text).rpartition("\n")[2]
        # Only the beginning of a line and its last two characters can still become part of a command.
        self._line = line if line.strip() in ("", ":") and len(line) < 100 else f"-{line[-2:]}"
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Everything else is as the stream has it."""
        return getattr(self._stream, name)


def open_streams() -> None:
    """Let neither a letter nor a reader that leaves end a command, nor a stream that was closed from the start.

    A pipe or a file on Windows is in a code page that has neither ✅ nor Greek: where nobody chose an encoding, it gets
    UTF-8; else what the encoding lacks becomes a question mark. What is printed acts on no terminal and no workflow.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) < 3:  # else the next file would get the number of a closed stream
        os.set_inheritable(opened, True)
    os.close(opened)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is not None and (stream.isatty() or _number(stream) != number):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        else:
            raw = io.BufferedWriter(_Stream(number, "w", closefd=False))
            encoding = stream.encoding if stream and os.environ.get("PYTHONIOENCODING") else "utf-8"
            stream = io.TextIOWrapper(raw, encoding, "replace", line_buffering=True)
        setattr(sys, name, HarmlessStream(stream))
    warnings.formatwarning = _on_one_line(warnings.formatwarning)


def _on_one_line(plain: Callable[..., str]) -> Callable[..., str]:
    def formatted(message: Warning | str, *rest: Any, **named: Any) -> str:
        return plain(visible(str(message)), *rest, **named)

    return formatted


def _number(stream: io.TextIOBase) -> int | None:
    try:
        return stream.fileno()
    except OSError:
        return None


def show(*lines: str, err: bool = False) -> None:
    """Print lines; one that holds a line end shows it instead of ending."""
    print("\n".join(visible(line) for line in lines), file=sys.stderr if err else sys.stdout)


def summarise(title: str, *blocks: Block) -> None:
    """Where CI gives a job summary, write there what people should see, as the comment is written."""
    append_summary(markdown.render(Report(title, list(blocks))))


def append_summary(text: str) -> None:
    """Append rendered Markdown to the job summary, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")
        except OSError as error:  # what was done is done all the same
            show(f"warning: the job summary cannot be written ({error.strerror})", err=True)
