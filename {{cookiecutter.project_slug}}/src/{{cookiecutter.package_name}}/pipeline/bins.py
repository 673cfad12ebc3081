"""The bins of live monitoring: one rule says where a value belongs, for the rows of training and for requests alike."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from .labels import unused
from .odcs import TEMPORAL, Property
from .rules import naive

# What a request's values are, by logical type; a file's columns hold floats where an integer or boolean may be missing.
AS_REQUESTED: dict[str, Callable[[Any], Any]] = {"integer": int, "number": float, "boolean": bool}


def choose(values: pd.Series, prop: Property) -> list[Any]:
    """Choose a column's bins, to be kept as JSON: its categories, or the deciles of these rows."""
    if _is_category(prop):
        return list(dict.fromkeys(allowed.value for allowed in prop.enum or [])) or _unlisted(prop)
    if not values.notna().any():
        return []
    deciles = np.unique(np.quantile(values.dropna().to_numpy(), np.linspace(0.1, 0.9, 9), method="lower"))
    return deciles.astype("datetime64[us]").astype("str").tolist() if prop.logicalType in TEMPORAL else deciles.tolist()


def binning(bins: list[Any], prop: Property) -> tuple[Callable[[Any], int], list[str]]:
    """Return where a request's value belongs, and the labels: missing, categories or upper edges, the rest."""
    if _is_category(prop):
        names = [str(category) for category in bins]
        place = {_typed(category, prop): i for i, category in enumerate(bins, start=1)} | {None: 0}
        labels = [unused("missing", names), *names, unused("other", names)]
        return lambda value: place.get(value, len(names) + 1), labels
    edges = [_typed(edge, prop) for edge in bins]
    labels = ["missing", *(f"<= {edge}" for edge in bins), "above"]
    return lambda value: 0 if value is None else 1 + bisect_left(edges, value), labels


def shares(values: pd.Series, bins: list[Any], prop: Property) -> list[float]:
    """Return the share of a run's rows in each bin; for dates none, since they move on by themselves."""
    if prop.logicalType in TEMPORAL:
        return []
    place, labels = binning(bins, prop)
    known = values.notna()
    places = pd.Series(0, index=values.index)  # missing
    places[known] = values[known].astype("object").map(AS_REQUESTED.get(prop.logicalType, str)).map(place)
    return (np.bincount(places, minlength=len(labels)) / max(len(values), 1)).tolist()


def _is_category(prop: Property) -> bool:
    return prop.enum is not None or prop.logicalType in ("string", "boolean")


def _unlisted(prop: Property) -> list[Any]:
    return [True, False] if prop.logicalType == "boolean" else []


def _typed(value: Any, prop: Property) -> Any:
    """Return a category or an edge as a request's values are typed. 1, 1.0 and True are equal, and one key."""
    if prop.logicalType in TEMPORAL:
        stamp: datetime = naive(value).to_pydatetime()
        return stamp
    return str(value) if prop.logicalType == "string" else value
