"""A Parquet table in object storage as pieces: each part is fetched where it is checked, and removed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlcicd.core.errors import InputError
from mlcicd.remote import addresses, transfer
from mlcicd.remote.faults import Fault
from mlcicd.system.scratch import scratch

Footer = tuple[int, int, list[str]]  # row groups, rows, columns
FOOTER = 1 << 16  # bytes that are asked for at once


def checked(location: str) -> str:
    """Return an address whose parts can be listed and read in pieces."""
    try:
        addresses.checked(location)
    except ValueError as error:
        raise InputError(str(error)) from None
    if addresses.scheme(location).startswith("http"):
        raise InputError(
            f"{location}: a file of the web is not checked there; name it in contract.yaml, and run 'ml data pin'"
        )
    return location


def footers(location: str) -> Iterator[tuple[transfer.Found, Footer]]:
    """Yield each part of a table as it is now, and what its footer says."""
    import pyarrow.parquet

    def footer(part: str) -> Footer:
        with place.filesystem.open(part, block_size=FOOTER) as file, pyarrow.parquet.ParquetFile(file) as opened:
            return opened.metadata.num_row_groups, opened.metadata.num_rows, list(opened.schema_arrow.names)

    try:
        place = transfer.Place(location)
        for part in place.parts() if addresses.is_folder(location) else [location]:
            if not part.lower().endswith((".parquet", ".pq", ".parq")):
                raise InputError(f"{part}: is no Parquet file by its name; only those are checked there")
            found = place.find(part)
            yield found, transfer.attempted(part, lambda part=part: footer(part))  # type: ignore[misc]
    except transfer.RemoteError as error:
        raise _told(error) from None


@contextmanager
def fetched(part: transfer.Found) -> Iterator[Path]:
    """Fetch a part into a temporary folder, in the version that its footer was read of."""
    try:
        place = transfer.Place(part.location)
        if place.find(part.location, part.revision) != part:
            fault = Fault("it was changed while it was read", "check the table again")
            raise transfer.RemoteError(part.location, fault)
        with scratch("part") as folder:
            file = folder / part.location.rpartition("/")[2]
            place.fetch(part, file, part.revision)
            yield file
    except transfer.RemoteError as error:
        raise _told(error) from None


def _told(error: transfer.RemoteError) -> InputError:
    return InputError(f"{error.location}: could not be read ({error.fault.cause}); {error.fault.remedy}")
