"""Where DVC is installed, and how the worktree of another commit uses the remotes and the cache of the project."""

from __future__ import annotations

import shutil
import sys
from configparser import Error as ConfigError
from configparser import RawConfigParser
from pathlib import Path

from mlcicd.core import project
from mlcicd.core.errors import InputError
from mlcicd.system.git import git

SETTINGS = {"DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"}
GROUP = "dvc"
# Options of a remote that are paths, from the folder of the file that they stand in.
PATHS = ("url", "credentialpath", "keyfile", "configpath", "cert_path", "key_path", "gdrive_user_credentials_file")


def command(root: Path) -> list[str]:
    """Return how DVC is started: beside this Python, on PATH, or from the project's own lock.

    Raises
    ------
    InputError
        It is nowhere.
    """
    beside = Path(sys.executable).with_name("dvc")
    if found := shutil.which(beside) or shutil.which("dvc"):
        return [found]
    uv = shutil.which("uv")
    if uv and GROUP in project.dependency_groups(root):
        # In an environment of its own: DVC brings a hundred packages, of which the model needs none.
        own = ("--isolated", "--locked", "--only-group", GROUP)
        return [uv, "run", "--quiet", "--project", str(root.resolve()), *own, "dvc"]
    raise InputError("DVC is not installed, and the data is stored in it; run 'uv tool install dvc'")


def share(tree: Path, root: Path) -> None:
    """Let a worktree fetch from where the project fetches today, into the same cache.

    Remotes as paths are relative to the file that names them, which lies elsewhere in the worktree; secrets lie in
    ``config.local``, which git does not have; and a remote may have moved since the commit.
    """
    target = _folder(tree)
    if target is None:
        return
    inside = target.parent.relative_to(_top(tree))
    home = _top(root) / inside / ".dvc"
    settings = _read(target / "config", home)
    for name in ("config", "config.local"):
        for section, options in _read(home / name, home).items():
            settings.setdefault(section, {}).update(options)
    settings.setdefault("core", {}).update({"analytics": "false", "check_update": "false"})
    if home.is_dir():
        settings.setdefault("cache", {}).setdefault("dir", str(home / "cache"))
    lines = [
        f"[{section}]\n" + "".join(f"    {k} = {v}\n" for k, v in keys.items()) for section, keys in settings.items()
    ]
    (target / "config.local").write_text("".join(lines), encoding="utf-8")


def cache(root: Path) -> Path | None:
    """Return the folder of the project's cache."""
    home = _folder(root)
    if home is None:
        return None
    settings = {**_read(home / "config", home).get("cache", {}), **_read(home / "config.local", home).get("cache", {})}
    return Path(settings.get("dir", home / "cache"))


def _top(folder: Path) -> Path:
    return Path(git(folder, "rev-parse", "--show-toplevel") or folder).resolve()


def _folder(tree: Path) -> Path | None:
    """Return the folder ``.dvc`` of a project, or of the repository around it."""
    here = tree.resolve()
    places = [here, *(parent for parent in here.parents if parent.is_relative_to(_top(tree)))]
    return next((place / ".dvc" for place in places if (place / ".dvc").is_dir()), None)


def _read(path: Path, home: Path) -> dict[str, dict[str, str]]:
    """Return the sections of a configuration of DVC, with paths made absolute as if it lay in ``home``."""
    parser = RawConfigParser(strict=False, default_section="")
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read(path, encoding="utf-8")
    except (ConfigError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as settings of DVC ({str(error).splitlines()[0]})") from None
    found = {section: dict(parser[section]) for section in parser.sections()}
    for section, options in found.items():
        for key in PATHS if section.strip("'").startswith("remote ") else ("dir",) if section == "cache" else ():
            if key in options:
                options[key] = _absolute(options[key], home)
    return found


def _absolute(value: str, home: Path) -> str:
    return value if "://" in value else str((home / value).resolve())
