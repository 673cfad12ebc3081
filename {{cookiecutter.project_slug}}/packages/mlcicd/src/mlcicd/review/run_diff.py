"""What changed between two runs: params, contract, rows, code, libraries, and what the model looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mlcicd.contract import contract_diff
from mlcicd.contract.schema import Contract
from mlcicd.core import params
from mlcicd.core.yaml_io import read_yaml
from mlcicd.system.git import git
from mlcicd.training.run import PARAMS, Run


def between(baseline: Run, candidate: Run, root: Path) -> dict[str, Any]:
    """Return what changed, for ``comparison.json``; ``root`` is the project, whose git knows the files' changes."""
    old, new = (run.contract for run in (baseline, candidate))
    before, after = (flat(read_yaml(run.path / PARAMS, "train the run again")) for run in (baseline, candidate))
    return {
        "params": _differing(before, after),
        "contract": contract_diff.diff_contracts(old, new),
        "data": _data(baseline, candidate, new),
        "code": _code(baseline.manifest, candidate.manifest, root),
        "libraries": _libraries(baseline.manifest, candidate.manifest),
        "importance": _importance(baseline.metrics, candidate.metrics),
        "size": {key: [r.manifest[key] for r in (baseline, candidate)] for key in ("seconds", "model_bytes")},
    }


def flat(node: Any, where: str = "") -> dict[str, Any]:
    """Return a document as ``{"a.b.c": value}``; lists are values."""
    if not isinstance(node, dict):
        return {where: node}
    below = (flat(value, f"{where}.{key}" if where else str(key)) for key, value in node.items())
    return {key: value for part in below for key, value in part.items()}


def _differing(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    names = dict.fromkeys([*old, *new])
    changed = [name for name in names if old.get(name) != new.get(name)]
    return [{"key": name, "old": old.get(name), "new": new.get(name)} for name in changed]


def _libraries(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    before, after = (run.get("packages", run["libraries"]) | {"Python": run["python"]} for run in (old, new))
    return _differing(before, after)


def _data(baseline: Run, candidate: Run, contract: Contract) -> dict[str, Any] | None:
    """Rows by id and content; of the holdout also which columns, and how far their distribution moved."""
    before, after = baseline.rows, candidate.rows
    if before is None or after is None or baseline.schema != candidate.schema:
        return None  # hashes of another kind
    shared = before.index.intersection(after.index)
    columns = [set(run.holdout.columns) for run in (baseline, candidate)]
    renamed = columns[0] != columns[1] and len(columns[0]) == len(columns[1])
    key = "values" if renamed else "content"
    changed = int((before.loc[shared, key] != after.loc[shared, key]).sum())
    found: dict[str, Any] = {
        "rows": [len(before), len(after)],
        "added": len(after) - len(shared),
        "removed": len(before) - len(shared),
        "changed": changed,
        "columns": {},
        "moved": {},
    }
    if found["added"] or found["removed"] or changed:
        old, new = baseline.holdout, candidate.holdout
        found["columns"] = _columns(old.set_index("row"), new.set_index("row"))
        limits, drawn = candidate.params.drift, (baseline.holdout_predictions, candidate.holdout_predictions)
        found["moved"] = _moved(old, new, contract, limits, drawn)
    return found


def _columns(old: pd.DataFrame, new: pd.DataFrame) -> dict[str, int]:
    """Count the holdout rows whose value changed, by column."""
    rows = old.index.intersection(new.index)
    left, right = old.loc[rows], new.loc[rows]
    counts = {}
    for name in [c for c in new.columns if c in old.columns]:
        missing = left[name].isna() & right[name].isna()
        counts[name] = int(((left[name] != right[name]) & ~missing).sum())
    return {name: count for name, count in counts.items() if count}


def _moved(
    old: pd.DataFrame,
    new: pd.DataFrame,
    contract: Contract,
    limits: params.Drift,
    drawn: tuple[pd.DataFrame, pd.DataFrame],
) -> dict[str, Any]:
    from mlcicd.evaluation import distances  # brings scipy's statistics with it: most comparisons can do without

    table = contract.table
    alike = [c for c in old.columns.intersection(new.columns) if old[c].dtype.kind == new[c].dtype.kind]
    kept = [p for p in table.properties if p.role or p.name in alike]
    shared = contract.model_copy(update={"objects": [table.model_copy(update={"properties": kept})]})
    columns = distances.compare(old, new, shared, limits, drawn=drawn)
    return {name: column for name, column in columns.items() if column["drift"]}


def _code(old: dict[str, Any], new: dict[str, Any], root: Path) -> list[dict[str, Any]]:
    """Changed files: from git with the number of lines, else the sources whose hash differs."""
    found: dict[str, dict[str, Any]] = {}
    # The candidate is the working tree, unless a later commit is checked out by now.
    until = [] if new["commit"] == git(root, "rev-parse", "HEAD") else [new["commit"]]
    # Names as they are, from this folder on: the project may be a part of a larger repository.
    how = ("diff", "--numstat", "-z", "--no-renames", "--relative")
    told = git(root, *how, old["commit"], *until, "--", ".") if old["commit"] and new["commit"] else None
    for line in (told or "").split("\0"):
        if line.strip():
            plus, minus, name = line.strip("\n").split("\t", 2)
            found[name] = {"file": name, "plus": plus, "minus": minus}
    before, after = old.get("code", {}), new.get("code", {})
    for change in _differing(before, after):
        found.setdefault(change["key"], {"file": change["key"], "plus": "–", "minus": "–"})
    return list(found.values())


def _importance(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    before, after = (run.get("checks", {}).get("importance", {}) for run in (old, new))
    names = sorted({*before, *after}, key=lambda c: (-max(before.get(c, 0), after.get(c, 0)), c))
    return [{"column": name, "baseline": before.get(name), "candidate": after.get(name)} for name in names]
