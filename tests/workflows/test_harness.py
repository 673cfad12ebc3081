"""What the harness around act does by itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
from acting import release_terminal

# As act does once the echo of its sign of life has hidden the mark: it waits for output that ends with the mark.
WAITING = r"""
import os, tty
master, slave = os.openpty()
tty.setraw(slave)
while not os.read(master, 1000).endswith(b"\x04"):
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_mark_that_act_has_missed_is_repeated() -> None:
    process = subprocess.Popen([sys.executable, "-c", WAITING], text=True)
    release_terminal(process, polls=2)
    assert process.wait() == 0
