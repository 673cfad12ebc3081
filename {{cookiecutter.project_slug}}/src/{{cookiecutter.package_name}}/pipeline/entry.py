"""What all commands share: how they start and end, what they print, and their exit status."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from . import signals
from .blocks import Items
from .console import append_summary, open_streams, show, summarise
from .errors import InputError, unexpected

if TYPE_CHECKING:
    from .rules import Violation


def run(app: typer.Typer) -> None:
    """Run ``ml`` and turn what goes wrong into one line and an exit status."""
    open_streams()
    signals.install()
    # Threads that wait by spinning triple the processor time of a training that shares its cores with anything else.
    # In lower case: libgomp compares by the locale's rules, and in Turkish ones PASSIVE is not passive.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Imports make hundreds of thousands of objects, none of them garbage: looking for some is a tenth of each start.
    gc.set_threshold(10_000)
    try:
        if next(Path().glob(".init.ml-work*"), None):  # a hint that costs nothing; the rest is imported if it is there
            from .together import recover

            recover(Path())
        code = app(sys.argv[1:] or ["--help"], prog_name="ml", standalone_mode=False)
        sys.stdout.flush()
    except InputError as error:
        stop(str(error), 2)
    except typer.TyperException as error:
        stop(f"{error.format_message()} (see 'ml --help')", 2)
    except (typer.Abort, KeyboardInterrupt):
        stop("stopped", signals.status())
    except Exception as error:  # whatever the user's code raises becomes one line
        stop(unexpected(error), 2)
    if signals.received and code == 130:  # what typer makes of a KeyboardInterrupt
        stop("stopped", signals.status())
    sys.exit(code if isinstance(code, int) else 0)


def stop(message: str, code: int) -> NoReturn:
    """Say why the command ends, and end it."""
    show(f"ml: {message}", err=True)
    sys.exit(code)


def broken(violations: list[Violation]) -> NoReturn:
    """List the rules that the data breaks, and end with 1."""
    lines = [str(v) for v in violations]
    summarise("Data contract ❌", Items(lines))
    show(*(f"ml: contract broken: {line}" for line in lines), err=True)
    sys.exit(1)


def report_of(folder: Path) -> str:
    """Read the report that a review wrote."""
    return (folder / "report.md").read_text(encoding="utf-8")


def finish(out: Path, text: str, code: int) -> NoReturn:
    """Print a review's report, and end with its exit status."""
    append_summary(text)
    person = sys.stdout.isatty()
    typer.echo(text.partition("<details>")[0] if person else text)
    show(f"report: {out / 'report.html'}")
    if person and not os.environ.get("CI"):
        import webbrowser

        webbrowser.open((out / "report.html").resolve().as_uri())
    sys.exit(code)
