"""Adds a registry to the stand-in for docker: `push` copies a name into a folder, after a `login` to that registry."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["STANDIN_TOOLS"])
from state import STANDIN, record

IMAGES, LOGINS = STANDIN / "images.json", STANDIN / "logins.json"


def read(file: Path) -> dict[str, dict[str, str]]:
    """A file of the state."""
    return json.loads(file.read_text()) if file.exists() else {}


def image(name: str) -> dict[str, str]:
    """One image."""
    if name not in read(IMAGES):
        sys.exit(f"Error response from daemon: No such image: {name}")
    return read(IMAGES)[name]


match sys.argv[1:]:
    case ["login", "--username", user, "--password-stdin", server]:
        LOGINS.write_text(json.dumps(read(LOGINS) | {server: {"user": user, "password": sys.stdin.read().strip()}}))
    case ["logout", server]:
        LOGINS.write_text(json.dumps({name: login for name, login in read(LOGINS).items() if name != server}))
    case ["tag", old, new]:
        IMAGES.write_text(json.dumps(read(IMAGES) | {new: image(old)}))
    case ["push", name]:
        if name.partition("/")[0] not in read(LOGINS):
            sys.exit("denied: authentication required")
        record(event="push", name=name, digest=image(name)["digest"])
    case _:
        engine = Path(os.environ["STANDIN_TOOLS"]).parent / "engine/docker"
        os.execv(sys.executable, [sys.executable, str(engine), *sys.argv[1:]])
