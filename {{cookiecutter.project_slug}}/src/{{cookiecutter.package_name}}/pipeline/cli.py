"""The command ``ml``. Heavy imports stay inside the commands that need them, so that ``--help`` answers at once.

Exit status: 0 yes; 1 the check says no; 2 the input is wrong, with one line that says what, where and what to do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import entry
from .blocks import Items, Text
from .console import append_summary, show, summarise

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From raw data to a reviewed and released model.",
)
RunOption = Annotated[Path, typer.Option("--run", help="Folder of a finished run.")]
ROOT = Path()
DEFAULT_RUN = Path("runs/model")


@app.command()
def init(
    table: Annotated[Path, typer.Argument(help="A CSV or Parquet file, or a folder of files with the same columns.")],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    id_: Annotated[str | None, typer.Option("--id", help="The column that names each row.")] = None,
    time: Annotated[str | None, typer.Option(help="The time: train on the past, judge the future.")] = None,
    group: Annotated[str | None, typer.Option(help="The column whose equal values belong together.")] = None,
    task: Annotated[str | None, typer.Option(help="binary, multiclass or regression; else by the target.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Of a CSV: one character, or a word such as tab.")] = None,
    decimal: Annotated[str | None, typer.Option(help="The decimal sign of a CSV: '.' or ','.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a CSV, such as utf-8, cp1252 or cp1251.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Begin with your own table: write contract.yaml and params.yaml, and show what was decided."""
    from .init import init as write
    from .sniff import Given

    roles = {"id": id_, "time": time, "group": group}
    typer.echo(write(table, target, roles, task, force, ROOT, Given(delimiter, decimal, encoding)))


@app.command()
def validate(
    table: Annotated[Path | None, typer.Argument(help="A file shaped like the contract's table.")] = None,
) -> None:
    """Check the project's data, or one table, against contract.yaml."""
    from . import contract as contracts
    from . import data, params, streams

    contract = contracts.load(ROOT / "contract.yaml")
    for warning in contracts.warnings(ROOT / "contract.yaml"):
        show(f"warning: {warning}", err=True)
    if table is None:
        loaded = data.load(contract, params.load(ROOT / "params.yaml"), ROOT)
        violations, rows = loaded.violations, loaded.raw_rows | {contract.table.name: len(loaded.table)}
    else:
        violations, count = streams.check(table, contract.table, optional=[contract.target.name])
        rows = {str(table): count}
    if violations:
        entry.broken(violations)
    counted = "; ".join(f"{name} {count:,} rows" for name, count in rows.items())
    summarise("Data contract ✅", Text(counted))
    show(f"contract kept: {counted}")


@app.command()
def explore(out: Annotated[Path, typer.Option(help="The page to write.")] = Path("runs/explore.html")) -> None:
    """Describe the table on one HTML page: target relations, gaps, time, every column."""
    from .explore import explore as write

    show(f"page: {write(ROOT, out)}")


@app.command()
def train(out: Annotated[Path, typer.Option(help="Folder for the run.")] = DEFAULT_RUN) -> None:
    """Train and evaluate a model; write everything about it to a run folder."""
    from . import blocks, checks, metrics
    from .train import ContractBrokenError
    from .train import train as run

    try:
        summary = run(ROOT, out)
    except ContractBrokenError as error:
        entry.broken(error.violations)
    labels = metrics.labels(summary["task"])
    lines = [
        f"{labels[name]}: {blocks.number(found['value'])} "
        f"({100 * summary['confidence']:g} % CI {blocks.interval(found['low'], found['high'])})"
        for name, found in summary["holdout"].items()
    ]
    rows, split = summary["rows"], summary["split"]
    show(f"split: {split['method']}, {split['reason']}")
    show(f"{rows['train']:,} rows to train on, {rows['holdout']:,} rows held out")
    show(*lines)
    for name, share in summary["missing"].items():
        if share > 0.3:
            show(f"warning: {name} is missing in {100 * share:.0f} % of the rows", err=True)
    for sentence in [*checks.fired(summary["checks"]), *summary["warnings"]]:
        show(f"warning: {sentence}", err=True)
    show(f"run: {out}")


@app.command()
def compare(
    baseline: Annotated[Path, typer.Argument(help="Main's run.")],
    candidate: Annotated[Path, typer.Argument(help="The branch's run.")],
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("review"),
) -> None:
    """Compare two runs; exit with 1 when a gate fails."""
    from .outputs import atomic_directory
    from .review import keep, write
    from .runs import Run

    with atomic_directory(out, "review") as work:
        code = 0 if write(keep(Run(baseline), out, work), keep(Run(candidate), out, work), work, ROOT) else 1
        text = entry.report_of(work)
    entry.finish(out, text, code)


