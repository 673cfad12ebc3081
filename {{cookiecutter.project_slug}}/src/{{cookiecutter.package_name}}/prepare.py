"""Raw files to the table. This file is yours: join, aggregate and label here what arrives in more than one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd


def prepare(raw: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the table: one row an example, with the columns that ``contract.yaml`` declares for it.

    Parameters
    ----------
    raw : the files by their name in ``contract.yaml``, typed; with one file, that file is the table
    """
    (table,) = raw.values()
    return table


def new_data(raw: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame | Path, dict[str, Any]]:  # noqa: ARG001
    """Return what has arrived since training: `ml drift` and the `monitor` workflow look at it.

    By default a file that you, or a step of the workflow, put there. Query your warehouse here instead, if you like.

    Parameters
    ----------
    raw : as for ``prepare``, which takes the same further arguments

    Returns
    -------
    The new rows, with or without the target: a data frame, or the path of a CSV or Parquet file or a folder; and
    the arguments of ``prepare`` with which a training would learn from them (none: retraining is not proposed).
    """
    path = Path("data/new.csv")
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; put the new rows there, or say here where they come from")
    return path, {}
