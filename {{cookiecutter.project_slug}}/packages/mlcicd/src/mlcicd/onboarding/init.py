"""``ml init``: write ``contract.yaml`` and ``params.yaml`` for an unknown table, and explain each decision."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from mlcicd import tasks
from mlcicd.contract import document as contracts
from mlcicd.contract import reserved_names
from mlcicd.contract.date_formats import BLANKS
from mlcicd.contract.schema import SchemaObject
from mlcicd.core import params as parameters
from mlcicd.core import project
from mlcicd.core.errors import InputError
from mlcicd.core.plain_text import cut
from mlcicd.core.yaml_io import read_yaml
from mlcicd.data import readers, split, table_files
from mlcicd.data.row_identity import MANY_EQUAL
from mlcicd.data.table_files import TEXT_FILE, is_parquet
from mlcicd.onboarding import config_drafts, large_tables
from mlcicd.onboarding.column_inference import Column, infer_columns
from mlcicd.onboarding.csv_dialect import CsvOptions, Dialect, add_number_style, detect_dialect
from mlcicd.onboarding.role_inference import ID_NAME, MIN_ROWS, apply_role, infer_roles, infer_task
from mlcicd.onboarding.starter_code import generic_code
from mlcicd.system.outputs import private_folder
from mlcicd.system.transaction import Replacement, replacing
from mlcicd.validation import rules

MAX_SALTS = 100
SHOWN = 40
MARKER_FILE = re.compile(
    r"part-|\._?(part-|SUCCESS)|_(SUCCESS|metadata|common_metadata)|.*\.crc$"
)  # files that Spark writes beside the parts of a table


def init(
    table: Path,
    target: str,
    given: dict[str, str | None],
    task: str | None,
    force: bool,
    root: Path = Path(),
    written: CsvOptions | None = None,
    lfs: bool = False,
) -> str:
    """Write a contract and params for a table; return a summary of the decisions as text.

    Parameters
    ----------
    table : CSV or Parquet file, or a folder of such files with the same columns
    target : the column to predict
    given : columns by role (``id``, ``time``, ``group``), None where the user named none
    task : None infers the task from the target
    force : whether existing files may be replaced
    written : the user's options for reading a CSV
    lfs : whether the table is to be stored in Git LFS

    Raises
    ------
    InputError
        The table cannot be read or learnt from, or the files exist already. Nothing is written then.
    """
    place = root / _place(table, root)
    for path in (root / "contract.yaml", root / "params.yaml", place):
        if path.exists() and not force and path.resolve() != table.resolve():
            raise InputError(f"{path}: exists already; --force replaces it")
    if not (task is None or task in tasks.KINDS):
        raise InputError(f"--task {task}: choose {', '.join(tasks.KINDS)}")
    frame, detected = _read_raw(table, (written or CsvOptions()).checked())
    inferred, values, dialect = infer_columns(frame, detected)
    by_name = {c.name: c for c in inferred}
    roles = infer_roles(by_name, values, {"target": target, **given}, frame)
    chosen_task, why = infer_task(by_name[target], values[target], task)
    for role, name in roles.items():
        apply_role(by_name[name], role, values[name], chosen_task)
    del frame
    document = config_drafts.draft_contract(
        table, place.relative_to(root).as_posix(), inferred, roles, dialect, len(values)
    )
    draft = config_drafts.draft_params(by_name[target], values, roles, chosen_task, why)
    with replacing(root) as replacement:
        rows_split, salt, features = _check(table, document, draft, replacement.work)
        tracker = next(iter(project.dependency_groups(root) & set(parameters.TRACKERS)), None)
        chosen_params = config_drafts.draft_params(by_name[target], values, roles, chosen_task, why, salt, tracker)
        code, notes = generic_code(root)
        code |= large_tables.with_lfs(root, place, table.is_dir()) if lfs else {}
        _write(
            code | {root / "params.yaml": chosen_params, root / "contract.yaml": document}, table, place, replacement
        )
    summary = _summary(table, place, inferred, roles, dialect, f"{chosen_task}: {why}", rows_split, values, features)
    notes += large_tables.notes(root, place, lfs)
    return "\n".join([*summary[:-2], *(f"note:   {note}" for note in notes), *summary[-2:]])


def _read_raw(table: Path, given: CsvOptions) -> tuple[pd.DataFrame, Dialect | None]:
    """Read a table without a contract: CSV values as text, Parquet values with their own types."""
    files = table_files.parts(table, "name a CSV or Parquet file, or a folder of them")
    dialect = None if table_files.is_parquet(files[0]) else _dialect(files, given)
    if dialect is None and given != CsvOptions():
        raise InputError(f"{table}: is Parquet; --delimiter, --decimal and --encoding are for CSV files")
    frames: list[pd.DataFrame] = []
    for part in files:
        with table_files.translate_read_errors(part):
            if dialect is None:
                frames.append(readers.read_parquet(part, integer_object_nulls=True))
            else:
                frames.append(pd.read_csv(part, dtype="str", **_options(dialect, part)))
        frames[-1] = _in_order(frames[-1], part, frames[0])
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    frame.columns = frame.columns.astype("str")
    if len(frame) < MIN_ROWS:
        raise InputError(
            f"{table}: has {len(frame)} rows; at least {MIN_ROWS} are needed to train and evaluate a model"
        )
    if frame.shape[1] < 2:
        raise InputError(f"{table}: has one column; a table needs a target and at least one feature")
    for name in frame.select_dtypes(["str"]).columns:
        plain = frame[name].str.strip(BLANKS)  # as the readers do, so that the decisions hold for what they return
        if not plain.equals(frame[name]):
            frame[name] = plain.mask(plain == "")
    return frame, dialect and add_number_style(dialect, frame.select_dtypes(["str"]), given)


def _dialect(files: list[Path], given: CsvOptions) -> Dialect:
    """Detect the dialect that all files of a table share."""
    dialect: Dialect | None = None
    for part in files:
        with table_files.translate_read_errors(part):
            detected = detect_dialect(part, given)
        dialect = dialect.with_part(detected, part) if dialect else detected
    assert dialect is not None
    return replace(dialect, encoding="utf-8-sig") if dialect.encoding == "ascii" else dialect


def _in_order(frame: pd.DataFrame, part: Path, first: pd.DataFrame) -> pd.DataFrame:
    """Put a file's columns into the order of the folder's first file."""
    different = [str(name) for name in [*frame.columns, *first.columns] if (name in frame) is not (name in first)]
    if different:
        where = "which the first file does not have" if different[0] in frame else "which the first file has"
        word = "has a column" if different[0] in frame else "lacks the column"
        raise InputError(f"{part}: {word} '{different[0][:60]}', {where}; a folder must hold the parts of one table")
    return frame[list(first.columns)]


def _options(dialect: Dialect, part: Path) -> dict[str, Any]:
    keys: dict[str, Any] = {"sep": dialect.delimiter, "quotechar": dialect.quote, "escapechar": dialect.escape}
    keys |= {"encoding": dialect.encoding, "keep_default_na": False, "na_values": [""]}
    return {**keys, "index_col": False, "skipinitialspace": True} | readers.declared_delimiter(part, dialect.encoding)


def _check(table: Path, document: str, chosen: str, work: Path) -> tuple[split.Split, int, int]:
    """Read the table again with the drafted contract, which must hold for it."""
    draft = work / "draft.yaml"
    draft.write_text(document, encoding="utf-8")
    obj = contracts.parse(read_yaml(draft, ""), "contract.yaml").table
    draft.write_text(chosen, encoding="utf-8")
    params = parameters.load(draft)
    if not obj.features:
        raise InputError(f"{table}: has no feature left besides {', '.join(p.name for p in obj.properties)}")
    frame, mistyped = readers.read(table, obj)
    violations = rules.check(frame, obj, mistyped)
    if violations:
        raise InputError(f"{table}: {violations[0]}; correct the value, or clean the column before 'ml init'")
    known = frame[frame[obj.target.name].notna()]  # type: ignore[union-attr]
    reserved_names.check(obj, params.task, known[obj.target.name].unique().tolist(), str(table))  # type: ignore[union-attr]
    rows_split, salt = _divide(known.reset_index(drop=True), obj, params)
    return rows_split, salt, len(obj.features)


def _divide(known: pd.DataFrame, obj: SchemaObject, params: parameters.Params) -> tuple[split.Split, int]:
    """Draw a holdout of about the requested size; with few rows or groups, the first draw may be empty."""
    first: InputError | None = None
    ids = split.row_ids(known, obj)  # the same for each salt
    for salt in range(MAX_SALTS):
        salted = params.model_copy(update={"split": params.split.model_copy(update={"salt": salt})})
        try:
            rows_split = split.make_split(known, obj, salted, ids)
        except InputError as error:
            first = first or error
            continue
        share = rows_split.holdout.sum() / (rows_split.holdout.sum() + rows_split.training.sum())
        wanted = 0.1 if rows_split.method == "time-group" else params.split.holdout
        if rows_split.method == "time" or 0.5 < share / wanted < 1.6:
            return rows_split, salt
    raise first or InputError("the table: no holdout of about the wanted size can be drawn; set 'split' in params.yaml")


def _place(table: Path, root: Path) -> Path:
    """Return the table's path in the project: where it is if that is in data/, else where it is copied to."""
    if table.resolve().is_relative_to((root / "data").resolve()):
        return table.resolve().relative_to(root.resolve())
    return Path("data") / (re.sub(r"[^\w.-]+", "-", table.resolve().name).lstrip(".-") or "table")


