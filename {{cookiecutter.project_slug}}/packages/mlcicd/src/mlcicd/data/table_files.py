"""Find the files of a table: a single file, or a folder as Spark and other tools write it."""

from __future__ import annotations

import gzip
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from mlcicd.core.errors import InputError
from mlcicd.sources.raw_files import unfetched

TEXT_FILE = re.compile(r"\.(csv|tsv|tab|txt|dat)(\.gz)?$", re.IGNORECASE)
PARQUET = b"PAR1"
# Files that are not tables, whatever their names: first bytes, kind of file, remedy.
NOT_TABLES = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "save the sheet as CSV, or unpack the archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
)


def parts(path: Path, remedy: str, whole: bool = True) -> list[Path]:
    """Return the files of a table: the file itself, or those in a folder.

    Parameters
    ----------
    path : a file or a folder
    remedy : what an error about a missing file suggests
    whole : whether to check that the whole table fits in memory

    Raises
    ------
    InputError
        There is no such file, a folder has no table or mixes CSV and Parquet, a file is not a table, or the table
        needs more memory than this machine has.
    """
    if said := unfetched(path):
        raise InputError(f"{path}: {said}")
    files = _in_folder(path, remedy) if path.is_dir() else [path]
    if not path.exists():
        raise InputError(f"{path}: no such file; {remedy}")
    for special in (p for p in files if not p.is_file()):
        raise InputError(f"{special}: is a device, pipe or socket; a regular file is expected")
    for part in files:
        _check_content(part)
    # Text needs as much memory as on disk, Parquet and gz four times that; training holds three copies of the table.
    need = 3 * sum(p.stat().st_size * (4 if is_parquet(p) or is_gz(p) else 1) for p in files)
    if whole and need > (available := memory()):
        raise InputError(
            f"{path}: needs about {need / 1e9:.0f} GB of memory and this machine has {available / 1e9:.0f}; leave out "
            "columns, take a sample of the rows, save as Parquet instead of CSV, or use a larger machine"
        )
    return files


def _in_folder(folder: Path, remedy: str) -> list[Path]:
    """Return the parts of a table in a folder, without Spark's marker files, checksums and empty parts."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith((".", "_")))
    tables = [p for p in files if is_parquet(p) or TEXT_FILE.search(p.name) or p.name.startswith("part-")]
    if not tables:
        partitions = [p.name for p in folder.iterdir() if p.is_dir() and "=" in p.name]
        if partitions:
            raise InputError(
                f"{folder}: is partitioned into folders such as {min(partitions)}; write one folder of files, with "
                f"'{partitions[0].partition('=')[0]}' as a column"
            )
        raise InputError(f"{folder}: no such file, or no CSV or Parquet file in it; {remedy}")
    kinds = {is_parquet(p): p.name for p in reversed(tables)}
    if len(kinds) > 1:
        raise InputError(
            f"{folder}: holds files of two kinds, {kinds[True]} is Parquet and {kinds[False]} is text; a folder must "
            "hold the parts of one table"
        )
    return [p for p in tables if p.stat().st_size] or tables[:1]


def _check_content(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if said := unfetched(path):
        raise InputError(f"{path}: {said}")
    if head.startswith(PARQUET) and not is_parquet(path):
        raise InputError(f"{path}: is a Parquet file by its content; name it {path.name.split('.')[0]}.parquet")
    for start, what, remedy in NOT_TABLES:
        if head.startswith(start):
            raise InputError(f"{path}: is {what}, not a CSV or Parquet file; {remedy}")


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet, by its suffix, or without one (``part-00000``) by its first bytes."""
    if path.suffix.lower() in (".parquet", ".pq", ".parq"):
        return True
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == PARQUET


def is_gz(path: Path) -> bool:
    """Return whether a file is compressed with gzip, by its suffix."""
    return path.suffix.lower() == ".gz"


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading bytes; gzip is decompressed."""
    return gzip.open(path) if is_gz(path) else path.open("rb")  # type: ignore[return-value]


def memory() -> float:
    """Return how many bytes of memory this process may use, by the limits of the machine and the container."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):  # Windows
        return float("inf")
    limits = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory/memory.limit_in_bytes"))
    texts = [limit.read_text(encoding="ascii").strip() for limit in limits if limit.is_file()]
    return min([machine, *(int(text) for text in texts if text.isdigit())])


@contextmanager
def translate_read_errors(path: Path) -> Iterator[None]:
    """Convert errors of the readers to an InputError of one line that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", pd.errors.ParserWarning
            )  # pandas would truncate a line with more fields than the header
            yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; name a CSV or Parquet file") from None
    except (OSError, EOFError, ValueError, zlib.error, pd.errors.ParserWarning) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}: {str(error)[:200]})") from None
