"""What every target answers; ``opened`` finds the one that a project has."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from mlcicd.core.errors import InputError
from mlcicd.deployment.release import Release


class RollOutError(Exception):
    """The target took a version, and the version did not become ready there. The message is one line."""


@dataclass(frozen=True)
class Running:
    """What a target runs: the image by digest, the release that it was called, and its replicas."""

    image: str
    release: str
    ready: int
    wanted: int

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.release}, {self.ready} of {self.wanted} ready: {self.image}"


class Target(Protocol):
    """A place where releases run. What it cannot do at all is an InputError."""

    def check(self, release: Release) -> None:
        """Refuse a release that the project's files cannot name, before anything is touched."""

    def lock(self, what: str) -> AbstractContextManager[None]:
        """Keep a second roll-out or rollback away; an InputError says who is at work already."""

    def running(self) -> Running | None:
        """Return what runs now; None before the first roll-out."""

    def candidate(self, release: Release) -> AbstractContextManager[str]:
        """Run a release beside the running one, without traffic; yield its URL, or raise a RollOutError.

        An exception inside the block says that it failed its test.
        """

    def promote(self, release: Release) -> None:
        """Give a release the traffic; raise a RollOutError if it does not become ready."""

    def pin(self, release: Release) -> None:
        """Name a release in the project's files and leave the target alone, where another tool follows git."""

    def rollback(self) -> None:
        """Return to the version before; raise a RollOutError if it does not become ready."""


@runtime_checkable
class Mirroring(Protocol):
    """A target whose running version can copy its requests to the candidate."""

    def mirrors(self) -> dict[str, str] | None:
        """Return the metrics of each pod that copies its requests, by its name; None where nothing is to be copied."""


def opened(root: Path, environment: str) -> Target:
    """Return the project's target.

    Raises
    ------
    InputError
        The project has none, or no such environment.
    """
    if (root / "deploy/kubernetes").is_dir():
        from mlcicd.deployment.kubernetes import Kubernetes

        return Kubernetes(root, environment)
    if (root / "deploy/sagemaker").is_dir():
        from mlcicd.deployment.sagemaker import SageMaker

        return SageMaker(root, environment)
    raise InputError(
        "deploy/: the project has no target to roll out to; add one: "
        """uvx cruft update --variables-to-update '{"deploy": "kubernetes"}'"""
    )