def _write(texts: dict[Path, str], table: Path, place: Path, replacement: Replacement) -> None:
    """Replace the table's copy, params and contract together, or none of them."""
    with ExitStack() as stack:
        if place.resolve() != table.resolve():
            _check_parts(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            # Next to its destination, since data/ may be on another disk.
            near = stack.enter_context(private_folder(place, place, "file", place.parent))
            (shutil.copytree if table.is_dir() else shutil.copyfile)(table, near / "table")
            replacement.add(place, near / "table")
        for path, text in texts.items():
            if path.is_dir():
                raise InputError(f"{path}: is a folder, where a file is to be written; move it away")
            work = replacement.work / path.name
            work.write_text(text, encoding="utf-8", newline="\n")
            replacement.add(path, work)
        replacement.commit()


def _check_parts(place: Path) -> None:
    """Refuse to replace a folder in data/ that holds files other than the parts of a table."""
    for path in place.rglob("*") if place.is_dir() else []:
        part = is_parquet(path) or TEXT_FILE.search(path.name) or MARKER_FILE.match(path.name)
        if not part and (path.is_symlink() or not path.is_dir()):
            raise InputError(f"{place}: is not replaced, since {path.name} in it is not part of a table; move it away")


def _summary(
    table: Path,
    place: Path,
    columns: list[Column],
    roles: dict[str, str],
    dialect: Dialect,
    task: str,
    rows_split: split.Split,
    values: pd.DataFrame,
    features: int,
) -> list[str]:
    by_column = {column: role for role, column in roles.items()}
    rows = [("column", "type", "role", "missing", "seen", "why")]
    for c in columns[:SHOWN]:
        missing = f"{c.missing:.1%}" if c.missing else ""
        rows.append((c.name, c.type or "left out", by_column.get(c.name, ""), missing, c.seen, c.why))
    cells = [[_clip(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(6)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    if len(columns) > SHOWN:
        lines.append(f"… and {len(columns) - SHOWN} more columns: see contract.yaml")
    how = ", ".join(f"{key} {value!r}" for key, value in dialect.differences().items())
    lines += [
        "",
        f"read:   {len(values):,} rows, {len(columns)} columns, {features} features{f'; {how}' if how else ''}",
    ]
    lines += [f"target: {_clip(roles['target'])}, {task}", f"split:  {rows_split.method}, {rows_split.reason}"]
    lines += [f"        {rows_split.training.sum():,} rows to train on, {rows_split.holdout.sum():,} held out"]
    lines += [f"unsure: {_clip(warning, 200)}" for warning in dialect.warnings]
    lines += [f"unsure: {_clip(c.name)}: {_clip(c.warning, 160)}" for c in columns if c.warning and c.type][:SHOWN]
    lines += [f"unsure: {hint}" for hint in _hints(columns, roles, values)]
    copied = "" if place.resolve() == table.resolve() else f"; the table was copied to {place}"
    return [*lines, "", f"wrote contract.yaml and params.yaml{copied}", "next:   uv run ml validate && uv run ml train"]


def _hints(columns: list[Column], roles: dict[str, str], values: pd.DataFrame) -> list[str]:
    """Return questions that only the user can answer: do rows belong together, or follow one another in time?"""
    unassigned = [c for c in columns if c.type and c.name not in roles.values()]
    rows, hints = len(values), []
    if "id" not in roles:
        hints.append(
            "no column names the rows, so a row is known by its content; --id COLUMN keeps changed rows the same"
        )
        duplicates = int(
            values[[c.name for c in columns if c.type]].duplicated(keep=False).sum()
        )  # lists cannot be compared
        if "group" not in roles and duplicates >= MANY_EQUAL * rows:
            hints.append(f"{duplicates:,} rows equal another one: the same thing twice? then name an id or a --group")
    dates = [c.name for c in unassigned if c.type in ("date", "timestamp")]
    if "time" not in roles and dates:
        hints.append(f"does the model predict what comes after '{_clip(dates[0])}'? then --time {_clip(dates[0])}")
    groups = [c.name for c in unassigned if ID_NAME.fullmatch(c.name) and 1 < c.distinct < rows and c.type != "number"]
    if "group" not in roles and groups:
        hints.append(f"do rows with the same '{_clip(groups[0])}' belong together? then --group {_clip(groups[0])}")
    return hints


def _clip(text: str, width: int = 48) -> str:
    return cut(" ".join(text.split()), width)
