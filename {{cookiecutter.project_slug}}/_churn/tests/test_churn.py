"""The example's own promises: nothing from the future reaches a feature, and the features mean what they are called."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from mlcicd.core import project
from mlcicd.data import readers

prepare, features = project.module("prepare").prepare, project.module("features")
AS_OF = date(1997, 12, 31)
TARGET = "churned"


@pytest.fixture(scope="module")
def purchases(contract) -> pd.DataFrame:
    (obj,) = contract.raw
    return readers.read(ROOT / obj.physicalName, obj)[0]


def shuffled_future(purchases: pd.DataFrame) -> pd.DataFrame:
    """Draw what happens after the snapshot anew: other customers, days and amounts; the past stays as it is."""
    later = purchases["date"] > pd.Timestamp(AS_OF)
    future, rng = purchases[later], np.random.default_rng(0)
    # With replacement: a permutation would leave each customer's number of orders as it was, and a leak of it unseen.
    mixed = {name: rng.choice(future[name].to_numpy(), len(future)) for name in future.columns}
    return pd.concat([purchases[~later], pd.DataFrame(mixed)], ignore_index=True)


def table(purchases: pd.DataFrame, build=prepare) -> pd.DataFrame:
    return build({"transactions": purchases}, as_of=AS_OF).sort_values("customer_id", ignore_index=True)


def leaks(purchases: pd.DataFrame, build=prepare) -> list[str]:
    """Name the columns, other than the target, that change when the future does."""
    before, after = table(purchases, build), table(shuffled_future(purchases), build)
    return [c for c in before if c != TARGET and not before[c].equals(after[c])]


def test_no_column_knows_the_future(purchases):
    assert leaks(purchases) == []
    assert not table(purchases)[TARGET].equals(table(shuffled_future(purchases))[TARGET])


def test_a_planted_leak_is_found(purchases):
    def leaking(raw, *, as_of):
        orders = raw["transactions"].groupby("customer_id").size()
        honest = prepare(raw, as_of=as_of)
        return honest.assign(total_orders=honest["customer_id"].map(orders))

    assert leaks(purchases, leaking) == ["total_orders"]


def test_features_of_one_customer():
    bought = pd.DataFrame(
        {
            "customer_id": ["1"] * 4 + ["2"],
            # a Saturday, a Monday in the fourth quarter, twice the same day 30 days later, and the future
            "date": pd.to_datetime(["1997-08-30", "1997-10-06", "1997-11-05", "1997-11-05", "1998-06-01"]),
            "quantity": [1, 2, 1, 4, 1],
            "amount": [10.0, 20.0, 5.0, 25.0, 9.0],
        }
    )
    customers = table(bought)
    assert customers["customer_id"].tolist() == ["1"]
    found = dict(zip(features.FEATURES, features.customer_features(customers)[0], strict=True))
    lifetime = (AS_OF - date(1997, 8, 30)).days + 1
    expected = {
        "days_since_last_purchase": 56,
        "customer_lifetime_days": lifetime,
        "purchase_frequency": 4 / lifetime,
        "average_order_value": 15.0,
        "items_per_order": 2.0,
        "weekend_shopper": 1 / 4,
        "seasonal_buyer": 3 / 4,
        "average_gap_days": (date(1997, 11, 5) - date(1997, 8, 30)).days / 2,
        "recent_orders": 3,
        "recent_trend": 3 / 4,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_one_purchase_has_no_gap():
    bought = pd.DataFrame(
        {
            "customer_id": ["1", "2"],
            "date": pd.to_datetime(["1997-12-01", "1998-06-01"]),
            "quantity": [1, 1],
            "amount": [10.0, 1.0],
        }
    )
    assert table(bought)["average_gap_days"].isna().all()


def test_an_unknown_future_is_refused(purchases):
    with pytest.raises(ValueError, match="before the horizon"):
        prepare({"transactions": purchases}, as_of=date(1998, 6, 30) - timedelta(days=10))


def test_the_churn_rate_is_what_the_data_says(data):
    assert len(data.table) == 23570
    assert data.table[TARGET].mean() == pytest.approx(0.838, abs=0.001)
    assert data.table["average_gap_days"].isna().mean() == pytest.approx(0.555, abs=0.001)
