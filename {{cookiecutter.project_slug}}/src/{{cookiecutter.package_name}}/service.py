"""The model over HTTP, as a BentoML service: ``POST /predict`` with the contract at the door."""

from __future__ import annotations

import asyncio
import functools
import gc
import hmac
import json
import logging
import os
import sys
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from .pipeline import service_page
from .pipeline.errors import Refusal
from .pipeline.workers import WORKERS

if TYPE_CHECKING:
    from .pipeline.serving import Engine

Handler = Callable[[Request], Awaitable[Response]]
PACKAGE = __name__.split(".")[0]
STAGED = Path(os.environ.get("ML_STAGED") or Path(__file__).parent.parent / "run")
TOKEN = os.environ.get("ML_SERVICE_TOKEN", "")
if not (TOKEN.isascii() and TOKEN.isprintable() and TOKEN.strip() == TOKEN):  # clients disagree on how to send another
    print("ML_SERVICE_TOKEN: use letters, digits and signs of ASCII, without blanks around them", file=sys.stderr)
    sys.exit(2)
LOG = logging.getLogger("ml.service")
# Bodies that are still arriving, by request. Above SMALL bytes no more of them than BODIES whole ones may be in memory.
ARRIVING: dict[int, int] = {}
SMALL, BODIES = 100_000, 8
READER = ThreadPoolExecutor(1, "reader")
REQUESTS = Counter("ml_requests", "Requests answered", ["path", "status"])
SECONDS = Histogram("ml_request_seconds", "Time to answer", ["path"])
REFUSALS = Counter("ml_refusals", "Problems in refused requests, by rule", ["rule"])


class JsonLines(logging.Formatter):
    """One JSON object a line. No value of a request is ever among the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line; of an error its type and place alone, since its message may hold values."""
        fields = {"time": self.formatTime(record), "level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info and record.exc_info[0]:
            trace = record.exc_info[2]
            while trace and trace.tb_next:
                trace = trace.tb_next
            where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
            fields |= {"error": record.exc_info[0].__name__, "where": where}
        return json.dumps(fields | getattr(record, "fields", {}))


def log_as_json() -> None:
    """Give this service's and BentoML's own lines one form."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    for name in ("ml.service", "bentoml", "uvicorn", "gunicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel("WARNING" if name == "uvicorn" else "INFO")  # uvicorn's lines on requests repeat ours


def reply(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer as JSON."""
    return Response(to_json(content), status, headers, "application/json")


def authorised(header: str) -> bool:
    """Say whether an ``Authorization`` header holds the token; its scheme is of any case (RFC 9110)."""
    scheme, _, given = header.partition(" ")
    return hmac.compare_digest(given.strip().encode(), TOKEN.encode()) and scheme.lower() == "bearer"


def endpoint(handler: Handler) -> Handler:
    """Wrap a handler: who may ask, how refusals read, what is counted and logged."""

    async def answer(request: Request) -> Response:
        started, fields = time.perf_counter(), dict[str, Any]()
        try:
            if TOKEN and not authorised(request.headers.get("authorization", "")):
                raise Refusal(401, "a bearer token is needed: Authorization: Bearer …")
            response = await handler(request)
        except Refusal as refusal:
            headers = {503: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}}.get(refusal.status, {})
            response = reply(refusal.answer, refusal.status, headers)
            rules = Tally(p["rule"] for p in refusal.problems) or {str(refusal.status): 1}
            for rule, count in rules.items():
                REFUSALS.labels(rule).inc(count)
            fields = {"refused": dict(rules)}
        except ClientDisconnect:
            response = reply({"error": "the client hung up"}, 400)
        except Exception:
            LOG.exception("a request failed")
            response = reply({"error": "internal error"}, 500)
        seconds, path, status = time.perf_counter() - started, request.url.path, response.status_code
        REQUESTS.labels(path, status).inc()
        SECONDS.labels(path).observe(seconds)
        fields |= {"method": request.method, "path": path, "status": status, "ms": round(seconds * 1000, 2)}
        LOG.info("request", extra={"fields": fields | getattr(request.state, "fields", {})})
        return response

    return answer


