"""A release: its image by digest, and the run whose predictions the image must give."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlcicd.core.errors import InputError
from mlcicd.lifecycle.attestation import DIGEST, IMAGE, RECORD, RUN, STATEMENT
from mlcicd.system import processes
from mlcicd.system.scratch import scratch
from mlcicd.training.run import sha256

TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")


@dataclass(frozen=True)
class Release:
    """A release whose files are at hand."""

    name: str
    repository: str
    digest: str
    run: Path

    @property
    def image(self) -> str:
        """The image's name with its digest."""
        return f"{self.repository}@{self.digest}"


@contextmanager
def opened(name: str, root: Path) -> Iterator[Release]:
    """Yield a release; its run lies in a temporary folder meanwhile.

    Parameters
    ----------
    name : the tag of a GitHub release, or a folder with its ``provenance.json`` and ``run.tar.gz``
    root : the project's folder, whose remote has the release

    Raises
    ------
    InputError
        There is no such release, or its files do not belong together.
    """
    with scratch("deploy") as work:
        folder = root / name
        if not folder.is_dir():
            folder = work / "release"
            _download(name, root, folder)
        repository, digest = _image(folder / STATEMENT, folder / RUN)
        yield Release(Path(name).name, repository, digest, _unpacked(folder / RUN, work))


def _download(tag: str, root: Path, folder: Path) -> None:
    if not TAG.fullmatch(tag):
        raise InputError(f"{tag}: is neither a folder nor the name of a release; 'gh release list' names them")
    folder.mkdir()
    patterns = [word for file in (STATEMENT, RUN) for word in ("--pattern", file)]
    try:
        done = processes.run(["gh", "release", "download", tag, *patterns, "--dir", str(folder)], root)
    except FileNotFoundError:
        raise InputError(
            f"'gh' is not installed; install it, or download {STATEMENT} and {RUN} of {tag} and name their folder"
        ) from None
    if done.returncode:
        raise InputError(f"{tag}: gh cannot download it ({_first(done.stderr)}); 'gh release list' names the releases")


def _image(statement: Path, run: Path) -> tuple[str, str]:
    """Return the image's name and digest from a release's statement, after a look whether the run is of it, too."""
    try:
        subjects = json.loads(statement.read_text(encoding="utf-8"))["subject"]
        digests = {subject["name"]: subject["digest"]["sha256"] for subject in subjects}
        name = next(name for name in digests if name not in (RECORD, RUN))
        if not (IMAGE.fullmatch(name) and DIGEST.fullmatch(digests[name])):
            raise ValueError
    except FileNotFoundError:
        raise InputError(f"{statement}: no such file; download it from the release") from None
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        raise InputError(f"{statement}: is not what 'release' writes; download it again") from None
    if not run.is_file():
        raise InputError(f"{run}: no such file; download it from the release")
    if sha256(run) != digests.get(RUN):
        raise InputError(f"{run}: is not the run that {STATEMENT} names; download both from one release")
    return name, f"sha256:{digests[name]}"


def _unpacked(archive: Path, work: Path) -> Path:
    try:
        with tarfile.open(archive) as packed:
            packed.extractall(work / "run", filter="data")
        return next(path.parent for path in (work / "run").glob("*/manifest.json"))
    except (tarfile.TarError, EOFError, StopIteration):
        raise InputError(f"{archive}: holds no run; download it again") from None


def _first(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")[:300]
