"""The command ``ml``. Heavy imports are inside the commands that need them, so that ``--help`` is fast.

Exit status: 0 for success, 1 if a check fails, 2 for invalid input, with one line about the problem and its solution.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlcicd import cli_data, cli_deploy, entry
from mlcicd.ci import commands as ci
from mlcicd.rendering.blocks import Items, Text
from mlcicd.rendering.console import append_summary, show, summarise

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From raw data to a reviewed and released model.",
)
app.add_typer(cli_data.app, name="data")
app.command()(cli_deploy.deploy)
app.add_typer(ci.app, name="ci")
RunOption = Annotated[Path, typer.Option("--run", help="Folder of a finished run.")]
ROOT = Path()
DEFAULT_RUN = Path("runs/model")


@app.command()
def init(
    table: Annotated[Path, typer.Argument(help="A CSV or Parquet file, or a folder of files with the same columns.")],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    id_: Annotated[str | None, typer.Option("--id", help="The column that identifies each row.")] = None,
    time: Annotated[str | None, typer.Option(help="Time column: train on the past, test on the future.")] = None,
    group: Annotated[str | None, typer.Option(help="The group column: rows of a group are never split.")] = None,
    task: Annotated[str | None, typer.Option(help="binary, multiclass or regression; inferred by default.")] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Delimiter of a CSV: one character, or a word such as tab.")
    ] = None,
    decimal: Annotated[str | None, typer.Option(help="The decimal sign of a CSV: '.' or ','.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of a CSV, such as utf-8, cp1252 or cp1251.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    lfs: Annotated[bool, typer.Option("--lfs", help="Store the table in Git LFS.")] = False,
) -> None:
    """Start with your own table: infer and write contract.yaml and params.yaml."""
    from mlcicd.onboarding.csv_dialect import CsvOptions
    from mlcicd.onboarding.init import init as write

    roles = {"id": id_, "time": time, "group": group}
    typer.echo(write(table, target, roles, task, force, ROOT, CsvOptions(delimiter, decimal, encoding), lfs))


@app.command()
def validate(
    table: Annotated[str | None, typer.Argument(help="A table: its file, folder, or address such as s3://…")] = None,
) -> None:
    """Check the project's data, or one table, against contract.yaml."""
    from mlcicd.contract import document as contracts
    from mlcicd.core import params
    from mlcicd.data import load
    from mlcicd.partitions import remote_parts, validation

    contract = contracts.load(ROOT / "contract.yaml")
    for warning in contracts.warnings(ROOT / "contract.yaml"):
        show(f"warning: {warning}", err=True)
    if table is None:
        loaded = load.load(contract, params.load(ROOT / "params.yaml"), ROOT)
        violations, rows = loaded.violations, loaded.raw_rows | {contract.table.name: len(loaded.table)}
    else:
        where = remote_parts.checked(table) if "://" in table else Path(table)
        violations, count = validation.check(where, contract.table, entry.place(ROOT), [contract.target.name])
        rows = {table: count}
    if violations:
        entry.stop_broken(violations)
    row_counts = "; ".join(f"{name} {count:,} rows" for name, count in rows.items())
    summarise("Data contract ✅", Text(row_counts))
    show(f"contract kept: {row_counts}")


@app.command()
def explore(out: Annotated[Path, typer.Option(help="The page to write.")] = Path("runs/explore.html")) -> None:
    """Write an HTML page about the table: target, missing values, time, every column."""
    from mlcicd.lifecycle.explore import explore as write

    show(f"page: {write(ROOT, out)}")


@app.command()
def train(out: Annotated[Path, typer.Option(help="Folder for the run.")] = DEFAULT_RUN) -> None:
    """Train and evaluate a model, and write it to a run folder with its metrics and plots."""
    from mlcicd.integrations import outbox

    with outbox.opened(ROOT) as tracker:
        from mlcicd.training.train import ContractBrokenError
        from mlcicd.training.train import train as run

        try:
            summary = run(ROOT, out)
        except ContractBrokenError as error:
            entry.stop_broken(error.violations)
        entry.show_training(summary)
        show(f"run: {out}")
        entry.show_sent(tracker, tracker.log(out))


