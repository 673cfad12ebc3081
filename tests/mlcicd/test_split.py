"""Properties of the split, for any table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mlcicd.contract import document as contracts
from mlcicd.core import errors
from mlcicd.core import params as parameters
from mlcicd.data import row_identity, split

EXAMPLES = settings(max_examples=60)

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
        return split.make_split(table, obj, chosen)
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
@EXAMPLES
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
@EXAMPLES
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


@EXAMPLES
@given(shape=tables, order=st.permutations(["y", "word", "team", "when", "x", "key"]))
def test_order_types_and_gaps_allowed_are_no_content(shape: dict, order: list[str]):
    rng = np.random.default_rng(shape["seed"])
    table = draw_table(rng, shape["rows"], shape["groups"], shape["days"], "content")
    first = planned(table, schema("content"), params("content"))
    names = {"y": "renamed"}  # a column with a role is known by its role
    other = table[order].rename(columns=names)
    other["x"] = other["x"].astype("float64")  # as where the contract allows gaps
    other["team"] = other["team"].astype("Int64")
    obj = schema("content", names, required=False)
    second = planned(other, obj, params("content"))
    assert (first.holdout == second.holdout).all()
    assert split.row_ids(table, schema("content")).tolist() == split.row_ids(other, obj).tolist()


def repeated(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """A survey: yes and no in each column, so that many rows are equal and many differ by the place of a yes alone."""
    table = draw_table(rng, rows, 2, 2, "content").assign(key="k")
    word = pd.Series(rng.choice(["a", "b"], rows)).astype("str")
    return table.assign(x=rng.integers(0, 2, rows), word=word, y=(rng.random(rows) < 0.3).astype("int64"))


def kinds(table: pd.DataFrame, side: np.ndarray) -> pd.Series:
    """How many rows of each kind are on a side."""
    columns = sorted(table.columns)
    return table[side].astype("str").groupby(columns).size()


@pytest.mark.slow
@EXAMPLES
@given(shape=tables, more=st.integers(1, 200), order=st.randoms(use_true_random=False))
def test_of_equal_rows_the_same_number_is_held_out_whatever_their_order_and_adding_rows_takes_none_back(
    shape: dict, more: int, order
):
    rng = np.random.default_rng(shape["seed"])
    old = repeated(rng, shape["rows"])
    shuffled = list(range(shape["rows"] + more))
    order.shuffle(shuffled)
    new = pd.concat([old, repeated(rng, more)], ignore_index=True).iloc[shuffled].reset_index(drop=True)
    again = old.sample(frac=1, random_state=shape["seed"]).reset_index(drop=True)
    obj, chosen = schema("content"), params("content")
    before, same, after = (planned(t, obj, chosen) for t in (old, again, new))
    for side in ("holdout", "training"):
        first = kinds(old, getattr(before, side))
        assert first.equals(kinds(again, getattr(same, side)))
        assert (kinds(new, getattr(after, side)).reindex(first.index, fill_value=0) >= first).all()


@pytest.mark.parametrize("seed", range(5))
def test_equal_rows_are_drawn_by_themselves(seed: int):
    """The share of the holdout, and of the target in it, are those of the table within chance, whoever is equal."""
    table = repeated(np.random.default_rng(seed), 4000)
    drawn = [held(table, salt) for salt in range(30)]
    shares = np.asarray([held.mean() for held in drawn])
    targets = np.asarray([table["y"][held].mean() for held in drawn])
    for found, wanted, rows in ((shares, 0.25, 4000), (targets, table["y"].mean(), 1000)):
        finite = 1 if found is shares else 0.75  # a quarter of the rows is drawn without putting any back
        error = np.sqrt(finite * wanted * (1 - wanted) / rows)
        assert abs(found.mean() - wanted) < 4 * error / np.sqrt(len(drawn))
        assert 0.6 < found.std() / error < 1.4
    for column in ("x", "word", "team"):  # nor does a feature steer it
        share = pd.Series(drawn[0]).groupby(table[column]).mean()
        assert (abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 1800)).all()


def held(table: pd.DataFrame, salt: int, method: str = "content", task: str = "binary") -> np.ndarray:
    chosen = params(method, task)
    own = chosen.split.model_copy(update={"salt": salt})
    return split.make_split(table, schema(method), chosen.model_copy(update={"split": own})).holdout


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_equal_rows_spread_over_the_folds_too(task: str):
    table = repeated(np.random.default_rng(3), 2000)
    found = split.make_split(table, schema("content"), params("content", task))
    training = table[found.training].reset_index(drop=True).astype("str")
    kinds_of = training.groupby(sorted(training.columns)).ngroup().to_numpy()
    for kind in np.flatnonzero(np.bincount(kinds_of) >= 40):
        counts = [int((kinds_of[judge] == kind).sum()) for _, judge in found.folds]
        rows = sum(counts)
        assert all(abs(count - rows / 3) < 5 * np.sqrt(rows * 2 / 9) for count in counts)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_metric_is_expected_to_be_the_same_with_ids_and_without(task: str):
    """Cell means, learnt on one side and judged on the other, over many draws."""
    rng = np.random.default_rng(7)
    table = repeated(rng, 1500)
    chance = 0.2 + 0.3 * table["x"] + 0.3 * (table["word"] == "a")
    y = rng.random(1500) < chance if task == "binary" else (10 * chance).round() + rng.integers(0, 9, 1500)
    table = table.assign(y=y.astype("int64"))
    cell = table.groupby(["team", "when", "x", "word"]).ngroup()
    named = table.assign(key=[f"k{i}" for i in rng.permutation(1500)])

    def skill(out: np.ndarray) -> float:
        mean = table["y"][~out].groupby(cell[~out]).mean()
        guess = cell[out].map(mean).fillna(table["y"].mean())
        return float(np.corrcoef(guess, table["y"][out])[0, 1])

    with_ids = np.asarray([skill(held(named, salt, "id", task)) for salt in range(60)])
    without = np.asarray([skill(held(table, salt, "content", task)) for salt in range(60)])
    error = np.sqrt((with_ids.var() + without.var()) / 60)
    assert abs(with_ids.mean() - without.mean()) < 4 * error
    assert 0.6 < without.std() / with_ids.std() < 1.6


values = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 20), st.integers(2**53 - 3, 2**53 + 3))


@EXAMPLES
@given(numbers=st.lists(values, min_size=1, max_size=30), other=values)
def test_a_value_is_the_same_however_it_is_stored_and_no_other_one_is(numbers: list[int], other: int):
    series = pd.Series(numbers, dtype="int64")
    stored = [series, series.astype("Int64"), pd.concat([series.astype("Int64"), pd.Series([None], dtype="Int64")])]
    if all(abs(n) <= 2**53 for n in numbers):
        stored += [series.astype("float64"), pd.concat([series.astype("float64"), pd.Series([np.nan, 0.5])])]
    assert {tuple(row_identity.names(s)[: len(numbers)]) for s in stored} == {tuple(map(str, numbers))}
    assert len({tuple(row_identity._hashed(s)[: len(numbers)]) for s in stored}) == 1
    alike = row_identity._hashed(series) == row_identity._hashed(pd.Series([other] * len(numbers), dtype="int64"))
    assert (alike == (series == other)).all()


def test_the_text_of_a_moment_hangs_on_no_other_row():
    days = pd.Series(pd.to_datetime(["2026-01-01", "2026-01-02"]))
    mixed = pd.concat([days, pd.Series([pd.Timestamp("2026-01-01 08:00"), pd.NaT])], ignore_index=True)
    assert row_identity.names(mixed)[:2].tolist() == row_identity.names(days).tolist()
    assert row_identity.names(mixed).tolist()[2:] == ["2026-01-01 08:00:00", row_identity.GAP]


@EXAMPLES
@given(shape=tables)
def test_rows_without_a_group_stay_together_and_a_group_is_known_by_its_value(shape: dict):
    rng = np.random.default_rng(shape["seed"])
    table = draw_table(rng, shape["rows"], shape["groups"], shape["days"], "group")
    gaps = rng.random(shape["rows"]) < 0.2
    holed = table.assign(team=table["team"].where(~gaps))  # floats now
    whole, found = (planned(t, schema("group", required=t is table), params("group", folds=2)) for t in (table, holed))
    assert (whole.holdout[~gaps] == found.holdout[~gaps]).all()
    assert len(set(found.holdout[gaps])) <= 1
    rest = np.flatnonzero(found.training)
    for fit, judge in found.folds:
        assert not (gaps[rest[fit]].any() and gaps[rest[judge]].any())
    codes = row_identity.group_codes(holed["team"])
    assert codes.min() == 0 and len(set(codes)) == holed["team"].nunique(dropna=False)


@EXAMPLES
@given(shape=tables, salt=st.integers(1, 9999))
def test_another_salt_draws_another_holdout(shape: dict, salt: int):
    keys = np.array([f"k{i}" for i in range(2000)], dtype=object)
    drawn = [split.in_holdout(keys, 0.25, s) for s in (0, salt)]
    assert 0.2 < drawn[1].mean() < 0.3
    assert 0.25 < (drawn[0] != drawn[1]).mean() < 0.5
    table = draw_table(np.random.default_rng(shape["seed"]), 300, 20, 100, "content")
    assert (held(table, 0) != held(table, salt)).mean() > 0.2


@EXAMPLES
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
        split.make_split(table, obj, params("time", folds=5))
