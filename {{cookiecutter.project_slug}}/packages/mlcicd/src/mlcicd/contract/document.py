"""Load ``contract.yaml``, which describes valid data: the same document validates training data and live requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mlcicd.contract.schema import Contract, CustomProperty, Description, Options, Property, Quality, SchemaObject
from mlcicd.core.errors import InputError, explain
from mlcicd.core.yaml_io import read_yaml

# Keys of the standard that this project does not enforce; a warning names those that a document uses.
UNENFORCED = (
    *("team", "roles", "support", "price", "slaProperties", "authoritativeDefinitions", "transformLogic"),
    *("partitioned", "encryptedName", "slaDefaultElement"),
)
# Keys of a quality rule that are accepted for other tools and not enforced.
UNENFORCED_QUALITY = ("severity", "dimension", "engine", "implementation")


def _unenforced(node: Any, where: str = "") -> list[str]:
    """Remove, in place, the keys that this project does not enforce; return their paths."""
    ignored_keys = []
    if isinstance(node, dict):
        for key in [k for k in node if k in UNENFORCED]:
            del node[key]
            ignored_keys.append(f"{where}{key}")
        if node.get("type") in ("text", "custom") and "schema" not in node:
            ignored_keys.append(f"{where}quality of type {node['type']}")
        for rule in node["quality"] if isinstance(node.get("quality"), list) else []:
            ignored = [key for key in UNENFORCED_QUALITY if isinstance(rule, dict) and rule.get(key) is not None]
            rule_owner = f"{where}{node.get('name', '')}.".removeprefix(".")
            ignored_keys += [f"{rule_owner}quality.{key} (each rule must hold)" for key in ignored]
        label = f"{where}{node['name']}." if isinstance(node.get("name"), str) and where else where
        return ignored_keys + [f for key, value in node.items() for f in _unenforced(value, label or f"{key}.")]
    return (
        ignored_keys + [f for item in node for f in _unenforced(item, where)]
        if isinstance(node, list)
        else ignored_keys
    )


def load(path: str | Path = "contract.yaml") -> Contract:
    """Read and check a contract.

    Raises
    ------
    InputError
        The file is missing, not YAML, or not in the subset of ODCS that this project supports.
    """
    return parse(read_yaml(path, "write one with 'ml init TABLE --target COLUMN'"), str(path))


def parse(document: Any, where: str = "contract.yaml") -> Contract:
    """Validate a parsed YAML document as a contract; ``where`` names it in errors."""
    if not isinstance(document, dict):
        raise InputError(f"{where}: a mapping is expected at the top, as in the Open Data Contract Standard")
    for key in (k for k in document if k in ("schemas", "models", "properties")):
        raise InputError(f"{where}: unknown key '{key}'; the columns belong under 'schema'")
    _unenforced(document)
    try:
        return Contract.model_validate(document)
    except ValidationError as error:
        raise explain(error, where, _known_keys()) from None


def warnings(path: str | Path = "contract.yaml") -> list[str]:
    """List the keys of a contract that this project does not enforce."""
    return [f"{where}: not enforced by this project" for where in _unenforced(read_yaml(path, "see docs/contract.md"))]


def _known_keys() -> set[str]:
    models = (Contract, SchemaObject, Property, Options, Quality, CustomProperty, Description)
    return {name for model in models for name in model.model_fields} | {"schema"}
