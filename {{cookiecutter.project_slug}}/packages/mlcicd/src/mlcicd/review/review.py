"""What CI says of a pull request, in one command: train, train the base, compare, report.

Each step is a process of its own. One that fails, however it fails, ends in a report that names the step and shows its
last lines, not in silence.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlcicd.compute import places
from mlcicd.core.errors import InputError
from mlcicd.core.json_files import write_json
from mlcicd.core.project import unexpected
from mlcicd.rendering import html, png, review_json
from mlcicd.rendering.blocks import Report
from mlcicd.review import environment
from mlcicd.system import git_lfs, processes
from mlcicd.system.git import git
from mlcicd.system.processes import started
from mlcicd.system.scratch import remove_worktree, scratch
from mlcicd.training.run import SCHEMA, Run, say, sha256

WITHOUT_LFS = {"GIT_LFS_SKIP_SMUDGE": "1"}  # git_lfs.pull fetches what the project has, and says what it cannot
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


def review(root: Path, base: str, out: Path, cached: Path | None = None) -> int:
    """Review the working tree against a commit and write the report and ``comparison.json`` to ``out``.

    Parameters
    ----------
    root : the project
    base : any name git knows for the commit to compare with
    out : an empty folder for the report, the comparison and both runs
    cached : the base commit's run, if a cache had it; trained in a worktree where it is missing

    Returns
    -------
    0 when every gate passes, 1 when one fails, the candidate could not be trained, or nothing can be compared and
    params.yaml does not let that pass.
    """
    here = [sys.executable, "-m", "mlcicd.cli"]
    say("ml train")
    command = [*here, "train", "--out", str(out.resolve() / "candidate")]
    with started(command, root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as training:
        # Seconds of imports, while the training's process imports much the same on another core.
        import matplotlib.figure  # noqa: F401

        from mlcicd.review import (
            review_report,
        )

        log, code = training.communicate()[0], training.returncode
    log += processes.killed(code)
    if code:
        # It checks the data itself. Where that is what failed, `ml validate` says no more than that.
        checked, said = run_step([*here, "validate"], root)
        publish(review_report.failed("ml validate", said) if checked else review_report.failed("ml train", log), out)
        return 1
    candidate = Run(out / "candidate")
    found = _baseline(root, base, out / "baseline", cached)
    if found.run is None:
        return 0 if _alone(candidate, found, out) else 1
    return 0 if write(found.run, candidate, out, root, found.notes) else 1


def write(baseline: Run, candidate: Run, out: Path, root: Path, notes: Sequence[str] = ()) -> bool:
    """Compare two runs, write ``comparison.json`` and the report, and say whether every gate passes.

    What cannot be compared, for whatever reason, ends in a report that says so.

    Parameters
    ----------
    root : the project: its git knows which files changed
    notes : what a reviewer has to know of how the baseline was made
    """
    # Loads the project's own code, which the steps before have run: what is broken there is reported, not raised here.
    from mlcicd.review import compare, review_report, run_diff

    try:
        found = compare.compare(baseline, candidate)
    except Exception as error:
        found = compare.undecided(candidate, f"the two runs cannot be compared: {_told(error)}")
    try:
        found["changes"] = run_diff.between(baseline, candidate, root)
    except Exception as error:
        found["changes"] = None
        notes = [*notes, f"What changed beside the numbers cannot be told: {_told(error)}."]
    if baseline.schema != candidate.schema:
        notes = [*notes, "Main's run was written by another version of the pipeline."]
    found["notes"] = [*found.get("notes", []), *notes]
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "comparison.json", found)
    try:
        publish(review_report.review(found, baseline, candidate), out)
    except Exception as error:
        publish(review_report.failed("the report", _told(error)), out)
        return False
    return bool(found["passed"])


def _alone(candidate: Run, found: Base, out: Path) -> bool:
    """Report a candidate that has nothing to be compared with; say whether it passes."""
    from mlcicd.review import compare, review_report

    comparison = compare.undecided(candidate, found.why)
    comparison["passed"] |= found.first
    write_json(out / "comparison.json", comparison)
    publish(review_report.alone(candidate, found.why, None if found.first else comparison["passed"]), out)
    return bool(comparison["passed"])


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, InputError) else unexpected(error)


def keep(run: Run, out: Path, work: Path) -> Run:
    """Copy a run that lies in the folder which this review replaces, so that it is still there afterwards."""
    path, place = run.path.resolve(), out.resolve()
    if path.is_relative_to(place):
        shutil.copytree(path, work / path.relative_to(place), dirs_exist_ok=True)
    return run


def publish(content: Report, out: Path) -> None:
    """Write a report for the pull request, ``review.json``, and for people: ``report.md``, a page, pictures."""
    review_json.write_review(content, out)
    (out / "report.html").write_text(html.render(content), encoding="utf-8")
    png.draw(out / "plots", content.charts)


def run_step(command: list[str], folder: Path, **environment: str) -> tuple[int, str]:
    """Run a step; return its exit status and everything that it printed."""
    done = processes.run(command, folder, environment, merge_streams=True)
    return done.returncode, done.stdout


def _baseline(root: Path, base: str, out: Path, cached: Path | None) -> Base:
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
            git_lfs.pull(tree)
            command, environment, notes = _trainer(root, tree)
            code, log = run_step([*command, "train", "--out", str(out.resolve())], tree, **environment)
        if code:
            raise NoBaselineError(f"could not be trained: {_cause(log)}")
        run = Run(out)
    except (NoBaselineError, InputError) as error:
        return Base(None, f"commit {commit[:7]}, the base, {error}")
    return Base(run, notes=[*notes, *_environment(run, root, commit)])


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
