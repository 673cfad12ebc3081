"""The BentoML service of a model, which ``service.py`` extends: ``predict`` with models made from the contract."""

from __future__ import annotations

import functools
import gc
import os
from pathlib import Path
from typing import Any

import bentoml
from pydantic_core import PydanticSerializationError, to_json
from starlette.requests import Request
from starlette.responses import Response

from mlcicd.contract import document
from mlcicd.core import project
from mlcicd.core.errors import RequestError
from mlcicd.serving import app
from mlcicd.serving.front import Front, refuse
from mlcicd.serving.logs import LOG, log_as_json
from mlcicd.shadow.mirror import Mirror, address
from mlcicd.shadow.pair_metrics import PairMetrics

SHADOW = address()
INTERNAL = "application/vnd.bentoml+pickle"  # between services of one bento; BentoML refuses it from outside
ANSWER = ("id", "prediction", "probability", "decision", "interval")


class Validated(list[Any]):
    """Records that the contract has accepted."""


@functools.cache
def record_schema() -> dict[str, Any]:
    """Return the JSON schema of a record, from the contract of the model; of any object where no model is packed.

    The type is a list of one name: of an ``object`` with properties BentoML's client sends the known ones alone, so
    that a misspelt column would be lost on the way, and not be refused.
    """
    path = staged() / "contract.yaml"
    if not path.is_file():
        return {"type": ["object"]}
    from mlcicd.validation.request_validation import RequestValidator  # imports pandas

    return RequestValidator(document.load(path).table).model.model_json_schema() | {"type": ["object"]}


class Records(bentoml.IODescriptor):  # type: ignore[misc]
    """The input of ``predict``."""

    records: list[Any]

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        """Return the JSON schema, with the contract's columns."""
        records = {"type": "array", "minItems": 1, "items": record_schema()}
        return {"title": "Records", "type": "object", "properties": {"records": records}, "required": ["records"]}

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Records:
        """Read and validate a request as the fast path does."""
        if serde.media_type == INTERNAL:
            return await super().from_http_request(request, serde)
        try:
            return cls.model_construct(records=Validated(await app.read_rows(request)))
        except RequestError as error:
            refuse(error)


class Predictions(bentoml.IODescriptor):  # type: ignore[misc]
    """The output of ``predict``."""

    predictions: list[dict[str, Any]]
    model_version: str

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        """Return the JSON schema."""
        answers = {"type": "array", "items": {"type": ["object"], "properties": {name: {} for name in ANSWER}}}
        properties = {"predictions": answers, "model_version": {"type": "string"}}
        return {"title": "Predictions", "type": "object", "properties": properties, "required": list(properties)}

    @classmethod
    async def to_http_response(cls, obj: Any, serde: Any) -> Response:
        """Write the same bytes as the fast path."""
        if serde.media_type == INTERNAL:
            return await super().to_http_response(cls(**obj), serde)
        return app.json_response(obj)


def staged() -> Path:
    """Return the folder with the model that is served."""
    return Path(os.environ.get("ML_STAGED") or project.folder().parent / "run")


@functools.cache
def engine() -> Any:
    """Return the process's inference engine, loaded at the first call and shared with forked processes."""
    # Imports pandas and scikit-learn, which take seconds and which the parent process of `bentoml serve` does not need.
    from mlcicd.serving.inference_engine import InferenceEngine

    return InferenceEngine(staged())


class ModelService:
    """One worker of the service; the model is loaded before it reports that it is ready.

    Subclasses add endpoints with ``@bentoml.api``, or override ``predict``. One that overrides ``__init__`` calls this
    one.
    """

    def __init__(self) -> None:
        log_as_json()
        app.app.state.engine = engine()
        LOG.info("ready", extra={"fields": {"version": engine().version, "workers": _workers()}})
        if type(self).predict is not ModelService.predict:
            LOG.info("predict is overridden: its requests take BentoML's way, which is slower")
            if SHADOW:
                LOG.warning("predict is overridden: no request is copied to the shadow")
        elif SHADOW:
            metrics = PairMetrics(engine().scorer.task, engine().metadata["outputs"])
            app.app.state.mirror = Mirror(SHADOW, app.TOKEN, metrics)

    @bentoml.api(input_spec=Records, output_spec=Predictions)  # type: ignore[untyped-decorator]
    async def predict(self, records: list[Any]) -> dict[str, Any]:
        """Return for each record a prediction, a probability or interval, and the decision at the chosen threshold."""
        return await self.answer(records)

    async def answer(self, records: list[Any]) -> dict[str, Any]:
        """Validate records by the contract and predict them.

        Parameters
        ----------
        records : one dictionary of columns each

        Returns
        -------
        ``predictions``, a dictionary for each record, and ``model_version``.

        Raises
        ------
        RefusedError
            A record breaks the contract, or there are too many at once.
        """
        try:
            rows = records if isinstance(records, Validated) else engine().validator.read(to_json({"records": records}))
            return await app.answer(list(rows))
        except RequestError as error:
            refuse(error)
        except PydanticSerializationError as error:
            refuse(RequestError(400, f"the records are no JSON: {str(error)[:200]}"))


class FrontedService(bentoml.Service):  # type: ignore[misc]
    """A service whose requests pass :class:`front.Front` first."""

    def to_asgi(self, is_main: bool = True) -> Any:
        """Return the ASGI application."""
        paths: frozenset[str] = frozenset()
        if issubclass(self.inner, ModelService):
            app.app.state.service, paths = self, app.PATHS
            if self.inner.predict is not ModelService.predict:
                paths -= {"/predict", "/invocations"}  # no path may answer otherwise than the override
            if not is_main:
                paths = frozenset()  # called by another service, in BentoML's own format
        self.middlewares: list[Any] = [entry for entry in self.middlewares if entry[0] is not Front]
        self.add_asgi_middleware(Front, service=self, paths=paths, internal=not is_main)
        application = super().to_asgi(is_main)
        application.router.redirect_slashes = False  # a redirect would lead to the host that the request names
        return application


def settings(package: str) -> dict[str, Any]:
    """Return the arguments of ``bentoml.service`` for a package's service.

    BentoML's tracing, metrics and access log are off: they took half of a request's time. Its workers and its health
    endpoints (/livez, /healthz, /readyz) are used.
    """
    os.environ[project.VARIABLE] = package
    return {
        "name": package.replace("_", "-"),
        "service_class": FrontedService,
        "workers": _workers(),
        "logging": {"access": {"enabled": False}},
        "metrics": {"enabled": False},
        "tracing": {"excluded_urls": [".*"]},
    }


def _workers() -> int:
    from mlcicd.serving.gunicorn_conf import WORKERS  # needs the package's name, which `settings` tells

    return WORKERS


def preloaded(service: Any) -> Any:
    """Return the ASGI application with the model loaded, for a server that then forks its workers."""
    log_as_json()
    engine()
    _prepare(service)
    application = service.to_asgi()
    gc.freeze()  # garbage collection in a worker must not copy shared memory pages
    gc.enable()
    return application


def _prepare(service: Any) -> None:
    """Do what ``bentoml serve`` does before its workers start: deployment hooks, and a table for results of tasks."""
    hooks = (getattr(service.inner, name) for name in dir(service.inner))
    if service.needs_task_db() or any(getattr(hook, "__bentoml_deployment_hook__", False) for hook in hooks):
        from _bentoml_impl.server.serving import server_on_deployment  # imports the supervisor

        server_on_deployment(service)
