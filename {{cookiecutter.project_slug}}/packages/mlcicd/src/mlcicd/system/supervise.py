"""Run a command, and stop it with all its children as soon as the parent process ends.

``processes`` starts this file as a script in a session of its own. The first argument is the number of seconds that the
command has to clean up. Standard input is a pipe from the parent, which never writes to it: when the parent ends, for
any reason, the pipe is closed.
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
        child.terminate()  # it stops its own children, as a server that finishes pending requests
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
    kill()  # its remaining children
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
