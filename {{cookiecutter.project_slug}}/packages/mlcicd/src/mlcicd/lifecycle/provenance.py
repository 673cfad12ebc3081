"""The records that `ml audit` reads, validated before their content reaches git, a file or a terminal."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from mlcicd.core.errors import explain
from mlcicd.core.json_files import read_json
from mlcicd.core.plain_text import visible


def _relative(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in name or not name.isprintable():
        raise ValueError("must be a relative path without '..'")
    return name


FileName = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_relative)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
Text = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(visible)]


class Record(BaseModel):
    """A JSON file of a run; keys that an audit does not need are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Raises
        ------
        InputError
            The file is not a JSON object, or an entry is not a valid commit, hash or relative path.
        """
        content: dict[str, Any] = read_json(path)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise explain(error, str(path)) from None


class Source(Record):
    """Where a raw file is stored, and its version there."""

    store: Text
    version: Text | None
    location: Text = ""
    revision: Text = ""


class Manifest(Record):
    """The inputs and files of a run: ``manifest.json``."""

    files: dict[FileName, Digest]
    data: dict[FileName, Digest | None]
    sources: dict[FileName, Source] = {}
    commit: Commit | None
    uncommitted_changes: bool
    contract: Digest | None
    params: Digest | None
    lock: Digest | None


class Release(Record):
    """The approval and files of a release: ``release.json``."""

    files: dict[FileName, Digest] = {}
    pull_request: int | None = None
    approved_by: list[Text] = []
    merged_by: Text | None = None
    review: Text | None = None
