"""The commands `ml ci …`, which a pipeline runs to learn what is to be done."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlcicd.rendering.console import show

if TYPE_CHECKING:
    from mlcicd.ci.plan import Plan, ReleasePlan

app = typer.Typer(help="In a CI's job: what is to be done.", no_args_is_help=True)
release = typer.Typer(help="In a CI's job: what is to be released.", no_args_is_help=True)
app.add_typer(release, name="release")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines for the CI.")]


@app.command()
def plan(as_json: Json = False) -> None:
    """Print base, head, number, whether data changed, and why there is nothing to train."""
    from mlcicd.ci import plan as plans

    _print(plans.review(os.environ, Path()), as_json)


@app.command()
def review(
    out: Annotated[Path, typer.Option(help="Folder for the report and both runs.")] = Path("review"),
    baseline: Annotated[Path | None, typer.Option(help="The base commit's run, if a cache had it.")] = None,
) -> None:
    """Review a change: plan, train or restore the base, compare; leaves a report whatever fails."""
    from mlcicd.ci.review import review as run
    from mlcicd.rendering.console import append_summary

    code, text = run(os.environ, Path(), out, baseline)
    append_summary(text)
    typer.echo(text)
    raise typer.Exit(code)


@release.command("plan")
def release_plan(
    released: Annotated[
        Path | None, typer.Option(help="A file of the tags so far, newest first; - reads them.")
    ] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Skip where the model's files are those of the release before.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print tag, image, the release before, and why there is nothing to release."""
    from mlcicd.ci import plan as plans

    text = "" if released is None else sys.stdin.read() if released == Path("-") else released.read_text("utf-8")
    _print(plans.release(os.environ, Path(), text.split(), changed), as_json)


def _print(found: Plan | ReleasePlan, as_json: bool) -> None:
    from mlcicd.ci import plan as plans

    if as_json:
        typer.echo(json.dumps(plans.document(found), indent=2))
    else:
        show(*plans.lines(os.environ, found))
