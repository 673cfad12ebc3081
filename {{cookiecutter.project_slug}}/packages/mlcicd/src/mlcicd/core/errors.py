"""The exceptions that a person, not a programmer, is meant to read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from mlcicd.core.plain_text import visible

UNKNOWN_KEY = {"extra_forbidden", "unexpected_keyword_argument"}


class InputError(Exception):
    """The user's input is wrong. The message is one line: what, where, what to do. The command exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(visible(" ".join(message.split())))


class RequestError(Exception):
    """The service refuses a request. ``answer`` is the reply; ``problems`` are the first of ``total``, or of more."""

    def __init__(
        self,
        status: int,
        error: str,
        problems: list[dict[str, Any]] | None = None,
        total: int = 0,
        more: bool = False,
    ) -> None:
        super().__init__(error)
        self.status, self.problems = status, problems or []
        count = f"{'at least ' if more else ''}{total:,} problem{'s' if total > 1 else ''}"
        self.answer: dict[str, Any] = {"error": error or f"{count} with the records"}
        self.answer |= {"problems": problems, "total": total} if problems else {}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known word, or the known words when none is close."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if len(names) <= 12 else ""


def explain(error: Exception, where: str, known: Iterable[str] = ()) -> InputError:
    """Turn a pydantic ``ValidationError`` into one line that names file, key and remedy of its foremost problem."""
    problems = error.errors()  # type: ignore[attr-defined]
    # A misspelt key is unknown and the right one is missing: the first says more than the second.
    first = min(problems, key=lambda problem: problem["type"] not in UNKNOWN_KEY)
    key = ".".join(str(part) for part in first["loc"]) or "(top)"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] in UNKNOWN_KEY:
        return InputError(f"{where}: unknown key '{key}'{did_you_mean(str(first['loc'][-1]), known)}{more}")
    value = first.get("input")
    shown = f", not {value!r}" if isinstance(value, str | int | float | bool) else ""
    return InputError(f"{where}: {key}: {first['msg'].removeprefix('Value error, ')}{shown[:80]}{more}")


# What the system says of files and memory, in words that say what to do.
FAULTS = (
    (PermissionError, "may not be read or written", "change its permissions, or choose another place"),
    (IsADirectoryError, "is a folder, where a file is expected", "name a file"),
    (NotADirectoryError, "is a file, where a folder is expected", "name a folder"),
    (FileExistsError, "is there already", "move it away"),
    (FileNotFoundError, "no such file or folder", "check its name"),
)
ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
MEMORY = (
    "the memory of this machine is too little: take a sample of the rows, leave out columns, or use a larger machine"
)


def fault(error: BaseException) -> str | None:
    """Return one line for what the machine cannot do; None for any other error."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return MEMORY
    if not isinstance(error, OSError) or error.errno is None:
        return None
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    said = error.strerror or str(error)
    if error.errno in ROOM:
        return f"{where}{said}; make room on that disk, or set TMPDIR to a folder on another one"
    kinds = ((words, remedy) for kind, words, remedy in FAULTS if where and isinstance(error, kind))
    words, remedy = next(kinds, (said, ""))
    return f"{where}{words}{'; ' * bool(remedy)}{remedy}"
