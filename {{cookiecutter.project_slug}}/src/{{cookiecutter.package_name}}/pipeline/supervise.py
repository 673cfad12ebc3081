"""Run a command, and end it with all that it started as soon as whoever asked for it is gone.

Started as a script by ``processes``. Its standard input is a pipe of which the asking process holds the other end, and
nobody writes to it: its end is that process's end, however it came.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

GRACE = 8.0  # seconds for the command to clean up in


def main(command: list[str]) -> int:
    """Return the command's exit status; above 128 where a signal ended it."""
    posix = os.name == "posix"
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=posix)

    def end(number: int) -> None:
        with suppress(OSError):
            os.killpg(child.pid, number) if posix else child.terminate()

    def stop() -> None:
        end(signal.SIGTERM)
        timer = threading.Timer(GRACE, lambda: end(getattr(signal, "SIGKILL", signal.SIGTERM)))
        timer.daemon = True
        timer.start()

    def watch() -> None:
        with suppress(OSError):
            os.read(0, 1)
        stop()

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: stop())
    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    if posix:
        end(signal.SIGKILL)  # what it left running in its group
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
