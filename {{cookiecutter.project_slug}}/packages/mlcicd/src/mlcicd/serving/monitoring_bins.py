"""Bins of live monitoring, assigned by the same rule for training rows and for requests."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from mlcicd.contract.schema import TEMPORAL, Property
from mlcicd.core.labels import unused
from mlcicd.validation.rules import naive_utc

# Types of a request's values by logical type. Columns of integers or booleans with missing values hold floats.
AS_REQUESTED: dict[str, Callable[[Any], Any]] = {"integer": int, "number": float, "boolean": bool}


def choose_bins(values: pd.Series, prop: Property) -> list[Any]:
    """Return a column's bins as JSON values: its categories, or the deciles of ``values``."""
    if _is_category(prop):
        return list(dict.fromkeys(allowed.value for allowed in prop.enum or [])) or _unlisted(prop)
    if not values.notna().any():
        return []
    deciles = np.unique(np.quantile(values.dropna().to_numpy(), np.linspace(0.1, 0.9, 9), method="lower"))
    return deciles.astype("datetime64[us]").astype("str").tolist() if prop.logicalType in TEMPORAL else deciles.tolist()


def bin_lookup(bins: list[Any], prop: Property) -> tuple[Callable[[Any], int], list[str]]:
    """Return the function from a request's value to its bin, and the labels of the bins.

    The first bin holds missing values, the last one unknown categories or values above all bounds.
    """
    if _is_category(prop):
        names = [str(category) for category in bins]
        positions = {_typed(category, prop): i for i, category in enumerate(bins, start=1)} | {None: 0}
        labels = [unused("missing", names), *names, unused("other", names)]
        return lambda value: positions.get(value, len(names) + 1), labels
    bounds = [_typed(bound, prop) for bound in bins]
    labels = ["missing", *(f"<= {bound}" for bound in bins), "above"]
    return lambda value: 0 if value is None else 1 + bisect_left(bounds, value), labels


def bin_shares(values: pd.Series, bins: list[Any], prop: Property) -> list[float]:
    """Return the share of rows in each bin; none for dates, which differ from those of training by nature."""
    if prop.logicalType in TEMPORAL:
        return []
    find_bin, labels = bin_lookup(bins, prop)
    known = values.notna()
    indices = pd.Series(0, index=values.index)  # missing
    indices[known] = values[known].astype("object").map(AS_REQUESTED.get(prop.logicalType, str)).map(find_bin)
    return (np.bincount(indices, minlength=len(labels)) / max(len(values), 1)).tolist()


def _is_category(prop: Property) -> bool:
    return prop.enum is not None or prop.logicalType in ("string", "boolean")


def _unlisted(prop: Property) -> list[Any]:
    return [True, False] if prop.logicalType == "boolean" else []


def _typed(value: Any, prop: Property) -> Any:
    """Return a category or a bound with the type of a request's values. 1, 1.0 and True are the same key."""
    if prop.logicalType in TEMPORAL:
        stamp: datetime = naive_utc(value).to_pydatetime()
        return stamp
    return str(value) if prop.logicalType == "string" else value
