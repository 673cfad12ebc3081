"""Score a folder of Parquet parts, wherever the parts are worked on, into a folder of parts: what is done is kept."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from mlcicd.compute import shipping
from mlcicd.compute.places import Place
from mlcicd.core import project
from mlcicd.core.errors import InputError
from mlcicd.core.json_files import write_json
from mlcicd.data import table_files
from mlcicd.partitions import pieces
from mlcicd.scoring.predict import row_rules, write
from mlcicd.scoring.prediction_files import PredictionsWriter
from mlcicd.scoring.scorer import Scorer
from mlcicd.system.marks import MADE_BY, MARK
from mlcicd.system.resumable import resumable_directory
from mlcicd.training.run import CONTRACT, METRICS, MODEL, sha256

MANIFEST = "_manifest.json"  # who reads a folder of Parquet files leaves out names that begin with _ or .
RECORDS = "_records"  # a file for each finished part, until all are
NUMBERS = ("Python", "scikit-learn", "numpy", "pandas", "scipy", "skrub", "pyarrow", shipping.MACHINERY)
Record = dict[str, Any]


class Job(NamedTuple):
    """What all parts have in common.

    Attributes
    ----------
    table, out, root, folder : names in messages, the folder they are relative to, and where finished parts go
    names : the columns that the files of the table have
    model : what the predictions depend on beside the rows
    """

    scorer: Scorer
    table: Path
    out: Path
    root: Path
    folder: Path
    names: tuple[str, ...]
    model: dict[str, Any]


def is_for_parts(table: Path, out: Path) -> bool:
    """Return whether a table is scored into a folder: it is one of Parquet files, and so is ``out`` to be."""
    return table.is_dir() and not out.suffix and any(map(table_files.is_parquet, table.iterdir()))


def predict(
    table: Path, out: Path, run: Path, opened: Callable[[int], AbstractContextManager[Place]]
) -> tuple[int, int, int]:
    """Score each part of a table, except those that an interrupted or earlier call scored.

    Parameters
    ----------
    table : a folder of Parquet files with the columns of the contract's table
    out : the folder of the predictions: a file for each part that has rows, of the same name, and ``_manifest.json``
    opened : opens the place where so many parts are scored

    Returns
    -------
    How many rows and parts there are, and how many parts were done before.

    Raises
    ------
    InputError
        A part breaks the contract or cannot be scored; ``out`` is left unchanged, finished parts are kept beside it.
    """
    if out.resolve() == table.resolve():
        raise InputError(f"{out}: is the table that is to be scored; choose another --out")
    scorer = Scorer(run)
    files = table_files.parts(table, f"the contract's '{row_rules(scorer).name}' expects it", whole=False)
    model = _model(run)
    with resumable_directory(out, "predictions") as work:
        (work / RECORDS).mkdir(exist_ok=True)
        for folder in (work, out):  # a process that was killed at its very end leaves a manifest in the first
            _take_over(folder, work)
        records = _finished(work, files, model)
        todo = [file for file in files if file.name not in records]
        columns = {name: tuple(record["columns"]) for name, record in records.items()}
        columns |= {file.name: tuple(sorted(pieces.divide([file]).names)) for file in todo}
        names = tuple(sorted({name for found in columns.values() for name in found}))
        # A column that another part has by now is a gap in those that lack it.
        todo = [file for file in files if file.name not in records or records[file.name]["table"] != list(names)]
        job = Job(scorer, table, out, Path.cwd(), work.resolve(), names, model)
        with opened(len(todo)) as place, closing(place.run(score_part, job, todo, str)) as results:
            records |= {file.name: found for file, found in zip(todo, results, strict=True)}
        rows = sum(records[file.name]["rows"] for file in files)
        if not rows:
            raise InputError(f"{table}: has no rows")
        parts = [records[file.name] for file in files]
        _publish(work, {"made_by": MADE_BY, "model": model, "rows": rows, "parts": parts})
    return rows, len(files), len(files) - len(todo)


def score_part(job: Job, file: Path) -> Record:
    """Score one part; leave its predictions, then a record of them, in the folder of finished parts.

    Both are written under other names first: a process may end at any time, and another may do the same part.
    """
    if not job.folder.is_dir():
        raise InputError(f"{job.out}: is not there; put --out where all workers see it under the same path")
    source = job.root / file
    private = job.folder / f".{file.name}.{secrets.token_hex(4)}"
    try:
        version, obj = _version(source), row_rules(job.scorer)
        divided = pieces.divide([file], root=job.root)
        chunks = (chunk for piece in divided.pieces for chunk in pieces.read(piece, obj, job.names, job.root))
        rows = write(chunks, PredictionsWriter(file, private), job.scorer, file, job.table, least=0)
        read = version | {"sha256": sha256(source)}
        if _version(source) != version:
            raise InputError(f"{file}: was changed while it was scored; start again")
        record: Record = {"name": file.name, "rows": rows, "columns": sorted(divided.names), "table": list(job.names)}
        record |= {"input": read, "model": job.model, "output": None}
        if rows:
            record["output"] = {"bytes": private.stat().st_size, "sha256": sha256(private)}
            private.replace(job.folder / file.name)
        _note(job.folder, record)
    except (InputError, OSError):
        raise
    except Exception as error:  # the user's features may raise anything
        said = project.unexpected(error)
        raise InputError(f"{file}: {said}; correct it and start again, what is done is kept") from error
    finally:
        private.unlink(missing_ok=True)
    return record


def _note(folder: Path, record: Record) -> None:
    """Write the record of a finished part; its predictions are there already."""
    private = folder / f".{record['name']}.{secrets.token_hex(4)}"
    write_json(private, record)
    private.replace(folder / RECORDS / f"{record['name']}.json")


def _model(run: Path) -> dict[str, Any]:
    """Return what predictions depend on: the run's files, the user's code, and the libraries that compute numbers."""
    folder, versions = project.folder(), shipping.versions()
    code = b"".join(path.read_bytes() for path in sorted(folder.rglob("*.py")))
    files = {name: sha256(run / name) for name in (MODEL, CONTRACT, METRICS)}
    return files | {"code": hashlib.sha256(code).hexdigest(), "versions": {name: versions[name] for name in NUMBERS}}


def _version(file: Path) -> dict[str, int]:
    status = file.stat()
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}


def _finished(work: Path, files: Sequence[Path], model: dict[str, Any]) -> dict[str, Record]:
    """Return the records of parts whose predictions are whole, and of the same rows and model, by name."""
    found = {}
    for file in files:
        with suppress(OSError, ValueError, KeyError, TypeError):  # a record of another version, or a broken one
            record = json.loads((work / RECORDS / f"{file.name}.json").read_text(encoding="utf-8"))
            made, output = record["input"], record["output"]
            whole = output is None or output["sha256"] == sha256(work / file.name)
            if whole and record["model"] == model and _is_same(file, made) and record["columns"]:
                found[file.name] = record
    return found


def _is_same(file: Path, made: dict[str, Any]) -> bool:
    """Return whether a file is as it was; it is read only if its time has changed and its size has not."""
    now = _version(file)
    return now["bytes"] == made["bytes"] and (now["modified"] == made["modified"] or sha256(file) == made["sha256"])


def _take_over(folder: Path, work: Path) -> None:
    """Make the finished parts of a whole output known again, without a copy where that is possible."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        for record in json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["parts"]:
            name = Path(record["name"]).name
            if (work / RECORDS / f"{name}.json").exists():
                continue
            if record["output"] is not None and not (work / name).exists():
                _link(folder / name, work / name)
            _note(work, record)


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:  # another file system, or one without links
        shutil.copyfile(old, new)


def _publish(work: Path, manifest: dict[str, Any]) -> None:
    """Leave the finished parts and their manifest alone in the folder."""
    write_json(work / MANIFEST, manifest)
    kept = {MANIFEST, MARK, *(part["name"] for part in manifest["parts"] if part["output"])}
    for path in work.iterdir():
        if path.is_file() and path.name not in kept:
            path.unlink()
    shutil.rmtree(work / RECORDS)
