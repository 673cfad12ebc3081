"""Handle signals that ask the process to stop: let it clean up, but end it after a grace period."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading

GRACE = 10.0  # seconds to clean up; a second signal ends the process at once
STOP_SIGNALS = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):  # code that cleans up after Ctrl-C then does so after other signals
    """The process was asked to stop."""


received: list[int] = []
# Signals that are noted once and answered later, as Ctrl-C is in a search: no grace period begins with them.
noted: set[int] = set()
_before: dict[int, object] = {}


def install() -> None:
    """Install handlers that raise :class:`Stopped` in the main thread.

    C code may delay the exception and user code may catch it, so a thread ends the process after the grace period.
    """
    if threading.current_thread() is not threading.main_thread() or _before:
        return
    for name in STOP_SIGNALS:
        number = getattr(signal, name)
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            _before[number] = signal.signal(number, _stop)
    watched, written = socket.socketpair()
    written.setblocking(False)
    signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(watched, written), daemon=True, name="signals").start()


def uninstall() -> None:
    """Restore the previous signal handlers."""
    if _before:
        signal.set_wakeup_fd(-1)
        for number, handler in _before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        _before.clear()


def status() -> int:
    """Return the exit status of a stopped process, by the convention of shells."""
    return 128 + (received[0] if received else signal.SIGINT)


def _stop(number: int, _: object) -> None:
    received.append(number)
    raise Stopped


def _watch(watched: socket.socket, _: socket.socket) -> None:
    number = watched.recv(1)
    while number[0] in noted:
        noted.discard(number[0])  # the next one stops at once
        number = watched.recv(1)
    watched.settimeout(GRACE)
    with contextlib.suppress(TimeoutError):
        watched.recv(1)
    with contextlib.suppress(OSError):
        os.write(2, b"ml: stopped\n")
    os._exit(128 + number[0])
