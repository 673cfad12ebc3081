"""Finds the project's package without naming it, and reads contract, params and data once for all tests."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = next((ROOT / "src").glob("*/pipeline")).parent.name
package = importlib.import_module(PACKAGE)


def module(name: str):
    """Import one of the package's modules: `module("pipeline.split")`."""
    return importlib.import_module(f"{PACKAGE}.{name}")


@pytest.fixture(scope="session")
def contract():
    if not (ROOT / "contract.yaml").is_file():
        pytest.skip("no contract.yaml yet: run 'ml init TABLE --target COLUMN'")
    return module("pipeline.contract").load(ROOT / "contract.yaml")


@pytest.fixture(scope="session")
def params(contract):  # noqa: ARG001 - without a contract there are no params either
    return module("pipeline.params").load(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def data(contract, params):
    """The prepared table and what is wrong with it."""
    return module("pipeline.data").load(contract, params, ROOT)
