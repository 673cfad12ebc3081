"""GitHub Actions, as its environment and the event's file describe a job."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcicd.ci.job import Job
from mlcicd.core.errors import InputError

VARIABLE = "GITHUB_ACTIONS"
SERVERS = re.compile(r"https://(github\.com|[\w.-]+\.ghe\.com)")


def job(env: Mapping[str, str]) -> Job:
    """Read a job's environment.

    Raises
    ------
    InputError
        The server is a GitHub Enterprise Server, or the event cannot be read.
    """
    if not SERVERS.fullmatch(env.get("GITHUB_SERVER_URL", "https://github.com")):
        raise InputError(
            "GitHub Enterprise Server is not supported: it has neither the artifacts nor the attestations used here."
        )
    event = _event(env)
    pull, group = event.get("pull_request") or {}, event.get("merge_group") or {}
    head, base = pull.get("head") or {}, pull.get("base") or {}
    repository = env.get("GITHUB_REPOSITORY", "")
    target = base.get("ref") or str(group.get("base_ref") or "").removeprefix("refs/heads/")
    if not target and env.get("GITHUB_EVENT_NAME") != "push":
        target = (event.get("repository") or {}).get("default_branch") or "main"
    return Job(
        head=head.get("sha") or env.get("GITHUB_SHA", ""),
        target=target,
        base=base.get("sha") or group.get("base_sha") or "",
        number=_number(pull.get("number") or (event.get("inputs") or {}).get("number") or 0),
        fork=bool(pull) and (head.get("repo") or {}).get("full_name") != repository,
        image=f"ghcr.io/{repository.lower()}",
    )


def line(name: str, value: str) -> str:
    """Spell an output for the file GITHUB_OUTPUT."""
    return f"{name}={value}"


def _event(env: Mapping[str, str]) -> dict[str, Any]:
    path = Path(env.get("GITHUB_EVENT_PATH", ""))
    try:
        event = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"GITHUB_EVENT_PATH: '{path}' holds no event ({error}); run this in a workflow") from error
    if not isinstance(event, dict):
        raise InputError(f"GITHUB_EVENT_PATH: '{path}' holds no event; run this in a workflow")
    return event


def _number(value: object) -> int:
    if re.fullmatch(r"[0-9]{1,9}", str(value)):
        return int(str(value))
    raise InputError(f"number: {str(value)[:50]!r} is no number of a pull request; give it as digits, such as 12")
