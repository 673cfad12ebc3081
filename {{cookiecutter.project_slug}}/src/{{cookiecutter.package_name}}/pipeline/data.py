"""Raw files → the table, with every breach of the contract on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .. import prepare as user
from . import rules, tables
from .errors import InputError
from .files import regular_file
from .odcs import Contract
from .params import Params, call

PACKAGE = f"src/{__name__.split('.')[0]}"


@dataclass(frozen=True)
class Data:
    """The table as the contract types it, and what is wrong with it or with the raw files."""

    table: pd.DataFrame
    violations: list[rules.Violation]
    raw_rows: dict[str, int]


def read_raw(contract: Contract, root: Path) -> tuple[dict[str, pd.DataFrame], list[rules.Violation]]:
    """Read the raw files by their names in the contract, and what is wrong with them."""
    if not contract.raw:
        raise InputError("contract.yaml: no object of the schema has a physicalName; name the file of at least one")
    raw: dict[str, pd.DataFrame] = {}
    violations: list[rules.Violation] = []
    for obj in contract.raw:
        path = regular_file(root, str(obj.physicalName), f"contract.yaml: physicalName of '{obj.name}'")
        raw[obj.name], mistyped = tables.read(path, obj)
        violations += rules.check(raw[obj.name], obj, mistyped)
    return raw, violations


def load(contract: Contract, params: Params, root: Path) -> Data:
    """Read the raw files, prepare the table, check both.

    Raises
    ------
    InputError
        A file or column is gone, or ``prepare`` cannot work with these parameters.
    """
    raw, violations = read_raw(contract, root)
    rows = {name: len(frame) for name, frame in raw.items()}
    if violations:
        # What prepare would make of broken raw data is anybody's guess: the raw rows are what must be mended.
        return Data(pd.DataFrame(), violations, rows)
    try:
        prepared = call(user.prepare, raw, section="prepare", values=params.prepare)
    except (KeyError, ValueError) as error:
        raise InputError(f"{PACKAGE}/prepare.py: {type(error).__name__}: {error}") from error
    if not isinstance(prepared, pd.DataFrame):
        raise InputError(f"{PACKAGE}/prepare.py: prepare() must return a DataFrame, not {type(prepared).__name__}")
    if prepared is raw.get(contract.table.name):
        return Data(prepared, [], rows)  # the table lies in a file as it is, and was checked there
    table, mistyped = tables.cast(prepared, contract.table, "the prepared table")
    return Data(table, rules.check(table, contract.table, mistyped), rows)
