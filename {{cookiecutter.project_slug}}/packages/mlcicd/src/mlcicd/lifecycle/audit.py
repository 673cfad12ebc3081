"""Verify a model's provenance: data, code, lock and approval.

A run's manifest has the commit and the SHA-256 of each file of the run, of the raw data, contract, params and lock; the
commit contains those same files. The CI job `release` adds ``release.json`` with the hash of the manifest, the pull
request, its approvals and the hash of its review. The hash of ``release.json`` is in the provenance statement of the
release, so that a forger would have to change this statement, too. If GitHub signs it, ``gh attestation verify`` checks
the signature over the network; otherwise the files of the release have to be trusted.
"""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from mlcicd.core import params, project
from mlcicd.core.errors import InputError
from mlcicd.core.json_files import read_json
from mlcicd.integrations import outbox
from mlcicd.lifecycle import attestation
from mlcicd.lifecycle.provenance import Manifest, Release
from mlcicd.rendering.blocks import money
from mlcicd.sources import dvc, raw_files
from mlcicd.sources.pins import Pin
from mlcicd.system import processes
from mlcicd.system.git import file_at_commit, git
from mlcicd.system.scratch import scratch
from mlcicd.training.run import CONTRACT, MANIFEST, METRICS, PACKED, PARAMS, RELEASE, Metrics, sha256

MACHINERY = "mlcicd"


class Link(NamedTuple):
    """One check of the chain: what was checked, and the problem; empty if there is none."""

    name: str
    problem: str = ""


def audit(target: str, root: Path, statement: Path | None = None) -> tuple[dict[str, str], list[Link]]:
    """Audit a run's folder, a bento's folder or an image.

    ``statement`` is the path of the release's provenance statement; by default it is searched beside the run.

    Returns
    -------
    Answers about the model's origin and approval, by question; and the checks in order.

    Raises
    ------
    InputError
        The target does not exist or has no manifest.
    """
    with scratch("audit") as work:
        folder = Path(target) if Path(target).exists() else _unpack(target, work / "src")
        places = (folder, folder / "run", folder / "src" / "run")
        run = next((place for place in places if (place / MANIFEST).is_file()), None)
        if run is None:
            raise InputError(f"{target}: no manifest.json in it; name a run, a bento's folder, or an image")
        manifest = Manifest.read(run / MANIFEST)
        released = Release.read(run / RELEASE) if (run / RELEASE).is_file() else None
        links = list(_links(run, manifest, released, root))
        answers = _answers(manifest, released)
        if statement and not statement.is_file():
            raise InputError(f"{statement}: no such file; the release's files hold {attestation.STATEMENT}")
        statement = statement or attestation.find(run)
        if statement:
            summary, problem = attestation.check(statement, run, manifest.commit)
            links.append(Link(attestation.STATEMENT, problem))
            answers |= {"provenance": summary} if summary else {}
        elif released:
            answers["provenance"] = f"not here; '--provenance' names the release's {attestation.STATEMENT}"
        broken = any(link.problem for link in links)  # a file that was changed may be unreadable
        asks = released and not broken and (run / PARAMS).is_file()
        if asks and (tracking := params.load(run / PARAMS).tracking):
            with outbox.opened(root, tracking) as tracker:
                found = tracker.check(run)
            if found is None:
                answers["registry"] = "not asked"
            else:
                links.append(Link("registry", found))
        if not broken:
            answers |= _cost(run)
        return answers, links


def _unpack(image: str, target: Path) -> Path:
    problem = "docker or podman is needed to read an image"
    for engine in filter(shutil.which, ("docker", "podman")):  # use the first that has the image
        process = processes.run([engine, "create", image], target.parent)
        if process.returncode == 0:
            break
        problem = f"no image of that name ({' '.join(process.stderr.split())[-200:]})"
    else:
        raise InputError(f"{image}: no such folder; {problem}")
    container = process.stdout.split()[-1]
    try:
        copied = processes.run([engine, "cp", f"{container}:/bento/src", str(target)], target.parent)
    finally:
        processes.run([engine, "rm", container], target.parent)
    if copied.returncode:
        raise InputError(f"{image}: holds no /bento/src; is it an image of 'ml package'?")
    return target


