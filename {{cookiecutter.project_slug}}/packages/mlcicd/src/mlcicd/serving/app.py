"""The service's own HTTP paths: predictions, metadata, metrics and documentation. :mod:`front` sends requests here."""

from __future__ import annotations

import asyncio
import functools
import hmac
import os
import sys
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from mlcicd.core.errors import RequestError
from mlcicd.serving import service_page
from mlcicd.serving.logs import LOG
from mlcicd.shadow import mirror

if TYPE_CHECKING:
    from pydantic import BaseModel

    from mlcicd.serving.inference_engine import InferenceEngine

Handler = Callable[[Request], Awaitable[Response]]
TOKEN = os.environ.get("ML_SERVICE_TOKEN", "")
# Set while the service handles a request that had the token: an endpoint may then call another one of its service.
TRUSTED: ContextVar[bool] = ContextVar("trusted", default=False)
if not (
    TOKEN.isascii() and TOKEN.isprintable() and TOKEN.strip() == TOKEN
):  # clients encode other characters differently
    print("ML_SERVICE_TOKEN: use letters, digits and signs of ASCII, without blanks around them", file=sys.stderr)
    sys.exit(2)
CSV = "text/csv"
LARGE_BODY = 100_000  # bytes
# Bytes received so far of large bodies, by request. Together they may not exceed the size of so many whole ones.
RECEIVED: dict[int, int] = {}
MAX_LARGE_BODIES = 8
READER = ThreadPoolExecutor(1, "reader")
REQUESTS = Counter("ml_requests", "Requests answered", ["path", "status"])
SECONDS = Histogram("ml_request_seconds", "Time to answer", ["path"])
REFUSALS = Counter("ml_refusals", "Problems in refused requests, by rule", ["rule"])


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response."""
    return Response(to_json(content), status, headers, "application/json")


def check_token(header: str) -> None:
    """Refuse an ``Authorization`` header without the token. The scheme is case-insensitive (RFC 9110)."""
    if not TOKEN or TRUSTED.get():
        return
    scheme, _, given = header.partition(" ")
    if not hmac.compare_digest(given.strip().encode(), TOKEN.encode()) or scheme.lower() != "bearer":
        raise RequestError(401, "a bearer token is needed: Authorization: Bearer …")


def refusal(error: RequestError) -> Response:
    """Return the answer to a request that is refused, and count why."""
    for rule, count in rules_of(error).items():
        REFUSALS.labels(rule).inc(count)
    headers = {503: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}}.get(error.status, {})
    return json_response(error.answer, error.status, headers)


def rules_of(error: RequestError) -> dict[str, int]:
    """Count the problems of a refused request by rule."""
    return Tally(p["rule"] for p in error.problems) or {str(error.status): 1}


def record(method: str, path: str, status: int, started: float, fields: dict[str, Any]) -> None:
    """Count and log a request that was answered; the path is one that the service has."""
    seconds = time.perf_counter() - started
    REQUESTS.labels(path, status).inc()
    SECONDS.labels(path).observe(seconds)
    fields |= {"method": method, "path": path, "status": status, "ms": round(seconds * 1000, 2)}
    LOG.info("request", extra={"fields": fields})


def endpoint(handler: Handler) -> Handler:
    """Wrap a handler with authorisation, JSON errors, metrics and logging."""

    async def answer(request: Request) -> Response:
        started, fields = time.perf_counter(), dict[str, Any]()
        try:
            check_token(request.headers.get("authorization", ""))
            response = await handler(request)
        except RequestError as error:
            response, fields = refusal(error), {"refused": dict(rules_of(error))}
        except ClientDisconnect:
            response = json_response({"error": "the client disconnected"}, 400)
        except Exception:
            LOG.exception("a request failed")
            response = json_response({"error": "internal error"}, 500)
        fields |= getattr(request.state, "fields", {})
        record(request.method, request.url.path, response.status_code, started, fields)
        return response

    return answer


def content_type(request: Request) -> str:
    """Return the declared type of a body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, limit: int, *types: str) -> bytes:
    """Return a body of at most ``limit`` bytes, in JSON or one of the other ``types``.

    Raises
    ------
    RequestError
        The body is declared as something else or too large, or too many large ones are being received.
    """
    allowed, declared_type = ("application/json", *types), content_type(request)
    if declared_type not in allowed:
        raise RequestError(415, f"send Content-Type: {' or '.join(allowed)}, not {declared_type[:80] or 'none'}")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise RequestError(415, "send the body as it is, without Content-Encoding")
    body, declared = bytearray(), request.headers.get("content-length", "0")
    if int(declared) <= limit:
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    break
                count_large_body(request.scope, len(body), limit)
            else:
                return bytes(body)
        finally:
            RECEIVED.pop(id(request.scope), None)
    raise RequestError(413, f"the body is larger than {limit:,} bytes; send fewer records")


