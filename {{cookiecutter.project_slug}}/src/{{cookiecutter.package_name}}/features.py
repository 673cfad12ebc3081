"""The table to what the model sees, as a step of the fitted pipeline. This file is yours.

Training, batch and service run this code, so they cannot differ.
"""

from __future__ import annotations

import pandas as pd
from sklearn.base import TransformerMixin
from sklearn.compose import make_column_transformer
from skrub import TableVectorizer, ToCategorical


def make_features(*, cardinality_threshold: int = 40) -> TransformerMixin:
    """Build the transformer, fitted inside the folds: dates and texts become numbers, numbers stay as they are.

    Parameters
    ----------
    cardinality_threshold : text columns with fewer distinct values are categories; others are embedded by their letters
    """
    others = TableVectorizer(cardinality_threshold=cardinality_threshold, low_cardinality=ToCategorical())
    parts = (others, without_numbers), ("passthrough", numbers)
    return make_column_transformer(*parts, verbose_feature_names_out=False).set_output(transform="pandas")


def numbers(table: pd.DataFrame) -> list[str]:
    """The columns of numbers, but for those without a single value."""
    return table.select_dtypes(["number", "bool"]).dropna(axis=1, how="all").columns.tolist()


def without_numbers(table: pd.DataFrame) -> list[str]:
    """The columns of texts and dates."""
    return table.select_dtypes(exclude=["number", "bool"]).columns.tolist()
