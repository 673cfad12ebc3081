"""What a pull request was compared with: its base is its own choice, and may be another one a minute later.

Only a review against the default branch counts. The check stands on the head commit: one that was won against a branch
`weak`, which holds a worse model already, would stay green when the pull request is pointed at main afterwards.
"""

import re
from collections.abc import Callable
from typing import Any

# GitHub changes the base by itself when the base branch is deleted.
CHANGES = {"base_ref_changed", "automatic_base_change_succeeded"}
MAX_PAGES = 20


def is_default(pull: dict[str, Any], default: str) -> bool:
    """Whether a pull request is to be merged into the default branch."""
    return bool(pull["base"]["ref"] == default)


def note(pull: dict[str, Any], default: str) -> str:
    """Return what stands above a review that does not count; empty where it counts."""
    if is_default(pull, default):
        return ""
    name = re.sub(r"[^\w./-]", "?", pull["base"]["ref"], flags=re.ASCII)[:100]
    return (
        f"> [!IMPORTANT]\n> This is a comparison with `{name}`, which this pull request is to be merged into, and not "
        f"with `{default}`: it sets no check. Pointed at `{default}`, the pull request is reviewed anew.\n\n"
    )


def is_queue(branch: str, default: str) -> bool:
    """Whether a branch is the default branch's merge queue, as GitHub names its commits."""
    return branch.startswith(f"gh-readonly-queue/{default}/")


def last_change(number: int, get: Callable[[str], Any]) -> str:
    """Return when the base was changed last, as GitHub writes times; empty where it never was.

    ``get`` answers for a path below the repository.
    """
    found = ""
    for page in range(1, MAX_PAGES + 1):
        events = get(f"issues/{number}/events?per_page=100&page={page}")
        found = max([found, *(str(event["created_at"]) for event in events if event["event"] in CHANGES)])
        if len(events) < 100:
            return found
    return "9999"  # nobody knows: later than any review


def is_older(when: str, number: int, get: Callable[[str], Any]) -> bool:
    """Whether something was made before, or at the moment when, the base was changed last."""
    changed = last_change(number, get)
    return bool(changed) and when <= changed
