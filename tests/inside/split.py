"""Properties of the split, for any table. Runs inside a project: see test_split.py."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

PACKAGE = next(iter(entry_points(group="console_scripts", name="ml"))).value.partition(".")[0]
contracts = importlib.import_module(f"{PACKAGE}.pipeline.contract")
errors = importlib.import_module(f"{PACKAGE}.pipeline.errors")
parameters = importlib.import_module(f"{PACKAGE}.pipeline.params")
split = importlib.import_module(f"{PACKAGE}.pipeline.split")

settings.register_profile("split", max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("split")

METHODS = ("id", "content", "group", "time", "time-number", "time-group")


def schema(method: str, names: dict[str, str] | None = None, required: bool = True):
    """A contract's table for a way to split; ``names`` renames columns."""
    roles = {"y": "target"}
    roles |= {"key": "id"} if method != "content" else {}
    roles |= {"team": "group"} if "group" in method else {}
    roles |= {"when": "time"} if "time" in method else {}
    when = "integer" if method == "time-number" else "date"
    types = {"key": "string", "team": "integer", "when": when, "x": "integer", "word": "string", "y": "integer"}
    properties = [
        {
            "name": (names or {}).get(name, name),
            "logicalType": kind,
            "required": required or name in ("key", "y", "when"),
            "customProperties": [{"property": "role", "value": roles[name]}] if name in roles else [],
        }
        for name, kind in types.items()
    ]
    document = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "t", "version": "1", "status": "draft"}
    return contracts.parse(document | {"schema": [{"name": "t", "properties": properties}]}).table


def params(method: str, task: str = "binary", folds: int = 3, cutoff: object = None):
    found = {"folds": folds, "cutoff": cutoff if "time" in method else None}
    return parameters.Params(seed=1, task=task, split=parameters.Split(**found))


def draw_table(
    rng: np.random.Generator, rows: int, groups: int, days: int, method: str, start: int = 0
) -> pd.DataFrame:
    offsets = rng.integers(0, days, rows)
    when = offsets + 1990 if method == "time-number" else pd.Timestamp("2026-01-01") + pd.to_timedelta(offsets, "D")
    return pd.DataFrame(
        {
            "key": [f"k{start + i}" for i in range(rows)],
            "team": rng.integers(0, groups, rows),
            "when": when,
            "x": rng.integers(0, 50, rows),
            "word": pd.Series(rng.choice(["a", "b", "c", "d"], rows)).astype("str"),
            "y": rng.integers(0, 2, rows),
        }
    )


def planned(table: pd.DataFrame, obj, chosen):
    """The plan; a table that is too small for it is no counterexample."""
    try:
        return split.plan(table, obj, chosen)
    except errors.InputError:
        assume(False)


tables = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "rows": st.integers(40, 300),
        "groups": st.integers(5, 80),
        "days": st.integers(6, 400),
    }
)


@pytest.mark.parametrize("method", METHODS)
@given(shape=tables, task=st.sampled_from(["binary", "multiclass", "regression"]))
def test_no_group_and_no_future_row_straddles(method: str, shape: dict, task: str):
    rng = np.random.default_rng(shape["seed"])
    table = draw_table(rng, shape["rows"], shape["groups"], shape["days"], method)
    found = planned(table, schema(method), params(method, task))
    assert not (found.holdout & found.training).any()
    rest = np.flatnonzero(found.training)
    pairs = [(found.training, found.holdout)]
    for fit, judge in found.folds:
        assert not set(fit) & set(judge)
        pairs.append((rest[fit], rest[judge]))
    for train, test in pairs:
        if "group" in method:
            assert not set(table["team"][train]) & set(table["team"][test])
        if "time" in method:
            assert table["when"][train].max() < table["when"][test].min()
    judged = np.concatenate([judge for _, judge in found.folds])
    assert len(judged) == len(set(judged)), "a row is judged twice"
    if method in ("id", "content", "group"):
        assert (found.holdout | found.training).all()
        assert len(judged) == found.training.sum(), "a training row is never judged"


@pytest.mark.parametrize("method", METHODS)
@given(shape=tables, more=st.integers(1, 200), cut=st.integers(1, 400), order=st.randoms(use_true_random=False))
def test_adding_rows_moves_no_old_row(method: str, shape: dict, more: int, cut: int, order):
    rng = np.random.default_rng(shape["seed"])
    old = draw_table(rng, shape["rows"], shape["groups"], shape["days"], method)
    new = draw_table(rng, more, 2 * shape["groups"], 2 * shape["days"], method, start=shape["rows"])
    day = cut % shape["days"]
    cutoff = 1990.0 + day if method == "time-number" else pd.Timestamp("2026-01-01") + pd.Timedelta(days=day)
    chosen = params(method, cutoff=cutoff)
    both = pd.concat([old, new], ignore_index=True)
    shuffled = list(range(len(both)))
    order.shuffle(shuffled)
    before, after = (
        planned(old, schema(method), chosen),
        planned(both.iloc[shuffled].reset_index(drop=True), schema(method), chosen),
    )
    place = np.argsort(shuffled)[: len(old)]
    assert (after.holdout[place] == before.holdout).all()
    assert (after.training[place] == before.training).all()


@given(shape=tables)
def test_names_order_and_gaps_allowed_are_no_content(shape: dict):
    rng = np.random.default_rng(shape["seed"])
    table = draw_table(rng, shape["rows"], shape["groups"], shape["days"], "content")
    first = planned(table, schema("content"), params("content"))
    names = {"x": "renamed", "word": "another"}
    other = table.rename(columns=names)[["y", "another", "team", "when", "renamed", "key"]]
    other["renamed"] = other["renamed"].astype("float64")  # as where the contract allows gaps
    second = planned(other, schema("content", names, required=False), params("content"))
    assert (first.holdout == second.holdout).all()
    assert split.row_ids(table, schema("content")).tolist() == split.row_ids(other, schema("content", names)).tolist()


@given(shape=tables, salt=st.integers(1, 9999))
def test_another_salt_draws_another_holdout(shape: dict, salt: int):
    keys = np.array([f"k{i}" for i in range(2000)], dtype=object)
    drawn = [split.in_holdout(keys, 0.25, s) for s in (0, salt)]
    assert 0.2 < drawn[1].mean() < 0.3
    assert 0.25 < (drawn[0] != drawn[1]).mean() < 0.5
    content = split._content(draw_table(np.random.default_rng(shape["seed"]), 300, 20, 100, "content"))
    assert (split.in_holdout(content, 0.5, 0) != split.in_holdout(content, 0.5, salt)).mean() > 0.3


@given(shape=tables, rare=st.integers(1, 3))
def test_a_rare_class_stops_no_stratified_split(shape: dict, rare: int):
    table = draw_table(np.random.default_rng(shape["seed"]), shape["rows"], 5, 10, "id")
    table.loc[: rare - 1, "y"] = 7
    found = planned(table, schema("id"), params("id", "multiclass"))
    y = table["y"].to_numpy()[found.training]
    for _, judge in found.folds:
        for value, count in zip(*np.unique(y, return_counts=True), strict=True):
            assert abs((y[judge] == value).sum() - count / len(found.folds)) <= 1


def test_every_row_of_one_moment_lies_on_one_side():
    table = draw_table(np.random.default_rng(3), 200, 10, 4, "time")
    obj = schema("time")
    assert split.default_cutoff(table["when"], 0.25) < table["when"].max()
    with pytest.raises(errors.InputError, match="distinct moments are too few"):
        split.plan(table, obj, params("time", folds=5))
