"""The runs of a folder as a table, and two runs side by side: when, commit, parameters, metrics with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlcicd.core.errors import InputError, did_you_mean
from mlcicd.core.json_files import read_json
from mlcicd.core.params import flatten
from mlcicd.core.plain_text import visible
from mlcicd.core.yaml_io import read_yaml
from mlcicd.evaluation import metrics, user_metrics
from mlcicd.rendering.blocks import interval, number
from mlcicd.training.run import FILES, MANIFEST, METRICS, PARAMS, Manifest, Metrics

KEYS = ("when", "name", "commit")  # what a table can be sorted by, beside metrics and parameters
VALUE = 30  # characters of a parameter's value in a table; --json has all of it


@dataclass(frozen=True)
class Row:
    """What a table shows of one run.

    Attributes
    ----------
    params : every key of params.yaml, nested keys joined by dots
    holdout : by metric: value, low, high
    inputs : hashes of data, contract and lock
    """

    name: str
    task: str
    when: datetime
    commit: str | None
    dirty: bool
    params: dict[str, Any]
    holdout: dict[str, dict[str, float]]
    inputs: dict[str, Any]


def read(path: Path, name: str) -> Row:
    """Read one run.

    Raises
    ------
    InputError
        The folder is no run, or its files are not what ``ml train`` writes.
    """
    missing = [file for file in FILES if not (path / file).is_file()]
    if missing:
        raise InputError(f"{path}: not a run (no {missing[0]}); make one with 'ml train --out {path}'")
    manifest, summary = read_json(path / MANIFEST, Manifest), read_json(path / METRICS, Metrics)
    try:
        # Runs of older versions do not say when they were made.
        when = manifest["trained_at"] or (path / MANIFEST).stat().st_mtime
        at = datetime.fromisoformat(when) if isinstance(when, str) else datetime.fromtimestamp(when, UTC)
        chosen = flatten(read_yaml(path / PARAMS, "train the run again"))
        wanted = [*(chosen.get("metrics") or []), *metrics.labels(summary["task"]), *summary["holdout"]]
        measured = {key: summary["holdout"][key] for key in dict.fromkeys(wanted) if key in summary["holdout"]}
        return Row(
            name,
            str(summary["task"]),
            at if at.tzinfo else at.replace(tzinfo=UTC),
            manifest["commit"],
            bool(manifest["uncommitted_changes"]),
            chosen,
            {key: {part: found[part] for part in ("value", "low", "high")} for key, found in measured.items()},
            flatten({key: manifest[key] for key in ("data", "contract", "lock")}),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}: {error}); train the run again") from None


def find(folder: Path) -> tuple[list[Row], list[str]]:
    """Read every run at any depth of a folder; return also one line for each that cannot be read.

    Raises
    ------
    InputError
        There is no run.
    """
    rows, problems = [], []
    for file in sorted(folder.rglob(MANIFEST)):
        name = file.parent.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in Path(name).parts):  # of a training that still goes on, or was killed
            continue
        try:
            rows.append(read(file.parent, folder.name if name == "." else name))
        except InputError as error:
            problems.append(str(error))
    if not rows:
        why = f" that can be read: {problems[0]}" if problems else "; make one with 'ml train'"
        raise InputError(f"{folder}: holds no run{why}")
    return rows, problems


def select(
    pair: list[Path], folder: Path, key: str, reverse: bool
) -> tuple[list[list[str]], list[dict[str, Any]], list[str]]:
    """Return a table, the same for JSON, and what cannot be read: of two runs, or of all in a folder.

    Raises
    ------
    InputError
        One run, or more than two, are named; or one that is named cannot be read; or a folder holds none.
    """
    if pair and len(pair) != 2:
        raise InputError(f"{pair[-1]}: two runs are shown side by side, not {len(pair)}; 'ml runs A B'")
    if pair:
        first, second = (read(path, str(path)) for path in pair)
        return side_by_side(first, second), as_json([first, second]), []
    rows, problems = find(folder)
    rows = order(rows, key, reverse)
    return table(rows), as_json(rows), problems


def order(rows: list[Row], key: str, reverse: bool = False) -> list[Row]:
    """Sort by when (newest first), name, commit, a metric (best first) or a parameter; what has no value is last.

    Raises
    ------
    InputError
        No run has a metric or a parameter of this name.
    """
    known = {name for row in rows for name in (*row.holdout, *row.params)}
    if key not in {*KEYS, *known}:
        raise InputError(f"--sort: nothing is called {key!r}{did_you_mean(key, {*KEYS, *known})}")
    given = [(value, row) for row in rows if (value := _sortable(row, key)) is not None]
    without = [row for row in rows if _sortable(row, key) is None]
    given.sort(key=lambda pair: pair[0], reverse=reverse)
    return [row for _, row in given] + without


def _sortable(row: Row, key: str) -> tuple[int, Any] | None:
    """What a row is sorted by; numbers stand before words."""
    if key in KEYS:
        value: Any = {"when": -row.when.timestamp(), "name": row.name, "commit": row.commit}[key]
    elif key in row.holdout:
        value = row.holdout[key]["value"]
        value = None if math.isnan(value) else -_sign(row.task, key) * value
    else:
        value = row.params.get(key)
    if value is None:
        return None
    return (0, value) if isinstance(value, int | float) else (1, str(value))


def _sign(task: str, metric: str) -> int:
    """1 where more is better; a metric of the project's own says it by its name."""
    known = metrics.metrics_for(task, 0.5).get(metric)
    lower = metric == "cost" or metric.endswith(user_metrics.LOWER)
    return known.sign if known else -1 if lower else 1