def _links(run: Path, manifest: Manifest, released: Release | None, root: Path) -> Iterator[Link]:
    packages = {
        run.parent / project.package_name(): Path("src"),
        run.parent / MACHINERY: Path("packages", MACHINERY, "src"),
    }
    for name, digest in released.files.items() if released else ():
        yield _compare_hashes(name, _hash_in_run(run, name), digest, f"the release's {RELEASE}")
    for name, digest in manifest.files.items():
        if (run / name).is_file() or name in PACKED or not any(map(Path.is_dir, packages)):
            yield _compare_hashes(name, _hash_in_run(run, name), digest, MANIFEST)
    commit = manifest.commit
    if commit is None or file_at_commit(root, commit, "") is None:
        yield Link("commit", f"{commit} is not in this repository; 'git fetch --unshallow origin' may bring it")
        return
    changed = manifest.uncommitted_changes
    yield Link("commit", f"{commit[:7]} is incomplete: files had uncommitted changes" if changed else "")
    inputs = {CONTRACT: manifest.contract, PARAMS: manifest.params, "uv.lock": manifest.lock}
    is_head = commit == git(root, "rev-parse", "HEAD")
    stored = {name: pin for name in manifest.data if (pin := dvc.pin(root, name, commit))}
    locked = {name: pin for name in manifest.data if (pin := raw_files.locked_pin(root, name, commit))}
    for name, expected in (inputs | manifest.data).items():
        if name in stored:
            yield from _in_dvc(name, stored[name], manifest, root)
            continue
        if name in locked:
            yield _in_lock(name, locked[name], manifest)
            continue
        actual = _digest(file_at_commit(root, commit, name))
        if actual is None or (is_head and (root / name).is_file() and actual == expected):
            actual = sha256(root / name)  # not in git, or checked out unchanged at this commit
        yield _compare_hashes(name, actual, expected, MANIFEST)
    for folder, place in packages.items():
        if folder.name == MACHINERY and folder.is_dir() and file_at_commit(root, commit, place.as_posix()) is None:
            yield from _installed(folder, root, commit)
            continue
        for file in sorted(folder.rglob("*.py")):
            inside = file.relative_to(run.parent)
            expected = _digest(file_at_commit(root, commit, (place / inside).as_posix()))
            yield _compare_hashes(inside.as_posix(), sha256(file), expected, f"commit {commit[:7]}")


def _in_dvc(name: str, pin: Pin, manifest: Manifest, root: Path) -> Iterator[Link]:
    """Check that manifest and pointer name one version, and one content."""
    recorded, commit = manifest.sources.get(name), str(manifest.commit)[:7]
    if recorded and recorded.version != pin.version:
        named, other = raw_files.short(pin.version), raw_files.short(recorded.version)
        yield Link(pin.pointer, f"names {named} in commit {commit}, and {MANIFEST} {other}")
        return
    for place in dvc.places(root, name, pin):
        if place.exists() and not (pin.version and dvc.differs(place, pin.version)):
            yield _compare_hashes(name, sha256(place), manifest.data[name], MANIFEST)
            return
    yield Link(name, f"is not here as {pin.pointer} names it; fetch it with 'git checkout {commit}' and 'ml data pull'")


