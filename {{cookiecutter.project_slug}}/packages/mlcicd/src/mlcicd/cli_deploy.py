"""The command ``ml deploy``: roll a release out, show what runs, go back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlcicd.rendering.blocks import Items
from mlcicd.rendering.console import show, summarise

ROOT = Path()


def deploy(
    what: Annotated[str, typer.Argument(help="status, rollback, or a release to roll out.", metavar="WHAT")] = "status",
    to: Annotated[str, typer.Option(help="The environment, as deploy/ names it.")] = "staging",
    only_write: Annotated[
        bool, typer.Option("--only-write", help="Name the release in the files, where Argo CD or Flux rolls out.")
    ] = False,
) -> None:
    """Roll out a release after a smoke test without traffic; show what runs; go back."""
    from mlcicd.deployment.rollout import deploy as run

    passed, lines = run(what, to, ROOT, only_write=only_write)
    show(*lines)
    summarise(f"Deployment {'✅' if passed else '❌'}", Items(lines))
    sys.exit(0 if passed else 1)