def differing(rows: Sequence[Row]) -> list[str]:
    """Return the parameters that are not the same in all runs."""
    keys = dict.fromkeys(key for row in rows for key in row.params)
    # By their text, since 1 and true are equal in Python and are not in a file.
    return [key for key in keys if len({repr(row.params.get(key)) for row in rows}) > 1]


def table(rows: Sequence[Row]) -> list[list[str]]:
    """Return a head and a line per run: when, commit, the gated metrics and the cost, and what in params differs."""
    gated = {key.split(".")[1] for row in rows for key in row.params if key.startswith("gates.")} | {"cost"}
    measured = list(dict.fromkeys(name for row in rows for name in row.holdout))
    shown = [name for name in measured if name in gated] or measured[:1]
    lines = [["run", "when", "commit", *shown, "params"]]
    keys = differing(rows)
    for row in rows:
        own = ", ".join(f"{key}={_short(row.params[key])}" for key in keys if key in row.params)
        cells = [_measured(row, name) for name in shown]
        lines.append([row.name, f"{row.when:%Y-%m-%d %H:%M}", _commit(row), *cells, own])
    return lines


def side_by_side(first: Row, second: Row) -> list[list[str]]:
    """Return a head and a line for each metric, and for each input and parameter that is not the same."""
    lines = [["", first.name, second.name, "difference"]]
    lines.append(["when", *(f"{row.when:%Y-%m-%d %H:%M}" for row in (first, second)), ""])
    lines.append(["commit", _commit(first), _commit(second), ""])
    for name in dict.fromkeys([*first.holdout, *second.holdout]):
        values = [row.holdout.get(name, {}).get("value", math.nan) for row in (first, second)]
        both = number(values[1] - values[0], signed=True)
        lines.append([name, _measured(first, name), _measured(second, name), both])
    for key in differing([first, second]):
        lines.append([key, *(_short(row.params[key]) if key in row.params else "–" for row in (first, second)), ""])
    for key in dict.fromkeys([*first.inputs, *second.inputs]):
        hashes = [str(row.inputs.get(key) or "–")[:12] for row in (first, second)]
        if hashes[0] != hashes[1]:
            lines.append([key, *hashes, ""])
    return lines


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return everything that tables show, and the values that they shorten."""
    keys = differing(rows)
    return [
        {
            "run": row.name,
            "when": row.when.isoformat(),
            "commit": row.commit,
            "uncommitted_changes": row.dirty,
            "differs": {key: row.params.get(key) for key in keys},
            "params": row.params,
            "metrics": row.holdout,
            "inputs": row.inputs,
        }
        for row in rows
    ]


def align(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table with its columns aligned."""
    shown = [[visible(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for line in shown:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _commit(row: Row) -> str:
    return f"{(row.commit or '–')[:7]}{'+' * row.dirty}"


def _measured(row: Row, name: str) -> str:
    found = row.holdout.get(name)
    return f"{number(found['value'])} ({interval(found['low'], found['high'])})" if found else "–"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= VALUE else f"{text[: VALUE - 1]}…"
