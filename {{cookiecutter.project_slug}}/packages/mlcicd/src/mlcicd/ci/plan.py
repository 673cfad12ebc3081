"""What is to be done in a job: for a change or a commit on the default branch, and for a release."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from mlcicd.ci import systems
from mlcicd.ci.job import Job
from mlcicd.core.errors import InputError
from mlcicd.core.plain_text import visible
from mlcicd.core.project import declared
from mlcicd.system.git import changed_files, file_at_commit, git, tracked_files

CONTRACT = "contract.yaml"
DOCUMENTATION = re.compile(r"docs/.*|.*\.md|LICENSE", re.DOTALL)
DATA = re.compile(r"data/.*|src/[^/]+/prepare\.py", re.DOTALL)
MODEL = re.compile(
    r"(src|packages|data)/.*|params\.yaml|contract\.yaml|pyproject\.toml|uv\.lock|\.python-version", re.DOTALL
)
NO_CONTRACT = 'There is no contract.yaml yet: run "ml init TABLE --target COLUMN" and commit what it writes.'
NOTHING_CHANGED = "Nothing changed in the project's folder, so there is nothing to train."
ONLY_DOCUMENTATION = "Only documentation changed, so there is nothing to train."


@dataclass(frozen=True)
class Plan:
    """What is to be done for a change, or for a commit on the default branch.

    Attributes
    ----------
    base : the commit to compare with; empty on the default branch
    head, number, fork : see :class:`mlcicd.ci.job.Job`
    changed : the files that differ from the base, as they are named from the project's folder; None where git cannot
        tell
    data : whether data, or how it is prepared, changed
    skip : why there is nothing to train; empty where there is
    """

    base: str
    head: str
    number: int
    fork: bool
    changed: list[str] | None
    data: bool
    skip: str

    @property
    def train(self) -> bool:
        """Whether there is something to train."""
        return not self.skip


@dataclass(frozen=True)
class ReleasePlan:
    """What is to be done for a release.

    Attributes
    ----------
    tag : the release's name. Date and commit make it, so that the same commit finds the same name again
    image : see :class:`mlcicd.ci.job.Job`
    previous : the release before; empty where there is none
    skip : why there is nothing to release; empty where there is
    """

    tag: str
    image: str
    previous: str
    skip: str

    @property
    def todo(self) -> bool:
        """Whether there is something to release."""
        return not self.skip


def review(env: Mapping[str, str], root: Path) -> Plan:
    """Plan the review of a change, or the training of a commit on the default branch.

    Raises
    ------
    InputError
        This is no CI, the project is in another folder, or git does not find the base.
    """
    job = systems.here(env).job(env)
    base = _base(root, job) if job.target else ""
    changed = changed_files(root, base) if base else None
    skip = _skip(root, base, changed)
    data = not skip and any(DATA.fullmatch(name) for name in changed or ())
    return Plan(base, job.head, job.number, job.fork, changed, data, skip)


def release(env: Mapping[str, str], root: Path, released: Iterable[str], changed: bool = False) -> ReleasePlan:
    """Plan a release of the commit that is checked out; ``released`` are the tags so far, newest first.

    With ``changed`` there is also nothing to release where nothing that a model is made of changed since the release
    before, or where that release is newer: for a CI whose own rules cannot say so.

    Raises
    ------
    InputError
        This is no CI, the project is in another folder, or there is no commit.
    """
    job = systems.here(env).job(env)
    made = git(root, "show", "--no-patch", "--format=%ct %H", "HEAD")
    if not made:
        raise InputError("nothing is committed here, so there is nothing to release; commit, then run this again")
    seconds, commit = made.split()
    short = git(root, "rev-parse", "--short=7", commit)
    tag = f"model-{datetime.fromtimestamp(int(seconds), UTC):%Y.%m.%d}-{short}"
    tags = [name for name in released if name.startswith("model-")]
    skip = f"{tag} is released already: nothing to do." if tag in tags else _without_contract(root, "")
    if changed and not skip and tags:
        skip = _unchanged(root, tags[0])
    return ReleasePlan(tag, job.image, tags[0] if tags else "", skip)


def document(plan: Plan | ReleasePlan) -> dict[str, Any]:
    """Return a plan as it is written to JSON."""
    return asdict(plan) | ({"train": plan.train} if isinstance(plan, Plan) else {"todo": plan.todo})


def lines(env: Mapping[str, str], plan: Plan | ReleasePlan) -> list[str]:
    """Spell a plan, without its list of files, for the CI's way to hand values to later steps."""
    spell = systems.here(env).line
    values = {name: value for name, value in document(plan).items() if name != "changed"}
    return [spell(name, visible(_word(value))) for name, value in values.items()]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _base(root: Path, job: Job) -> str:
    """The commit to compare with.

    A CI that merges a change into its target checks that merge out: what it was merged into is the base that counts,
    which may be newer than the one that the CI names.
    """
    merged = git(root, "rev-parse", "--quiet", "--verify", "HEAD^2")
    if merged and merged == job.head:
        return git(root, "rev-parse", "HEAD^1") or ""
    if job.base:
        return job.base
    found = git(root, "merge-base", f"refs/remotes/origin/{job.target}", "HEAD")
    if not found:
        raise InputError(
            f"git finds no commit where this change left origin/{job.target}: fetch that branch with its whole history"
        )
    return found


def _skip(root: Path, base: str, changed: list[str] | None) -> str:
    if base and changed is None:
        return ""  # the review says that it does not find the base
    if changed == []:
        return NOTHING_CHANGED
    if changed is not None and all(DOCUMENTATION.fullmatch(name) for name in changed):
        return ONLY_DOCUMENTATION
    return _without_contract(root, base)


def _unchanged(root: Path, previous: str) -> str:
    """Why a release after this one would bring nothing new; empty where it would, or where git does not know it."""
    commit = previous.rpartition("-")[2]
    if git(root, "merge-base", "--is-ancestor", "HEAD", commit) is not None:
        return f"{previous} is newer than this commit: nothing to release."
    found = changed_files(root, commit)
    if found is None or any(MODEL.fullmatch(name) for name in found):
        return ""
    return f"Nothing that the model is made of changed since {previous}: nothing to release."


def _without_contract(root: Path, base: str) -> str:
    if (root / CONTRACT).is_file() or (base and file_at_commit(root, base, f"./{CONTRACT}") is not None):
        return ""
    if found := _projects(root):
        raise InputError(
            f"{CONTRACT} is not in this folder, but in {found[0]}: run this there "
            "(a workflow has working-directory for it, a script cd)"
        )
    return NO_CONTRACT


def _projects(root: Path) -> list[str]:
    """The folders below this one that hold a project of their own with a contract."""
    found = [PurePosixPath(name).parent for name in tracked_files(root) if PurePosixPath(name).name == CONTRACT]
    return [folder.as_posix() for folder in found if declared(root / folder)]
