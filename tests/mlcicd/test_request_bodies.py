"""Requests within the limits that cost more than they should: counted, cut short, and cheap."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import CONTRACT
from hypothesis import given, settings
from hypothesis import strategies as st
from mlcicd.contract import document as contracts
from mlcicd.core import errors
from mlcicd.validation import request_limits as limits
from mlcicd.validation import request_validation

MEGABYTES, SECONDS = 100, 1.0
LIMIT = 5_000_000  # bytes: what the service takes by default
TABLE = contracts.load(CONTRACT).table
NAMES = [p.name for p in TABLE.features]


def values(document: Any) -> int:
    """The values of a document, as if an empty list or object held one; a name in an object counts with its value."""
    inner = document.values() if isinstance(document, dict) else document if isinstance(document, list) else None
    return 1 if inner is None else 1 + (sum(map(values, inner)) or 1)


TEXT = st.text(st.sampled_from(list('a",[]{}\\:\n ')) | st.characters(codec="utf-8"), max_size=12)
DOCUMENTS = st.recursive(
    st.none() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=30,
)


@settings(max_examples=300)
@given(DOCUMENTS, st.integers(0, 60), st.booleans())
def test_values_are_counted_as_a_parser_would(document: Any, limit: int, ascii_only: bool):
    body = json.dumps(document, ensure_ascii=ascii_only).encode()
    if values(document) <= limit:
        assert limits.has_at_most(body, limit)
    elif len(body) > 2 * limit:
        assert not limits.has_at_most(body, limit)


def cells(count: int, name: Callable[[int], str]) -> dict[str, int]:
    return {name(number): 0 for number in range(count)}


BODIES: dict[str, Any] = {
    "2,400 unknown columns of 1,000 zeros": {"columns": {f"column {n}": [0] * 1000 for n in range(800)}},
    "100,000 records": {"records": [dict.fromkeys(NAMES, 0)] * 20_000},
    "one record of 400,000 unknown names": {"records": [cells(400_000, lambda n: f"{n:x}")]},
    "one record of 199,000 unknown names": {"records": [cells(199_000, lambda n: f"u{n}")]},
    "1,000 records of 190 unknown names": {"records": [cells(190, lambda n: f"u{n}")] * 1000},
    "1,000 records of nothing but mistakes": {"records": [dict.fromkeys(NAMES, "wrong")] * 1000},
    "1,000 empty records": {"records": [{}] * 1000},
    "190,000 empty lists": [[]] * 190_000,
    "many empty lists": [[]] * 1_500_000,
    "many empty objects": [{}] * 1_500_000,
    "many numbers": [1.5] * 1_000_000,
    "many numbers in a record": {"records": [{NAMES[0]: [1] * 2_000_000}]},
    "a long text": {"records": [dict.fromkeys(NAMES, "x" * 4_000_000)]},
    "a long text of signs": {"records": [{NAMES[0]: '",[{' * 600_000}]},
    "a long name": {"records": [{"x" * 4_000_000: 1}]},
    "a long number": None,
    "deep lists": None,
    "deep objects": None,
    "backslashes": None,
    "an unclosed text": None,
}
RAW = {
    "a long number": b'{"records": [{"x": ' + b"9" * 4_000_000 + b"}]}",
    "deep lists": b"[" * 4_000_000,
    "deep objects": b'{"a":' * 900_000,
    "backslashes": b'["' + b"\\" * 4_000_000 + b'"]',
    "an unclosed text": b'["' + b"," * 4_900_000,
}
MEASURE = """
import resource, sys, time
from pathlib import Path
from mlcicd.contract import document as contracts
from mlcicd.core import errors
from mlcicd.validation import request_validation as records
validator = records.RequestValidator(contracts.load(Path(sys.argv[1])).table)
body = sys.stdin.buffer.read()
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    validator.read(body)
except errors.RequestError as refusal:
    print(refusal.status, len(refusal.problems), end=" ")
else:
    print(200, 0, end=" ")
print(time.process_time() - began, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", BODIES)
def test_a_body_within_the_limits_is_answered_at_once_and_in_little_memory(name: str):
    body = RAW.get(name) or json.dumps(BODIES[name], separators=(",", ":")).encode()
    body = body[:LIMIT] if name in RAW else body
    done = subprocess.run([sys.executable, "-c", MEASURE, str(CONTRACT)], input=body, capture_output=True, check=True)
    status, problems, seconds, megabytes = map(float, done.stdout.split())
    assert status in (400, 413, 422)
    assert problems <= 100
    assert seconds < SECONDS, f"{seconds} s"
    assert megabytes < MEGABYTES, f"{megabytes} MB"


SMALL = st.sampled_from([0, 1.5, "", "x", None, True, [], {}, [[]], {"a": 1}, "1997-01-01"])
SHAPES = st.tuples(st.integers(1, 1200), st.integers(0, 400), st.integers(0, 14), SMALL, st.booleans())


@settings(max_examples=30)
@given(SHAPES)
def test_whatever_its_shape(shape: tuple[int, int, int, Any, bool]):
    rows, unknown, known, value, by_column = shape
    keys = [*NAMES[:known], *(f"u{n}" for n in range(unknown))]
    document = {"columns": {k: [value] * rows for k in keys}} if by_column else [dict.fromkeys(keys, value)] * rows
    body = json.dumps(document, separators=(",", ":")).encode()
    if len(body) > LIMIT:
        return
    validator = request_validation.RequestValidator(TABLE)
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(errors.RequestError) as caught:
        validator.read(body)
    assert time.process_time() - began < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024
    assert len(caught.value.problems) <= 100


def test_the_hundredth_problem_is_the_last_and_the_answer_says_that_there_may_be_more():
    validator = request_validation.RequestValidator(TABLE)
    with pytest.raises(errors.RequestError) as caught:
        validator.read(json.dumps([dict.fromkeys(NAMES)] * 1000).encode())
    assert len(caught.value.answer["problems"]) == 100
    assert caught.value.answer["error"].startswith("at least ")


def test_a_name_that_is_nearly_right_is_suggested():
    validator = request_validation.RequestValidator(TABLE)
    with pytest.raises(errors.RequestError) as caught:
        validator.read(json.dumps([dict.fromkeys([*NAMES, "total_order"], 1)]).encode())
    assert any("did you mean 'total_orders'?" in problem["message"] for problem in caught.value.problems)
