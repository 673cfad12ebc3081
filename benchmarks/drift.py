"""Does `ml drift` tell moved data from chance? Prints the tables of docs/decisions/0009.

Run it in a baked and installed churn project with a run, with that project's Python::

    cd PROJECT && uv run ml train && nice .venv/bin/python TEMPLATE/benchmarks/drift.py

`false`   windows drawn from the training period: how often each way of deciding calls at least one of 20 columns moved
`power`   one of 20 columns moves by so many standard deviations: how often it, and it alone, is named
`speed`   a table of a million rows, from the file to the report: seconds and memory
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as `ml` sets it, before scikit-learn starts its threads

import numpy as np
import pandas as pd
from mlcicd.contract import document as contracts
from mlcicd.contract import schema
from mlcicd.core import params
from mlcicd.data import load
from mlcicd.lifecycle import drift
from mlcicd.training import run as runs
from scipy import stats

COLUMNS = [f"c{i}" for i in range(20)]
LIMITS = params.Drift()
RNG = np.random.default_rng(0)


def contract() -> schema.Contract:
    """Twenty numbers and a target."""
    target = {"name": "y", "logicalType": "integer", "customProperties": [{"property": "role", "value": "target"}]}
    table = {"name": "t", "properties": [*({"name": c, "logicalType": "number"} for c in COLUMNS), target]}
    head = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": "1.0.0", "status": "active"}
    return schema.Contract.model_validate(head | {"schema": [table]})


def sample(rows: int) -> pd.DataFrame:
    """Twenty independent normal columns."""
    return pd.DataFrame(RNG.normal(size=(rows, len(COLUMNS))), columns=COLUMNS)


def moved(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """The columns that `ml drift` names."""
    return [name for name, column in drift.compare(old, new, contract(), LIMITS).items() if column["drift"]]


def psi(old: np.ndarray, new: np.ndarray) -> float:
    """Population stability index over deciles, as monitoring tools compute it; "moved" is above 0.1 or 0.2."""
    edges = np.quantile(old, np.linspace(0.1, 0.9, 9))
    a, b = (np.bincount(np.searchsorted(edges, values), minlength=10) / len(values) + 1e-6 for values in (old, new))
    return float(((a - b) * np.log(a / b)).sum())


def false_alarms(trials: int = 200) -> None:
    """Windows in which nothing has moved."""
    print("| rows in the window | `ml drift` | each p < 0.05 | Holm alone | PSI > 0.1 |\n|--:|--:|--:|--:|--:|")
    old = sample(6000)
    for rows in (100, 500, 2000, 20_000):
        counts = np.zeros(4)
        for _ in range(trials):
            new = sample(rows)
            p = [stats.ks_2samp(old[c], new[c], method="asymp").pvalue for c in COLUMNS]
            called = any(psi(old[c].to_numpy(), new[c].to_numpy()) > 0.1 for c in COLUMNS)
            counts += [bool(moved(old, new)), min(p) < 0.05, min(p) * len(p) < 0.05, called]
        print(f"| {rows:,} | " + " | ".join(f"{c / trials:.1%}" for c in counts) + " |")
    run, chosen, agreed = runs.Run(Path("runs/model")), params.load(), contracts.load()
    table = load.load(agreed, chosen, Path()).table
    window, alarms = Path("window.parquet"), 0
    for _ in range(trials):
        table.iloc[RNG.permutation(len(table))[:2000]].to_parquet(window)
        alarms += drift.drift(run, Path(), window)["verdict"] != "stable"
    window.unlink()
    print(
        f"\nChurn, windows of 2,000 customers, predictions and performance included: {alarms / trials:.1%} of {trials}"
    )
    found = drift.drift(run, Path())
    print(f"Churn, the next quarter: {found['verdict']} ({', '.join(found['moved'])})")


def power(trials: int = 100) -> None:
    """One column moves."""
    print("\n| shift, standard deviations | 1,000 rows | 10,000 rows |\n|--:|--:|--:|")
    for shift in (0.05, 0.1, 0.15, 0.2, 0.3):
        cells = []
        for rows in (1000, 10_000):
            hits = 0
            for trial in range(trials):
                new, column = sample(rows), COLUMNS[trial % len(COLUMNS)]
                new[column] += shift
                hits += moved(sample(rows), new) == [column]
            cells.append(f"{hits / trials:.0%}")
        print(f"| {shift:g} | {' | '.join(cells)} |")
    old, new = sample(10**6), sample(10**6) + 0.01
    p = min(stats.ks_2samp(old[c], new[c], method="asymp").pvalue for c in COLUMNS)
    print(f"\n0.01 at a million rows: {moved(old, new) or 'nothing'} moved (the smallest p is {p:.1g})")


def speed() -> None:
    """A million rows through everything."""
    run, chosen, agreed = runs.Run(Path("runs/model")), params.load(), contracts.load()
    table = load.load(agreed, chosen, Path()).table
    large = table.iloc[RNG.integers(0, len(table), 10**6)].reset_index(drop=True)
    large["customer_id"] = table["customer_id"].iloc[0]  # unique ids are another matter
    file = Path("million.parquet")
    large.to_parquet(file)
    del large, table
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    drift.drift(run, Path(), file)
    seconds, after = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    file.unlink()
    memory = f"{(after - before) / 1e6:.1f} GB above the {before / 1e6:.1f} with the table"
    print(f"\nA million rows of the churn table: {seconds:.1f} s of processor time, {memory}")


if __name__ == "__main__":
    parts = {"false": false_alarms, "power": power, "speed": speed}
    for part in sys.argv[1:] or parts:
        parts[part]()