async def body_of(request: Request, limit: int) -> bytes:
    """Read a JSON body of at most ``limit`` bytes; a longer one is not read to its end, nor too many at once."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, f"send Content-Type: application/json, not {kind[:80] or 'none'}")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refusal(415, "send the body as it is, without Content-Encoding")
    body, declared = bytearray(), request.headers.get("content-length", "0")
    if int(declared) <= limit:
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    break
                if len(body) > SMALL:
                    ARRIVING[id(request)] = len(body)
                    if sum(ARRIVING.values()) > BODIES * limit:
                        raise Refusal(503, "too many large requests at once; try again in a second")
            else:
                return bytes(body)
        finally:
            ARRIVING.pop(id(request), None)
    raise Refusal(413, f"the body is larger than {limit:,} bytes; send fewer records")


@endpoint
async def predict(request: Request) -> Response:
    """Answer each record: prediction, probability or interval, decision at the cost-optimal threshold."""
    engine = request.app.state.engine
    body = await body_of(request, engine.max_bytes)
    if len(body) > SMALL:  # beside the loop, one at a time: others are answered meanwhile
        rows = await asyncio.get_running_loop().run_in_executor(READER, engine.door.read, body)
    else:
        rows = engine.door.read(body)
    request.state.fields = {"records": len(rows)}
    return reply({"predictions": await engine.predict(rows), "model_version": engine.version})


@endpoint
async def model(request: Request) -> Response:
    """What is served here: version, metrics, contract, card."""
    return reply(request.app.state.engine.about["model"])


@endpoint
async def metrics(_: Request) -> Response:
    """Counts for Prometheus: requests, refusals by rule, inputs and predictions by bin."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # all workers' counts, whichever of them was asked
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


async def openapi(request: Request) -> Response:
    """Describe the service to clients."""
    return reply(request.app.state.engine.openapi())


async def page(request: Request) -> Response:
    """Show the service to people, without a request to anybody else; BentoML's own page loads a tag manager."""
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(service_page.render(request.app.state.engine.openapi()), headers=headers)


async def http_error(_: Request, error: Exception) -> Response:
    """Answer an unknown method as JSON too."""
    assert isinstance(error, HTTPException)
    return reply({"error": error.detail}, error.status_code, dict(error.headers or {}))


app = Starlette(
    routes=[
        Route("/predict", predict, methods=["POST"]),
        Route("/model", model),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi),
        Route("/docs.json", openapi),
        Route("/", page),
    ],
    exception_handlers={HTTPException: http_error},
)


app.router.redirect_slashes = False  # a redirect leads to whatever host the request names


@functools.cache
def engine() -> Engine:
    """Load the model, once in a process and in those forked from it."""
    from .pipeline.serving import Engine  # pandas and scikit-learn: seconds, and `bentoml serve`'s parent needs neither

    return Engine(STAGED)


# An ASGI app of our own on the service: the framework's tracing, metrics and access log took half of a request's time,
# and its batching sheds load. Health (/livez, /healthz, /readyz) and the workers stay BentoML's.
@bentoml.service(
    name=PACKAGE.replace("_", "-"),
    workers=WORKERS,
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"excluded_urls": [".*"]},
)
@bentoml.asgi_app(app, path="/")
class Service:
    """One worker: the engine is loaded before the worker says that it is ready."""

    def __init__(self) -> None:
        log_as_json()
        app.state.engine = engine()
        LOG.info("ready", extra={"fields": {"version": app.state.engine.version, "workers": WORKERS}})


def asgi() -> Any:
    """Build the whole application with the model in memory, for a server that then forks its workers."""
    log_as_json()
    engine()
    service: Any = Service  # the decorator makes more of it than a class
    application = service.to_asgi()
    application.router.redirect_slashes = False
    gc.freeze()  # so that a collection in a worker does not copy the pages that it shares
    gc.enable()
    return application
