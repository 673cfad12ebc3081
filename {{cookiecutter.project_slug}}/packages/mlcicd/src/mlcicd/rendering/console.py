"""Print to terminals, pipes and files, whatever their encoding, and to the summary of a CI job."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from mlcicd.core.plain_text import harmless, visible
from mlcicd.rendering import markdown
from mlcicd.rendering.blocks import Block, Report


class _Stream(io.FileIO):
    """A standard stream that ignores a closed pipe, so that ``ml … | head`` does not fail."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if isinstance(error, BrokenPipeError) or self.fileno() == 2:
                return len(data)  # type: ignore[arg-type]
            raise


class HarmlessStream:
    """A text stream that neutralises workflow commands and terminal control codes, whoever prints them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._line = stream, ""

    def write(self, text: str) -> int:
        """Write text with control codes and workflow commands made visible."""
        before = harmless(self._line)
        self._stream.write(harmless(self._line + text)[len(before) :])
        line = (self._line + text).rpartition("\n")[2]
        # Only the start of a line and its last two characters can become part of a command with the next text.
        self._line = line if line.strip() in ("", ":") and len(line) < 100 else f"-{line[-2:]}"
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Delegate everything else to the wrapped stream."""
        return getattr(self._stream, name)


def open_streams() -> None:
    """Make standard output and error robust against unencodable characters, closed pipes and closed streams.

    Pipes and files on Windows use a code page without ✅ or Greek: they get UTF-8 unless the user chose an encoding, in
    which unencodable characters become question marks. Control codes and workflow commands are neutralised.
    """
    while (
        opened := os.open(os.devnull, os.O_RDWR)
    ) < 3:  # or the next file would get the descriptor of a closed stream
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
    """Print lines; line breaks within a line are printed visibly."""
    print("\n".join(visible(line) for line in lines), file=sys.stderr if err else sys.stdout)


def summarise(title: str, *blocks: Block) -> None:
    """Append a section to the CI job summary, if there is one."""
    append_summary(markdown.render(Report(title, list(blocks))))


def append_summary(text: str) -> None:
    """Append rendered Markdown to the job summary, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")
        except OSError as error:  # the command itself succeeded
            show(f"warning: the job summary cannot be written ({error.strerror})", err=True)
