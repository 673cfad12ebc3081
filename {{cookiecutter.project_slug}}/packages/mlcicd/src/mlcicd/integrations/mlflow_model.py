"""A run's model in MLflow's own form, so that ``mlflow.sklearn.load_model`` reads it.

The folder holds the run's model file as it is. It is described, not loaded and saved again: the same bytes, in none of
the time.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mlcicd.contract import document as contracts
from mlcicd.core import project
from mlcicd.core.json_files import read_json
from mlcicd.training import model_trust
from mlcicd.training.run import CONTRACT, HOLDOUT, MANIFEST, MODEL, Manifest
from mlcicd.validation.example_record import accepted_record

EXAMPLE = "input_example.json"


def write(run: Path, folder: Path, run_id: str) -> None:
    """Write a run's model to an empty folder: MLmodel, the model file, the code it needs, its requirements."""
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    manifest, table = read_json(run / MANIFEST, Manifest), contracts.load(run / CONTRACT).table
    shutil.copyfile(run / MODEL, folder / MODEL)
    package = project.folder()
    shutil.copytree(package, folder / "code" / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    _requirements(folder, manifest)
    stored = pq.read_schema(run / HOLDOUT)  # what the pipeline was given, which the contract alone does not decide
    columns = [ColSpec(DataType[_type(stored.field(p.name).type)], p.name, required=p.required) for p in table.features]
    model = Model(run_id=run_id, artifact_path="model", signature=ModelSignature(Schema(columns)))
    pyfunc.add_to_model(
        model,
        loader_module="mlflow.sklearn",
        model_path=MODEL,
        predict_fn="predict",
        python_env={"virtualenv": "python_env.yaml"},
        code="code",
    )
    model.add_flavor(
        "sklearn",
        pickled_model=MODEL,
        sklearn_version=manifest["libraries"].get("scikit-learn"),
        serialization_format="skops",
        skops_trusted_types=_named(folder / MODEL),
        code="code",
    )
    if record := accepted_record(table):
        example = {"columns": list(record), "data": [list(record.values())]}
        (folder / EXAMPLE).write_text(json.dumps(example), encoding="utf-8")
        model.saved_input_example_info = {
            "artifact_path": EXAMPLE,
            "type": "dataframe",
            "pandas_orient": "split",
            "serving_input_path": None,
        }
    model.save(str(folder / "MLmodel"))


def _type(stored: pa.DataType) -> str:
    """How MLflow names a type."""
    kinds = {"boolean": pa.types.is_boolean, "long": pa.types.is_integer, "double": pa.types.is_floating}
    kinds["datetime"] = pa.types.is_temporal
    return next((name for name, matches in kinds.items() if matches(stored)), "string")


def _named(path: Path) -> list[str]:
    """The types that a model file names; ``ml train`` has judged all of them."""
    with zipfile.ZipFile(path) as packed:
        schema = json.loads(packed.read("schema.json"))
    return sorted({f"{node['__module__']}.{node['__class__']}" for node in model_trust.nodes(schema)})


def _requirements(folder: Path, manifest: dict[str, Any]) -> None:
    """Write what the model was trained with: the pipeline's libraries, and what pyproject.toml declares beside them."""
    installed = manifest["packages"] | {"mlflow": manifest["packages"].get("mlflow-skinny", "")}
    try:
        declared = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    except (OSError, ValueError, KeyError):
        declared = []
    names = {*manifest["libraries"], *(_name(text) for text in declared), "mlflow"} - {"mlcicd"}
    pinned = [f"{name}=={installed[name]}" for name in sorted(names) if installed.get(name)]
    (folder / "requirements.txt").write_text("\n".join(pinned) + "\n", encoding="utf-8")
    environment = {
        "python": manifest["python"],
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment, sort_keys=False), encoding="utf-8")


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement.strip())
    return found[0].replace("_", "-").lower() if found else ""
