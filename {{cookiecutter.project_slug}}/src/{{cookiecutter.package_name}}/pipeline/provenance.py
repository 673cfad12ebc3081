"""The records that `ml audit` follows, checked before anything in them reaches git, a file or a terminal."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from .errors import explain
from .plain_text import visible
from .runs import read_json


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
    """A JSON file of a run; what an audit does not ask about is left alone."""

    model_config = ConfigDict(strict=True, extra="ignore")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Raises
        ------
        InputError
            It is no JSON object, or a part of it is not what it must be: a commit, a hash, a relative path.
        """
        found: dict[str, Any] = read_json(path)
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise explain(error, str(path)) from None


class Manifest(Record):
    """What a run was made of: ``manifest.json``."""

    files: dict[FileName, Digest]
    data: dict[FileName, Digest | None]
    commit: Commit | None
    uncommitted_changes: bool
    contract: Digest | None
    params: Digest | None
    lock: Digest | None


class Release(Record):
    """Who let a run out: ``release.json``."""

    files: dict[FileName, Digest] = {}
    pull_request: int | None = None
    approved_by: list[Text] = []
    merged_by: Text | None = None
    review: Text | None = None
