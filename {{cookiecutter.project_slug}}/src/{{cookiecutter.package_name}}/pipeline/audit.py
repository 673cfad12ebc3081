"""Can a model be traced to what it was made of, and who let it out? Every link of the chain, and the first broken one.

A run's manifest holds the SHA-256 of each of its files, of the raw data, contract, params and lock, and the commit; the
commit holds those same files. What `release` adds, ``release.json``, holds the manifest's own hash, the pull request,
its approvals and the hash of its review, and the release's provenance statement holds the hash of that. Whoever
changes a file and every hash above it ends at this statement. Where GitHub signs it, ``gh attestation verify`` is the
last link, and needs the network; elsewhere nobody signed it, and the release itself is what has to be believed.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from . import attestation, params
from .blocks import money
from .errors import InputError
from .provenance import Manifest, Release
from .runs import read_json, sha256
from .scratch import scratch

PACKED = ("model.skops", "contract.yaml", "metrics.json")  # what of a run a bento cannot lack
PACKAGE = __name__.split(".")[0]
RELEASE = "release.json"


class Link(NamedTuple):
    """One link: what is checked, and what is wrong with it (empty: nothing)."""

    name: str
    problem: str = ""


def audit(target: str, root: Path, statement: Path | None = None) -> tuple[dict[str, str], list[Link]]:
    """Check a run's folder, a bento's folder or an image.

    ``statement`` is the provenance that came with the release; one that lies with the run is found.

    Returns
    -------
    What it was made of and who let it out, by question; and the links in order.

    Raises
    ------
    InputError
        There is nothing of that name, or nothing that says what it was made of.
    """
    with scratch("audit") as work:
        folder = Path(target) if Path(target).exists() else _unpack(target, work / "src")
        places = (folder, folder / "run", folder / "src" / "run")
        run = next((place for place in places if (place / "manifest.json").is_file()), None)
        if run is None:
            raise InputError(f"{target}: no manifest.json in it; name a run, a bento's folder, or an image")
        manifest = Manifest.read(run / "manifest.json")
        released = Release.read(run / RELEASE) if (run / RELEASE).is_file() else None
        links = list(_links(run, manifest, released, root))
        answers = _answers(manifest, released)
        if statement and not statement.is_file():
            raise InputError(f"{statement}: no such file; the release's files hold {attestation.STATEMENT}")
        statement = statement or attestation.find(run)
        if statement:
            said, problem = attestation.check(statement, run, manifest.commit)
            links.append(Link(attestation.STATEMENT, problem))
            answers |= {"provenance": said} if said else {}
        elif released:
            answers["provenance"] = f"not here; '--provenance' names the release's {attestation.STATEMENT}"
        if not any(link.problem for link in links):  # whatever was tampered with may not even be read
            answers |= _cost(run)
        return answers, links


def _unpack(image: str, target: Path) -> Path:
    problem = "to look into an image, docker or podman is needed"
    for engine in filter(shutil.which, ("docker", "podman")):  # whichever has it
        made = subprocess.run([engine, "create", image], capture_output=True, text=True, check=False)
        if made.returncode == 0:
            break
        problem = f"no image of that name ({' '.join(made.stderr.split())[-200:]})"
    else:
        raise InputError(f"{image}: no such folder; {problem}")
    container = made.stdout.split()[-1]
    try:
        subprocess.run([engine, "cp", f"{container}:/bento/src", str(target)], capture_output=True, check=True)
    except subprocess.CalledProcessError as error:
        raise InputError(f"{image}: holds no /bento/src; is it an image of 'ml package'?") from error
    finally:
        subprocess.run([engine, "rm", container], capture_output=True, check=False)
    return target


def _links(run: Path, manifest: Manifest, released: Release | None, root: Path) -> Iterator[Link]:
    packed = run.parent / PACKAGE
    for name, digest in released.files.items() if released else ():
        yield _same(name, _own(run, name), digest, f"the release's {RELEASE}")
    for name, digest in manifest.files.items():
        if (run / name).is_file() or name in PACKED or not packed.is_dir():
            yield _same(name, _own(run, name), digest, "manifest.json")
    commit = manifest.commit
    if commit is None or _at(root, commit, "") is None:
        yield Link("commit", f"{commit} is not in this repository; 'git fetch --unshallow origin' may bring it")
        return
    changed = manifest.uncommitted_changes
    yield Link("commit", f"{commit[:7]} is not all: files had uncommitted changes" if changed else "")
    made = {"contract.yaml": manifest.contract, "params.yaml": manifest.params, "uv.lock": manifest.lock}
    here = commit == _text(root, "rev-parse", "HEAD")
    for name, expected in (made | manifest.data).items():
        found = _digest(_at(root, commit, name))
        if found is None or (here and (root / name).is_file() and found == expected):
            found = sha256(root / name)  # not in git, or as it lies here at this commit
        yield _same(name, found, expected, "manifest.json")
    for file in sorted(packed.rglob("*.py")) if packed.is_dir() else []:
        name = file.relative_to(run.parent).as_posix()
        yield _same(name, sha256(file), _digest(_at(root, commit, f"src/{name}")), f"commit {commit[:7]}")


def _own(run: Path, name: str) -> str | None:
    """The hash of a file in the run's own folder; what lies elsewhere, behind a link, is not the run's."""
    return sha256(run / name) if (run / name).resolve().is_relative_to(run.resolve()) else None


def _same(name: str, found: str | None, expected: str | None, where: str) -> Link:
    if found is None:
        return Link(name, f"is gone, and {where} names it")
    if found == expected:
        return Link(name)
    return Link(name, f"is not what {where} says: {found[:12]}…, not {str(expected)[:12]}…")


def _at(root: Path, commit: str, name: str) -> bytes | None:
    """A file as a commit has it; with no name, its tree."""
    command = ["git", "show", "--end-of-options", f"{commit}:{name}"]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _text(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False).stdout.strip()


def _digest(content: bytes | None) -> str | None:
    if content is None:
        return None
    if content.startswith(b"version https://git-lfs"):  # a pointer; it names the hash of what it points to
        return content.partition(b"oid sha256:")[2].split()[0].decode()
    return hashlib.sha256(content).hexdigest()


def _answers(manifest: Manifest, released: Release | None) -> dict[str, str]:
    """What whoever must explain a model asks."""
    answers = {
        "data": ", ".join(f"{name} {str(digest)[:12]}…" for name, digest in manifest.data.items()),
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


def _cost(run: Path) -> dict[str, str]:
    found = read_json(run / "metrics.json")["holdout"].get("cost")
    chosen = params.load(run / "params.yaml") if (run / "params.yaml").is_file() else None
    if not (chosen and chosen.costs and found):
        return {}
    costs, sign = chosen.costs, chosen.costs.currency
    alarm, miss = money(costs.false_positive, sign), money(costs.false_negative, sign)
    value, low, high = (money(found[key], sign) for key in ("value", "low", "high"))
    return {"cost": f"{alarm} a false positive, {miss} a false negative; {value} per case ({low} to {high})"}
