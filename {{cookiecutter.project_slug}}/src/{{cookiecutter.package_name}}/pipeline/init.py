"""``ml init``: an unknown table → ``contract.yaml`` and ``params.yaml``, with what was decided and why."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from . import contract as contracts
from . import drafts, reserved, rules, split, table_files, tables
from . import params as parameters
from .date_formats import BLANKS
from .errors import InputError
from .files import read_yaml
from .identity import MANY_EQUAL
from .infer import Column, columns
from .odcs import SchemaObject
from .outputs import private_folder
from .params import Task
from .roles import FEWEST_ROWS, ID_NAME, adapt, roles_of, task_of
from .sniff import Dialect, Given, dialect_of, with_numbers
from .starters import generic_code
from .table_files import TEXT_FILE, is_parquet
from .together import Replacement, replacing

PUSHED_BYTES = 50_000_000  # GitHub warns above it, and refuses twice that
SALTS = 100
SHOWN = 40
WITH_PARTS = re.compile(
    r"part-|\._?(part-|SUCCESS)|_(SUCCESS|metadata|common_metadata)|.*\.crc$"
)  # as Spark writes them


def init(
    table: Path,
    target: str,
    given: dict[str, str | None],
    task: str | None,
    force: bool,
    root: Path = Path(),
    written: Given | None = None,
) -> str:
    """Write a contract and params for a table; return what was decided, for people.

    Parameters
    ----------
    table : CSV or Parquet file, or a folder of such files with the same columns
    target : the column to predict
    given : columns by role (``id``, ``time``, ``group``), None where the user named none
    task : None decides by the target
    force : whether files that are there may be replaced
    written : what is known of how a CSV is written

    Raises
    ------
    InputError
        The table cannot be read or learnt from, or files are there already. Then nothing was written.
    """
    place = root / _place(table, root)
    for path in (root / "contract.yaml", root / "params.yaml", place):
        if path.exists() and not force and path.resolve() != table.resolve():
            raise InputError(f"{path}: is there already; --force replaces it")
    if task is not None and task not in get_args(Task):
        raise InputError(f"--task {task}: choose {', '.join(get_args(Task))}")
    frame, sniffed = _look(table, (written or Given()).checked())
    found, values, dialect = columns(frame, sniffed)
    by_name = {c.name: c for c in found}
    roles = roles_of(by_name, values, {"target": target, **given}, frame)
    decided, why = task_of(by_name[target], values[target], task)
    for role, name in roles.items():
        adapt(by_name[name], role, values[name], decided)
    del frame
    document = drafts.contract(table, place.relative_to(root).as_posix(), found, roles, dialect, len(values))
    draft = drafts.params(by_name[target], values, roles, decided, why)
    with replacing(root) as replacement:
        divided, salt, features = _check(table, document, draft, replacement.work)
        chosen = drafts.params(by_name[target], values, roles, decided, why, salt)
        code, notes = generic_code(root)
        _write(code | {root / "params.yaml": chosen, root / "contract.yaml": document}, table, place, replacement)
    shown = _shown(table, place, found, roles, dialect, f"{decided}: {why}", divided, values, features)
    return "\n".join([*shown[:-2], *(f"note:   {note}" for note in notes), *shown[-2:]])


def _look(table: Path, given: Given) -> tuple[pd.DataFrame, Dialect | None]:
    """Read a table of unknown shape: text as text, numbers and times as the file types them."""
    files = table_files.parts(table, "name a CSV or Parquet file, or a folder of them")
    dialect = None if table_files.is_parquet(files[0]) else _dialect(files, given)
    if dialect is None and given != Given():
        raise InputError(f"{table}: is Parquet, to which --delimiter, --decimal and --encoding say nothing")
    frames: list[pd.DataFrame] = []
    for part in files:
        with table_files.readable(part):
            if dialect is None:
                frames.append(tables.read_parquet(part, integer_object_nulls=True))
            else:
                frames.append(pd.read_csv(part, dtype="str", **_options(dialect, part)))
        frames[-1] = _in_order(frames[-1], part, frames[0])
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    frame.columns = frame.columns.astype("str")
    if len(frame) < FEWEST_ROWS:
        raise InputError(f"{table}: has {len(frame)} rows; at least {FEWEST_ROWS} are needed to learn and to judge")
    if frame.shape[1] < 2:
        raise InputError(f"{table}: has one column; a table needs a target and at least one feature")
    for name in frame.select_dtypes(["str"]).columns:
        plain = frame[name].str.strip(BLANKS)  # as the table is read: what is decided from it must be found there
        if not plain.equals(frame[name]):
            frame[name] = plain.mask(plain == "")
    return frame, dialect and with_numbers(dialect, frame.select_dtypes(["str"]), given)


def _dialect(files: list[Path], given: Given) -> Dialect:
    """Find how all files of a table are written."""
    found: Dialect | None = None
    for part in files:
        with table_files.readable(part):
            own = dialect_of(part, given)
        found = found.with_part(own, part) if found else own
    assert found is not None
    return replace(found, encoding="utf-8-sig") if found.encoding == "ascii" else found


def _in_order(frame: pd.DataFrame, part: Path, first: pd.DataFrame) -> pd.DataFrame:
    """Put the columns of a folder's file into the order of its first file."""
    other = [str(name) for name in [*frame.columns, *first.columns] if (name in frame) is not (name in first)]
    if other:
        where = "which the first file has not" if other[0] in frame else "which the first file has"
        word = "has a column" if other[0] in frame else "lacks the column"
        raise InputError(f"{part}: {word} '{other[0][:60]}', {where}; a folder must hold the parts of one table")
    return frame[list(first.columns)]


