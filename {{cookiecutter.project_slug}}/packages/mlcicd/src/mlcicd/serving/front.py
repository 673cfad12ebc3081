"""The ASGI middleware around BentoML's application. It answers the service's own paths, ``POST /predict`` among them.

BentoML's way of a request takes longer than a prediction. Every other path is BentoML's, with the same token, limits,
refusals and log.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any, NoReturn

from bentoml.exceptions import BentoMLException
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlcicd.core.errors import RequestError
from mlcicd.serving import app as own
from mlcicd.serving.app import TRUSTED

OPEN = {"/schema.json", "/livez", "/readyz", "/healthz"}  # without a token, beside the documentation
MAX_BYTES = 5_000_000  # of a body, in a service without a model
OF_TASKS = ("submit", "status", "get", "retry", "cancel")  # what BentoML adds to the path of a task
SAID = 3  # problems in the message of an exception


class RefusedError(BentoMLException):  # type: ignore[misc]
    """A request is refused; the message names row, column and rule. HTTP clients get the status and every problem."""


class _Sender:
    """Sends BentoML's answer; in its place the refusal that ended the endpoint, and its own errors as JSON."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self.send = scope, send
        self.status, self.replaced = 0, False
        self.refusal: RequestError | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            if not self.replaced:
                await self.send(message)
            return
        self.status = message["status"]
        response = self._instead(self.status, Headers(raw=message["headers"]))
        if response is None:
            await self.send(message)
            return
        self.replaced = True
        await response(self.scope, _nothing, self.send)

    def _instead(self, status: int, headers: Headers) -> Response | None:
        if self.refusal is not None and self.refusal.status == status:
            return own.refusal(self.refusal)
        if status in (404, 405) and headers.get("content-type", "").startswith("text/plain"):
            allow = {"Allow": headers["allow"]} if "allow" in headers else {}
            return own.json_response({"error": HTTPStatus(status).phrase}, status, allow)
        return None


SENDER: ContextVar[_Sender] = ContextVar("sender")


def refuse(error: RequestError) -> NoReturn:
    """End the endpoint that runs; BentoML would answer a sentence, so that the whole refusal is kept for the sender."""
    if (sender := SENDER.get(None)) is not None:
        sender.refusal = error
    said = "; ".join(str(problem["message"]) for problem in error.problems[:SAID])
    text = str(error.answer["error"]) + (f": {said}" if said else "")
    raise RefusedError(text, error_code=HTTPStatus(error.status)) from error


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


class Front:
    """Middleware of a service.

    Parameters
    ----------
    app : BentoML's application
    service : the ``bentoml.Service``
    paths : those that :mod:`mlcicd.serving.app` answers
    internal : whether only another service of the same bento can reach this one
    """

    def __init__(self, app: ASGIApp, service: Any, paths: frozenset[str], internal: bool) -> None:
        self.bentoml, self.paths, self.internal = app, paths, internal
        self.routes = {method.route for method in service.apis.values()}
        self.routes |= {f"{m.route}/{verb}" for m in service.apis.values() if m.is_task for verb in OF_TASKS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # nothing limits what would come through it
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http":
            await self.bentoml(scope, receive, send)
        elif scope["path"] in self.paths:
            await own.app(scope, receive, send)
        else:
            await self._through_bentoml(scope, receive, _Sender(scope, send))

    async def _through_bentoml(self, scope: Scope, receive: Receive, sender: _Sender) -> None:
        started, limit = time.perf_counter(), getattr(getattr(own.app.state, "engine", None), "max_bytes", MAX_BYTES)
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                refuse(RequestError(413, f"the body is larger than {limit:,} bytes"))
            try:
                own.count_large_body(scope, received, limit)
            except RequestError as error:
                refuse(error)
            return message

        sending = SENDER.set(sender)
        trusted = TRUSTED.set(TRUSTED.get() or self.internal)
        try:
            if scope["path"] not in OPEN:
                own.check_token(Headers(scope=scope).get("authorization", ""))
            TRUSTED.set(True)
            await self.bentoml(scope, limited, sender)
        except RequestError as error:  # of the token
            sender.status = error.status
            await own.refusal(error)(scope, receive, sender.send)
        finally:
            own.RECEIVED.pop(id(scope), None)
            TRUSTED.reset(trusted)
            SENDER.reset(sending)
        if scope["path"] in self.routes:
            refused = {"refused": dict(own.rules_of(sender.refusal))} if sender.refusal and sender.replaced else {}
            own.record(scope["method"], scope["path"], sender.status, started, refused)
