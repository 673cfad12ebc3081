"""How time and memory grow with the rows: `ml train`, `compare`, `validate` and `predict`. Prints the table of
docs/benchmarks.md and draws its picture, docs/pictures/growth.png.

    python benchmarks/growth.py [--train 1_000_000] [--rows 10_000_000]

Run it with the Python of a project that was baked with `example=none`. Training and comparing go up to ``--train``
rows, checking and scoring a Parquet file up to ``--rows``. Memory is the most that the process held.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from tables import piece, project, run

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "growth.png"
PIECE = 1_000_000
Found = dict[str, dict[int, tuple[float, float]]]  # seconds and gigabytes, by command and rows


def parquet(path: Path, rows: int) -> None:
    """Write a table in pieces."""
    size = min(rows, PIECE)
    writer = None
    for number in range(rows // size):
        part = pa.Table.from_pandas(piece(number, size), preserve_index=False)
        writer = writer or pq.ParquetWriter(path, part.schema)
        writer.write_table(part)
    writer.close()  # type: ignore[union-attr]


def measure(train: int, most: int) -> Found:
    """Run every command at every size; two trainings, with different seeds, for the comparison: the faster counts."""
    found: Found = {"train": {}, "compare": {}, "validate TABLE": {}, "predict TABLE": {}}
    with tempfile.TemporaryDirectory() as temporary:
        rows, folder = 10_000, Path(temporary)
        while rows <= most:
            if rows <= train:
                folder = Path(temporary) / str(rows)
                project(folder, rows)
                first = run(folder, "ml", "train", "--out", "runs/baseline")
                params = folder / "params.yaml"
                params.write_text(params.read_text().replace("seed: 7", "seed: 8", 1))
                found["train"][rows] = min(first, run(folder, "ml", "train"))
                found["compare"][rows] = run(folder, "ml", "compare", "runs/baseline", "runs/model")
            table = Path(temporary) / "table.parquet"
            parquet(table, rows)
            found["validate TABLE"][rows] = run(folder, "ml", "validate", str(table))
            found["predict TABLE"][rows] = run(folder, "ml", "predict", str(table), "--out", "scored.parquet")
            print(rows, {name: at.get(rows) for name, at in found.items()}, flush=True)
            if rows < train:
                shutil.rmtree(folder)
            rows *= 10
    return found


def power(rows: int) -> str:
    return "10" + str(len(str(rows)) - 1).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def table(found: Found) -> str:
    """Seconds and gigabytes by rows, and how much the last tenfold of the rows took; n log n makes it 12-fold."""
    sizes = list(found["validate TABLE"])
    lines = [f"| rows | {' | '.join(map(power, sizes))} | last tenfold |", f"|---|{'--:|' * (len(sizes) + 1)}"]
    for unit, place, form in (("s", 0, "{:.1f}"), ("GB", 1, "{:.2f}")):
        for name, at in found.items():
            cells = [form.format(at[rows][place]) if rows in at else "" for rows in sizes]
            *_, before, last = (None, *(values[place] for values in at.values()))
            growth = f"× {last / before:.1f}" if before else ""
            lines.append(f"| `ml {name}`, {unit} | {' | '.join(cells)} | {growth} |")
    return "\n".join(lines)


def draw(found: Found) -> None:
    """Both on logarithmic axes, where n log n is nearly a straight line."""
    figure = Figure(figsize=(8.4, 3.6), dpi=90, layout="constrained")
    for place, (axes, label) in enumerate(zip(figure.subplots(1, 2), ("seconds", "gigabytes at most"), strict=True)):
        for (name, at), mark in zip(found.items(), "os^v", strict=True):
            axes.loglog(list(at), [values[place] for values in at.values()], marker=mark, label=f"ml {name}")
        if place == 0:
            sizes, last = list(found["validate TABLE"]), max(found["train"])
            scale = found["train"][last][0] / (last * math.log(last))
            axes.loglog(sizes, [scale * n * math.log(n) for n in sizes], ":", color="#57606a", label="n log n")
        axes.set(xlabel="rows", ylabel=label)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if place else (1,)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(color="#d0d7de", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.savefig(PICTURE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=lambda text: int(text.replace("_", "")), default=1_000_000)
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), default=10_000_000)
    asked = parser.parse_args()
    measured = measure(asked.train, asked.rows)
    print(table(measured))
    draw(measured)
