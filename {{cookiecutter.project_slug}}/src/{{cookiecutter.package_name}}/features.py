"""The table to what the model sees, as a step of the fitted pipeline. This file is yours.

Training, batch and service run this code, so they cannot differ. The contract has typed each column: text is ``str``,
numbers are numbers, dates are dates. Nothing here guesses again, so that ``NA``, ``0123`` and ``1e5`` in a column of
text stay these texts, and only a gap is missing.
"""

from __future__ import annotations

import math
from functools import partial

import pandas as pd
from sklearn.base import TransformerMixin
from sklearn.compose import ColumnTransformer
from skrub import ApplyToCols, DatetimeEncoder, StringEncoder, ToCategorical


def make_features(*, cardinality_threshold: int = 40) -> TransformerMixin:
    """Build the transformer, fitted inside the folds: dates and texts become numbers, numbers stay as they are.

    Parameters
    ----------
    cardinality_threshold : text columns with fewer distinct values are categories; others are embedded by their letters
        (upper and lower case are one)
    """
    few, many = partial(texts, below=cardinality_threshold), partial(texts, at_least=cardinality_threshold)
    parts = [
        ("category", ApplyToCols(ToCategorical()), few),
        ("text", ApplyToCols(StringEncoder(random_state=0)), many),
        ("date", ApplyToCols(DatetimeEncoder()), dates),
        ("number", "passthrough", numbers),
    ]
    return ColumnTransformer(parts).set_output(transform="pandas")


def texts(table: pd.DataFrame, *, at_least: int = 1, below: float = math.inf) -> list[str]:
    """Return the columns of text with so many distinct values; none without a single value."""
    distinct = table.select_dtypes(["str"]).nunique()
    return distinct.index[(distinct >= at_least) & (distinct < below)].tolist()


def dates(table: pd.DataFrame) -> list[str]:
    """Return the columns of dates, but for those without a single value."""
    return table.select_dtypes("datetime").dropna(axis=1, how="all").columns.tolist()


def numbers(table: pd.DataFrame) -> list[str]:
    """Return the columns of numbers and booleans, but for those without a single value."""
    return table.select_dtypes(["number", "bool"]).dropna(axis=1, how="all").columns.tolist()