def _options(dialect: Dialect, part: Path) -> dict[str, Any]:
    keys: dict[str, Any] = {"sep": dialect.delimiter, "quotechar": dialect.quote, "escapechar": dialect.escape}
    keys |= {"encoding": dialect.encoding, "keep_default_na": False, "na_values": [""]}
    return {**keys, "index_col": False, "skipinitialspace": True} | tables.said_delimiter(part, dialect.encoding)


def _check(table: Path, document: str, chosen: str, work: Path) -> tuple[split.Split, int, int]:
    """Read the table again as the contract says: what is written must hold for the table it was made from."""
    draft = work / "draft.yaml"
    draft.write_text(document, encoding="utf-8")
    obj = contracts.parse(read_yaml(draft, ""), "contract.yaml").table
    draft.write_text(chosen, encoding="utf-8")
    params = parameters.load(draft)
    if not obj.features:
        raise InputError(
            f"{table}: has no column left to learn from beside {', '.join(p.name for p in obj.properties)}"
        )
    frame, mistyped = tables.read(table, obj)
    broken = rules.check(frame, obj, mistyped)
    if broken:
        raise InputError(f"{table}: {broken[0]}; mend the value, or clean the column before 'ml init'")
    known = frame[frame[obj.target.name].notna()]  # type: ignore[union-attr]
    reserved.check(obj, params.task, known[obj.target.name].unique(), str(table))  # type: ignore[union-attr]
    divided, salt = _divide(known.reset_index(drop=True), obj, params)
    return divided, salt, len(obj.features)


def _divide(known: pd.DataFrame, obj: SchemaObject, params: parameters.Params) -> tuple[split.Split, int]:
    """Draw a holdout of about the wanted size: of few rows or few groups, the first draw may hold none."""
    first: InputError | None = None
    ids = split.row_ids(known, obj)  # the same in each draw
    for salt in range(SALTS):
        own = params.model_copy(update={"split": params.split.model_copy(update={"salt": salt})})
        try:
            divided = split.plan(known, obj, own, ids)
        except InputError as error:
            first = first or error
            continue
        share = divided.holdout.sum() / (divided.holdout.sum() + divided.training.sum())
        wanted = 0.1 if divided.method == "time-group" else params.split.holdout
        if divided.method == "time" or 0.5 < share / wanted < 1.6:
            return divided, salt
    raise first or InputError("the table: no holdout of about the wanted size can be drawn; set 'split' in params.yaml")


def _place(table: Path, root: Path) -> Path:
    """Where the table lies in the project: where it is when that is data/, else a copy there."""
    if table.resolve().is_relative_to((root / "data").resolve()):
        return table.resolve().relative_to(root.resolve())
    return Path("data") / (re.sub(r"[^\w.-]+", "-", table.resolve().name).lstrip(".-") or "table")


