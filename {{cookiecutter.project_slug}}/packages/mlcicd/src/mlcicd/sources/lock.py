"""``data.lock``: which version of each raw file on another machine a commit reads. ``ml data pin`` writes it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mlcicd.core.errors import InputError, explain
from mlcicd.core.yaml_io import parse_yaml
from mlcicd.remote import addresses
from mlcicd.system.git import small_blob
from mlcicd.system.outputs import cannot_write, locked

FILE = "data.lock"
HEAD = (
    "# The versions of the raw files that this commit reads. 'ml data pin' writes it: commit it, and do not edit it.\n"
)
LONGEST = 10_000_000  # bytes; a hundred thousand parts
WAIT = 60.0  # seconds for another 'ml data pin'


def _file_name(name: str) -> str:
    if PurePosixPath(name).name != name or name in ("", "..") or "\\" in name or not name.isprintable():
        raise ValueError("must be the name of a file, without folders")
    return name


class Locked(BaseModel):
    """One object and its version.

    Attributes
    ----------
    revision : what its store calls the version: ``version-id:…``, ``generation:…``, ``etag:…`` or ``commit:…``; empty
        where the store has no word for it, and the hash alone tells
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    revision: str = ""
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Entry(BaseModel):
    """A raw file, or a folder of parts by their names, and where they are.

    Attributes
    ----------
    endpoint : the server, where it is not the one that the address implies
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    location: str
    endpoint: str | None = None
    file: Locked | None = None
    parts: dict[Annotated[str, AfterValidator(_file_name)], Locked] | None = None

    @model_validator(mode="after")
    def is_complete(self) -> Self:
        # Here, not at the fields: an error of a field would show its value, with the credential in it.
        addresses.checked(self.location)
        if self.endpoint is not None:
            addresses.checked_endpoint(self.endpoint)
        if (self.file is None) == (not self.parts):
            raise ValueError("either 'file' or 'parts' is expected")
        return self

    @property
    def version(self) -> str:
        """The hash of the bytes; of a folder, the one that a manifest has for it."""
        if self.file:
            return f"sha256:{self.file.sha256}"
        lines = "".join(f"{name} {part.sha256}\n" for name, part in sorted((self.parts or {}).items()))
        return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"

    @property
    def revision(self) -> str:
        """What the store calls the version; of a folder, one hash for the versions of all parts."""
        if self.file:
            return self.file.revision
        lines = "".join(f"{name} {part.revision}\n" for name, part in sorted((self.parts or {}).items()))
        return f"{len(self.parts or {})} parts, sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1]
    files: dict[str, Entry]


def read(root: Path, commit: str | None = None) -> dict[str, Entry]:
    """Return the entries of a commit's lock, or of the one in a folder, by the raw files' names.

    Raises
    ------
    InputError
        The lock is not as ``ml data pin`` writes it, such as after a merge with conflicts.
    """
    if commit is not None:
        content = small_blob(root, commit, FILE, LONGEST)
    else:
        content = (root / FILE).read_bytes() if (root / FILE).is_file() else None
    return {} if content is None else parse(content.decode(errors="replace"), FILE)


def parse(text: str, where: str) -> dict[str, Entry]:
    """Return the entries of a lock's text; ``where`` names it in errors."""
    remedy = "write it anew with 'ml data pin'"
    try:
        return _Document.model_validate(parse_yaml(text, where)).files
    except ValidationError as error:
        raise InputError(f"{explain(error, where)}; {remedy}") from None
    except InputError as error:
        raise InputError(f"{error.args[0].splitlines()[0]}; {remedy}") from None


def written(entries: Mapping[str, Entry]) -> str:
    """Return the text of a lock: a line for each object, in the order of the names."""
    document = _Document(version=1, files=dict(sorted(entries.items()))).model_dump(exclude_defaults=True)
    document["version"] = 1
    return HEAD + yaml.safe_dump(document, default_flow_style=None, sort_keys=False, width=10_000, allow_unicode=True)


def update(root: Path, entries: Mapping[str, Entry], declared: set[str]) -> None:
    """Put entries into a folder's lock, and drop those that are no longer declared; whole or not at all."""
    target = root / FILE
    with locked(target.absolute(), target, target.absolute().parent, WAIT):
        kept = {name: entry for name, entry in read(root).items() if name in declared}
        part = target.with_name(f".{FILE}.part")
        try:
            part.write_text(written(kept | dict(entries)), encoding="utf-8", newline="\n")
            part.replace(target)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise cannot_write(target, error) from None
