"""The baseline of a review: the base commit's run, from a cache or trained in a worktree, or why there is none."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlcicd.compute import places
from mlcicd.contract import document as contracts
from mlcicd.core.errors import InputError
from mlcicd.review import environment
from mlcicd.sources import raw_files
from mlcicd.sources.pins import NotFetchedError
from mlcicd.system import processes
from mlcicd.system.git import git
from mlcicd.system.scratch import remove_worktree, scratch
from mlcicd.training.run import SCHEMA, Run, say, sha256

WITHOUT_LFS = {"GIT_LFS_SKIP_SMUDGE": "1"}  # _fetch brings what the project has, and says what it cannot
UV_SAYS = re.compile(r"(error|fatal|Caused by):|[×├╰]─?▶?")


class NoBaselineError(Exception):
    """The base cannot be trained; the message says why, after the words 'the base'."""


@dataclass(frozen=True)
class Base:
    """The base's run, or why there is none.

    Attributes
    ----------
    first : there is none because nothing was there before, which needs nobody's decision
    notes : what a reviewer has to know of how the run was made
    """

    run: Run | None
    why: str = ""
    first: bool = False
    notes: Sequence[str] = ()


def find(root: Path, base: str, out: Path, cached: Path | None) -> Base:
    """Return the base's run: the one that a cache had, else one that is trained now and written to ``out``."""
    commit = _commit(root, base)
    if run := _kept(cached, commit, out):
        return Base(run, notes=_environment(run, root, commit))
    if not commit:
        return Base(None, f"there is no commit '{base}' to compare with{_other_names(root)}")
    say(f"ml train at {commit[:7]}")
    try:
        with _worktree(root, commit) as top:
            tree = top / (git(root, "rev-parse", "--show-prefix") or "")
            if not any((tree / name).is_file() for name in ("params.yaml", "contract.yaml")):
                return _without_model(top, tree, root, commit)
            _fetch(tree, root)
            command, environment, notes = _trainer(root, tree)
            code, log = run_step([*command, "train", "--out", str(out.resolve())], tree, **environment)
        if code:
            raise NoBaselineError(f"could not be trained: {_cause(log)}")
        run = Run(out)
    except (NoBaselineError, InputError) as error:
        return Base(None, f"commit {commit[:7]}, the base, {error}")
    return Base(run, notes=[*notes, *_environment(run, root, commit)])


def _fetch(tree: Path, root: Path) -> None:
    """Fetch the base's raw files from where they are stored."""
    try:
        names = [str(obj.physicalName) for obj in contracts.load(tree / "contract.yaml").raw]
    except InputError:  # its training says so, unless its own version of the machinery can read it
        names = []
    try:
        raw_files.pull(tree, names, root)
    except NotFetchedError as error:
        raise NoBaselineError(error.of_commit) from None


def run_step(command: list[str], folder: Path, **environment: str) -> tuple[int, str]:
    """Run a step; return its exit status and everything that it printed."""
    done = processes.run(command, folder, environment, merge_streams=True)
    return done.returncode, done.stdout


