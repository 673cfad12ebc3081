"""JSON files that one command writes and another reads, maybe one of another version: read and checked by a schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mlcicd.core.errors import InputError, explain, fault


class JsonFile(BaseModel):
    """The schema of a file. Keys that it does not name are allowed, so that a later version may add some."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


def read_json(path: Path, schema: type[JsonFile] = JsonFile, remedy: str = "train the run again") -> dict[str, Any]:
    """Read a file whose content follows a schema; keys that have a default there are never missing.

    Raises
    ------
    InputError
        The file cannot be read, is no JSON object, or does not follow the schema; ``remedy`` says what to do.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(fault(error) or f"{path}: cannot be read ({error}); {remedy}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: a JSON object is expected; {remedy}")
    try:
        return schema.model_validate(found).model_dump(by_alias=True)
    except ValidationError as error:
        raise InputError(f"{explain(error, str(path))}; {remedy}") from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whose bytes depend on nothing but its content."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
