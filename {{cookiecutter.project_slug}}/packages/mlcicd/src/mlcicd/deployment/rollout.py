"""The order of a roll-out, the same for each target: try without traffic, promote, and go back if it fails."""

from __future__ import annotations

from pathlib import Path

from mlcicd.core.errors import InputError
from mlcicd.deployment import release as releases
from mlcicd.deployment import shadow_stage
from mlcicd.deployment.release import Release
from mlcicd.deployment.targets import Mirroring, RollOutError, Target, opened
from mlcicd.packaging.smoke import check_server

STATUS, ROLLBACK = "status", "rollback"


def deploy(what: str, environment: str, root: Path, *, only_write: bool = False) -> tuple[bool, list[str]]:
    """Do what ``ml deploy`` is asked for.

    Parameters
    ----------
    what : ``status``, ``rollback``, or a release: its tag, or a folder with its files
    environment : where, for example ``staging``
    only_write : name the release in the project's files, and do no more

    Returns
    -------
    Whether it succeeded, and lines for people.
    """
    target = opened(root, environment)
    if only_write:
        if what in (STATUS, ROLLBACK):
            raise InputError(f"--only-write: writes a release, not '{what}'; name the release")
        with releases.opened(what, root) as release:
            target.check(release)
            target.pin(release)
        return True, [f"{environment}: {release.name} is written, and not rolled out: {release.image}"]
    if what == STATUS:
        return True, [_now(target, environment)]
    if what == ROLLBACK:
        if target.running() is None:
            raise InputError(f"{environment}: nothing is rolled out, so there is no version to go back to")
        with target.lock(ROLLBACK):
            return _back(target, environment)
    with releases.opened(what, root) as release:
        target.check(release)
        with target.lock(release.name):
            return roll_out(target, release, environment, root)


def roll_out(target: Target, release: Release, environment: str, root: Path) -> tuple[bool, list[str]]:
    """Try a release beside the running version, then promote it; return to the version before if it fails."""
    first = target.running() is None
    lines: list[str] = []
    try:
        with target.candidate(release) as url:
            passed, lines = check_server(url, release.run)
            if not passed:  # inside, so that a target can tell
                raise RollOutError(f"{release.name} failed its smoke test")
            if isinstance(target, Mirroring):
                passed, compared = shadow_stage.compare(target, release, root)
                lines += compared
                if not passed:
                    raise RollOutError(f"{release.name} failed beside the running version")
    except RollOutError as error:
        return False, [*lines, str(error), f"{release.name} was not rolled out; {_now(target, environment)}"]
    try:
        target.promote(release)
    except RollOutError as error:
        lines.append(str(error))
        if first:
            return False, [*lines, f"there is no version to go back to; {_now(target, environment)}"]
        return False, [*lines, *_back(target, environment)[1]]
    return True, [*lines, _now(target, environment)]


def _back(target: Target, environment: str) -> tuple[bool, list[str]]:
    try:
        target.rollback()
    except RollOutError as error:
        return False, [str(error), _now(target, environment)]
    return True, [f"rolled back; {_now(target, environment)}"]


def _now(target: Target, environment: str) -> str:
    return f"{environment}: {target.running() or 'nothing is rolled out'}"
