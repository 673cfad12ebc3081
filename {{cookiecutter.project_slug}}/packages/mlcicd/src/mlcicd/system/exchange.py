"""Swap two files or folders atomically, if the operating system and file system support it."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
SWAP = 2  # RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS
AT_FDCWD = -100


def exchange(one: Path, other: Path) -> bool:
    """Swap two existing files or folders of one file system; return False if that is not supported.

    Both names exist at every moment.

    Raises
    ------
    OSError
        Swapping is supported, but failed for these two.
    """
    if sys.platform not in ("linux", "darwin"):
        return False
    try:
        library = ctypes.CDLL(None, use_errno=True)
        function = library.renameat2 if sys.platform == "linux" else library.renamex_np
    except (OSError, AttributeError):
        return False
    names = os.fsencode(one), os.fsencode(other)
    given = (AT_FDCWD, names[0], AT_FDCWD, names[1], SWAP) if sys.platform == "linux" else (*names, SWAP)
    if function(*given) == 0:
        return True
    code = ctypes.get_errno()
    if code in UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(other))
