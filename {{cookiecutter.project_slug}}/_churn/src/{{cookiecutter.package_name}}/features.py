"""The table to what the model sees, as a step of the fitted pipeline. This file is yours.

Training, batch and service run this code, so they cannot differ.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.base import TransformerMixin
from sklearn.preprocessing import FunctionTransformer

FEATURES = [
    "days_since_last_purchase",
    "customer_lifetime_days",
    "total_orders",
    "recent_orders",
    "purchase_frequency",
    "average_order_value",
    "items_per_order",
    "total_spent",
    "largest_order",
    "weekend_shopper",
    "seasonal_buyer",
    "average_gap_days",
    "overdue",
    "recent_trend",
]
DAY = np.timedelta64(1, "D")


def customer_features(table: pd.DataFrame) -> np.ndarray:
    """Compute the features of each customer, in the order of ``FEATURES``; a missing value stays NaN.

    Parameters
    ----------
    table : DataFrame of shape (n, columns), the feature columns of ``customers`` in ``contract.yaml``

    Returns
    -------
    ndarray of shape (n, len(FEATURES)), float64
    """
    column = {name: table[name].to_numpy() for name in table.columns}
    as_of, first, last = column["as_of"], column["first_purchase"], column["last_purchase"]
    orders = column["total_orders"]
    recency = (as_of - last) / DAY
    lifetime = (as_of - first) / DAY + 1
    features = {
        "days_since_last_purchase": recency,
        "customer_lifetime_days": lifetime,
        "total_orders": orders,
        "recent_orders": column["recent_orders"],
        "purchase_frequency": orders / lifetime,
        "average_order_value": column["total_spent"] / orders,
        "items_per_order": column["total_items"] / orders,
        "total_spent": column["total_spent"],
        "largest_order": column["largest_order"],
        "weekend_shopper": column["weekend_purchases"] / orders,
        "seasonal_buyer": column["q4_purchases"] / orders,
        "average_gap_days": column["average_gap_days"],
        # How late the next order is, in units of the customer's own rhythm.
        "overdue": recency / (column["average_gap_days"] + 1),
        "recent_trend": column["recent_orders"] / orders,
    }
    return np.column_stack([features[name] for name in FEATURES]).astype("float64")


def feature_names(_transformer: FunctionTransformer, _input_features: object) -> np.ndarray:
    """Name the columns of ``customer_features`` for scikit-learn."""
    return np.asarray(FEATURES, dtype=object)


def make_features() -> TransformerMixin:
    """Build the transformer. A keyword argument here becomes a key under ``features`` in ``params.yaml``."""
    return FunctionTransformer(customer_features, feature_names_out=feature_names)
