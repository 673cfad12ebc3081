"""A stop that is asked for happens: cleanly where that is quick, and in any case after a while."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading

GRACE = 10.0  # seconds to clean up in; a second signal ends them
ASKED = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):  # whoever cleans up after Ctrl-C does so after other signals too
    """Somebody asked this process to stop."""


received: list[int] = []
_before: dict[int, object] = {}


def install() -> None:
    """From now on, signals that ask for a stop raise :class:`Stopped` in the main thread.

    Code in C may keep it from being raised, and user code may catch it: a thread then ends the process.
    """
    if threading.current_thread() is not threading.main_thread() or _before:
        return
    for name in ASKED:
        number = getattr(signal, name)
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            _before[number] = signal.signal(number, _stop)
    watched, written = socket.socketpair()
    written.setblocking(False)
    signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(watched, written), daemon=True, name="signals").start()


def uninstall() -> None:
    """Leave signals to whoever installs a handler of their own."""
    if _before:
        signal.set_wakeup_fd(-1)
        for number, handler in _before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        _before.clear()


def status() -> int:
    """The exit status of a process that was stopped, as shells count."""
    return 128 + (received[0] if received else signal.SIGINT)


def _stop(number: int, _: object) -> None:
    received.append(number)
    raise Stopped


def _watch(watched: socket.socket, _: socket.socket) -> None:
    number = watched.recv(1)
    watched.settimeout(GRACE)
    with contextlib.suppress(TimeoutError):
        watched.recv(1)
    with contextlib.suppress(OSError):
        os.write(2, b"ml: stopped\n")
    os._exit(128 + number[0])
