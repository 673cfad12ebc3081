"""Inference engine: batching, responses and Prometheus metrics."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.utils import floatToGoString
from pydantic import BaseModel

from mlcicd.core.errors import RequestError
from mlcicd.core.json_files import read_json
from mlcicd.scoring import fast_trees
from mlcicd.scoring.scorer import Scorer
from mlcicd.serving.monitoring_bins import bin_lookup
from mlcicd.serving.serving_schema import Serving
from mlcicd.validation import csv_requests
from mlcicd.validation.request_validation import RequestValidator

BATCH_ROWS = 1024
WAITING_ROWS = 32 * BATCH_ROWS
Predictions = list[dict[str, Any]]
Waiting = tuple[list[BaseModel], "asyncio.Future[Predictions]"]


class Batcher:
    """Score concurrent requests in batches.

    A request is scored at once if no other is being scored; requests that arrive meanwhile form the next batch. There
    is no timer, and the size of a batch follows the load. A single thread scores, so the model needs no lock.
    """

    def __init__(self, score: Callable[[list[BaseModel]], Predictions]) -> None:
        self._score, self._thread = score, ThreadPoolExecutor(1, "model")
        self._waiting: deque[Waiting] = deque()
        self._rows = 0
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self, rows: list[BaseModel]) -> Predictions:
        """Return one prediction per row, in order.

        Raises
        ------
        RequestError
            More than ``WAITING_ROWS`` rows are waiting.
        """
        if self._rows and self._rows + len(rows) > WAITING_ROWS:
            raise RequestError(503, "too many records are waiting; try again in a second")
        future: asyncio.Future[Predictions] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, future))
        self._rows += len(rows)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft()]
            size = len(batch[0][0])
            while self._waiting and size + len(self._waiting[0][0]) <= BATCH_ROWS:
                batch.append(self._waiting.popleft())
                size += len(batch[-1][0])
            self._rows -= size
            if not await self._score_batch(batch):
                for request in batch if len(batch) > 1 else []:  # one bad request must not fail the others
                    await self._score_batch([request])

    async def _score_batch(self, batch: list[Waiting]) -> bool:
        rows = [row for part, _ in batch for row in part]
        try:
            predictions = iter(await asyncio.get_running_loop().run_in_executor(self._thread, self._score, rows))
        except Exception as error:
            if len(batch) == 1 and not batch[0][1].done():
                batch[0][1].set_exception(error)
            return False
        for part, future in batch:
            own = [next(predictions) for _ in part]
            if not future.done():  # the client may have disconnected
                future.set_result(own)
        return True


class InferenceEngine:
    """A worker's model, request validator and metrics, from a folder written by ``packaging.export``."""

    def __init__(self, staged: Path) -> None:
        self.scorer, self.metadata = (
            Scorer(staged),
            read_json(staged / "serving.json", Serving, "package the run again"),
        )
        fast_trees.enable_fast_path(self.scorer.model)  # requests are few rows
        self.version: str = self.metadata["model"]["version"]
        self.max_bytes: int = self.metadata["limits"]["max_bytes"]
        self.validator = RequestValidator(self.scorer.contract.table, self.metadata["limits"]["max_records"])
        self.predict = Batcher(self.answer)
        self._batches = Histogram("ml_batch_rows", "Rows scored together", buckets=[1, 2, 4, 8, 16, 32, 64, 256, 1024])
        self._classes = Counter("ml_predictions", "Predictions, by class", ["class"])
        for label in self.scorer.classes:  # from 0, so that a class that is never predicted is reported
            self._classes.labels(str(label))
        self._values = Histogram("ml_prediction", "P(positive), or value", buckets=self.metadata["outputs"])
        inputs = Counter("ml_inputs", "Values received, by the bins of training", ["column", "bin"])
        bins = [(p.name, *bin_lookup(self.metadata["bins"][p.name], p)) for p in self.validator.features]
        self._bins = [(find_bin, [inputs.labels(name, label) for label in labels]) for name, find_bin, labels in bins]
        self._export_reference({name: labels for name, _, labels in bins})

    def read_csv(self, body: bytes) -> list[BaseModel]:
        """Return the validated rows of a CSV with the contract's columns; see :mod:`csv_requests`."""
        table, limit = self.scorer.contract.table, self.validator.max_records
        return self.validator.read(csv_requests.to_request(body, table.properties, limit))

    def _export_reference(self, labels: dict[str, list[str]]) -> None:
        """Export the shares of training, with which queries compare those of the requests."""
        inputs = Gauge("ml_inputs_reference", "Shares in training", ["column", "bin"], multiprocess_mode="max")
        for column, shares in self.metadata["shares"].items():
            for label, share in zip(labels[column], shares, strict=False):  # dates have no shares
                inputs.labels(column, label).set(share)
        kind = "class" if self.scorer.task.monitored is None else "le"
        outputs = Gauge("ml_prediction_reference", "Shares in training", [kind], multiprocess_mode="max")
        for label, share in self.metadata["predicted"].items():
            # Bounds are spelt as those of the histogram: 1e+06 instead of 1000000.0.
            outputs.labels(label if kind == "class" else floatToGoString(label)).set(share)

    def answer(self, rows: list[BaseModel]) -> Predictions:
        """Return one prediction per validated row, computed in the calling thread."""
        cells = self.validator.cells(rows)
        try:
            columns = self.scorer.score(self.validator.frame(cells))
        except (ValueError, ArithmeticError) as error:
            text = f"the contract allows these values, but the model cannot compute with them ({type(error).__name__})"
            raise RequestError(
                422, text, [{"row": None, "column": None, "rule": "model", "message": text}], 1
            ) from error
        named = {name: values.tolist() for name, values in columns.items()}
        self._observe(cells, named)
        named = self.scorer.task.answer_fields(named, self.scorer.classes)
        if (half_width := self.metadata.get("interval")) is not None:
            named["interval"] = [[value - half_width, value + half_width] for value in named["prediction"]]
        answers = [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
        for row, answer in zip(rows, answers, strict=True):
            if (given := row.__dict__.get("id")) is not None:
                answer["id"] = given
        return answers

    def _observe(self, cells: list[list[Any]], named: dict[str, list[Any]]) -> None:
        self._batches.observe(len(cells[0]))
        if self.scorer.task.predicts_classes:
            for label, count in Tally(map(str, named["prediction"])).items():
                self._classes.labels(label).inc(count)
        if (column := self.scorer.task.monitored) is not None:
            for value in named[column]:
                self._values.observe(value)
        for values, (find_bin, counters) in zip(cells, self._bins, strict=True):
            for index, count in Tally(map(find_bin, values)).items():
                counters[index].inc(count)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, with the contract's columns and an example request."""
        metadata, record = self.metadata["model"], self.validator.model.model_json_schema()
        answer = {
            "type": "object",
            "properties": {"id": {}, "prediction": {}, "probability": {}, "decision": {}, "interval": {}},
        }
        schemas = {
            "Record": record | {"title": metadata["name"]},
            "Predictions": _object(predictions={"type": "array", "items": answer}, model_version={"type": "string"}),
            "RequestError": _object(error={"type": "string"}) | {"additionalProperties": True},
        }
        records = _object(records={"type": "array", "minItems": 1, "items": _ref("Record")})
        content: dict[str, Any] = {"schema": {"anyOf": [records, _ref("Record")]}}
        content |= {"example": {"records": [self.metadata["example"]]}} if self.metadata["example"] else {}
        refused = {"400": "not JSON", "401": "no token", "413": "too large", "415": "not JSON by its header"}
        refused |= {"422": "the contract is broken: each problem with row, column and rule", "503": "too busy"}
        responses = {code: _response(text, "RequestError") for code, text in refused.items()} | {
            "200": _response("Predictions", "Predictions")
        }
        predict = {
            "operationId": "predict",
            "requestBody": {"required": True, "content": {"application/json": content}},
        }
        model = {"operationId": "model", "responses": {"200": {"description": "Version, metrics, contract and card"}}}
        return {
            "openapi": "3.1.0",
            "info": {"title": metadata["name"], "version": self.version, "description": self.metadata["purpose"]},
            "paths": {"/predict": {"post": predict | {"responses": responses}}, "/model": {"get": model}},
            "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
            "security": [{}, {"token": []}],
        }


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _response(text: str, name: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": _ref(name)}}}