def _in_lock(name: str, pin: Pin, manifest: Manifest) -> Link:
    """Check that manifest and lock name one place, one version there, and one content."""
    recorded, commit = manifest.sources.get(name), str(manifest.commit)[:7]
    if recorded is None or (recorded.location, recorded.revision) != (pin.location, pin.revision):
        other = f"{recorded.location} {recorded.revision}" if recorded else "nothing"
        where = f"{MANIFEST} {other.strip()}"
        return Link(name, f"is at {pin.location} {pin.revision} in {pin.pointer} of commit {commit}, and in {where}")
    expected = str(pin.version).removeprefix("sha256:")
    return _compare_hashes(name, manifest.data[name], expected, f"{pin.pointer} of commit {commit}")


def _installed(folder: Path, root: Path, commit: str) -> Iterator[Link]:
    """Compare a packed machinery from a package index with the installed one, if the commit's lock has its version."""
    try:
        packages = tomllib.loads((file_at_commit(root, commit, "uv.lock") or b"").decode()).get("package", [])
    except ValueError:
        packages = []
    locked, here = {p["name"]: p.get("version") for p in packages}.get(MACHINERY), version(MACHINERY)
    if locked != here:
        yield Link(MACHINERY, f"is {locked} in that commit's uv.lock and {here} here: 'uv sync' there, and audit again")
        return
    for file in sorted(folder.rglob("*.py")):
        inside = file.relative_to(folder)
        expected = sha256(project.MACHINERY / inside)
        yield _compare_hashes(
            (folder.name / inside).as_posix(), sha256(file), expected, f"the installed {MACHINERY} {here}"
        )


def _hash_in_run(run: Path, name: str) -> str | None:
    """Return the hash of a file in a run's folder; None if it is a link that leads out of the folder."""
    return sha256(run / name) if (run / name).resolve().is_relative_to(run.resolve()) else None


def _compare_hashes(name: str, actual: str | None, expected: str | None, where: str) -> Link:
    if actual is None:
        return Link(name, f"is missing, but {where} lists it")
    if actual == expected:
        return Link(name)
    return Link(name, f"is not what {where} says: {actual[:12]}…, not {str(expected)[:12]}…")


def _digest(content: bytes | None) -> str | None:
    if content is None:
        return None
    if content.startswith(b"version https://git-lfs"):  # a pointer, which contains the hash of the file
        return content.partition(b"oid sha256:")[2].split()[0].decode()
    return hashlib.sha256(content).hexdigest()


def _answers(manifest: Manifest, released: Release | None) -> dict[str, str]:
    """Answer the questions of an audit from the records."""
    answers = {
        "data": ", ".join(
            f"{name} {str(digest)[:12]}…{_where(manifest, name)}" for name, digest in manifest.data.items()
        ),
        "code": str(manifest.commit),
        "contract": f"{str(manifest.contract)[:12]}…",
        "params": f"{str(manifest.params)[:12]}…",
        "lock": f"{str(manifest.lock)[:12]}…",
    }
    if released is None:
        return answers | {"approval": "none: this was not released", "review": "not recorded"}
    approved, merged = ", ".join(released.approved_by) or "nobody", released.merged_by or "nobody"
    approval = f"#{released.pull_request}: {approved} approved, {merged} merged"
    if not released.pull_request:
        approval = "none: it was pushed without a pull request"
    return answers | {"approval": approval, "review": released.review or "not recorded"}


def _where(manifest: Manifest, name: str) -> str:
    source = manifest.sources.get(name)
    if source is None or not source.version:
        return ""
    return f" ({source.location or source.store}, {raw_files.short(source.revision or source.version)})"


def _cost(run: Path) -> dict[str, str]:
    cost = read_json(run / METRICS, Metrics)["holdout"].get("cost")
    settings = params.load(run / PARAMS) if (run / PARAMS).is_file() else None
    if not (settings and settings.costs and cost):
        return {}
    costs, sign = settings.costs, settings.costs.currency
    alarm, miss = money(costs.false_positive, sign), money(costs.false_negative, sign)
    value, low, high = (money(cost[key], sign) for key in ("value", "low", "high"))
    return {"cost": f"{alarm} a false positive, {miss} a false negative; {value} per case ({low} to {high})"}
