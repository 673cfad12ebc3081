"""What stands between HTTP and the model: batching, answers, and counts of what went in and out."""

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

from . import trees
from .bins import binning
from .errors import Refusal
from .predict import Scorer
from .records import Door
from .runs import read_json

BATCH_ROWS = 1024
WAITING_ROWS = 32 * BATCH_ROWS
Answers = list[dict[str, Any]]
Waiting = tuple[list[BaseModel], "asyncio.Future[Answers]"]


class Batcher:
    """Score together what waits together.

    A lone request is scored at once; those that arrive meanwhile wait for the next batch. So nothing waits for a timer,
    and batches grow by themselves with the load. One thread scores: the model needs no lock.
    """

    def __init__(self, score: Callable[[list[BaseModel]], Answers]) -> None:
        self._score, self._thread = score, ThreadPoolExecutor(1, "model")
        self._waiting: deque[Waiting] = deque()
        self._rows = 0
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self, rows: list[BaseModel]) -> Answers:
        """Return one answer a row, in order."""
        if self._rows and self._rows + len(rows) > WAITING_ROWS:
            raise Refusal(503, "too many records are waiting; try again in a second")
        future: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
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
            if not await self._answer(batch):
                for alone in batch if len(batch) > 1 else []:  # one request must not spoil its neighbours'
                    await self._answer([alone])

    async def _answer(self, batch: list[Waiting]) -> bool:
        rows = [row for part, _ in batch for row in part]
        try:
            answers = iter(await asyncio.get_running_loop().run_in_executor(self._thread, self._score, rows))
        except Exception as error:
            if len(batch) == 1 and not batch[0][1].done():
                batch[0][1].set_exception(error)
            return False
        for part, future in batch:
            mine = [next(answers) for _ in part]
            if not future.done():  # a client may have hung up
                future.set_result(mine)
        return True


class Engine:
    """One worker's model, door and counters, from the folder that ``staging.stage`` lays out."""

    def __init__(self, staged: Path) -> None:
        self.scorer, self.about = Scorer(staged), read_json(staged / "serving.json")
        trees.quicken(self.scorer.model)  # requests are few rows
        self.version: str = self.about["model"]["version"]
        self.max_bytes: int = self.about["limits"]["max_bytes"]
        self.door = Door(self.scorer.contract.table, self.about["limits"]["max_records"])
        self.predict = Batcher(self.answer)
        self._batches = Histogram("ml_batch_rows", "Rows scored together", buckets=[1, 2, 4, 8, 16, 32, 64, 256, 1024])
        self._classes = Counter("ml_predictions", "Predictions, by class", ["class"])
        for label in self.scorer.classes:  # at 0, so that a class which is no longer predicted is not unknown
            self._classes.labels(str(label))
        self._values = Histogram("ml_prediction", "P(positive), or value", buckets=self.about["outputs"])
        inputs = Counter("ml_inputs", "Values received, by the bins of training", ["column", "bin"])
        bins = [(p.name, *binning(self.about["bins"][p.name], p)) for p in self.door.features]
        self._bins = [(place, [inputs.labels(name, label) for label in labels]) for name, place, labels in bins]
        self._remember({name: labels for name, _, labels in bins})

    def _remember(self, labels: dict[str, list[str]]) -> None:
        """Show what training saw beside what comes in, so that a query can tell how far they are apart."""
        inputs = Gauge("ml_inputs_reference", "Shares in training", ["column", "bin"], multiprocess_mode="max")
        for column, shares in self.about["shares"].items():
            for label, share in zip(labels[column], shares, strict=False):  # none for dates
                inputs.labels(column, label).set(share)
        kind = "class" if self.scorer.task == "multiclass" else "le"
        outputs = Gauge("ml_prediction_reference", "Shares in training", [kind], multiprocess_mode="max")
        for label, share in self.about["predicted"].items():
            # An edge is written as the histogram writes it: 1e+06, where Python says 1000000.0.
            outputs.labels(label if kind == "class" else floatToGoString(label)).set(share)

    def answer(self, rows: list[BaseModel]) -> Answers:
        """Predict checked rows, in the calling thread."""
        cells = self.door.cells(rows)
        try:
            columns = self.scorer.score(self.door.frame(cells))
        except (ValueError, ArithmeticError) as error:
            text = f"the contract allows these values, but the model cannot compute with them ({type(error).__name__})"
            raise Refusal(422, text, [{"row": None, "column": None, "rule": "model", "message": text}], 1) from error
        named = {name: values.tolist() for name, values in columns.items()}
        self._count(cells, named)
        if self.scorer.task == "multiclass":
            p = {c: named.pop(f"p_{c}") for c in self.scorer.classes}
            named["probability"] = [dict(zip(p, row, strict=True)) for row in zip(*p.values(), strict=True)]
        if (half := self.about.get("interval")) is not None:
            named["interval"] = [[value - half, value + half] for value in named["prediction"]]
        answers = [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
        for row, answer in zip(rows, answers, strict=True):
            if (given := row.__dict__.get("id")) is not None:
                answer["id"] = given
        return answers

    def _count(self, cells: list[list[Any]], named: dict[str, list[Any]]) -> None:
        self._batches.observe(len(cells[0]))
        if self.scorer.task != "regression":
            for label, count in Tally(map(str, named["prediction"])).items():
                self._classes.labels(label).inc(count)
        if self.scorer.task != "multiclass":
            for value in named.get("probability", named["prediction"]):
                self._values.observe(value)
        for values, (place, counters) in zip(cells, self._bins, strict=True):
            for index, count in Tally(map(place, values)).items():
                counters[index].inc(count)

    def openapi(self) -> dict[str, Any]:
        """Describe the service to clients, with the contract's columns and an example of a request."""
        about, record = self.about["model"], self.door.model.model_json_schema()
        answer = {
            "type": "object",
            "properties": {"id": {}, "prediction": {}, "probability": {}, "decision": {}, "interval": {}},
        }
        schemas = {
            "Record": record | {"title": about["name"]},
            "Answers": _object(predictions={"type": "array", "items": answer}, model_version={"type": "string"}),
            "Refusal": _object(error={"type": "string"}) | {"additionalProperties": True},
        }
        records = _object(records={"type": "array", "minItems": 1, "items": _ref("Record")})
        content: dict[str, Any] = {"schema": {"anyOf": [records, _ref("Record")]}}
        content |= {"example": {"records": [self.about["example"]]}} if self.about["example"] else {}
        refused = {"400": "not JSON", "401": "no token", "413": "too large", "415": "not JSON by its header"}
        refused |= {"422": "the contract is broken: each problem with row, column and rule", "503": "too busy"}
        replies = {code: _reply(text, "Refusal") for code, text in refused.items()} | {
            "200": _reply("Predictions", "Answers")
        }
        ask = {"operationId": "predict", "requestBody": {"required": True, "content": {"application/json": content}}}
        look = {"operationId": "model", "responses": {"200": {"description": "Version, metrics, contract and card"}}}
        return {
            "openapi": "3.1.0",
            "info": {"title": about["name"], "version": self.version, "description": self.about["purpose"]},
            "paths": {"/predict": {"post": ask | {"responses": replies}}, "/model": {"get": look}},
            "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
            "security": [{}, {"token": []}],
        }


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _reply(text: str, name: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": _ref(name)}}}