def count_large_body(scope: Scope, received: int, limit: int) -> None:
    """Refuse a large body while too many of them are being received."""
    if received > LARGE_BODY:
        RECEIVED[id(scope)] = received
        if sum(RECEIVED.values()) > MAX_LARGE_BODIES * limit:
            raise RequestError(503, "too many large requests at once; try again in a second")


async def read_rows(request: Request, *types: str) -> list[BaseModel]:
    """Return the validated records of a request."""
    engine = app.state.engine
    body = await read_body(request, engine.max_bytes, *types)
    request.state.body, request.state.received = body, time.perf_counter()
    read = engine.read_csv if content_type(request) == CSV else engine.validator.read
    if len(body) > LARGE_BODY:  # in a thread, so that the event loop can answer others
        return await asyncio.get_running_loop().run_in_executor(READER, read, body)
    return read(body)


@endpoint
async def predict(request: Request) -> Response:
    """Return for each record a prediction, a probability or interval, and the decision at the chosen threshold."""
    return await _predict(request)


@endpoint
async def invocations(request: Request) -> Response:
    """Predict as ``predict`` does, at the path that SageMaker's hosting calls; the records may also be CSV."""
    return await _predict(request, CSV)


async def _predict(request: Request, *types: str) -> Response:
    rows = await read_rows(request, *types)
    request.state.fields = {"records": len(rows)}
    answered = await answer(rows)
    response = json_response(answered)
    seconds = time.perf_counter() - request.state.received
    if name := mirror.identifier(request.headers.get(mirror.HEADER)):
        response.headers["Server-Timing"] = mirror.timing(seconds)
    elif app.state.mirror is not None:
        body, predictions = request.state.body, answered["predictions"]
        name = app.state.mirror.offer(request.url.path, content_type(request), body, predictions, seconds)
    request.state.fields |= {"copy": name} if name else {}
    return response


async def ping(_: Request) -> Response:
    """Return 200: a worker listens when its model is loaded. SageMaker's hosting asks every few seconds."""
    return Response()


async def answer(rows: list[BaseModel]) -> dict[str, Any]:
    """Predict validated records; what ``predict`` answers."""
    engine = app.state.engine
    return {"predictions": await engine.predict(rows), "model_version": engine.version}


@endpoint
async def model(request: Request) -> Response:
    """Return the model's version, metrics, contract and card."""
    return json_response(request.app.state.engine.metadata["model"])


@endpoint
async def metrics(_: Request) -> Response:
    """Return Prometheus metrics: requests, refusals by rule, inputs and predictions by bin."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # the sum over all workers
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


async def openapi(_: Request) -> Response:
    """Return the OpenAPI document."""
    return json_response(document())


async def page(_: Request) -> Response:
    """Return the documentation page. It loads nothing from other hosts, while BentoML's own loads a tag manager."""
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(service_page.render(document()), headers=headers)


def document() -> dict[str, Any]:
    """Return the OpenAPI document: the contract's columns, and the endpoints that the owner of the service added."""
    return _document(app.state.engine, app.state.service)


@functools.lru_cache(1)
def _document(engine: InferenceEngine, service: Any) -> dict[str, Any]:
    own, added = engine.openapi(), service.openapi_spec.asdict()
    schemas = added["components"]["schemas"] | own["components"]["schemas"]
    return own | {"paths": added["paths"] | own["paths"], "components": own["components"] | {"schemas": schemas}}


async def http_error(_: Request, error: Exception) -> Response:
    """Return errors of routing, such as an unknown method, as JSON."""
    assert isinstance(error, HTTPException)
    return json_response({"error": error.detail}, error.status_code, dict(error.headers or {}))


ROUTES = [
    Route("/predict", predict, methods=["POST"]),
    Route("/invocations", invocations, methods=["POST"]),
    Route("/ping", ping),
    Route("/model", model),
    Route("/metrics", metrics),
    Route("/openapi.json", openapi),
    Route("/docs.json", openapi),
    Route("/", page),
]
PATHS = frozenset(route.path for route in ROUTES)
app = Starlette(routes=ROUTES, exception_handlers={HTTPException: http_error})
app.state.mirror = None  # where ML_SHADOW_URL is set, `model_service` gives each worker one
app.router.redirect_slashes = False  # a redirect would lead to the host that the request names
