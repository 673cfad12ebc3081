"""Read small files from an archive that a stranger made: within bounds, in memory, unpacked nowhere."""

import io
import zipfile

MAX_ARCHIVE = 1_000_000  # bytes
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # the others can unpack a few bytes to gigabytes at once
ENCRYPTED = 0x1


class Refused(Exception):
    """The artifact, or a claim in it, is not to be believed. The message says why and holds nothing from it."""


def open_archive(content: bytes) -> zipfile.ZipFile:
    """The archive, of which nothing has been unpacked yet."""
    if len(content) > MAX_ARCHIVE:
        raise Refused(f"its artifact is larger than {MAX_ARCHIVE:,} bytes")
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except Exception as error:  # also what the archive makes of its own names, versions and offsets
        raise Refused("its artifact is no archive") from error


def has(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether there is a file of this name."""
    return any(entry.filename == name for entry in archive.infolist())


def read(archive: zipfile.ZipFile, name: str, limit: int) -> str:
    """One small text file of the archive, whatever the archive says of it."""
    entries = [entry for entry in archive.infolist() if entry.filename == name]
    if len(entries) != 1:
        raise Refused(f"its artifact holds {len(entries)} files called {name}")
    [entry] = entries
    # The upper half of the attributes is the Unix mode; nought where the archive was not made on Unix.
    if (entry.external_attr >> 16) & 0o170000 not in (0, 0o100000):
        raise Refused(f"its {name} is no regular file")
    if entry.compress_type not in METHODS or entry.flag_bits & ENCRYPTED:
        raise Refused(f"its {name} is packed in a way that this project does not use")
    too_large = Refused(f"its {name} is larger than {limit:,} bytes")
    if entry.file_size > limit or entry.compress_size > MAX_ARCHIVE:
        raise too_large
    try:
        with archive.open(entry) as file:
            content = file.read(limit + 1)
    except Exception as error:  # a stranger's bytes make zipfile and zlib raise nearly anything
        raise Refused(f"its {name} cannot be unpacked") from error
    if len(content) > limit:
        raise too_large
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"its {name} is not UTF-8") from error
