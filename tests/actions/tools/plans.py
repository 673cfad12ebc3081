"""What GitHub allows a repository by visibility, owner, plan and server: the table, and its refusals.

The state folder's `plan` names the row of `plans.json`; without it the repository is public.
"""

import json
import sys
from pathlib import Path
from typing import Any

from state import STANDIN

TABLE: dict[str, Any] = json.loads(Path(__file__).parents[1].joinpath("plans.json").read_text(encoding="utf-8"))


def setup() -> dict[str, Any]:
    """The row of this repository."""
    chosen = STANDIN / "plan"
    name = chosen.read_text().strip() if chosen.exists() else "public-organisation-free"
    return next(row for row in TABLE["setups"] if row["id"] == name)


def refuse(feature: str) -> None:
    """End as GitHub does where the plan lacks a feature."""
    if setup()["id"] not in named(feature)["allowed"]:
        refuse_always(feature)


def refuse_always(feature: str) -> None:
    """End as GitHub does where a limit of a feature is hit."""
    words = named(feature)["refusal"]
    sys.exit(f"::error::{words[setup()['owner']] if isinstance(words, dict) else words}")


def named(feature: str) -> dict[str, Any]:
    """One feature of the table."""
    return next(entry for entry in TABLE["features"] if entry["id"] == feature)
