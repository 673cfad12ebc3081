"""What the template costs beside what people would use instead: one table, from nothing but Python, git and make.

    make bench [ARGS="train service"]

Parts, all by default: bake, help, train, track, validate, service, image, review, verdict. Each runs ours and the peer
in turn on this machine, so read the ratios. ✅ and ❌ say whether an aim is met; the exit status is 1 when a part could
not be measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

from ground import Ground, Row
from parts import PARTS

HEAD = "| what | ours | peer | ratio | aim |\n|---|--:|--:|--:|---|"


def measured(part: str, ground: Ground) -> Iterator[Row | None]:
    """The rows of a part; where it fails, one that says why, and None."""
    try:
        yield from PARTS[part](ground)
    except (Exception, SystemExit) as error:  # a part must not take the others with it
        reason = " ".join(f"{type(error).__name__}: {error}".split()).replace("|", "\\|")
        yield Row(part, f"failed: {reason[-300:]}")
        yield None


def main() -> int:
    """Print progress to standard error and the table, at the end, to standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    asked = parser.parse_args()
    if unknown := [part for part in asked.parts if part not in PARTS]:
        parser.error(f"no part '{unknown[0]}'; there are {', '.join(PARTS)}")
    rows: list[Row] = []
    failed = False
    scratch = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
    with scratch as temporary, redirect_stdout(sys.stderr):
        ground = Ground(Path(temporary).resolve())
        for part in asked.parts or PARTS:
            began = time.monotonic()
            for row in measured(part, ground):
                failed |= row is None
                rows += [row] if row else []
                print(row or "", flush=True)
            print(f"{part}: {time.monotonic() - began:.0f} s", flush=True)
    print(HEAD, *rows, sep="\n")
    found = {"Python": platform.python_version()} | dict(sorted(ground.versions.items()))
    cores = os.cpu_count()
    print(f"\n{platform.system()}, {cores} cores; {', '.join(f'{name} {version}' for name, version in found.items())}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
