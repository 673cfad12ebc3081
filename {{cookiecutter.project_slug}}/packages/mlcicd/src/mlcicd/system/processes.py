"""Run child processes that never outlive this process."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mlcicd.core.errors import MEMORY

GRACE = 8.0  # seconds that a command has to clean up after it is asked to stop
SUPERVISOR = [sys.executable, "-I", "-S", str(Path(__file__).with_name("supervise.py"))]


@contextmanager
def started(
    command: list[str],
    folder: Path,
    environment: dict[str, str] | None = None,
    *,
    stdout: int | IO[str] | None = None,
    stderr: int | IO[str] | None = None,
    grace: float = GRACE,
) -> Iterator[subprocess.Popen[str]]:
    """Start a command; stop it, with all its children, when the block or this process ends.

    Raises
    ------
    FileNotFoundError
        There is no such program.
    """
    environment = os.environ | (environment or {})
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise FileNotFoundError(2, "no such program", command[0])
    read_end, lifeline = os.pipe()
    try:
        process = subprocess.Popen(
            [*SUPERVISOR, str(grace), program, *command[1:]],
            cwd=folder,
            env=environment,
            stdin=read_end,
            stdout=stdout,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # a signal to our process group must not kill the supervisor first
        )
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(read_end)
    try:
        yield process
    finally:
        os.close(lifeline)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def run(
    command: list[str], folder: Path, environment: dict[str, str] | None = None, *, merge_streams: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command; return its exit status and output. ``merge_streams`` adds standard error to the output."""
    errors = subprocess.STDOUT if merge_streams else subprocess.PIPE
    with started(command, folder, environment, stdout=subprocess.PIPE, stderr=errors) as process:
        out, err = process.communicate()
    code = process.returncode
    return subprocess.CompletedProcess(
        command, code, out + (killed(code) if merge_streams else ""), (err or "") + killed(code)
    )


def fetching(
    command: list[str], folder: Path, environment: dict[str, str], filled: Sequence[Path], patience: float
) -> subprocess.CompletedProcess[str] | None:
    """Run a command that fills folders, streams merged; stop it, and return None, if nothing arrives for long.

    Programs that fetch have limits of their own for one answer, and try again: a server that hangs may cost hours.
    """
    before, since = -1, time.monotonic()
    with started(command, folder, environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while True:
            try:
                out, _ = process.communicate(timeout=min(2.0, patience / 4))
            except subprocess.TimeoutExpired:
                size = _size(filled)
                if size != before:
                    before, since = size, time.monotonic()
                elif time.monotonic() - since > patience:
                    return None
                continue
            return subprocess.CompletedProcess(command, process.returncode, out + killed(process.returncode), "")


def _size(folders: Sequence[Path]) -> int:
    """Return the bytes of all files in folders, those that are being written included."""
    size = 0
    for folder in folders:
        for path in folder.rglob("*"):
            with suppress(OSError):  # it was moved meanwhile
                size += path.stat().st_size
    return size


def killed(code: int) -> str:
    """Return a message for a process that was killed, probably for lack of memory; else an empty text."""
    return f"it was killed: {MEMORY}\n" if code in (137, -9) else ""


def end_with_parent() -> None:
    """Terminate this process when its parent ends (Linux only); call it in a new child process."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
