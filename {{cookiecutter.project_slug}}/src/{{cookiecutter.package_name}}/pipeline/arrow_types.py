"""Which types of a Parquet file the contract has a type for, and why a column of another type is left out."""

from __future__ import annotations

from typing import Any

import pandas as pd

# By the predicate of pyarrow.types: what is in the column, and what to write instead. Short: it stands in a table.
LEFT_OUT = {
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
TEXTS = ("arrow.json",)  # extensions whose storage is text that a contract can hold


def why_left_out(kind: Any) -> str:
    """Return why the contract has no type for an Arrow type, in a few words; empty where it has one."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return "" if kind.extension_name in TEXTS else f"stored as {kind.extension_name}: write it as text"
    if pa.types.is_dictionary(kind):
        return why_left_out(kind.value_type)
    for predicate, (what, instead) in LEFT_OUT.items():
        if getattr(pa.types, predicate)(kind):
            return f"{what} ({str(kind).partition('<')[0]}): {instead}"
    return ""


def pandas_type(kind: Any) -> Any:
    """Return the type with which pandas shall hold an Arrow type, None for its usual one.

    Whole numbers keep their digits and booleans stay booleans where some are missing. What the contract has no type
    for stays with Arrow: some of it cannot be converted, which must not stop the columns beside it.
    """
    import pyarrow as pa

    if why_left_out(kind):
        return pd.ArrowDtype(kind)
    if pa.types.is_boolean(kind):
        return pd.BooleanDtype()
    if pa.types.is_integer(kind):
        return pd.api.types.pandas_dtype(str(kind).replace("uint", "UInt").replace("int", "Int"))  # uint8 → UInt8
    return None
