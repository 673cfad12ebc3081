"""The text of ``contract.yaml`` and ``params.yaml`` for a new table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from mlcicd import tasks
from mlcicd.core.plain_text import visible
from mlcicd.data import split
from mlcicd.onboarding.column_inference import Column
from mlcicd.onboarding.csv_dialect import Dialect

PERSONAL = re.compile(r"e-?mail|phone|ssn|iban|passport|address|first_?name|last_?name|surname|birth", re.IGNORECASE)


def draft_contract(
    table: Path, physical: str, columns: list[Column], roles: dict[str, str], dialect: Dialect, rows: int
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
    for column in (c for c in columns if c.type):
        comment = "; ".join(
            filter(
                None,
                [column.seen and f"seen: {column.seen}", column.note, column.warning and f"unsure: {column.warning}"],
            )
        )
        lines.append(f"      - {_yaml(_property(column, by_column.get(column.name)))}{_comment(comment)}")
    return "\n".join(lines) + "\n"


def _property(column: Column, role: str | None) -> dict[str, Any]:
    entries = {
        "name": column.name,
        "logicalType": column.type,
        "required": column.required,
        "primaryKey": role == "id",
        "primaryKeyPosition": 1 if role == "id" else None,
        "enum": [{"value": value} for value in column.enum],
        "classification": "confidential" if PERSONAL.search(column.name) else None,
        "logicalTypeOptions": {} if column.enum else column.options,
        "customProperties": [{"property": "role", "value": role}] * bool(role)
        + [{"property": "missing", "value": column.missing_tokens}] * bool(column.missing_tokens)
        + [{"property": key, "value": value} for key, value in column.custom.items()],
    }
    return {key: value for key, value in entries.items() if value}


def draft_params(
    target: Column,
    values: pd.DataFrame,
    roles: dict[str, str],
    task: str,
    why: str,
    salt: int = 0,
    tracker: str | None = None,
) -> str:
    y = values[target.name].dropna()
    kind = tasks.of(task)
    folds = 5 if len(y) >= 200 and kind.rarest(y) >= 20 else 3
    gate, margin = kind.default_gate(y)
    lines = [
        "# All settings of the project. Unknown keys are refused; docs/params.md explains each key.",
        "seed: 7",
        f"task: {task}{_comment(f'the target is {target.name}: {why}')}",
    ]
    positive = kind.positive_case(y.value_counts().index.tolist())
    if positive is not None:
        as_typed: dict[str, type] = {"boolean": bool, "integer": int}
        positive = as_typed[target.type](positive) if target.type in as_typed else positive
        lines.append(f"positive: {_yaml(positive)} # the class whose probability is predicted")
    lines += [
        "",
        "split:",
        "  method: auto # chosen from the data; `ml train` prints the reason",
        f"  folds: {folds}",
        "  holdout: 0.25 # share of the rows that are held out to evaluate the model",
    ]
    if salt:
        lines.append(f"  salt: {salt} # seeds the holdout; with 0 it would hold too few rows or a single class")
    if "time" in roles:
        cutoff = split.default_cutoff(values[roles["time"]], 0.25)
        shown = f"{cutoff:.15g}" if isinstance(cutoff, int | float) else f"{cutoff}"
        lines.append(f"  cutoff: {shown} # the last moment to train on; fixed, so that new rows never move old ones")
    if kind.costs_example:
        lines += [
            "",
            "# What a wrong decision costs, per case. The threshold then minimises the cost:",
            f"# costs: {kind.costs_example}",
        ]
    lines += [
        "",
        "gates: # margin: the largest loss that is acceptable; a pull request that is surely worse fails",
        f"  {gate}: {{margin: {margin:g}}}",
    ]
    if tracker:
        lines += [
            "",
            "tracking: # addresses and tokens come from the environment: docs/tracking.md",
            f"  to: {tracker}",
        ]
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    """Write a value as YAML in flow style, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _comment(text: str) -> str:
    """Write text from the data as a YAML comment, without line breaks and control characters."""
    plain = visible(" ".join(text.split()))
    return f" # {plain}" if plain else ""