def _write(texts: dict[Path, str], table: Path, place: Path, replacement: Replacement) -> None:
    """Replace the table's copy, params and contract: all or nothing."""
    with ExitStack() as stack:
        if place.resolve() != table.resolve():
            _check_parts(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            # Beside the place: data/ may be on another disk.
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
    """Refuse to replace a folder in data/ that holds more than a table."""
    for path in place.rglob("*") if place.is_dir() else []:
        part = is_parquet(path) or TEXT_FILE.search(path.name) or WITH_PARTS.match(path.name)
        if not part and (path.is_symlink() or not path.is_dir()):
            raise InputError(f"{place}: is not replaced, since {path.name} in it is no part of a table; move it away")


def _shown(
    table: Path,
    place: Path,
    found: list[Column],
    roles: dict[str, str],
    dialect: Dialect,
    task: str,
    divided: split.Split,
    values: pd.DataFrame,
    features: int,
) -> list[str]:
    by_column = {column: role for role, column in roles.items()}
    rows = [("column", "type", "role", "missing", "seen", "why")]
    for c in found[:SHOWN]:
        gaps = f"{c.missing:.1%}" if c.missing else ""
        rows.append((c.name, c.type or "left out", by_column.get(c.name, ""), gaps, c.seen, c.why))
    cells = [[_clip(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(6)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    if len(found) > SHOWN:
        lines.append(f"… and {len(found) - SHOWN} more columns: see contract.yaml")
    how = ", ".join(f"{key} {value!r}" for key, value in dialect.differences().items())
    lines += ["", f"read:   {len(values):,} rows, {len(found)} columns, {features} features{f'; {how}' if how else ''}"]
    lines += [f"target: {_clip(roles['target'])}, {task}", f"split:  {divided.method}, {divided.reason}"]
    lines += [f"        {divided.training.sum():,} rows to train on, {divided.holdout.sum():,} to judge"]
    lines += [f"unsure: {_clip(doubt, 200)}" for doubt in dialect.doubts]
    lines += [f"unsure: {_clip(c.name)}: {_clip(c.doubt, 160)}" for c in found if c.doubt and c.type][:SHOWN]
    lines += [f"unsure: {hint}" for hint in _hints(found, roles, values)]
    size = sum(p.stat().st_size for p in ([place] if place.is_file() else place.rglob("*")))
    if size > PUSHED_BYTES:
        lines.append(
            f"note:   {place} has {size / 1e6:.0f} MB; GitHub refuses more than 100: save as Parquet, or use git-lfs"
        )
    copied = "" if place.resolve() == table.resolve() else f"; the table was copied to {place}"
    return [*lines, "", f"wrote contract.yaml and params.yaml{copied}", "next:   uv run ml validate && uv run ml train"]


def _hints(found: list[Column], roles: dict[str, str], values: pd.DataFrame) -> list[str]:
    """What only the user can know: whether rows belong together, or follow one another in time."""
    free = [c for c in found if c.type and c.name not in roles.values()]
    rows, hints = len(values), []
    if "id" not in roles:
        hints.append(
            "no column names the rows, so a row is known by its content; --id COLUMN keeps changed rows the same"
        )
        equal = int(values[[c.name for c in found if c.type]].duplicated(keep=False).sum())  # not lists
        if "group" not in roles and equal >= MANY_EQUAL * rows:
            hints.append(f"{equal:,} rows equal another one: the same thing twice? then name an id or a --group")
    dates = [c.name for c in free if c.type in ("date", "timestamp")]
    if "time" not in roles and dates:
        hints.append(f"does the model predict what comes after '{_clip(dates[0])}'? then --time {_clip(dates[0])}")
    groups = [c.name for c in free if ID_NAME.fullmatch(c.name) and 1 < c.distinct < rows and c.type != "number"]
    if "group" not in roles and groups:
        hints.append(f"do rows with the same '{_clip(groups[0])}' belong together? then --group {_clip(groups[0])}")
    return hints


def _clip(text: str, width: int = 48) -> str:
    plain = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return plain if len(plain) <= width else plain[: width - 1] + "…"