def _commit(root: Path, base: str) -> str | None:
    """The commit of a name; a branch that was fetched and never checked out has its name at origin."""
    names = [] if base.startswith("-") else [base, f"refs/remotes/origin/{base}"]
    found = (git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") for name in names)
    return next((commit for commit in found if commit), None)


def _other_names(root: Path) -> str:
    told = git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes/origin")
    if told is None:
        return ": this folder is in no git repository that can be read"
    names = [name for name in told.splitlines() if name not in ("origin", "origin/HEAD")]
    return f"; name one with --base, such as {', '.join(names[:5])}" if names else ": nothing is committed yet"


def _kept(cached: Path | None, commit: str | None, out: Path) -> Run | None:
    """The run that a cache had, if it is whole, of the base commit, and of this version of the pipeline."""
    if cached is None or not cached.is_dir():
        return None
    try:
        found = Run(cached)
        if found.schema != SCHEMA or (commit and found.manifest["commit"] != commit):
            return None
    except (InputError, KeyError):
        return None  # half a cache is no cache: train it
    shutil.copytree(cached, out)
    return Run(out)


def _without_model(top: Path, tree: Path, root: Path, commit: str) -> Base:
    """A commit without a model here; a project that was elsewhere and is gone there was moved, and has one."""
    here = root.resolve()
    for _ in tree.relative_to(top).parts:
        here = here.parent
    projects = [path.parent.relative_to(top) for path in sorted(top.rglob("contract.yaml"))]
    moved = [place for place in projects if not (here / place / "contract.yaml").is_file()]
    if moved:
        where = moved[0].as_posix() if moved[0].parts else "the repository's top folder"
        return Base(None, f"commit {commit[:7]}, the base, has its model in {where}, which this branch has moved")
    return Base(None, f"commit {commit[:7]} has no model yet: this is the candidate alone", first=True)


def _environment(run: Run, root: Path, commit: str | None) -> list[str]:
    """Say where the base was trained with other libraries than its lock names."""
    lock = git(root, "show", f"{commit}:./uv.lock") if commit else None
    other = environment.differing(lock, run.manifest.get("packages", {})) if lock else []
    if not other:
        return []
    more = f" and {len(other) - environment.SHOWN} more" if len(other) > environment.SHOWN else ""
    shown = ", ".join(other[: environment.SHOWN])
    return [f"Main was trained in another environment than its uv.lock: {shown}{more}."]


def _cause(log: str) -> str:
    """The sentence of a step's output that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = [line.removeprefix("ml: ") for line in lines if line.startswith("ml: ")]
    if said:
        return said[0] + (f" (and {len(said) - 1} more)" if len(said) > 1 else "")
    uv = [line[len(found[0]) :].strip() for line in lines if (found := UV_SAYS.match(line))]
    return ": ".join(uv)[:400] if uv else lines[-1][:400] if lines else "it printed nothing"


@contextmanager
def _worktree(root: Path, commit: str) -> Iterator[Path]:
    _forget_worktrees(root)
    with scratch("baseline") as folder:
        tree = folder / "tree"
        try:
            code, log = run_step(["git", "worktree", "add", "--detach", str(tree), commit], root, **WITHOUT_LFS)
            if code:
                raise NoBaselineError(f"could not be checked out: {_cause(log)}")
            yield tree
        finally:
            remove_worktree(root, tree)


def _forget_worktrees(root: Path) -> None:
    """Let git forget the worktrees of dead reviews, also those whose folders are gone; nobody else's."""
    listed = git(root, "worktree", "list", "--porcelain") or ""
    for entry in listed.split("\n\n"):
        path = Path(entry.partition("\n")[0].removeprefix("worktree "))
        if path.name == "tree" and path.parents[1].name.startswith("ml-baseline-") and not path.exists():
            remove_worktree(root, path)


def _trainer(root: Path, tree: Path) -> tuple[list[str], dict[str, str], list[str]]:
    """Return the command that trains a commit: in an environment of its own if its lock or its Python is another."""
    locks, pins = ([sha256(place / name) for place in (root, tree)] for name in ("uv.lock", ".python-version"))
    if (locks[0] == locks[1] and pins[1] in (None, pins[0])) or locks[1] is None:
        found = environment.command(tree)
        if found is None:
            raise NoBaselineError(
                "could not be trained: its pyproject.toml has no [project.entry-points.mlcicd] that declares a package"
            )
        module, sources = found
        note = "The base has no uv.lock: it was trained with the libraries that are installed here."
        return [sys.executable, "-m", module], {"PYTHONPATH": sources}, [note] * (locks[0] != locks[1])
    if not shutil.which("uv"):
        raise NoBaselineError(
            "could not be trained: without uv no environment is made for its uv.lock and its .python-version"
        )
    # Not this environment, nor sources of this tree: uv makes one inside the worktree, which goes with it.
    # Nor a cluster's workers, whose libraries are the candidate's.
    own = {
        "VIRTUAL_ENV": "",
        "PYTHONPATH": "",
        "UV_PROJECT_ENVIRONMENT": str(tree / ".venv"),
        places.VARIABLE: places.HERE,
    }
    code, log = run_step(["uv", "sync", "--locked", "--no-default-groups"], tree, **own)
    if code:
        raise NoBaselineError(f"could not be trained: its environment cannot be made from its uv.lock: {_cause(log)}")
    return ["uv", "run", "--no-sync", "ml"], own, []
