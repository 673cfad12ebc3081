"""Start a Dask worker, also one that lacks something.

Usage: ``python dask_worker.py SCHEDULER [without NAME | version NAME NUMBER FOLDER]``
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(scheduler: str, *lacks: str) -> None:
    """Take away a package or change a version before anything is imported, and work until the scheduler is gone."""
    if lacks[:1] == ("without",):
        sys.modules[lacks[1]] = None  # type: ignore[assignment]
    if lacks[:1] == ("version",):
        _, name, number, folder = lacks
        metadata = Path(folder) / f"{name}-{number}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n", encoding="utf-8")
        sys.path.insert(0, folder)
    from distributed.cli.dask_worker import main as work

    work([scheduler, "--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"])


if __name__ == "__main__":
    main(*sys.argv[1:])
