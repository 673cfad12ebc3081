"""``ml explore``: a self-contained page about the table: target, missing values, time, every column."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from mlcicd import tasks
from mlcicd.contract import document as contracts
from mlcicd.contract.schema import TEMPORAL, Property, SchemaObject
from mlcicd.core import params
from mlcicd.core.errors import InputError
from mlcicd.core.labels import number_names, time_names, unused
from mlcicd.core.params import Params
from mlcicd.data import load, sampling
from mlcicd.data.target import encode
from mlcicd.rendering import html
from mlcicd.rendering.blocks import SHOWN, Block, Report, Section, Table, Text, number
from mlcicd.system import outputs
from mlcicd.system.marks import is_page
from mlcicd.training import data_diagnostics

MAX_ROWS = 50_000  # larger tables are sampled
MAX_COLUMNS = 200  # with more, plots and pairwise associations are skipped
MAX_CELL = 500  # characters
YEARS = (1000, 9000)  # a range that matplotlib can draw with margins
BINS = 5
PERIODS = 40
# skrub's report contains scripts; it must not load anything.
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
    loaded = load.load(contract, chosen, root)
    if loaded.violations:
        raise InputError(f"the data breaks its contract ({loaded.violations[0]}); 'ml validate' lists it all")
    obj, target = contract.table, contract.target.name
    table = loaded.table
    shown = table.sample(min(len(table), MAX_ROWS), random_state=chosen.seed).sort_index().reset_index(drop=True)
    known = shown[shown[target].notna()].reset_index(drop=True)
    y, classes = encode(known[target], chosen)
    values, mean_name = tasks.of(chosen.task).average_outcome(y, classes)
    outcome = pd.Series(values)
    of_what = f"{len(table):,} rows" + (f", a sample of {len(shown):,} described" if len(shown) < len(table) else "")
    blocks: list[Block] = [Text(f"{of_what}; target '{target}', {chosen.task}.")]
    blocks += [Section("Association with the target", _relations(known, obj, outcome, mean_name))]
    blocks += [Section("Missing values", [_gaps(known, obj, y, chosen)])]
    if time := obj.with_role("time"):
        blocks += [Section("Over time", [_time(known, obj, time, outcome)])]
    columns = f"<h2>Every column</h2>\n{_report(shown)}"
    return html.render(Report(f"The table {obj.name}", blocks), policy=POLICY, last=columns)


def _report(shown: pd.DataFrame) -> str:
    import skrub

    few = shown.shape[1] <= MAX_COLUMNS
    drawn = shown.apply(_drawable)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of numbers near the largest float
        return str(skrub.TableReport(drawn, verbose=0, plot_distributions=few, compute_associations=few).html_snippet())


def _drawable(values: pd.Series) -> pd.Series:
    """Truncate long texts, and convert dates outside of matplotlib's range to text."""
    if pd.api.types.is_string_dtype(values.dtype):
        return values.str.slice(0, MAX_CELL)
    years = values.dt.year if values.dtype.kind == "M" else None
    return values if years is None or years.dropna().between(*YEARS).all() else values.astype("str")


def _relations(known: pd.DataFrame, obj: SchemaObject, outcome: pd.Series, mean_name: str) -> list[Block]:
    """Tabulate the mean outcome by levels of each feature, ordered by the variance that the feature explains."""
    tables: list[tuple[float, Table]] = []
    for prop in obj.features:
        level, names = _levels(known[prop.name], prop.logicalType in (*TEMPORAL, "integer", "number"))
        groups = outcome.groupby(level).agg(["size", "mean"])
        between = (groups["size"] * (groups["mean"] - outcome.mean()) ** 2).sum()
        explained = float(between / max(len(outcome) * outcome.var(ddof=0), 1e-12))
        rows = [[names[place], f"{int(size):,}", number(mean)] for place, size, mean in groups.itertuples()]
        table = Table(f"{prop.name}: explains {explained:.1%}", "lrr", ["value", "rows", mean_name], rows)
        tables.append((explained, table))
    tables.sort(key=lambda entry: -entry[0])
    blocks: list[Block] = [table for _, table in tables[:SHOWN]]
    if len(tables) > SHOWN:
        blocks.append(Text(f"… and {len(tables) - SHOWN} more columns that explain less"))
    return blocks


def _levels(values: pd.Series, ordered: bool) -> tuple[np.ndarray, list[str]]:
    """Bin a column by quantiles, or by its most frequent values; return each row's level (n,) and the levels' names."""
    missing, known = values.isna().to_numpy(), values.dropna()
    if ordered and known.nunique() > BINS:
        x = values.to_numpy() if values.dtype.kind == "M" else values.to_numpy("float64", na_value=np.nan)
        rising = np.sort(x[~missing])
        edges = np.unique(rising[len(rising) * np.arange(1, BINS) // BINS])
        # An edge at the maximum separates nothing; if it is the only one, use the next smaller value.
        edges = edges[edges < rising[-1]] if edges[0] < rising[-1] else rising[rising < rising[-1]][-1:]
        edge_names = time_names(list(pd.DatetimeIndex(edges))) if x.dtype.kind == "M" else number_names(edges.tolist())
        between = [f"> {low}, ≤ {high}" for low, high in pairwise(edge_names)]
        names = [f"≤ {edge_names[0]}", *between, f"> {edge_names[-1]}"]
        level = np.searchsorted(edges, x)
    else:
        common = known.value_counts().index[: 2 * BINS]
        common = common.sort_values() if ordered else common
        names = [str(value).removesuffix(" 00:00:00") for value in common]
        names.append(unused("other", names))
        level = common.get_indexer(pd.Index(values))
        level[level < 0] = len(common)
    level[missing] = len(names)
    return level, [*names, unused("missing", names)]


def _gaps(known: pd.DataFrame, obj: SchemaObject, y: np.ndarray, chosen: Params) -> Block:
    drawn = sampling.sample(sampling.units(known, obj, known.index.to_series()))
    columns = data_diagnostics.missingness(known[[p.name for p in obj.features]], y, chosen.task, drawn)
    if not columns:
        return Text("No feature has missing values.")
    rows = [
        [name, f"{gap['share']:.1%}", number(gap["association"]), f"{gap['p']:.2g}", "yes" if gap["predicts"] else "no"]
        for name, gap in sorted(columns.items(), key=lambda item: -item[1]["share"])
    ]
    head = ["column", "missing", "association with the target, 0 to 1", "p", "informative"]
    return Table("Columns with missing values, and whether these are associated with the target", "lrrrl", head, rows)


def _time(known: pd.DataFrame, obj: SchemaObject, time: Property, outcome: pd.Series) -> Block:
    period = known[time.name]
    if time.logicalType in TEMPORAL:
        days = (period.max() - period.min()).days
        period = period.dt.to_period("D" if days < PERIODS else "M" if days < 28 * PERIODS else "Y").astype("str")
    elif period.nunique() > PERIODS:
        period = pd.cut(period, PERIODS)
    groups = outcome.groupby(period.to_numpy(), observed=True).agg(["size", "mean"])
    missing_share = known[[p.name for p in obj.features]].isna().mean(axis=1)
    groups["gaps"] = missing_share.groupby(period.to_numpy(), observed=True).mean()
    rows = [
        [str(k), f"{int(size):,}", number(mean), f"{missing:.1%}"] for k, size, mean, missing in groups.itertuples()
    ]
    last = f", the last {PERIODS} periods" if len(rows) > PERIODS else ""
    return Table(f"By {time.name}{last}", "lrrr", ["period", "rows", "mean outcome", "missing values"], rows[-PERIODS:])
