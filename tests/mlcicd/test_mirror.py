"""The mirror: bounded, never waited for, and right about what another version answers."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlcicd import tasks
from mlcicd.shadow import mirror as mirrors
from mlcicd.shadow.backlog import Backlog
from mlcicd.shadow.mirror import Address, Mirror
from mlcicd.shadow.pair_metrics import ROWS, PairMetrics
from prometheus_client import CollectorRegistry
from stand_in import Handler

BINARY = {"prediction": True, "probability": 0.6, "decision": False}
BOUNDS = [0.25, 0.5, 0.75]
SECRET = "only-the-shadow-may-know-it"
Samples = dict[tuple[str, ...], float]


# The queue -----------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 5),
    st.integers(0, 20),
    st.lists(st.one_of(st.none(), st.integers(0, 8)), max_size=60),  # None takes, a number offers that size
)
def test_a_backlog_is_a_queue_that_refuses_what_is_beyond_its_bounds(items: int, size: int, steps: list[int | None]):
    backlog, model = Backlog[int](items, size), deque[tuple[int, int]]()
    for number, step in enumerate(steps):
        if step is None:
            if model:
                assert backlog.take() == model.popleft()[0]
        else:
            has_room = len(model) < items and sum(s for _, s in model) + step <= size
            assert backlog.offer(number, step) is has_room
            if has_room:
                model.append((number, step))
        assert (len(backlog), backlog.size) == (len(model), sum(s for _, s in model))


def test_a_backlog_hands_everything_from_one_thread_to_another_in_order():
    backlog, taken = Backlog[int](7, 70), list[int]()
    taker = threading.Thread(target=lambda: [taken.append(backlog.take()) for _ in range(3000)])
    taker.start()
    for number in range(3000):
        while not backlog.offer(number, 10):
            time.sleep(0)
        assert backlog.size <= 70
    taker.join(60)
    assert taken == list(range(3000))


# Pairs ---------------------------------------------------------------------------------------------------------------


def samples(registry: CollectorRegistry) -> Samples:
    """What a scrape would read, by name and values of labels."""
    found = [sample for family in registry.collect() for sample in family.samples]
    return {(s.name, *(s.labels[key] for key in sorted(s.labels))): s.value for s in found}


def answered(kind: str, *scores: Any) -> list[dict[str, Any]]:
    """Answers of the service for scores, after their way through JSON."""
    if kind == "regression":
        return [{"prediction": p, "interval": [p - 2, p + 2]} for p in scores]
    if kind == "multiclass":
        return [{"prediction": max(p, key=p.get), "probability": p} for p in scores]
    return [{"prediction": p >= 0.5, "probability": p, "decision": p >= 0.7} for p in scores]


@pytest.mark.parametrize(
    ("kind", "running", "shadow", "agree", "difference"),
    [
        # The decision counts, not the more probable class.
        ("binary", [0.2, 0.65, 0.9], [0.4, 0.75, 0.8], 2, 0.2),
        # A value outside the running version's interval leads elsewhere.
        ("regression", [10.0, 20.0, 30.0], [11.5, 17.0, 30.0], 2, -1.5),
        # The probability of the class that the running version predicts.
        (
            "multiclass",
            [{"a": 0.7, "1": 0.3}, {"a": 0.4, "1": 0.6}],
            [{"a": 0.6, "1": 0.4}, {"a": 0.8, "1": 0.2}],
            1,
            -0.5,
        ),
    ],
)
def test_pairs_are_counted_by_their_kind_of_task(kind: str, running: list, shadow: list, agree: int, difference: float):
    registry = CollectorRegistry()
    metrics = PairMetrics(tasks.of(kind), BOUNDS, registry)
    metrics.compare("v2", answered(kind, *running), answered(kind, *shadow))
    found = samples(registry)
    assert found["ml_shadow_rows_total", "yes", "v2"] == agree
    assert found["ml_shadow_rows_total", "no", "v2"] == len(running) - agree
    assert found["ml_shadow_difference_count", "v2"] == len(running)
    assert found["ml_shadow_difference_sum", "v2"] == pytest.approx(difference)
    if kind == "multiclass":
        assert found["ml_shadow_predictions_total", "a", "running", "v2"] == 1
        assert found["ml_shadow_predictions_total", "a", "shadow", "v2"] == 2
    else:
        assert found["ml_shadow_prediction_count", "shadow", "v2"] == len(shadow)
        assert found["ml_shadow_prediction_sum", "running", "v2"] == pytest.approx(sum(running))


def test_answers_of_another_form_are_no_pair_and_a_large_request_does_not_outvote_the_others():
    registry = CollectorRegistry()
    metrics = PairMetrics(tasks.of("binary"), BOUNDS, registry)
    before = samples(registry)
    mine = answered("binary", 0.1, 0.2)
    for theirs in (
        mine[:1],
        [*mine[:1], {"prediction": 3.5}],
        [mine[0], "x"],
        [mine[0], {**mine[1], "probability": "?"}],
    ):
        with pytest.raises((LookupError, TypeError, ValueError)):
            metrics.compare("v2", mine, theirs)
    assert samples(registry) == before
    metrics.compare("v2", mine * ROWS, mine * ROWS)
    assert samples(registry)["ml_shadow_rows_total", "yes", "v2"] == ROWS


# The mirror ----------------------------------------------------------------------------------------------------------


class Shadow(Handler):
    """Another version, which answers as a test says."""

    respond: Callable[[Shadow], None]
    seen: list[tuple[str, dict[str, str], bytes]]

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        self.seen.append((self.path, dict(self.headers), self.body()))
        type(self).respond(self)


@contextmanager
def shadow(respond: Callable[[Shadow], None]) -> Iterator[tuple[int, list]]:
    handler = type("Answering", (Shadow,), {"respond": respond, "seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, handler.seen
        server.shutdown()


def json_of(predictions: list, **others: Any) -> bytes:
    return json.dumps({"predictions": predictions, "model_version": "v2"} | others).encode()


def mirror(port: int) -> tuple[Mirror, Callable[[], Samples]]:
    registry = CollectorRegistry()
    metrics = PairMetrics(tasks.of("binary"), BOUNDS, registry)
    return Mirror(Address("127.0.0.1", port, False), SECRET, metrics), lambda: samples(registry)


def offer(to: Mirror, copies: int = 1) -> None:
    for _ in range(copies):
        to.offer("/predict", "application/json", b'{"records": [{"income": 31337}]}', [BINARY], 0.004)


def until(is_true: Callable[[], Any]) -> None:
    due = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < due
        time.sleep(0.01)


def outcomes(found: Samples) -> dict[str, float]:
    return {labels[0]: n for (name, *labels), n in found.items() if name == "ml_shadow_requests_total" and n}


def test_a_copy_is_the_request_with_its_name_and_the_token_and_both_answers_are_timed():
    def right(handler: Shadow) -> None:
        handler.send_response(200)
        handler.send_header("Server-Timing", "answer;dur=7.5")
        content = json_of([BINARY | {"probability": 0.65}])
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    with shadow(right) as (port, seen):
        to, found = mirror(port)
        names = [to.offer("/invocations", "text/csv", b"income\n1\n", [BINARY], 0.004) for _ in range(3)]
        until(lambda: outcomes(found()) == {"compared": 3})
    assert [(path, body) for path, _, body in seen] == [("/invocations", b"income\n1\n")] * 3
    assert [headers[mirrors.HEADER] for _, headers, _ in seen] == names == [mirrors.identifier(name) for name in names]
    assert {headers["Authorization"] for _, headers, _ in seen} == {f"Bearer {SECRET}"}
    assert found()["ml_shadow_difference_sum", "v2"] == pytest.approx(0.15)
    assert found()["ml_shadow_seconds_sum", "running", "v2"] == pytest.approx(0.012)
    assert found()["ml_shadow_seconds_sum", "shadow", "v2"] == pytest.approx(0.0225)


def test_nobody_waits_for_a_shadow_that_hangs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mirrors, "SECONDS", 60)
    monkeypatch.setattr(mirrors, "REST", 0)
    asked, go_on = threading.Event(), threading.Event()

    def hang(handler: Shadow) -> None:
        asked.set()
        go_on.wait()
        handler.answer(200, json_of([BINARY]))

    with shadow(hang) as (port, seen):
        to, found = mirror(port)
        offer(to)
        asked.wait()
        offer(to, mirrors.COPIES + 44)  # all are offered while the shadow still holds the first
        assert outcomes(found()) == {"dropped": 44}
        assert len(seen) == 1
        go_on.set()
        until(lambda: outcomes(found()) == {"dropped": 44, "compared": mirrors.COPIES + 1})


def test_a_shadow_that_answers_too_late_or_is_gone_is_left_alone_and_found_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(mirrors, "SECONDS", 0.2)
    monkeypatch.setattr(mirrors, "RETRY", (1.0, 1.0))
    caplog.set_level(logging.INFO, "ml.service")
    is_late = threading.Event()
    is_late.set()

    def late(handler: Shadow) -> None:
        if is_late.is_set():
            time.sleep(1)
        handler.answer(200, json_of([BINARY]))

    with shadow(late) as (port, seen):
        to, found = mirror(port)
        offer(to, 5)
        until(lambda: outcomes(found()) == {"unreachable": 1, "away": 4})  # what waited is not tried one by one
        is_late.clear()
        offer(to, 5)
        assert outcomes(found()) == {"unreachable": 1, "away": 9}
        assert len(seen) == 1 and len(to._backlog) == 0  # nothing is kept for one that is away
        until(lambda: (offer(to), outcomes(found()).get("compared"))[1])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        to, found = mirror(free.getsockname()[1])
        offer(to)
        until(lambda: outcomes(found()) == {"unreachable": 1})
    assert {record.getMessage() for record in caplog.records} == {"the shadow does not answer"}


@pytest.mark.parametrize(
    ("status", "content", "outcome"),
    [
        (500, b"{}", "500"),
        (422, b"{}", "422"),
        (200, b"not JSON", "unreadable"),
        (200, b"[]", "unreadable"),
        (200, json_of([]), "unreadable"),
        (200, json_of([{"prediction": 3.5, "interval": [3, 4]}]), "unreadable"),
        (200, json_of([{"income": 31337}]), "unreadable"),
    ],
)
def test_an_answer_that_cannot_be_compared_is_counted_and_ends_nothing(
    status: int, content: bytes, outcome: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "ml.service")
    with shadow(lambda handler: handler.answer(status, content)) as (port, _):
        to, found = mirror(port)
        offer(to, 3)
        until(lambda: outcomes(found()) == {outcome: 3})
    assert "31337" not in caplog.text and SECRET not in caplog.text


def test_the_token_goes_to_the_shadow_alone():
    with shadow(lambda handler: handler.answer(200, json_of([BINARY]))) as (other, elsewhere):

        def redirect(handler: Shadow) -> None:
            handler.send_response(307)
            handler.send_header("Location", f"http://127.0.0.1:{other}/predict")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with shadow(redirect) as (port, _):
            to, found = mirror(port)
            offer(to)
            until(lambda: outcomes(found()) == {"307": 1})
    assert elsewhere == []


def test_a_connection_that_the_shadow_has_closed_is_opened_again():
    def once(handler: Shadow) -> None:
        handler.answer(200, json_of([BINARY]))
        handler.close_connection = True

    with shadow(once) as (port, _):
        to, found = mirror(port)
        offer(to, 4)
        until(lambda: outcomes(found()) == {"compared": 4})


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mirrors, "ANSWER", 200_000)

    def endless(handler: Shadow) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b" " * 10_000)

    with shadow(endless) as (port, _):
        to, found = mirror(port)
        offer(to)
        until(lambda: outcomes(found()) == {"unreachable": 1})


@pytest.mark.parametrize(
    "text",
    [
        "model-shadow",
        "ftp://shadow",
        "http://",
        "http://shadow/predict",
        "http://shadow?x",
        "http://a:b",
        "http://u:p@shadow",
    ],
)
def test_a_wrong_address_ends_the_service_at_its_start(text: str, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setenv(mirrors.VARIABLE, text)
    with pytest.raises(SystemExit) as ended:
        mirrors.address()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("ML_SHADOW_URL: ") and said.count("\n") == 1


def test_an_address_is_a_host_and_perhaps_a_port(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(mirrors.VARIABLE, raising=False)
    assert mirrors.address() is None
    for text, expected in (
        ("http://model-shadow", Address("model-shadow", None, False)),
        ("https://model-shadow:8443/", Address("model-shadow", 8443, True)),
        ("http://[::1]:3000", Address("::1", 3000, False)),
    ):
        monkeypatch.setenv(mirrors.VARIABLE, text)
        assert mirrors.address() == expected
