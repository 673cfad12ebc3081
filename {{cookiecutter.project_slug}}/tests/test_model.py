"""The model behaves: it learns, repeats itself, copes with what is missing, and splits its rows honestly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mlcicd.data import split
from mlcicd.training import train

ROWS = 2000


@pytest.fixture(scope="module")
def sample(contract, params, data):
    """Features and encoded target of some rows, every class among them."""
    table = data.table.sample(min(ROWS, len(data.table)), random_state=0).reset_index(drop=True)
    y, classes = train.encode(table[contract.target.name], params)
    return table[[p.name for p in contract.table.features]], y, classes


@pytest.fixture(scope="module")
def fitted(params, sample):
    inputs, y, _ = sample
    return train.build(params, params.seed).fit(inputs, y)


def test_the_same_seed_gives_the_same_model(params, sample, fitted):
    inputs, y, classes = sample
    again = train.build(params, params.seed).fit(inputs, y)
    first, second = (train.score(m, inputs, params.task, len(classes)) for m in (fitted, again))
    assert np.array_equal(first, second)


def test_it_beats_a_constant_on_rows_it_has_seen(params, sample, fitted):
    inputs, y, classes = sample
    p = train.score(fitted, inputs, params.task, len(classes))
    if params.task == "regression":
        assert np.square(y - p).mean() < y.var()
    else:
        chosen = p.argmax(axis=1) if p.ndim > 1 else p >= 0.5
        assert (chosen == y).mean() >= np.bincount(y).max() / len(y)


def test_a_missing_value_does_not_stop_it(contract, params, sample, fitted):
    inputs, _, classes = sample
    optional = [p.name for p in contract.table.features if not p.required]
    if not optional:
        pytest.skip("the contract has no optional column")
    gaps = inputs.head(20).copy()
    gaps[optional] = gaps[optional].mask(np.ones(gaps[optional].shape, dtype=bool))
    p = train.score(fitted, gaps.astype(inputs.dtypes), params.task, len(classes))
    assert np.isfinite(p).all()


def test_one_row_alone_is_predicted_as_among_others(params, sample, fitted):
    inputs, _, classes = sample
    together = train.score(fitted, inputs.head(5), params.task, len(classes))
    alone = [train.score(fitted, inputs.iloc[[i]], params.task, len(classes))[0] for i in range(5)]
    assert np.allclose(together, alone, rtol=0, atol=1e-12)


def test_new_rows_never_move_an_old_row(contract, params, data):
    if params.split.method == "time" or contract.table.with_role("time"):
        params = params.model_copy(update={"split": params.split.model_copy(update={"cutoff": cutoff(contract, data)})})
    older = data.table.iloc[: len(data.table) * 3 // 4].reset_index(drop=True)
    before = membership(older, contract, params)
    after = membership(data.table, contract, params)
    assert before.equals(after.loc[before.index])


def membership(table: pd.DataFrame, contract, params) -> pd.Series:
    found = split.make_split(table, contract.table, params)
    return pd.Series(found.holdout, index=split.row_ids(table, contract.table))


def cutoff(contract, data):
    return data.table[contract.table.with_role("time").name].iloc[: len(data.table) * 3 // 4].median()