@app.command()
def review(
    base: Annotated[str, typer.Option(help="The commit to compare with.")] = "main",
    out: Annotated[Path, typer.Option(help="Folder for the report and both runs.")] = Path("review"),
    baseline: Annotated[Path | None, typer.Option(help="The base commit's run, if there is one already.")] = None,
) -> None:
    """Say of this working tree what CI would say of its pull request."""
    from .outputs import atomic_directory
    from .review import review as run

    with atomic_directory(out, "review") as work:
        code = run(ROOT, base, work, baseline)
        text = entry.report_of(work)
    entry.finish(out, text, code)


@app.command()
def predict(
    table: Annotated[Path, typer.Argument(help="A file shaped like the contract's table, or a folder of its parts.")],
    out: Annotated[Path, typer.Option(help="Where they go: .parquet, .csv, .tsv or .csv.gz, by the name.")],
    run: RunOption = DEFAULT_RUN,
) -> None:
    """Score a table, in bounded memory."""
    from .predict import predict as score

    show(f"{score(table, out, run):,} rows scored: {out}")


@app.command()
def package(
    run: RunOption = DEFAULT_RUN,
    image: Annotated[str | None, typer.Option(help="NAME:TAG of the image; the bento's own by default.")] = None,
    engine: Annotated[str, typer.Option(help="auto, docker, podman, buildah, or none for the bento alone.")] = "auto",
) -> None:
    """Build a bento of a run and, where there is a container engine, its image."""
    from .package import build

    for key, value in build(run, image, engine).items():
        show(f"{key}: {value}")


@app.command()
def serve(
    run: RunOption = DEFAULT_RUN,
    port: Annotated[int, typer.Option(help="Where to listen, on this machine alone.")] = 3000,
    reload: Annotated[bool, typer.Option(help="Start anew when the code changes.")] = False,
) -> None:
    """Serve a run over HTTP."""
    from .package import serve as start

    sys.exit(start(run, port, reload))


@app.command()
def smoke(url: Annotated[str, typer.Argument(help="Of a running server.")], run: RunOption = DEFAULT_RUN) -> None:
    """Check a running server against a run: ready, same predictions, bad input refused."""
    from .smoke import check

    good, lines = check(url, run)
    show(*lines)
    summarise(f"Smoke test {'✅' if good else '❌'}", Items(lines))
    sys.exit(0 if good else 1)


@app.command()
def drift(
    table: Annotated[
        Path | None, typer.Argument(help="Shaped like the contract's table; by default what prepare.new_data finds.")
    ] = None,
    run: RunOption = DEFAULT_RUN,
    out: Annotated[Path, typer.Option(help="Folder for drift.json, drift.md and drift.html.")] = Path("drift"),
) -> None:
    """Say whether data has moved since training; exit with 1 when it has."""
    from . import drift_report
    from .drift import drift as compare
    from .outputs import atomic_directory
    from .runs import Run

    with atomic_directory(out, "drift") as work:
        found = compare(Run(run), ROOT, table)
        text = drift_report.write(found, run, ROOT, work)
    append_summary(text)
    typer.echo(text)
    show(f"report: {out / 'drift.md'}")
    sys.exit(0 if found["verdict"] == "stable" else 1)


@app.command()
def card(run: RunOption = DEFAULT_RUN) -> None:
    """Print the model card of a run."""
    from . import markdown
    from .card import card as write
    from .runs import Run

    typer.echo(markdown.render(write(Run(run))), nl=False)


@app.command()
def audit(
    target: Annotated[str, typer.Argument(help="A run's folder, a bento's folder, or an image.")],
    provenance: Annotated[Path | None, typer.Option(help="The release's provenance.json; found beside a run.")] = None,
) -> None:
    """Check that a model can be traced to its data, code and approval; exit with 1 at a broken link."""
    from .audit import audit as check

    answers, links = check(target, ROOT, provenance)
    lines = [f"{question}: {answer}" for question, answer in answers.items()]
    broken = [f"{link.name} {link.problem}" for link in links if link.problem]
    show(*lines, f"{len(links) - len(broken)} of {len(links)} links hold")
    summarise(f"Audit {'❌' if broken else '✅'}", Items([*lines, *broken[:1]]))
    if broken:
        entry.stop(f"broken: {broken[0]}", 1)


@app.command()
def releases(
    folder: Annotated[Path, typer.Argument(help="The runs of all releases, each in a folder of its name.")],
    drift: Annotated[Path | None, typer.Option(help="What 'ml drift' found last: its drift.json.")] = None,
    note: Annotated[str, typer.Option(help="A sentence to stand above the rest.")] = "",
    out: Annotated[Path, typer.Option(help="The page.")] = Path("site/index.html"),
) -> None:
    """Write a page that shows all releases."""
    from . import html
    from .marks import is_page
    from .outputs import atomic_file
    from .releases import page

    with atomic_file(out, is_page) as work:
        work.write_text(html.render(page(folder, drift, note)), encoding="utf-8")
    show(f"page: {out}")


def main() -> None:
    """Run ``ml``."""
    entry.run(app)


if __name__ == "__main__":
    main()
