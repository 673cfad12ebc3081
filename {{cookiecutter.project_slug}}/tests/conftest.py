"""Reads contract, params and data once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlcicd.contract import document
from mlcicd.core import params as parameters
from mlcicd.data import load

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def contract():
    if not (ROOT / "contract.yaml").is_file():
        pytest.skip("no contract.yaml yet: run 'ml init TABLE --target COLUMN'")
    return document.load(ROOT / "contract.yaml")


@pytest.fixture(scope="session")
def params(contract):  # noqa: ARG001 - without a contract there are no params either
    return parameters.load(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def data(contract, params):
    """The prepared table and what is wrong with it."""
    return load.load(contract, params, ROOT)
