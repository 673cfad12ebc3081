"""The data keeps its contract, and a breach is named."""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import ROOT
from mlcicd.contract import document
from mlcicd.core import params as parameters
from mlcicd.core.errors import InputError
from mlcicd.data import readers
from mlcicd.validation import rules


def test_contract_is_kept(data):
    assert not data.violations
    assert len(data.table) > 0


def test_a_breach_of_a_required_column_is_named(contract, data):
    required = [p for p in contract.table.properties if p.required]
    if not required:
        pytest.skip("the contract has no required column")
    broken = data.table.copy()
    broken[required[0].name] = broken[required[0].name].astype("object")
    broken.loc[2, required[0].name] = None
    frame, mistyped = readers.coerce_dtypes(broken, contract.table, "test")
    found = [v for v in rules.check(frame, contract.table, mistyped) if v.rule == "required"]
    assert [(v.column, v.count, v.rows) for v in found] == [(required[0].name, 1, (3,))]


def test_the_table_has_the_dtypes_of_its_contract(contract, data):
    again, mistyped = readers.coerce_dtypes(data.table, contract.table, "test")
    assert not mistyped
    pd.testing.assert_frame_equal(again, data.table)


def test_a_misspelt_key_is_refused(contract, tmp_path):  # noqa: ARG001 - skips where there is no contract
    cases = (("contract", document, "schema:"), ("params", parameters, "seed:"), ("params", parameters, "split:"))
    for name, module, key in cases:
        text = (ROOT / f"{name}.yaml").read_text(encoding="utf-8")
        (tmp_path / "misspelt.yaml").write_text(text.replace(key, f"x{key}", 1), encoding="utf-8")
        with pytest.raises(InputError, match=f"unknown key 'x{key[:-1]}'.*{key[:-1]}"):
            module.load(tmp_path / "misspelt.yaml")
