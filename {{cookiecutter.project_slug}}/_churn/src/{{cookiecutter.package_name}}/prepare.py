"""Raw purchases to the table: one row a customer as of a date. This file is yours.

Nothing from after ``as_of`` may reach a column other than the target; ``tests/test_churn.py`` proves it by shuffling
the future.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd

RECENT_DAYS = 90


def prepare(raw: dict[str, pd.DataFrame], *, as_of: date | str, horizon_days: int = 90) -> pd.DataFrame:
    """Build the customer table.

    Parameters
    ----------
    raw : the raw files by their name in ``contract.yaml``, typed; here ``transactions``
    as_of : the snapshot date; purchases up to and including it are the past
    horizon_days : a customer who buys nothing in so many days after ``as_of`` has churned

    Returns
    -------
    One row a customer who had bought by ``as_of``, with the columns of ``customers`` in ``contract.yaml``.

    Raises
    ------
    ValueError
        The purchases end before the horizon does, so that the target cannot be known.
    """
    purchases = raw["transactions"]
    snapshot = pd.Timestamp(as_of)
    horizon = snapshot + pd.Timedelta(days=horizon_days)
    if purchases["date"].max() < horizon:
        raise ValueError(f"purchases end on {purchases['date'].max():%Y-%m-%d}, before the horizon {horizon:%Y-%m-%d}")
    past = purchases[purchases["date"] <= snapshot]
    future = purchases[(purchases["date"] > snapshot) & (purchases["date"] <= horizon)]
    table = _history(past, snapshot)
    table["churned"] = ~table["customer_id"].isin(future["customer_id"])
    return table


def new_data(
    raw: dict[str, pd.DataFrame], *, as_of: date | str, horizon_days: int = 90
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return what has arrived since training: `ml drift` and the `monitor` workflow look at it.

    Here the table of the latest quarter whose horizon the purchases still cover; the training's own when there is none.

    Parameters
    ----------
    raw, as_of, horizon_days : as for ``prepare``

    Returns
    -------
    The new rows, and the arguments of ``prepare`` with which a training would learn from them.
    """
    covered = raw["transactions"]["date"].max() - pd.Timedelta(days=horizon_days)
    quarters = pd.date_range(as_of, covered, freq="QE", inclusive="right")
    latest = quarters[-1].date() if len(quarters) else as_of
    table = prepare(raw, as_of=latest, horizon_days=horizon_days)
    return table, {"as_of": latest} if latest != as_of else {}


def _history(past: pd.DataFrame, snapshot: pd.Timestamp) -> pd.DataFrame:
    past = past.assign(
        weekend=past["date"].dt.day_of_week >= 5,
        q4=past["date"].dt.quarter == 4,
        recent=past["date"] > snapshot - pd.Timedelta(days=RECENT_DAYS),
    )
    table = past.groupby("customer_id", as_index=False).agg(
        first_purchase=("date", "min"),
        last_purchase=("date", "max"),
        total_orders=("date", "size"),
        purchase_days=("date", "nunique"),
        total_items=("quantity", "sum"),
        total_spent=("amount", "sum"),
        largest_order=("amount", "max"),
        weekend_purchases=("weekend", "sum"),
        q4_purchases=("q4", "sum"),
        recent_orders=("recent", "sum"),
    )
    # The gap between purchases is unknown for a customer who came on one day only: missing, not zero.
    days = (table["last_purchase"] - table["first_purchase"]).dt.days
    table["average_gap_days"] = (days / (table["purchase_days"] - 1)).where(table["purchase_days"] > 1)
    table["total_spent"] = table["total_spent"].round(2)
    table.insert(1, "as_of", snapshot)
    return table
