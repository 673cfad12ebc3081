"""The service's door keeps the contract, whatever the contract is; and a server answers as the run did."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.util import find_spec

import pandas as pd
import pytest
from conftest import ROOT
from mlcicd.core.errors import RequestError
from mlcicd.packaging import smoke
from mlcicd.validation import request_validation

ROWS = 200


@pytest.fixture(scope="module")
def validator(contract):
    return request_validation.RequestValidator(contract.table)


@pytest.fixture(scope="module")
def rows(contract, data):
    """Rows of the table as a client would send them, and as the model sees them in training."""
    frame = data.table[[p.name for p in contract.table.features]].head(ROWS)
    return smoke.as_records(frame, contract.table), frame


def refused(validator, *sent) -> list[dict]:
    with pytest.raises(RequestError) as caught:
        validator.read(json.dumps({"records": sent}).encode())
    return caught.value.problems


def test_rows_of_the_table_reach_the_model_as_in_training(validator, rows):
    sent, frame = rows
    received = validator.frame(validator.cells(validator.read(json.dumps({"records": sent}).encode())))
    pd.testing.assert_frame_equal(received, frame.reset_index(drop=True))


def test_every_column_must_be_there(validator, rows):
    row = rows[0][0]
    for column in row:
        found = refused(validator, row, {name: value for name, value in row.items() if name != column})
        assert [(p["row"], p["column"], p["rule"]) for p in found] == [(1, column, "missing column")]


def test_every_column_refuses_another_type(validator, rows):
    row = rows[0][0]
    for column in row:
        found = [p for p in refused(validator, {**row, column: {"an": "object"}}) if p["column"] == column]
        assert [p["rule"] for p in found] == ["type"] and column in found[0]["message"]


def test_required_columns_refuse_null_and_no_other_does(validator, rows, contract):
    row = rows[0][0]
    for prop in contract.table.features:
        content = json.dumps({"records": [{**row, prop.name: None}]}).encode()
        if prop.required:
            assert [p["rule"] for p in refused(validator, {**row, prop.name: None})] == ["required"]
        else:
            validator.read(content)


def test_an_unknown_column_is_named(validator, rows):
    assert [p["column"] for p in refused(validator, {**rows[0][0], "no such column": 1})] == ["no such column"]


def test_the_target_is_not_asked_for(validator, rows, contract):
    target = contract.target.name
    assert [(p["column"], p["rule"]) for p in refused(validator, {**rows[0][0], target: 1})] == [
        (target, "unknown column")
    ]


def test_a_server_answers_as_the_run_did():
    """Over HTTP, with the run in runs/model."""
    run = ROOT / "runs" / "model"
    if not find_spec("bentoml"):
        pytest.skip("bentoml is not installed: uv sync --group serve")
    if not (run / "manifest.json").is_file():
        pytest.skip("there is no run in runs/model: ml train")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlcicd.cli", "serve", f"--run={run}", f"--port={port}"]
    server = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"ML_SERVICE_TOKEN": ""})
    try:
        good, lines = smoke.check_server(f"http://127.0.0.1:{port}", run, rows=ROWS)
        assert good, lines
        request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", b"{", {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request)  # noqa: S310 - the address is ours
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
