"""Changing single values of a YAML file that people write: every other character stays, comments included."""

from __future__ import annotations

from datetime import date
from typing import Any

import yaml


def with_values(text: str, section: str, values: dict[str, Any]) -> str:
    """Return a document with other values of keys that a section has; keys that it has not stay away.

    Parameters
    ----------
    text : the document
    section : the key at its top under which the values stand
    values : by key; one that is text and reads as something else, such as a date, is written as that, unless a date
        or a text takes the place of a quoted text
    """
    edits = []
    for name, node in _members(_members(yaml.compose(text, yaml.SafeLoader)).get(section)).items():
        if name in values:
            edits.append((node.start_mark.index, node.end_mark.index, _scalar(values[name], _quoted(node))))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _members(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}


def _quoted(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style in ("'", '"')


def _scalar(value: Any, quoted: bool) -> str:
    """Write a value so that it can stand in flow style, plainly, or quoted where a quoted text stood there."""
    plain = str(value)
    if quoted and isinstance(value, str | date):
        return _dumped(plain)
    try:
        if str(yaml.safe_load(f"[{plain}]")[0]) == plain and len(yaml.safe_load(f"[{plain}]")) == 1:
            return plain
    except (yaml.YAMLError, ValueError, TypeError, IndexError):
        pass
    return _dumped(value)


def _dumped(value: Any) -> str:
    text: str = yaml.safe_dump([value], default_flow_style=True, width=float("inf"), allow_unicode=True)
    return text.strip()[1:-1]
