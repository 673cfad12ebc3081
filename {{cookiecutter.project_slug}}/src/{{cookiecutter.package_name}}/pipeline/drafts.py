"""The text of ``contract.yaml`` and ``params.yaml`` for a new table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from . import split
from .infer import Column
from .params import Task
from .sniff import Dialect

PERSONAL = re.compile(r"e-?mail|phone|ssn|iban|passport|address|first_?name|last_?name|surname|birth", re.IGNORECASE)
YES = ("true", "yes", "y", "t", "1", "positive", "pos", "bad", "fraud", "churned", "default")


def contract(
    table: Path, physical: str, found: list[Column], roles: dict[str, str], dialect: Dialect, rows: int
) -> str:
    name = re.sub(r"\W+", "_", table.name.split(".")[0]).strip("_") or "table"
    custom = [{"property": key, "value": value} for key, value in dialect.differences().items()]
    lines = [
        "# What the data must look like (Open Data Contract Standard v3.2, https://bitol.io). CI checks the table, the",
        f"# service each request, `ml validate` checks it here. Written by `ml init` from {rows:,} rows: a range is",
        "# what was seen, widened by its own length (ten times that where the tail is heavy) and rounded outward; a",
        "# list of categories is closed where each is common; a value is required where none was missing. Read it as",
        "# if a colleague had written it.",
        "apiVersion: v3.2.0",
        "kind: DataContract",
        f"id: {_yaml(name.lower())}",
        f"name: {_yaml(name)}",
        "version: 1.0.0",
        "status: draft",
        "schema:",
        f"  - name: {_yaml(name)}",
        "    logicalType: object",
        f"    physicalName: {_yaml(physical)}",
        *([f"    customProperties: {_yaml(custom)}"] if custom else []),
        "    properties:",
    ]
    by_column = {column: role for role, column in roles.items()}
    for column in (c for c in found if c.type):
        comment = "; ".join(
            filter(
                None, [column.seen and f"seen: {column.seen}", column.note, column.doubt and f"unsure: {column.doubt}"]
            )
        )
        lines.append(f"      - {_yaml(_property(column, by_column.get(column.name)))}{_comment(comment)}")
    return "\n".join(lines) + "\n"


def _property(column: Column, role: str | None) -> dict[str, Any]:
    wanted = {
        "name": column.name,
        "logicalType": column.type,
        "required": column.required,
        "primaryKey": role == "id",
        "primaryKeyPosition": 1 if role == "id" else None,
        "enum": [{"value": value} for value in column.enum],
        "classification": "confidential" if PERSONAL.search(column.name) else None,
        "logicalTypeOptions": {} if column.enum else column.options,
        "customProperties": [{"property": "role", "value": role}] * bool(role)
        + [{"property": "missing", "value": column.words}] * bool(column.words)
        + [{"property": key, "value": value} for key, value in column.custom.items()],
    }
    return {key: value for key, value in wanted.items() if value}


def params(target: Column, values: pd.DataFrame, roles: dict[str, str], task: Task, why: str, salt: int = 0) -> str:
    y = values[target.name].dropna()
    counts = y.value_counts()
    smallest = len(y) if task == "regression" else int(counts.min())
    folds = 5 if len(y) >= 200 and smallest >= 20 else 3
    gate = {"binary": ("roc_auc", 0.01), "multiclass": ("log_loss", 0.02), "regression": ("rmse", None)}[task]
    margin = gate[1] or float(f"{0.02 * y.std():.1g}")
    lines = [
        "# Every choice a person makes. Unknown keys are refused; what each means stands in docs/params.md.",
        "seed: 7",
        f"task: {task}{_comment(f'the target is {target.name}: {why}')}",
    ]
    if task == "binary":
        cases = [v for v in counts.index if str(v).lower() in YES or v == 1] or [counts.index[-1]]
        case = bool(cases[0]) if target.type == "boolean" else int(cases[0]) if target.type == "integer" else cases[0]
        lines.append(f"positive: {_yaml(case)} # the case to find; the other value is its absence")
    lines += [
        "",
        "split:",
        "  method: auto # by the data; says why",
        f"  folds: {folds}",
        "  holdout: 0.25 # share of the rows that judge",
    ]
    if salt:
        lines.append(f"  salt: {salt} # draws the holdout: with 0 too few rows or one class only would have judged")
    if "time" in roles:
        cutoff = split.default_cutoff(values[roles["time"]], 0.25)
        shown = f"{cutoff:.15g}" if isinstance(cutoff, int | float) else f"{cutoff}"
        lines.append(f"  cutoff: {shown} # the last moment to train on; pinned, so that new rows move no old row")
    if task == "binary":
        lines += [
            "",
            "# What a wrong decision costs, per case. With it, the threshold and the report speak of money:",
            "# costs: {currency: $, false_positive: 1, false_negative: 5}",
        ]
    lines += [
        "",
        "gates: # the largest loss nobody would mind; a pull request that is surely worse fails",
        f"  {gate[0]}: {{margin: {margin:g}}}",
    ]
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    """Write a value in flow style on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _comment(text: str) -> str:
    """What comes from data may hold line breaks and control characters; a comment must not."""
    plain = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return f" # {plain}" if plain else ""
