"""What makes a row the same row, and a value the same value, in every run: the value itself, never how it is stored.

A row is known by its id. Without one it is known by its content, and equal rows are numbered: the first, the second …
of its kind. Each of these names is drawn by itself, so that equal rows spread over both sides of a split as with an id.
The target is part of the content: drawn by the features alone, (features, yes) and (features, no) would go together.

The order of columns and their types are no content; the columns' names are. Without names, rows such as (0, 1) and
(1, 0) would be one row, and in a table of yes and no a handful of draws would decide everything.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .odcs import SchemaObject

HASH_KEY = "holdout-salt{:04d}"  # 16 bytes; changing it would reshuffle every project's holdout
MANY_EQUAL = 0.01  # of the rows: worth a question
GAP = "\0"  # a text that no value of a table is
ODD = np.uint64(0x9E3779B97F4A7C15)


def row_ids(table: pd.DataFrame, obj: SchemaObject) -> pd.Series:
    """Return a text that names each row: its id, or a hash of its content with the number among equal rows."""
    if obj.id:
        return names(table[obj.id]).rename("row")
    return pd.Series(_numbered(content(table, obj)), dtype="str", index=table.index, name="row")


def same_rows(old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.Index, pd.Index]:
    """Pair the rows of two tables by the columns that both have, in an order of their own; each row once.

    Among rows that are equal there, any may stand for any.
    """
    common = [name for name in new.columns if name in old.columns]
    left, right = (pd.Series(table.index, index=_numbered(content(table[common]))) for table in (old, new))
    shared = left.index.intersection(right.index).sort_values()
    return pd.Index(left.loc[shared]), pd.Index(right.loc[shared])


def _numbered(hashed: np.ndarray) -> list[str]:
    return [f"{value:016x}-{number}" for value, number in zip(hashed, repeats(hashed), strict=True)]


def names(values: pd.Series) -> pd.Series:
    """Return each value as text: 7 is "7" as an integer, as a float beside gaps, and whatever the other rows hold."""
    gaps = values.isna().to_numpy()
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_float_dtype(values.dtype):
        numbers = values.to_numpy("float64", na_value=np.nan) + 0.0  # no negative zero
        found = [f"{v:.0f}" if v == v // 1 else repr(v) for v in numbers.tolist()]
    elif values.dtype.kind == "M":
        found = [str(moment).removesuffix(" 00:00:00") for moment in values]
    else:
        found = values.astype("str").tolist()
    return pd.Series(found, dtype="str", index=values.index, name=values.name).mask(gaps, GAP)


def group_codes(groups: pd.Series) -> np.ndarray:
    """Number the groups from 0; rows without a group are one group, since they may belong together."""
    return pd.factorize(groups, use_na_sentinel=False)[0]


def content(table: pd.DataFrame, obj: SchemaObject | None = None) -> np.ndarray:
    """Hash each row's values by column, whatever the columns' order and types; a role stands for the column's name."""
    return _contents(table, obj)[0]


def row_hashes(ids: pd.Series, table: pd.DataFrame, obj: SchemaObject | None = None) -> pd.DataFrame:
    """Return each row's id, its content, and its values alone: these stay the same where columns are renamed."""
    named, values = _contents(table, obj)
    return pd.DataFrame({"row": ids.array, "content": named, "values": values})


def _contents(table: pd.DataFrame, obj: SchemaObject | None) -> tuple[np.ndarray, np.ndarray]:
    """Hash each row's values with the names of their columns, and alone; each column is hashed once."""
    roles = {p.name: p.role for p in obj.properties if p.role} if obj else {}
    named, alone = np.zeros((2, len(table)), dtype=np.uint64)
    for name, column in table.items():
        known = f"role {roles[str(name)]}" if str(name) in roles else f"column {name}"
        values = _hashed(column)
        named += _mixed(values + pd.util.hash_array(np.asarray([known], dtype=object)))
        alone += _mixed(values)
    return _mixed(named), alone


def repeats(hashed: np.ndarray) -> np.ndarray:
    """Return how many equal values stand before each one."""
    return pd.Series(hashed).groupby(hashed, sort=False).cumcount().to_numpy()


def _hashed(values: pd.Series) -> np.ndarray:
    """Hash values: equal numbers alike in every dtype, neighbours apart even where no float can tell them apart."""
    gaps, kind = values.isna().to_numpy(), values.dtype
    found: np.ndarray
    if pd.api.types.is_bool_dtype(kind) or pd.api.types.is_float_dtype(kind):
        found = pd.util.hash_array(values.to_numpy("float64", na_value=np.nan) + 0.0)  # no negative zero
    elif pd.api.types.is_integer_dtype(kind):
        unsigned = pd.api.types.is_unsigned_integer_dtype(kind)
        whole = values.to_numpy("uint64" if unsigned else "int64", na_value=0)
        floats = whole.astype("float64")
        with np.errstate(invalid="ignore"):
            exact = (floats < 2.0**63) & (floats.astype(whole.dtype) == whole)
        found = pd.util.hash_array(floats)
        found[~exact] = pd.util.hash_array(whole[~exact].astype("uint64") * ODD)
    elif kind.kind == "M":
        found = pd.util.hash_array(values.dt.as_unit("us").astype("int64").to_numpy())
    else:
        found = pd.util.hash_pandas_object(values.astype("str"), index=False, hash_key=HASH_KEY.format(0)).to_numpy()
    return np.where(gaps, np.uint64(0), found)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Spread each number over all its bits (the finalizer of splitmix64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> np.uint64(31))
