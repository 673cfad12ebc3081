"""``ml explore``: the table on one page that needs nothing but itself: target relations, gaps, time, every column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from . import contract as contracts
from . import data, findings, html, params
from .blocks import SHOWN, Block, Report, Section, Table, Text, number
from .errors import InputError
from .odcs import TEMPORAL, SchemaObject
from .params import Params
from .train import encode

ROWS = 50_000  # that the page describes; more would only take longer
COLUMNS = 200  # with associations, which grow with their square
BINS = 5
PERIODS = 40
# skrub's report is a page with scripts of its own; nothing may be fetched.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; font-src data:"


def explore(root: Path, out: Path) -> Path:
    """Write the page.

    Raises
    ------
    InputError
        Contract, params or data are wrong.
    """
    contract, chosen = contracts.load(root / "contract.yaml"), params.load(root / "params.yaml")
    loaded = data.load(contract, chosen, root)
    if loaded.violations:
        raise InputError(f"the data breaks its contract ({loaded.violations[0]}); 'ml validate' lists it all")
    obj, target = contract.table, contract.target.name
    table = loaded.table
    shown = table.sample(min(len(table), ROWS), random_state=chosen.seed).sort_index().reset_index(drop=True)
    known = shown[shown[target].notna()].reset_index(drop=True)
    y, classes = encode(known[target], chosen)
    of_what = f"{len(table):,} rows" + (f", {len(shown):,} of them described" if len(shown) < len(table) else "")
    blocks: list[Block] = [Text(f"{of_what}; target '{target}', {chosen.task}.")]
    blocks += [Section("What goes with the target", _relations(known, obj, y, classes))]
    blocks += [Section("What is missing", [_gaps(known, obj, y, chosen)])]
    blocks += [Section("Over time", [_time(known, obj, y, classes)])] if obj.with_role("time") else []
    page = html.render(Report(f"The table {obj.name}", blocks)).replace(html.POLICY, POLICY)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page.replace("</main>", f"<h2>Every column</h2>\n{_report(shown)}</main>"), encoding="utf-8")
    return out


def _report(shown: pd.DataFrame) -> str:
    import skrub

    few = shown.shape[1] <= COLUMNS
    return str(skrub.TableReport(shown, verbose=0, plot_distributions=few, compute_associations=few).html_snippet())


def _outcome(y: np.ndarray, classes: list[object]) -> np.ndarray:
    """What means are taken of: the case, the value, or whether a row is of the most frequent class."""
    return y if len(classes) <= 2 else (y == np.bincount(y).argmax()).astype("float64")


def _relations(known: pd.DataFrame, obj: SchemaObject, y: np.ndarray, classes: list[object]) -> list[Block]:
    """Each feature cut into a few levels, and the mean outcome of each; the columns that tell most come first."""
    outcome, tables = pd.Series(_outcome(y, classes)), list[tuple[float, Table]]()
    what = "mean"
    if classes:
        what = f"share of {classes[-1] if len(classes) == 2 else classes[np.bincount(y).argmax()]}"
    for prop in obj.features:
        level = _levels(known[prop.name], prop.logicalType in (*TEMPORAL, "integer", "number"))
        by = outcome.groupby(level, observed=True).agg(["size", "mean"])
        told = float((by["size"] * (by["mean"] - outcome.mean()) ** 2).sum() / max(len(y) * outcome.var(ddof=0), 1e-12))
        rows = [[str(name), f"{int(size):,}", number(mean)] for name, (size, mean) in by.iterrows()]
        tables.append((told, Table(f"{prop.name}: explains {told:.1%}", "lrr", ["value", "rows", what], rows)))
    tables.sort(key=lambda found: -found[0])
    found: list[Block] = [table for _, table in tables[:SHOWN]]
    return [*found, Text(f"… and {len(tables) - SHOWN} more columns that tell less")] if len(tables) > SHOWN else found


def _levels(values: pd.Series, ordered: bool) -> pd.Series:
    if ordered and values.nunique() > BINS:
        return pd.qcut(values, BINS, duplicates="drop").astype("str").where(values.notna(), "missing")
    text = values.astype("str").where(values.notna(), "missing")
    return text.where(text.isin(text.value_counts().index[: 2 * BINS]), "other")


def _gaps(known: pd.DataFrame, obj: SchemaObject, y: np.ndarray, chosen: Params) -> Block:
    gaps = findings.missingness(known[[p.name for p in obj.features]], y, chosen.task)
    if not gaps:
        return Text("No feature has a gap.")
    rows = [
        [name, f"{gap['share']:.1%}", number(gap["association"]), f"{gap['p']:.2g}", "yes" if gap["predicts"] else "no"]
        for name, gap in sorted(gaps.items(), key=lambda item: -item[1]["share"])
    ]
    head = ["column", "missing", "goes with the target, 0 to 1", "p", "tells"]
    return Table("Columns with gaps, and whether having one goes with the target", "lrrrl", head, rows)


def _time(known: pd.DataFrame, obj: SchemaObject, y: np.ndarray, classes: list[object]) -> Block:
    time = obj.with_role("time")
    assert time is not None
    when = known[time.name]
    if time.logicalType in TEMPORAL:
        days = (when.max() - when.min()).days
        when = when.dt.to_period("D" if days < PERIODS else "M" if days < 28 * PERIODS else "Y").astype("str")
    elif when.nunique() > PERIODS:
        when = pd.cut(when, PERIODS)
    by = pd.Series(_outcome(y, classes)).groupby(when.to_numpy(), observed=True).agg(["size", "mean"])
    gaps = known[[p.name for p in obj.features]].isna().mean(axis=1)
    by["gaps"] = gaps.groupby(when.to_numpy(), observed=True).mean()
    rows = [[str(k), f"{int(size):,}", number(mean), f"{missing:.1%}"] for k, size, mean, missing in by.itertuples()]
    last = f", the last {PERIODS} periods" if len(rows) > PERIODS else ""
    return Table(f"By {time.name}{last}", "lrrr", ["period", "rows", "mean outcome", "missing values"], rows[-PERIODS:])
