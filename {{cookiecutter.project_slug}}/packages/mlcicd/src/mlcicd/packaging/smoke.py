"""Smoke test of a running server: readiness, predictions equal to the run's, rejection of bad input, latency."""

from __future__ import annotations

import http.client
import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from mlcicd.contract.schema import TEMPORAL, Property, SchemaObject
from mlcicd.core.errors import InputError
from mlcicd.training.run import Run

TOLERANCE = 1e-9
Record = dict[str, Any]


def sample(run: Run, rows: int) -> tuple[list[Record], list[Any]]:
    """Return the first holdout rows as records, and the run's predictions for them."""
    obj, holdout = run.contract.table, run.holdout_predictions.head(rows)
    records = as_records(run.holdout.head(rows), obj)
    if obj.id and obj.column(obj.id).logicalType == "string":
        records = [{obj.id: row} | record for row, record in zip(holdout["row"], records, strict=True)]
    return records, holdout["prediction"].tolist()


def as_records(frame: pd.DataFrame, obj: SchemaObject) -> list[Record]:
    """Return typed rows as the records that a client would send."""
    columns = {p.name: _json(frame[p.name], p) for p in obj.features}
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _json(values: pd.Series, prop: Property) -> list[Any]:
    cells = values.astype(object).where(values.notna(), None)
    if prop.logicalType in TEMPORAL:
        form = prop.date_format or ("%Y-%m-%d" if prop.logicalType == "date" else "%Y-%m-%dT%H:%M:%S.%f")
        return [None if v is None else v.strftime(form) for v in cells]
    return [bool(v) if prop.logicalType == "boolean" and v is not None else v for v in cells]


def largest_difference(answers: list[Record], expected: list[Any]) -> float:
    """Return the largest difference from the run's predictions, relative above 1; another class counts as 1."""
    received = [a["probability"] if isinstance(a.get("probability"), float) else a["prediction"] for a in answers]
    pairs = list(zip(received, expected, strict=True))
    return max(abs(r - e) / max(1.0, abs(e)) if isinstance(e, float) else float(str(r) != str(e)) for r, e in pairs)


def check_server(url: str, run: Path, rows: int = 1000, seconds: float = 60) -> tuple[bool, list[str]]:
    """Check a running server against a run.

    Parameters
    ----------
    url : address of the server, for example ``http://localhost:3000``; ``ML_SERVICE_TOKEN`` is sent if it is set
    run : the run that it should serve
    rows : number of holdout rows to compare
    seconds : time limit for becoming ready

    Returns
    -------
    Whether all checks passed, and one line for each.

    Raises
    ------
    InputError
        The server is not ready in time.
    """
    records, expected = sample(Run(run), rows)
    request = _client(url)
    began = time.monotonic()
    while request("GET", "/readyz")[0] != 200:
        if time.monotonic() - began > seconds:
            raise InputError(f"{url}: not ready after {seconds:g} s; is the server running?")
        time.sleep(0.1)
    lines, answers = [f"ready after {time.monotonic() - began:.1f} s"], []
    for start in range(0, len(records), 500):
        status, body = request("POST", "/predict", {"records": records[start : start + 500]})
        if status != 200:
            return False, [*lines, f"HOLDOUT ROWS REFUSED ({status}): {str(body)[:300]}"]
        answers += body["predictions"]
    largest = largest_difference(answers, expected)
    same = f"predictions as the run on {len(records):,} rows (largest difference {largest:.2g})"
    passed = [largest <= TOLERANCE]
    lines.append(f"{'same' if passed[0] else 'OTHER'} {same}")
    last = list(records[0])[-1]  # a feature; the first may be the id
    for name, bad in {
        "a missing column": {k: v for k, v in records[0].items() if k != last},
        "an unknown column": {**records[0], "no_such_column": 1},
        "a value of the wrong type": {**records[0], last: {"an": "object"}},
    }.items():
        status, body = request("POST", "/predict", {"records": [bad]})
        passed.append(status == 422 and all(p["column"] and p["message"] for p in body["problems"]))
        lines.append(f"{'refuses' if passed[-1] else f'DOES NOT REFUSE ({status})'} {name}")
    times = []
    for i in range(200):
        began = time.perf_counter()
        request("POST", "/predict", {"records": [records[i % len(records)]]})
        times.append(1000 * (time.perf_counter() - began))
    p50, p95 = np.percentile(times[20:], [50, 95])
    return all(passed), [*lines, f"one record: p50 {p50:.1f} ms, p95 {p95:.1f} ms"]


def _client(url: str) -> Any:
    """Return a function that sends requests over one kept-alive connection; status 0 means no answer."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection, token = kind(parts.hostname or "localhost", parts.port, timeout=30), os.environ.get("ML_SERVICE_TOKEN")
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})

    def request(method: str, path: str, content: Any = None) -> tuple[int, Any]:
        try:
            connection.request(method, parts.path.rstrip("/") + path, json.dumps(content) if content else None, headers)
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text.strip() else {}
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            return 0, {"error": str(error)}

    return request
