"""``ml explore``: the table on one page that needs nothing but itself: target relations, gaps, time, every column."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from . import contract as contracts
from . import data, findings, html, outputs, params, sampling
from .blocks import SHOWN, Block, Report, Section, Table, Text, number
from .errors import InputError
from .labels import number_names, time_names, unused
from .marks import is_page
from .odcs import TEMPORAL, Property, SchemaObject
from .params import Params
from .train import encode

ROWS = 50_000  # that the page describes; more would only take longer
COLUMNS = 200  # with associations, which grow with their square
LETTERS = 500  # of a cell
YEARS = (1000, 9000)  # that matplotlib draws, with room on both sides
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
    with outputs.atomic_file(out, is_page) as work:
        work.write_text(_page(root), encoding="utf-8")
    return out


def _page(root: Path) -> str:
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
    if time := obj.with_role("time"):
        blocks += [Section("Over time", [_time(known, obj, time, y, classes)])]
    columns = f"<h2>Every column</h2>\n{_report(shown)}"
    return html.render(Report(f"The table {obj.name}", blocks), policy=POLICY, last=columns)


def _report(shown: pd.DataFrame) -> str:
    import skrub

    few = shown.shape[1] <= COLUMNS
    drawn = shown.apply(_drawable)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of numbers near the largest float
        return str(skrub.TableReport(drawn, verbose=0, plot_distributions=few, compute_associations=few).html_snippet())


def _drawable(values: pd.Series) -> pd.Series:
    """Cut texts that would swell the page, and write dates out that lie beyond matplotlib's calendar."""
    if pd.api.types.is_string_dtype(values.dtype):
        return values.str.slice(0, LETTERS)
    years = values.dt.year if values.dtype.kind == "M" else None
    return values if years is None or years.dropna().between(*YEARS).all() else values.astype("str")


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
        level, names = _levels(known[prop.name], prop.logicalType in (*TEMPORAL, "integer", "number"))
        by = outcome.groupby(level).agg(["size", "mean"])
        told = float((by["size"] * (by["mean"] - outcome.mean()) ** 2).sum() / max(len(y) * outcome.var(ddof=0), 1e-12))
        rows = [[names[place], f"{int(size):,}", number(mean)] for place, size, mean in by.itertuples()]
        tables.append((told, Table(f"{prop.name}: explains {told:.1%}", "lrr", ["value", "rows", what], rows)))
    tables.sort(key=lambda found: -found[0])
    found: list[Block] = [table for _, table in tables[:SHOWN]]
    return [*found, Text(f"… and {len(tables) - SHOWN} more columns that tell less")] if len(tables) > SHOWN else found


def _levels(values: pd.Series, ordered: bool) -> tuple[np.ndarray, list[str]]:
    """Each row's level (n,) and the levels' names: about a fifth of the rows each, or the most frequent values."""
    gone, known = values.isna().to_numpy(), values.dropna()
    if ordered and known.nunique() > BINS:
        x = values.to_numpy() if values.dtype.kind == "M" else values.to_numpy("float64", na_value=np.nan)
        rising = np.sort(x[~gone])
        edges = np.unique(rising[len(rising) * np.arange(1, BINS) // BINS])
        # An edge at the very end parts nothing; where it is the only one, the rest of the values are one level.
        edges = edges[edges < rising[-1]] if edges[0] < rising[-1] else rising[rising < rising[-1]][-1:]
        said = time_names(list(pd.DatetimeIndex(edges))) if x.dtype.kind == "M" else number_names(edges.tolist())
        names = [f"≤ {said[0]}", *(f"> {low}, ≤ {high}" for low, high in pairwise(said)), f"> {said[-1]}"]
        level = np.searchsorted(edges, x)
    else:
        common = known.value_counts().index[: 2 * BINS]
        common = common.sort_values() if ordered else common
        names = [str(value).removesuffix(" 00:00:00") for value in common]
        names.append(unused("other", names))
        level = common.get_indexer(pd.Index(values))
        level[level < 0] = len(common)
    level[gone] = len(names)
    return level, [*names, unused("missing", names)]


def _gaps(known: pd.DataFrame, obj: SchemaObject, y: np.ndarray, chosen: Params) -> Block:
    drawn = sampling.sample(sampling.units(known, obj, known.index.to_series()))
    gaps = findings.missingness(known[[p.name for p in obj.features]], y, chosen.task, drawn)
    if not gaps:
        return Text("No feature has a gap.")
    rows = [
        [name, f"{gap['share']:.1%}", number(gap["association"]), f"{gap['p']:.2g}", "yes" if gap["predicts"] else "no"]
        for name, gap in sorted(gaps.items(), key=lambda item: -item[1]["share"])
    ]
    head = ["column", "missing", "goes with the target, 0 to 1", "p", "tells"]
    return Table("Columns with gaps, and whether having one goes with the target", "lrrrl", head, rows)


def _time(known: pd.DataFrame, obj: SchemaObject, time: Property, y: np.ndarray, classes: list[object]) -> Block:
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
