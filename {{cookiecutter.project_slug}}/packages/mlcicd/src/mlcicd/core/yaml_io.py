"""Reading YAML strictly, and only regular files of the project."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import yaml

from mlcicd.core.errors import InputError, fault

LONGEST = 10_000_000  # bytes; a contract of 2,000 columns has half a million
# Where an alias may begin. Scanning for one takes longer than reading, and nearly no file has this.
MAYBE_ALIAS = re.compile(r"(?:^|[\s\[{,:?-])\*\S", re.MULTILINE)
Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times faster; not every build has it


def read_yaml(path: str | Path, remedy: str) -> Any:
    """Read one YAML file; a missing or malformed one, a key given twice or an alias is the user's error."""
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: is no regular file; {remedy}")
        if path.stat().st_size > LONGEST:
            raise InputError(f"{path}: is longer than {LONGEST // 10**6} MB; is it the right file?")
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(fault(error) or f"{path}: cannot be read ({error})") from None


def parse_yaml(text: str, where: str) -> Any:
    """Read YAML from text; ``where`` names it in errors."""
    try:
        if MAYBE_ALIAS.search(text):
            _refuse_aliases(text, where)
        return yaml.load(text, _UniqueKeys)  # noqa: S506 - derived from SafeLoader
    except yaml.YAMLError as error:
        raise InputError(f"{where}: not YAML: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        # What PyYAML's constructors raise for values such as 2026-02-30 or `!!timestamp x`.
        raise InputError(f"{where}: a value cannot be read ({error}); quote it if it is text") from None


def _refuse_aliases(text: str, where: str) -> None:
    """Ten levels of aliases are a document of a billion nodes, and a plain file needs none."""
    for event in yaml.parse(text, Loader=Base):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise InputError(f"{where}: line {line}: alias '*{event.anchor}' is not allowed; write the value out")


def regular_file(root: Path, name: str, where: str) -> Path:
    """Return the path of a file or folder that the project declares, once it is known to lie in the project.

    Parameters
    ----------
    root : the project's folder
    name : the path from there, as written
    where : what declares it, for errors

    Raises
    ------
    InputError
        The path leads out of the project, also by a link, or to a device, pipe or socket.
    """
    path = root / name
    try:
        for member in [path, *(sorted(path.iterdir()) if path.is_dir() else [])]:
            if not member.resolve().is_relative_to(root.resolve()):
                raise InputError(f"{where}: '{name}' leads out of the project to {member.resolve()}; copy the file in")
            if member.exists() and not (member.is_file() or member.is_dir()):
                raise InputError(f"{where}: '{name}' is a device, pipe or socket; a regular file is expected")
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a name too long
        raise InputError(f"{where}: '{name[:100]}' cannot be looked up ({str(error)[:100]})") from None
    return path


class _UniqueKeys(Base):  # type: ignore[misc]
    """YAML's own loader keeps the last of two equal keys without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be one word or value, not a list or mapping", key_node.start_mark
                )
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' is given twice", key_node.start_mark)
            seen.add(key)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found
