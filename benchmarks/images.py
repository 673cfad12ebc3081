"""The project's image beside BentoML's default one for the same bento, on the same base, in one run.

    uv run --group test benchmarks/images.py PROJECT [--starts 5] [--only-ours]

PROJECT is a baked project with a run in runs/model and the serve group installed. Needs root, podman, buildah, runc and
debootstrap (`.ci/run` installs them). The base is a minimal Debian under the name of the official Python image.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from containers import import_base, settings

READY = "http://127.0.0.1:3000/readyz"
NAME = f"images-{os.getpid()}"
# The official image has pip on its path, with which BentoML's recipe gets uv. Debian ships pip as a wheel alone.
PIP = """#!/bin/sh
export PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl) PIP_BREAK_SYSTEM_PACKAGES=1
exec python3 -m pip "$@"
"""


def command(*arguments: str, env: dict[str, str], where: Path | None = None) -> str:
    """Run a command; its output, or the end of what it said when it failed."""
    done = subprocess.run(arguments, env=env, cwd=where, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout.strip()


def add_pip(base: str, env: dict[str, str], scratch: Path) -> None:
    """Give the base a pip, under the same name."""
    (scratch / "pip").write_text(PIP)
    container = command("buildah", "from", base, env=env)
    command("buildah", "copy", "--chmod", "755", container, str(scratch / "pip"), "/usr/local/bin/pip", env=env)
    command("buildah", "commit", "--quiet", "--rm", container, base, env=env)


@contextlib.contextmanager
def started(image: str, env: dict[str, str], *options: str, limit: float = 60) -> Iterator[float | None]:
    """Start a container; yield the seconds until it was ready, or None when it was not within the limit."""
    began, ready = time.monotonic(), None
    command("podman", "run", "--detach", "--name", NAME, *options, image, env=env)
    try:
        while ready is None and time.monotonic() - began < limit:
            with contextlib.suppress(OSError), urllib.request.urlopen(READY, timeout=2):
                ready = time.monotonic() - began
            time.sleep(0.02)
        yield ready
    finally:
        command("podman", "rm", "--force", "--time", "5", NAME, env=env)


class Image(NamedTuple):
    """What was seen of an image: build seconds, MB, seconds to readiness of each start, and how it runs."""

    build: float
    size: float
    ready: list[float]
    user: str
    read_only: bool

    def __str__(self) -> str:
        spread = f"{statistics.median(self.ready):.1f} ({min(self.ready):.1f} to {max(self.ready):.1f})"
        return f"{self.build:8.0f} {self.size:7.0f} {spread:>20} {self.user:>6} {'yes' if self.read_only else 'no':>10}"


def describe(image: str, build: float, starts: int, env: dict[str, str]) -> Image:
    """Start one image several times, and once with a read-only root file system."""
    about = json.loads(command("podman", "image", "inspect", image, env=env))[0]
    seconds, user = [], ""
    for _ in range(starts):
        with started(image, env) as ready:
            if ready is None:
                log = command("sh", "-c", f"podman logs {NAME} 2>&1", env=env)
                sys.exit(f"{image} is not ready:\n{log[-3000:]}")
            seconds.append(ready)
            user = command("podman", "exec", NAME, "id", "-u", env=env)
    with started(image, env, "--read-only", "--read-only-tmpfs=false", limit=30) as ready:
        return Image(build, about["Size"] / 1e6, seconds, user, ready is not None)


def measure(project: Path, starts: int, only_ours: bool = False) -> dict[str, Image]:
    """Build the images of a project's run and measure each, and print it."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    found = {}
    with tempfile.TemporaryDirectory(prefix="images-", ignore_cleanup_errors=True) as temporary:
        path = f"{project / '.venv/bin'}:{os.environ['PATH']}"
        env = {**os.environ, **settings(Path(temporary)), "PATH": path, "BENTOML_DO_NOT_TRACK": "True"}
        version = command("python", "-c", "import sys; print('{}.{}'.format(*sys.version_info))", env=env)
        base = import_base(version, env)
        add_pip(base, env, Path(temporary))
        size = json.loads(command("podman", "image", "inspect", base, env=env))[0]["Size"]
        print(f"base: {size / 1e6:.0f} MB")
        print(f"{'':10}{'build s':>8} {'MB':>7} {'ready s':>20} {'user':>6} {'read-only':>10}", flush=True)
        began = time.monotonic()
        said = command("ml", "package", "--engine", "podman", "--image", "ours:bench", where=project, env=env)
        built = {"ours": time.monotonic() - began}
        if not only_ours:
            bento, began = said.split("bento: ")[1].split()[0], time.monotonic()
            command("bentoml", "containerize", bento, "--backend", "podman", "-t", "default:bench", env=env)
            built["default"] = time.monotonic() - began
        for name, seconds in built.items():
            found[name] = describe(f"localhost/{name}:bench", seconds, starts, env)
            print(f"{name:10}{found[name]}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--only-ours", action="store_true")
    options = parser.parse_args()
    measure(options.project.resolve(), options.starts, options.only_ours)


if __name__ == "__main__":
    main()