@app.command()
def runs(
    pair: Annotated[list[Path] | None, typer.Argument(help="Two runs to show side by side.", metavar="[A B]")] = None,
    folder: Annotated[Path, typer.Option("--in", help="The folder whose runs are listed.")] = Path("runs"),
    sort: Annotated[str, typer.Option(help="when, name, commit, a metric (best first) or a key of params.")] = "when",
    reverse: Annotated[bool, typer.Option("--reverse", help="Turn the order around.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the runs of a folder, or show two side by side; a + marks changes that were not committed."""
    from mlcicd.lifecycle import run_table

    entry.show_runs(*run_table.select(pair or [], folder, sort, reverse), as_json)


@app.command()
def compare(
    baseline: Annotated[Path, typer.Argument(help="Main's run.")],
    candidate: Annotated[Path, typer.Argument(help="The branch's run.")],
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("review"),
) -> None:
    """Compare two runs; exit with 1 if a gate fails."""
    from mlcicd.review.review import keep, write
    from mlcicd.system.outputs import atomic_directory
    from mlcicd.training.run import Run

    with atomic_directory(out, "review") as work:
        code = 0 if write(keep(Run(baseline), out, work), keep(Run(candidate), out, work), work, ROOT) else 1
        text = entry.read_report(work)
    entry.finish(out, text, code)


@app.command()
def review(
    base: Annotated[str, typer.Option(help="The commit to compare with.")] = "main",
    out: Annotated[Path, typer.Option(help="Folder for the report and both runs.")] = Path("review"),
    baseline: Annotated[Path | None, typer.Option(help="The base commit's run, if it exists already.")] = None,
) -> None:
    """Review this working tree as CI would review its pull request."""
    from mlcicd.integrations import outbox
    from mlcicd.review.review import review as run
    from mlcicd.system.outputs import atomic_directory

    with outbox.opened(ROOT) as tracker, atomic_directory(out, "review") as work:
        code = run(ROOT, base, work, baseline, tracker)
        text = entry.read_report(work)
    entry.finish(out, text, code)


@app.command()
def track(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")] = DEFAULT_RUN,
    release: Annotated[str | None, typer.Option(help="Also register it as this release's model version.")] = None,
    image: Annotated[str, typer.Option(help="The release's image, by digest.")] = "",
    champion: Annotated[bool, typer.Option(help="Make it the registered model's champion.")] = True,
) -> None:
    """Send a run to the tracker that params.yaml names, or what is missing of it; register a release there."""
    entry.track(ROOT, run, release, image, champion)


@app.command()
def predict(
    table: Annotated[Path, typer.Argument(help="A file with the contract's columns, or a folder of its parts.")],
    out: Annotated[Path, typer.Option(help="A file: .parquet, .csv, .tsv or .csv.gz; for Parquet parts a folder.")],
    run: RunOption = DEFAULT_RUN,
) -> None:
    """Predict for a table, in bounded memory."""
    show(entry.score(ROOT, table, out, run))


@app.command()
def package(
    run: RunOption = DEFAULT_RUN,
    image: Annotated[str | None, typer.Option(help="NAME:TAG of the image; the bento's own by default.")] = None,
    engine: Annotated[str, typer.Option(help="auto, docker, podman, buildah, or none for the bento alone.")] = "auto",
) -> None:
    """Build a bento from a run, and a container image if a container engine is installed."""
    from mlcicd.packaging.bento import build

    for key, value in build(run, image, engine).items():
        show(f"{key}: {value}")


@app.command()
def serve(
    run: RunOption = DEFAULT_RUN,
    port: Annotated[int, typer.Option(help="The port on localhost.")] = 3000,
    reload: Annotated[bool, typer.Option(help="Restart when the code changes.")] = False,
) -> None:
    """Serve a run over HTTP."""
    from mlcicd.packaging.bento import serve as start

    sys.exit(start(run, port, reload))


@app.command()
def smoke(
    url: Annotated[str, typer.Argument(help="The URL of a running server.")], run: RunOption = DEFAULT_RUN
) -> None:
    """Test a running server against a run: readiness, predictions, refusal of invalid input."""
    from mlcicd.packaging.smoke import check_server

    passed, lines = check_server(url, run)
    show(*lines)
    summarise(f"Smoke test {'✅' if passed else '❌'}", Items(lines))
    sys.exit(0 if passed else 1)


@app.command()
def drift(
    table: Annotated[
        Path | None,
        typer.Argument(help="A file with the contract's columns; by default prepare.new_data is called."),
    ] = None,
    run: RunOption = DEFAULT_RUN,
    out: Annotated[Path, typer.Option(help="Folder for drift.json, drift.md and drift.html.")] = Path("drift"),
) -> None:
    """Detect drift of the data since training; exit with 1 if there is any."""
    from mlcicd.integrations import outbox
    from mlcicd.lifecycle import drift_report
    from mlcicd.lifecycle.drift import drift as compare
    from mlcicd.system.outputs import atomic_directory
    from mlcicd.training.run import Run

    with atomic_directory(out, "drift") as work:
        trained = Run(run)
        report = compare(trained, ROOT, table)
        text = drift_report.write(report, trained, ROOT, work)
    append_summary(text)
    typer.echo(text)
    show(f"report: {out / 'drift.md'}")
    with outbox.opened(ROOT) as tracker:
        tracker.drift(run, report)
    sys.exit(0 if report["verdict"] == "stable" else 1)


@app.command()
def card(run: RunOption = DEFAULT_RUN) -> None:
    """Print the model card of a run."""
    from mlcicd.lifecycle.model_card import card as write
    from mlcicd.rendering import markdown
    from mlcicd.training.run import Run

    typer.echo(markdown.render(write(Run(run))), nl=False)


@app.command()
def audit(
    target: Annotated[str, typer.Argument(help="A run's folder, a bento's folder, or an image.")],
    provenance: Annotated[
        Path | None, typer.Option(help="The release's provenance.json; by default beside a run.")
    ] = None,
) -> None:
    """Verify a model's provenance (data, code, approval); exit with 1 if a check fails."""
    from mlcicd.lifecycle.audit import audit as check

    answers, links = check(target, ROOT, provenance)
    lines = [f"{question}: {answer}" for question, answer in answers.items()]
    problems = [f"{link.name} {link.problem}" for link in links if link.problem]
    show(*lines, f"{len(links) - len(problems)} of {len(links)} links hold")
    summarise(f"Audit {'❌' if problems else '✅'}", Items([*lines, *problems[:1]]))
    if problems:
        entry.stop(f"broken: {problems[0]}", 1)


@app.command()
def releases(
    folder: Annotated[Path, typer.Argument(help="The runs of all releases, each in a folder with the release's name.")],
    drift: Annotated[Path | None, typer.Option(help="The last drift.json of 'ml drift'.")] = None,
    note: Annotated[str, typer.Option(help="A sentence to show at the top.")] = "",
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("site/index.html"),
) -> None:
    """Write a page about all releases."""
    from mlcicd.lifecycle.releases import page
    from mlcicd.rendering import html
    from mlcicd.system.marks import is_page
    from mlcicd.system.outputs import atomic_file

    with atomic_file(out, is_page) as work:
        work.write_text(html.render(page(folder, drift, note)), encoding="utf-8")
    show(f"page: {out}")


def main() -> None:
    """Run ``ml``."""
    entry.run(app)


if __name__ == "__main__":
    main()
