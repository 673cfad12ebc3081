"""Load the raw files, prepare the table, and validate both against the contract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mlcicd.contract import servers
from mlcicd.contract.schema import Contract
from mlcicd.core import project
from mlcicd.core.errors import InputError
from mlcicd.core.params import Params, call
from mlcicd.core.yaml_io import regular_file
from mlcicd.data import readers
from mlcicd.sources import raw_files
from mlcicd.validation import rules


@dataclass(frozen=True)
class Data:
    """The typed table, the violations of the contract, and the number of rows of each raw file."""

    table: pd.DataFrame
    violations: list[rules.Violation]
    raw_rows: dict[str, int]


def read_raw(contract: Contract, root: Path) -> tuple[dict[str, pd.DataFrame], list[rules.Violation]]:
    """Read the raw files; return them by their names in the contract, with the violations of the contract."""
    if not contract.raw:
        raise InputError("contract.yaml: no object of the schema has a physicalName; name the file of at least one")
    servers.check(contract, root)
    raw: dict[str, pd.DataFrame] = {}
    violations: list[rules.Violation] = []
    for obj in contract.raw:
        path = regular_file(root, str(obj.physicalName), f"contract.yaml: physicalName of '{obj.name}'")
        raw_files.check(root, str(obj.physicalName))
        raw[obj.name], mistyped = readers.read(path, obj)
        violations += rules.check(raw[obj.name], obj, mistyped)
    return raw, violations


def load(contract: Contract, params: Params, root: Path) -> Data:
    """Read the raw files and prepare the table, and validate both.

    Raises
    ------
    InputError
        A file or column is missing, or ``prepare`` failed.
    """
    raw, violations = read_raw(contract, root)
    rows = {name: len(frame) for name, frame in raw.items()}
    if violations:
        # Do not run prepare on invalid raw data; the raw rows must be corrected first.
        return Data(pd.DataFrame(), violations, rows)
    try:
        prepared = call(project.module("prepare").prepare, raw, section="prepare", values=params.prepare)
    except (KeyError, ValueError) as error:
        raise InputError(f"{project.source('prepare.py')}: {type(error).__name__}: {error}") from error
    if not isinstance(prepared, pd.DataFrame):
        raise InputError(
            f"{project.source('prepare.py')}: prepare() must return a DataFrame, not {type(prepared).__name__}"
        )
    if prepared is raw.get(contract.table.name):
        return Data(prepared, [], rows)  # the table is a raw file, which was validated already
    table, mistyped = readers.coerce_dtypes(prepared, contract.table, "the prepared table")
    return Data(table, rules.check(table, contract.table, mistyped), rows)
