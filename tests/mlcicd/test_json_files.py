"""Files that one command writes and another reads: each has a schema, and a broken one gets one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlcicd.core.errors import InputError
from mlcicd.core.json_files import JsonFile, read_json
from mlcicd.lifecycle.drift_schema import Drift
from mlcicd.review.comparison_schema import Comparison
from mlcicd.serving.serving_schema import Serving
from mlcicd.training.run import Manifest, Metrics

MOVED = {"distance": 0.1, "p": 0.5, "missing": [0.0, 0.1], "median": None, "new_values": {"x": 3}, "drift": False}
DRIFT = {"schema": 1, "verdict": "stable", "source": "new.csv", "rows": {"reference": 9, "new": 3}, "window": {}}
DRIFT |= {"columns": {"a": MOVED}, "prediction": MOVED, "performance": None, "moved": [], "violations": []}
RESULT = {
    "label": "ROC AUC",
    "family": "gated",
    "verdict": "same",
    "gate": "pass",
    "margin": 0.005,
    "kind": "not-worse",
}
RESULT |= dict.fromkeys(("baseline", "candidate", "difference", "low", "high", "p", "adjusted", "detectable"), 0.5)
RESULT |= {"noise": {"rows": 0.1, "training": None}, "rows_needed": None}
COMPARISON = {"schema": 1, "verdict": "same", "passed": True, "reason": "x", "rows": {"compared": 9}}
SERVING: dict[str, Any] = {"schema": 1, "limits": {}, "bins": {}, "shares": {}, "outputs": [0.5], "predicted": {}}
SERVING |= {"example": None, "purpose": "", "model": {"name": "m", "version": "v", "commit": None, "target": "y"}}
SERVING["model"] |= {"task": "binary", "classes": [False, True], "threshold": 0.5}
ESTIMATES = {"roc_auc": {"value": 0.8, "low": 0.7, "high": 0.9}}
FILES: dict[type[JsonFile], dict[str, Any]] = {
    Metrics: {"task": "binary", "classes": [False, True], "threshold": 0.5, "holdout": ESTIMATES},
    Manifest: {"seeds": [7], "commit": None, "data": {"data/t.csv": "0" * 64}},
    Drift: DRIFT,
    Comparison: COMPARISON | {"metrics": {"roc_auc": RESULT}},
    Serving: SERVING,
}


def places(content: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key in a document, by its path."""
    if not isinstance(content, dict):
        return []
    return [path for key, part in content.items() for path in ((*at, key), *places(part, (*at, key)))]


def changed(content: Any, path: tuple[str, ...], value: Any) -> Any:
    head, *rest = path
    return content | {head: changed(content[head], tuple(rest), value) if rest else value}


@pytest.mark.parametrize("schema", FILES, ids=lambda schema: schema.__name__)
def test_a_file_is_read_as_it_was_written(tmp_path: Path, schema: type[JsonFile]) -> None:
    content = FILES[schema] | {"of_a_later_version": [1]}
    path = tmp_path / "file.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    read = read_json(path, schema)
    assert {key: read[key] for key in content} == content


TYPED = [(schema, path) for schema, content in FILES.items() for path in places(content)]


@pytest.mark.parametrize(("schema", "path"), TYPED)
def test_what_has_another_type_is_named(tmp_path: Path, schema: type[JsonFile], path: tuple[str, ...]) -> None:
    file = tmp_path / "broken.json"
    file.write_text(json.dumps(changed(FILES[schema], path, [[1], {}])), encoding="utf-8")  # nowhere expected
    with pytest.raises(InputError) as refused:
        read_json(file, schema, "do that again")
    assert str(refused.value).startswith(f"{file}: {path[0]}")
    assert str(refused.value).endswith("; do that again")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", "null", '{"task": "binary"}', '{"task": 3, "classes": []}', '{"task": "x", "classes": []}'],
)
def test_metrics_that_are_none_get_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"metrics\.json.*train the run again"):
        read_json(path, Metrics)


@pytest.mark.parametrize("schema", [Drift, Comparison, Serving])
def test_another_version_is_refused(tmp_path: Path, schema: type[JsonFile]) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(FILES[schema] | {"schema": 99}), encoding="utf-8")
    with pytest.raises(InputError, match="schema"):
        read_json(path, schema)
