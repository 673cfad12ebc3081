"""The seam to experiment trackers: which are known, what each can do, and what it needs of the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import NamedTuple, Protocol

from mlcicd.core.json_files import read_json
from mlcicd.core.plain_text import visible, without_credentials
from mlcicd.integrations.records import Record
from mlcicd.training.run import RELEASE

CHAMPION, PREVIOUS = "champion", "previous"  # aliases in a registry
SECRETS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_USERNAME", "WANDB_API_KEY")


class Sent(NamedTuple):
    """A run in a tracker: its id there, and where its page is below the tracker's address; empty without a page."""

    id: str
    path: str


class Release(NamedTuple):
    """What a registry is told of a release.

    ``champion``: whether it is the one to use from now on; ``pull_request``: which one brought it, as ``#12``.
    """

    tag: str
    image: str
    verdict: str
    champion: bool
    pull_request: str = ""


def release(run: Path, tag: str, image: str, champion: bool) -> Release:
    """Return what a registry is told of a run's release; the verdict is in its ``release.json``."""
    record = read_json(run / RELEASE) if (run / RELEASE).is_file() else {}
    number = record.get("pull_request")
    return Release(tag, image, str(record.get("review") or ""), champion, f"#{number}" if number else "")


class Tracker(Protocol):
    """What each kind does. Everything may be asked again: what is there already is not made twice."""

    def send(self, record: Record, parent: str | None = None) -> Sent:
        """Send a run, or what is missing of it."""
        ...

    def find(self, key: str) -> Sent | None:
        """Return the run of this key, however much of it is there."""
        ...

    def tag(self, run: str, tags: dict[str, str]) -> None:
        """Set tags of a run."""
        ...

    def register(self, record: Record, release: Release) -> str:
        """Make a run a version in the registry and return the version's name."""
        ...

    def check(self, key: str, files: dict[str, str], target: Path) -> str:
        """Return what is wrong with a registered version; empty if its files have these SHA-256."""
        ...


@dataclass(frozen=True)
class Kind:
    """A tracker that is known.

    Attributes
    ----------
    title : its name for people
    package : what has to be installed, and the dependency group that brings it
    missing : what the environment lacks to reach it; empty if it lacks nothing
    connect : the tracker; called in the process that talks to it
    address : where its pages are, for a browser; empty if that is not known
    """

    title: str
    package: str
    missing: Callable[[], str]
    connect: Callable[[str], Tracker]
    address: Callable[[], str]


def _mlflow(experiment: str) -> Tracker:
    from mlcicd.integrations.mlflow_tracker import Mlflow

    return Mlflow(experiment)


def _wandb(experiment: str) -> Tracker:
    from mlcicd.integrations.wandb_tracker import Wandb

    return Wandb(experiment)


def _no_address() -> str:
    return "" if os.environ.get("MLFLOW_TRACKING_URI", "").strip() else "MLFLOW_TRACKING_URI is not set"


def _no_key() -> str:
    if os.environ.get("WANDB_API_KEY", "").strip() or os.environ.get("WANDB_MODE") == "offline":
        return ""
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").partition("://")[2].partition("/")[0]
    try:
        known = netrc().authenticators(host.partition(":")[0])  # where `wandb login` puts it
    except (OSError, NetrcParseError):
        known = None
    return "" if known else "WANDB_API_KEY is not set, nor WANDB_MODE=offline"


def _mlflow_pages() -> str:
    return without_credentials(os.environ.get("MLFLOW_TRACKING_URI", "").strip())


def _wandb_pages() -> str:
    own = without_credentials(os.environ.get("WANDB_BASE_URL", "").strip())
    return own if own and "api.wandb.ai" not in own else "https://wandb.ai"


KINDS = {
    "mlflow": Kind("MLflow", "mlflow", _no_address, _mlflow, _mlflow_pages),
    "wandb": Kind("Weights & Biases", "wandb", _no_key, _wandb, _wandb_pages),
}


def settle(settings: dict[str, str], prefix: str) -> None:
    """Set a client's variables that nobody has set, and drop empty ones: a CI sets those whose secret is not there."""
    for name in [name for name, value in os.environ.items() if name.startswith(prefix) and not value]:
        del os.environ[name]
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def hidden(text: str) -> str:
    """Return a message without the passwords that an address or the environment holds."""
    for value in filter(None, map(os.environ.get, SECRETS)):
        text = text.replace(value, "***")
    return visible(without_credentials(" ".join(text.split())))[:400]
