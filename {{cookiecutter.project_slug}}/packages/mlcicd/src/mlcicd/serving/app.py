"""The service's HTTP application: predictions, metadata, metrics and documentation. ``service.py`` mounts it."""

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

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mlcicd.core import project
from mlcicd.core.errors import RequestError
from mlcicd.serving import service_page
from mlcicd.serving.gunicorn_conf import WORKERS

if TYPE_CHECKING:
    from mlcicd.serving.inference_engine import InferenceEngine

Handler = Callable[[Request], Awaitable[Response]]
TOKEN = os.environ.get("ML_SERVICE_TOKEN", "")
if not (
    TOKEN.isascii() and TOKEN.isprintable() and TOKEN.strip() == TOKEN
):  # clients encode other characters differently
    print("ML_SERVICE_TOKEN: use letters, digits and signs of ASCII, without blanks around them", file=sys.stderr)
    sys.exit(2)
LOG = logging.getLogger("ml.service")
LARGE_BODY = 100_000  # bytes
# Bytes received so far of large bodies, by request. Together they may not exceed the size of so many whole ones.
RECEIVED: dict[int, int] = {}
MAX_LARGE_BODIES = 8
READER = ThreadPoolExecutor(1, "reader")
REQUESTS = Counter("ml_requests", "Requests answered", ["path", "status"])
SECONDS = Histogram("ml_request_seconds", "Time to answer", ["path"])
REFUSALS = Counter("ml_refusals", "Problems in refused requests, by rule", ["rule"])


class JsonLines(logging.Formatter):
    """Format log records as one JSON object per line, without any value of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; errors are reduced to type and location, since messages may contain values."""
        fields = {"time": self.formatTime(record), "level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info and record.exc_info[0]:
            trace = record.exc_info[2]
            while trace and trace.tb_next:
                trace = trace.tb_next
            where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
            fields |= {"error": record.exc_info[0].__name__, "where": where}
        return json.dumps(fields | getattr(record, "fields", {}))


def log_as_json() -> None:
    """Log as JSON, for this service as well as BentoML, uvicorn and gunicorn."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    for name in ("ml.service", "bentoml", "uvicorn", "gunicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel("WARNING" if name == "uvicorn" else "INFO")  # uvicorn logs each request again


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response."""
    return Response(to_json(content), status, headers, "application/json")


def authorised(header: str) -> bool:
    """Return whether an ``Authorization`` header holds the token. The scheme is case-insensitive (RFC 9110)."""
    scheme, _, given = header.partition(" ")
    return hmac.compare_digest(given.strip().encode(), TOKEN.encode()) and scheme.lower() == "bearer"


def endpoint(handler: Handler) -> Handler:
    """Wrap a handler with authorisation, JSON errors, metrics and logging."""

    async def answer(request: Request) -> Response:
        started, fields = time.perf_counter(), dict[str, Any]()
        try:
            if TOKEN and not authorised(request.headers.get("authorization", "")):
                raise RequestError(401, "a bearer token is needed: Authorization: Bearer …")
            response = await handler(request)
        except RequestError as error:
            headers = {503: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}}.get(error.status, {})
            response = json_response(error.answer, error.status, headers)
            rules = Tally(p["rule"] for p in error.problems) or {str(error.status): 1}
            for rule, count in rules.items():
                REFUSALS.labels(rule).inc(count)
            fields = {"refused": dict(rules)}
        except ClientDisconnect:
            response = json_response({"error": "the client disconnected"}, 400)
        except Exception:
            LOG.exception("a request failed")
            response = json_response({"error": "internal error"}, 500)
        seconds, path, status = time.perf_counter() - started, request.url.path, response.status_code
        REQUESTS.labels(path, status).inc()
        SECONDS.labels(path).observe(seconds)
        fields |= {"method": request.method, "path": path, "status": status, "ms": round(seconds * 1000, 2)}
        LOG.info("request", extra={"fields": fields | getattr(request.state, "fields", {})})
        return response

    return answer


async def read_body(request: Request, limit: int) -> bytes:
    """Return a JSON body of at most ``limit`` bytes.

    Raises
    ------
    RequestError
        The body is not declared as JSON or too large, or too many large ones are being received.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise RequestError(415, f"send Content-Type: application/json, not {content_type[:80] or 'none'}")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise RequestError(415, "send the body as it is, without Content-Encoding")
    body, declared = bytearray(), request.headers.get("content-length", "0")
    if int(declared) <= limit:
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    break
                if len(body) > LARGE_BODY:
                    RECEIVED[id(request)] = len(body)
                    if sum(RECEIVED.values()) > MAX_LARGE_BODIES * limit:
                        raise RequestError(503, "too many large requests at once; try again in a second")
            else:
                return bytes(body)
        finally:
            RECEIVED.pop(id(request), None)
    raise RequestError(413, f"the body is larger than {limit:,} bytes; send fewer records")


@endpoint
async def predict(request: Request) -> Response:
    """Return for each record a prediction, a probability or interval, and the decision at the chosen threshold."""
    engine = request.app.state.engine
    body = await read_body(request, engine.max_bytes)
    if len(body) > LARGE_BODY:  # in a thread, so that the event loop can answer others
        rows = await asyncio.get_running_loop().run_in_executor(READER, engine.validator.read, body)
    else:
        rows = engine.validator.read(body)
    request.state.fields = {"records": len(rows)}
    return json_response({"predictions": await engine.predict(rows), "model_version": engine.version})


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


async def openapi(request: Request) -> Response:
    """Return the OpenAPI document."""
    return json_response(request.app.state.engine.openapi())


async def page(request: Request) -> Response:
    """Return the documentation page. It loads nothing from other hosts, while BentoML's own loads a tag manager."""
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(service_page.render(request.app.state.engine.openapi()), headers=headers)


async def http_error(_: Request, error: Exception) -> Response:
    """Return errors of routing, such as an unknown method, as JSON."""
    assert isinstance(error, HTTPException)
    return json_response({"error": error.detail}, error.status_code, dict(error.headers or {}))


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


app.router.redirect_slashes = False  # a redirect would lead to the host that the request names


@functools.cache
def engine() -> InferenceEngine:
    """Return the process's inference engine, loaded at the first call and shared with forked processes."""
    # Imports pandas and scikit-learn, which take seconds and which the parent process of `bentoml serve` does not need.
    from mlcicd.serving.inference_engine import InferenceEngine

    return InferenceEngine(Path(os.environ.get("ML_STAGED") or project.folder().parent / "run"))


def settings(package: str) -> dict[str, Any]:
    """Return the arguments of ``bentoml.service`` for a package's service.

    BentoML's tracing, metrics and access log are off: they took half of a request's time. Its workers and its health
    endpoints (/livez, /healthz, /readyz) are used.
    """
    os.environ[project.VARIABLE] = package
    return {
        "name": package.replace("_", "-"),
        "workers": WORKERS,
        "logging": {"access": {"enabled": False}},
        "metrics": {"enabled": False},
        "tracing": {"excluded_urls": [".*"]},
    }


class Worker:
    """A worker process; it loads the engine before it reports that it is ready."""

    def __init__(self) -> None:
        log_as_json()
        app.state.engine = engine()
        LOG.info("ready", extra={"fields": {"version": app.state.engine.version, "workers": WORKERS}})


def preloaded(service: Any) -> Any:
    """Return the ASGI application with the model loaded, for a server that then forks its workers."""
    log_as_json()
    engine()
    application = service.to_asgi()
    application.router.redirect_slashes = False
    gc.freeze()  # garbage collection in a worker must not copy shared memory pages
    gc.enable()
    return application
