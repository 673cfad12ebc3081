"""``contract.yaml``: what the data must look like, as data. One document guards training data and live requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .errors import InputError, explain
from .files import read_yaml
from .odcs import Contract, CustomProperty, Description, Options, Property, Quality, SchemaObject

# Known to the standard and enforced by nobody in this project: named in a warning, never ignored in silence.
UNENFORCED = (
    *("team", "roles", "support", "price", "slaProperties", "authoritativeDefinitions", "transformLogic"),
    *("partitioned", "encryptedName", "slaDefaultElement"),
)
# Of a quality rule: known to the document's shapes, since other tools read them.
OF_QUALITY = ("severity", "dimension", "engine", "implementation")


def _unenforced(node: Any, where: str = "") -> list[str]:
    """Remove, in place, what the standard knows and this project does not enforce; return where it stood."""
    found = []
    if isinstance(node, dict):
        for key in [k for k in node if k in UNENFORCED]:
            del node[key]
            found.append(f"{where}{key}")
        if node.get("type") in ("text", "custom") and "schema" not in node:
            found.append(f"{where}quality of type {node['type']}")
        for rule in node["quality"] if isinstance(node.get("quality"), list) else []:
            ignored = [key for key in OF_QUALITY if isinstance(rule, dict) and rule.get(key) is not None]
            owner = f"{where}{node.get('name', '')}.".removeprefix(".")
            found += [f"{owner}quality.{key} (each rule must hold)" for key in ignored]
        label = f"{where}{node['name']}." if isinstance(node.get("name"), str) and where else where
        return found + [f for key, value in node.items() for f in _unenforced(value, label or f"{key}.")]
    return found + [f for item in node for f in _unenforced(item, where)] if isinstance(node, list) else found


def load(path: str | Path = "contract.yaml") -> Contract:
    """Read and check a contract.

    Raises
    ------
    InputError
        The file is missing, not YAML, or not the subset of ODCS that this project enforces.
    """
    return parse(read_yaml(path, "write one with 'ml init TABLE --target COLUMN'"), str(path))


def parse(document: Any, where: str = "contract.yaml") -> Contract:
    """Check a contract that is already read; ``where`` names it in errors."""
    if not isinstance(document, dict):
        raise InputError(f"{where}: a mapping is expected at the top, as in the Open Data Contract Standard")
    for key in (k for k in document if k in ("schemas", "models", "properties")):
        raise InputError(f"{where}: unknown key '{key}'; the columns stand under 'schema'")
    _unenforced(document)
    try:
        return Contract.model_validate(document)
    except ValidationError as error:
        raise explain(error, where, _known_keys()) from None


def warnings(path: str | Path = "contract.yaml") -> list[str]:
    """Name what the standard allows, the document says and nobody here enforces."""
    return [f"{where}: not enforced by this project" for where in _unenforced(read_yaml(path, "see docs/contract.md"))]


def _known_keys() -> set[str]:
    models = (Contract, SchemaObject, Property, Options, Quality, CustomProperty, Description)
    return {name for model in models for name in model.model_fields} | {"schema"}
