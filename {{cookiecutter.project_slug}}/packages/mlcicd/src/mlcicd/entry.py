"""What all commands share: startup, error handling, output and exit status."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from mlcicd.core.errors import InputError
from mlcicd.core.project import unexpected
from mlcicd.rendering.blocks import Items
from mlcicd.rendering.console import append_summary, open_streams, show, summarise
from mlcicd.system import signals

if TYPE_CHECKING:
    from mlcicd.compute.places import Place
    from mlcicd.integrations.outbox import Outbox
    from mlcicd.integrations.trackers import Sent
    from mlcicd.validation.rules import Violation


def run(app: typer.Typer) -> None:
    """Run ``ml``; convert errors to one line and an exit status."""
    open_streams()
    signals.install()
    # Spinning threads triple the processor time of a training on shared cores.
    # Lower case, since libgomp compares by locale, and in Turkish PASSIVE does not match passive.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Imports create many objects but no garbage; collecting it takes a tenth of the startup time.
    gc.set_threshold(10_000)
    try:
        if next(Path().glob(".init.ml-work*"), None):  # avoid the import if there is nothing to recover
            from mlcicd.system.transaction import recover

            recover(Path())
        code = app(sys.argv[1:] or ["--help"], prog_name="ml", standalone_mode=False)
        sys.stdout.flush()
    except InputError as error:
        stop(str(error), 2)
    except typer.TyperException as error:
        stop(f"{error.format_message()} (see 'ml --help')", 2)
    except (typer.Abort, KeyboardInterrupt):
        stop("stopped", signals.status())
    except Exception as error:  # the user's code may raise anything
        stop(unexpected(error), 2)
    if signals.received and code == 130:  # typer's exit status of a KeyboardInterrupt
        stop("stopped", signals.status())
    sys.exit(code if isinstance(code, int) else 0)


def stop(message: str, code: int) -> NoReturn:
    """Print a message and exit."""
    show(f"ml: {message}", err=True)
    sys.exit(code)


def stop_broken(violations: list[Violation]) -> NoReturn:
    """List the violations of the contract and exit with 1."""
    lines = [str(v) for v in violations]
    summarise("Data contract ❌", Items(lines))
    show(*(f"ml: contract broken: {line}" for line in lines), err=True)
    sys.exit(1)


def show_training(summary: dict[str, Any]) -> None:
    """Print what a training measured, and what its owner should look at."""
    from mlcicd.evaluation import metrics
    from mlcicd.rendering import blocks
    from mlcicd.training import diagnostic_checks

    labels = metrics.labels(summary["task"])
    lines = [
        f"{labels[name]}: {blocks.number(metric['value'])} "
        f"({100 * summary['confidence']:g} % CI {blocks.interval(metric['low'], metric['high'])})"
        for name, metric in summary["holdout"].items()
    ]
    rows, split = summary["rows"], summary["split"]
    show(f"split: {split['method']}, {split['reason']}")
    show(f"{rows['train']:,} rows to train on, {rows['holdout']:,} rows held out")
    show(*lines)
    for name, share in summary["missing"].items():
        if share > 0.3:
            show(f"warning: {name} is missing in {100 * share:.0f} % of the rows", err=True)
    for sentence in [*diagnostic_checks.failed_checks(summary["checks"]), *summary["warnings"]]:
        show(f"warning: {sentence}", err=True)


def show_sent(tracker: Outbox, sent: Sent | None) -> None:
    """Print where a tracker shows a run."""
    from mlcicd.rendering.blocks import below

    if sent:
        show(f"{tracker.title}: {below(tracker.address, sent.path) or sent.id}")


def track(root: Path, run: Path, release: str | None, image: str, champion: bool) -> None:
    """Send a run to the tracker, and register it where it is a release."""
    from mlcicd.integrations import outbox, trackers

    with outbox.opened(root, always=release is None) as tracker:
        if release is None:
            show_sent(tracker, tracker.log(run, limit=None))
            return
        version = tracker.register(run, trackers.release(run, release, image, champion))
        if version:
            show(f"{tracker.title}: {version}")


def place(root: Path) -> Callable[[int], AbstractContextManager[Place]]:
    """Return what opens the place where so many parts of a table are worked on; one alone is worked on here."""
    from mlcicd.compute import places
    from mlcicd.core import params
    from mlcicd.training.run import say

    settings = root / "params.yaml"

    def opened(parts: int) -> AbstractContextManager[Place]:
        compute = params.load(settings).compute if parts > 1 and settings.is_file() else None
        return places.opened(compute, say, parts)

    return opened


def score(root: Path, table: Path, out: Path, run: Path) -> str:
    """Score a table, or each part of a folder, and return one line about it."""
    from mlcicd.scoring import parts, predict

    if not parts.is_for_parts(table, out):
        return f"{predict.predict(table, out, run):,} rows scored: {out}"
    rows, count, before = parts.predict(table, out, run, place(root))
    done = f", {before:,} of which were done before" if before else ""
    return f"{rows:,} rows in {count:,} parts scored{done}: {out}"


def read_report(folder: Path) -> str:
    """Return the report in a review's folder."""
    return (folder / "report.md").read_text(encoding="utf-8")


def finish(out: Path, text: str, code: int) -> NoReturn:
    """Print a review's report and exit with its status."""
    append_summary(text)
    interactive = sys.stdout.isatty()
    typer.echo(text.partition("<details>")[0] if interactive else text)
    show(f"report: {out / 'report.html'}")
    if interactive and not os.environ.get("CI"):
        import webbrowser

        webbrowser.open((out / "report.html").resolve().as_uri())
    sys.exit(code)


def show_runs(lines: list[list[str]], document: list[dict[str, Any]], problems: list[str], as_json: bool) -> None:
    """Print a table of runs, or the same as JSON; what cannot be read is a warning."""
    from mlcicd.lifecycle import run_table

    for problem in problems:
        show(f"warning: {problem}", err=True)
    if as_json:
        typer.echo(json.dumps(document, indent=2, default=str))
    else:
        show(*run_table.align(lines))
