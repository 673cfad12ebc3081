"""Run a command, and end it with all that it started as soon as whoever asked for it is gone.

Started as a script by ``processes``, in a session of its own. The first argument is how many seconds the command has to
clean up in. Standard input is a pipe of which the asking process holds the other end, and nobody writes to it: its end
is that process's end, however it came.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress


def main(grace: float, command: list[str]) -> int:
    """Return the command's exit status; above 128 where a signal ended it."""
    posix = os.name == "posix"
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=posix)

    def kill() -> None:
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL) if posix else child.kill()

    def stop() -> None:
        child.terminate()  # it ends its own children, as a server does that finishes what is in flight
        timer = threading.Timer(grace, kill)
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
    kill()  # what it left running
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
