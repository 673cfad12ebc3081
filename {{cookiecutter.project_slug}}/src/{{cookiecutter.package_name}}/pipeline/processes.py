"""Run other programs so that none of them outlives this process."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import MEMORY

GRACE = 8.0  # seconds for a command to clean up in, once it is asked to stop
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
    """Yield a running command; at the end of the block, or of this process, it is stopped with all its children.

    Raises
    ------
    FileNotFoundError
        There is no such program.
    """
    environment = os.environ | (environment or {})
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise FileNotFoundError(2, "no such program", command[0])
    here, lifeline = os.pipe()
    try:
        process = subprocess.Popen(
            [*SUPERVISOR, str(grace), program, *command[1:]],
            cwd=folder,
            env=environment,
            stdin=here,
            stdout=stdout,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # what kills this process with its group must not kill the supervisor first
        )
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(here)
    try:
        yield process
    finally:
        os.close(lifeline)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def run(
    command: list[str], folder: Path, environment: dict[str, str] | None = None, *, together: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; return its exit status and what it printed, both streams in one where ``together``."""
    errors = subprocess.STDOUT if together else subprocess.PIPE
    with started(command, folder, environment, stdout=subprocess.PIPE, stderr=errors) as process:
        out, err = process.communicate()
    code = process.returncode
    return subprocess.CompletedProcess(
        command, code, out + (killed(code) if together else ""), (err or "") + killed(code)
    )


def killed(code: int) -> str:
    """What is to be said of a program that a signal ended, which says nothing itself."""
    return f"it was killed: {MEMORY}\n" if code in (137, -9) else ""


def end_with_parent() -> None:
    """In a process that was just made on Linux: let it be terminated when the one that made it is gone."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
