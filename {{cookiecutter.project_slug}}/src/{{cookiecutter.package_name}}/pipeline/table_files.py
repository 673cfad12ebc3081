"""Which files a table lies in: by their names, in folders as Spark and others write them, and by their first bytes."""

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

from .errors import InputError

TEXT_FILE = re.compile(r"\.(csv|tsv|tab|txt|dat)(\.gz)?$", re.IGNORECASE)
PARQUET = b"PAR1"
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# What is no table although its name says so, by its first bytes.
OTHERS = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "save the sheet as CSV, or unpack the archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
)


def parts(path: Path, remedy: str, whole: bool = True) -> list[Path]:
    """Return the files of a table: itself, or those in a folder; ``whole``, when all of it will be in memory.

    Raises
    ------
    InputError
        There is no such file, the folder holds none or files of two kinds, a file is no table by its content, or they
        need more memory than this machine has.
    """
    found = _in_folder(path, remedy) if path.is_dir() else [path]
    if not path.exists():
        pulled = path.with_name(f"{path.name}.dvc").exists()
        raise InputError(f"{path}: no such file; {'fetch it with dvc pull' if pulled else remedy}")
    for special in (p for p in found if not p.is_file()):
        raise InputError(f"{special}: is a device, pipe or socket; a regular file is expected")
    for part in found:
        _check_content(part)
    # In memory, text takes what it takes on disk, Parquet and gz four times that; training holds the table three times.
    need = 3 * sum(p.stat().st_size * (4 if is_parquet(p) or is_gz(p) else 1) for p in found)
    if whole and need > (there := memory()):
        raise InputError(
            f"{path}: needs about {need / 1e9:.0f} GB of memory and this machine has {there / 1e9:.0f}; leave out "
            "columns, take a sample of the rows, save as Parquet instead of CSV, or use a larger machine"
        )
    return found


def _in_folder(folder: Path, remedy: str) -> list[Path]:
    """The parts of one table. Spark's markers and checksums have hidden names, and its empty parts have no byte."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith((".", "_")))
    named = [p for p in files if is_parquet(p) or TEXT_FILE.search(p.name) or p.name.startswith("part-")]
    if not named:
        divided = [p.name for p in folder.iterdir() if p.is_dir() and "=" in p.name]
        if divided:
            raise InputError(
                f"{folder}: is divided into folders such as {min(divided)}; write one folder of files, with "
                f"'{divided[0].partition('=')[0]}' as a column"
            )
        raise InputError(f"{folder}: no such file, or no CSV or Parquet file in it; {remedy}")
    kinds = {is_parquet(p): p.name for p in reversed(named)}
    if len(kinds) > 1:
        raise InputError(
            f"{folder}: holds files of two kinds, {kinds[True]} is Parquet and {kinds[False]} is text; a folder must "
            "hold the parts of one table"
        )
    return [p for p in named if p.stat().st_size] or named[:1]


def _check_content(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if head.startswith(LFS_POINTER):
        raise InputError(f"{path}: is a pointer of Git LFS, not the data; fetch the data with 'git lfs pull'")
    if head.startswith(PARQUET) and not is_parquet(path):
        raise InputError(f"{path}: is a Parquet file by its content; name it {path.name.split('.')[0]}.parquet")
    for start, what, remedy in OTHERS:
        if head.startswith(start):
            raise InputError(f"{path}: is {what}, not a CSV or Parquet file; {remedy}")


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its name; a part that has no ending (``part-00000``), by its first bytes."""
    if path.suffix.lower() in (".parquet", ".pq", ".parq"):
        return True
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == PARQUET


def is_gz(path: Path) -> bool:
    """Whether a file is packed with gzip, by its name."""
    return path.suffix.lower() == ".gz"


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, or what a gz holds."""
    return gzip.open(path) if is_gz(path) else path.open("rb")  # type: ignore[return-value]


def memory() -> float:
    """Return the bytes of memory that this process may use: the machine's, or its container's."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):  # Windows
        return float("inf")
    limits = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory/memory.limit_in_bytes"))
    texts = [limit.read_text(encoding="ascii").strip() for limit in limits if limit.is_file()]
    return min([machine, *(int(text) for text in texts if text.isdigit())])


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the readers raise into one line that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a line longer than the header would lose its end
            yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; name a CSV or Parquet file") from None
    except (OSError, EOFError, ValueError, zlib.error, pd.errors.ParserWarning) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}: {str(error)[:200]})") from None
