"""Map the types of Parquet columns: which ones a contract supports, and as which pandas dtypes they are read."""

from __future__ import annotations

from typing import Any

import pandas as pd

# By the predicate of pyarrow.types: what the column holds and what to write instead; short, for a table's cell.
UNSUPPORTED = {
    "is_time": ("times of day", "write them as hours"),
    "is_duration": ("durations", "write them as days"),
    "is_interval": ("calendar intervals", "write days"),
    "is_binary": ("bytes", "write text"),
    "is_large_binary": ("bytes", "write text"),
    "is_fixed_size_binary": ("bytes", "write text"),
    "is_binary_view": ("bytes", "write text"),
    "is_map": ("maps", "write a column per key"),
    "is_struct": ("records", "write a column per field"),
    "is_union": ("values of several types", "write one type"),
    "is_nested": ("lists", "write counts or text"),
}
TEXT_EXTENSIONS = ("arrow.json",)  # extension types that are stored as text


def unsupported_reason(kind: Any) -> str:
    """Return why a contract does not support an Arrow type, in a few words; empty if it does."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return "" if kind.extension_name in TEXT_EXTENSIONS else f"stored as {kind.extension_name}: write it as text"
    if pa.types.is_dictionary(kind):
        return unsupported_reason(kind.value_type)
    for predicate, (what, instead) in UNSUPPORTED.items():
        if getattr(pa.types, predicate)(kind):
            return f"{what} ({str(kind).partition('<')[0]}): {instead}"
    return ""


def pandas_type(kind: Any) -> Any:
    """Return the pandas dtype for an Arrow type; None is the default one.

    Nullable dtypes keep integers and booleans exact if values are missing. Unsupported types stay Arrow types, since
    some cannot be converted and the other columns must still be read.
    """
    import pyarrow as pa

    if unsupported_reason(kind):
        return pd.ArrowDtype(kind)
    if pa.types.is_boolean(kind):
        return pd.BooleanDtype()
    if pa.types.is_integer(kind):
        return pd.api.types.pandas_dtype(str(kind).replace("uint", "UInt").replace("int", "Int"))  # uint8 → UInt8
    return None
