"""What the parts of `make bench` stand on: baked projects, environments of peers, commands and what they print."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from service import versions
from stopwatch import fastest

HERE = Path(__file__).resolve().parent
BAKE = (sys.executable, "-m", "cookiecutter", str(HERE.parent), "--no-input", "--default-config")
# What would make a peer or ours slow, or tell somebody of this run.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "UV_PROJECT_ENVIRONMENT")
} | {
    "DO_NOT_TRACK": "1",
    "KEDRO_DISABLE_TELEMETRY": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "BENTOML_DO_NOT_TRACK": "True",
    "GIT_AUTHOR_NAME": "bench",
    "GIT_AUTHOR_EMAIL": "bench@example.org",
    "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench@example.org",
}


class FailedError(Exception):
    """A part cannot be measured; the text says why."""


@dataclass(frozen=True)
class Row:
    """One line of the table. ``kept`` is None where nothing was aimed at."""

    what: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    aim: str = ""
    kept: bool | None = None

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}" if self.ratio < 10 else f"{self.ratio:.0f}"
        mark = {None: "", True: " ✅", False: " ❌ missed"}[self.kept]
        return f"| {self.what} | {self.ours} | {self.peer} | {ratio} | {self.aim}{mark} |"


@dataclass
class Ground:
    """Projects and environments in one folder, each made when first asked for."""

    folder: Path
    versions: dict[str, str] = field(default_factory=dict)

    @cached_property
    def churn(self) -> Path:
        """The example's project, with the serve group and a run in runs/model."""
        project = self._bake("churn")
        run("uv", "sync", "--quiet", "--group", "serve", where=project)
        run(project / ".venv/bin/ml", "train", where=project)
        self.note(project, "bentoml", "scikit-learn", "pandas")
        return project

    @cached_property
    def own(self) -> Path:
        """A project that waits for a table of one's own."""
        project = self._bake("none")
        run("uv", "sync", "--quiet", where=project)
        self.note(project, "scikit-learn", "pandas", "skrub")
        return project

    @cached_property
    def tracked(self) -> Path:
        """The example's project, which sends its runs to MLflow."""
        project = self._bake("churn", "tracking=mlflow")
        run("uv", "sync", "--quiet", where=project)
        self.note(project, "mlflow-skinny")
        return project

    def _bake(self, example: str, *answers: str) -> Path:
        folder = self.folder / "-".join([example, *answers])
        run(*BAKE, "--output-dir", str(folder), f"example={example}", *answers)
        return next(folder.iterdir())

    def peer(self, package: str, *others: str) -> Path:
        """The `bin` folder of an environment that holds this package alone, and what it needs."""
        place = self.folder / "peers" / package
        if not place.exists():
            run("uv", "venv", "--quiet", "--python", sys.executable, str(place))
            run("uv", "pip", "install", "--quiet", "--python", str(place / "bin/python"), package, *others)
        self.versions[package] = versions(place / "bin/python")[package]
        return place / "bin"

    def note(self, project: Path, *packages: str) -> None:
        """Remember versions for the end of the table."""
        installed = versions(project / ".venv/bin/python")
        self.versions |= {name: installed[name] for name in packages}


def run(*command: str | Path, where: Path | None = None, **environment: str) -> str:
    """Return what a command prints.

    Raises
    ------
    FailedError
        It does not succeed.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=where,
            env=ENVIRONMENT | environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise FailedError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["it printed nothing"]
        raise FailedError(f"{' '.join(map(str, command[:4]))} …: exit {done.returncode}: {said[0][:200]}")
    return done.stdout


def seconds(*command: str | Path, repeats: int = 3, where: Path | None = None, **environment: str) -> float:
    """Return the seconds of the fastest of several runs of a command."""
    return fastest(lambda: run(*command, where=where, **environment), repeats)


def cells(markdown: str) -> list[list[str]]:
    """Return the cells of the rows of the tables that a script printed, heads and rules left out."""
    lines = [line.strip() for line in markdown.splitlines() if line.strip().startswith("|")]
    rules = {i for i, line in enumerate(lines) if not line.strip("|-: ")}
    kept = [line for i, line in enumerate(lines) if i not in rules and i + 1 not in rules]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in kept]
