"""Identify rows and values across runs, independent of how they are stored.

A row is identified by its id. Without an id column it is identified by a hash of its content, and equal rows are
numbered, so that each has a name of its own and they are split independently. The target is part of the content;
otherwise (features, yes) and (features, no) would always be on the same side of a split.

The hash includes the names of the columns, but not their order and types. Without the names, rows such as (0, 1) and
(1, 0) would be equal, and a table of booleans would have only a handful of distinct rows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlcicd.contract.schema import SchemaObject

HASH_KEY = "holdout-salt{:04d}"  # 16 bytes; changing it would reshuffle every project's holdout
MANY_EQUAL = 0.01  # share of duplicate rows that is worth a warning
GAP = "\0"  # the name of a missing value; no value of a table has it
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def row_ids(table: pd.DataFrame, obj: SchemaObject) -> pd.Series:
    """Return each row's name: its id, or a hash of its content and a number among equal rows."""
    if obj.id:
        return names(table[obj.id]).rename("row")
    return pd.Series(_numbered(content_hashes(table, obj)), dtype="str", index=table.index, name="row")


def same_rows(old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.Index, pd.Index]:
    """Pair the rows of two tables that are equal in the shared columns; each row occurs at most once.

    Duplicate rows are paired in any order.
    """
    common = [name for name in new.columns if name in old.columns]
    left, right = (pd.Series(table.index, index=_numbered(content_hashes(table[common]))) for table in (old, new))
    shared = left.index.intersection(right.index).sort_values()
    return pd.Index(left.loc[shared]), pd.Index(right.loc[shared])


def _numbered(hashed: np.ndarray) -> list[str]:
    return [f"{value:016x}-{number}" for value, number in zip(hashed, occurrence_numbers(hashed), strict=True)]


def names(values: pd.Series) -> pd.Series:
    """Return each value as text; 7 is "7" as an integer and as a float, whatever the other rows hold."""
    missing = values.isna().to_numpy()
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_float_dtype(values.dtype):
        numbers = values.to_numpy("float64", na_value=np.nan) + 0.0  # no negative zero
        texts = [f"{v:.0f}" if v == v // 1 else repr(v) for v in numbers.tolist()]
    elif values.dtype.kind == "M":
        texts = [str(moment).removesuffix(" 00:00:00") for moment in values]
    else:
        texts = values.astype("str").tolist()
    return pd.Series(texts, dtype="str", index=values.index, name=values.name).mask(missing, GAP)


def group_codes(groups: pd.Series) -> np.ndarray:
    """Number the groups from 0; all rows without a group count as one group, since they may belong together."""
    return pd.factorize(groups, use_na_sentinel=False)[0]


def content_hashes(table: pd.DataFrame, obj: SchemaObject | None = None) -> np.ndarray:
    """Hash each row, independent of the order and types of columns; columns with a role are named by it."""
    return _contents(table, obj)[0]


def row_hashes(ids: pd.Series, table: pd.DataFrame, obj: SchemaObject | None = None) -> pd.DataFrame:
    """Return each row's id, a hash of its content, and a hash of its values, which does not depend on column names."""
    named, values = _contents(table, obj)
    return pd.DataFrame({"row": ids.array, "content": named, "values": values})


def _contents(table: pd.DataFrame, obj: SchemaObject | None) -> tuple[np.ndarray, np.ndarray]:
    """Hash each row's values with and without the column names, hashing each column once."""
    roles = {p.name: p.role for p in obj.properties if p.role} if obj else {}
    named, alone = np.zeros((2, len(table)), dtype=np.uint64)
    for name, column in table.items():
        label = f"role {roles[str(name)]}" if str(name) in roles else f"column {name}"
        values = _hashed(column)
        named += _mixed(values + pd.util.hash_array(np.asarray([label], dtype=object)))
        alone += _mixed(values)
    return _mixed(named), alone


def occurrence_numbers(hashed: np.ndarray) -> np.ndarray:
    """Return how many equal values precede each value."""
    return pd.Series(hashed).groupby(hashed, sort=False).cumcount().to_numpy()


def _hashed(values: pd.Series) -> np.ndarray:
    """Hash values; equal numbers have equal hashes in every dtype, different large integers have different ones."""
    missing, kind = values.isna().to_numpy(), values.dtype
    hashes: np.ndarray
    if pd.api.types.is_bool_dtype(kind) or pd.api.types.is_float_dtype(kind):
        hashes = pd.util.hash_array(values.to_numpy("float64", na_value=np.nan) + 0.0)  # no negative zero
    elif pd.api.types.is_integer_dtype(kind):
        unsigned = pd.api.types.is_unsigned_integer_dtype(kind)
        integers = values.to_numpy("uint64" if unsigned else "int64", na_value=0)
        floats = integers.astype("float64")
        with np.errstate(invalid="ignore"):
            exact = (floats < 2.0**63) & (floats.astype(integers.dtype) == integers)
        hashes = pd.util.hash_array(floats)
        hashes[~exact] = pd.util.hash_array(integers[~exact].astype("uint64") * MULTIPLIER)
    elif kind.kind == "M":
        hashes = pd.util.hash_array(values.dt.as_unit("us").astype("int64").to_numpy())
    else:
        hashes = pd.util.hash_pandas_object(values.astype("str"), index=False, hash_key=HASH_KEY.format(0)).to_numpy()
    return np.where(missing, np.uint64(0), hashes)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Mix the bits of each hash (the finalizer of splitmix64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> np.uint64(31))
