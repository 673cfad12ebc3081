"""Validate a Parquet table in pieces, wherever they are worked on: the result of ``rules.check``, in bounded memory."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mlcicd.compute.places import Place
from mlcicd.contract.schema import SchemaObject
from mlcicd.data import readers, table_files
from mlcicd.partitions import duplicates, pieces
from mlcicd.partitions.pieces import Piece
from mlcicd.validation import rules
from mlcicd.validation.rules import Mistyped, Violation

Key = tuple[str, str]  # a column, and a rule or a metric


class Table(NamedTuple):
    """What all pieces of a table have in common.

    Attributes
    ----------
    optional : columns that may be absent, such as the target of a table to score
    where : the table's name in messages
    names : the columns that its files have
    root : the folder that file names are relative to
    """

    obj: SchemaObject
    optional: tuple[str, ...]
    where: str
    names: frozenset[str]
    root: Path


class Found(NamedTuple):
    """What one piece adds to the findings: violations with rows counted from 1, counts, and hashes by column."""

    violations: dict[Key, Violation]
    counts: Counter[Key]
    hashes: dict[str, np.ndarray]


def check(
    path: Path | str,
    obj: SchemaObject,
    opened: Callable[[int], AbstractContextManager[Place]],
    optional: Sequence[str] = (),
    rows: int = pieces.ROWS,
) -> tuple[list[Violation], int]:
    """Validate a file or a folder of files: Parquet in pieces, CSV as a whole.

    Parameters
    ----------
    path, obj, optional : as in ``readers.read``, which also documents the errors; a text is an address
    opened : opens the place where so many pieces are checked
    rows : the most rows in a piece

    Returns
    -------
    The violations, as ``rules.check`` returns them, and the number of rows.
    """
    if isinstance(path, str):
        divided = pieces.divide_remote(path)
    else:
        files = table_files.parts(path, f"the contract's '{obj.name}' expects it", whole=False)
        if not all(map(table_files.is_parquet, files)):
            frame, mistyped = readers.read(path, obj, optional)
            return rules.check(frame, obj, mistyped), len(frame)
        divided = pieces.divide(files, rows)
    table = Table(obj, tuple(optional), str(path), divided.names, Path.cwd())
    violations: dict[Key, Violation] = {}
    counts, finders = Counter[Key](), dict[str, duplicates.DuplicateFinder]()
    with tempfile.TemporaryFile() as file, opened(len(divided.pieces)) as place:
        with closing(place.run(check_piece, table, divided.pieces, lambda piece: piece.name)) as results:
            for piece, found in zip(divided.pieces, results, strict=True):
                _merge(violations, found.violations, piece.before)
                counts += found.counts
                for name, hashed in found.hashes.items():
                    finders.setdefault(name, duplicates.DuplicateFinder(file)).add(hashed, piece.before)
        metrics = rules.needed_counts(obj, _columns(table))
        for name, finder in finders.items():
            counts[name, "duplicateValues"], count, first = finder.result()
            if count and (name, "unique") in violations:
                violations[name, "unique"] = _unique(table, divided.pieces, name, count, first)
    total = sum(piece.rows for piece in divided.pieces)
    return rules.all_violations(obj, violations.values(), {key: counts[key] for key in metrics}, total), total


def check_piece(table: Table, piece: Piece) -> Found:
    """Check the rules on single rows, and collect what rules on all rows are decided by."""
    row_level, counts = rules.row_level_rules(table.obj), Counter[Key]()
    violations: dict[Key, Violation] = {}
    hashes: dict[str, list[np.ndarray]] = {}
    for before, frame, mistyped in _typed(table, piece):
        if not violations:  # the first chunk: now the columns are known, and that none is missing
            violations = {_key(v): v for v in rules.row_violations(frame.iloc[:0], table.obj, {})}
            metrics = rules.needed_counts(table.obj, frame)
            hashes = {name: [] for name, metric in metrics if metric == "duplicateValues"}
            hashes |= {column: [] for column, rule in violations if rule == "unique"}
        _merge(violations, {_key(v): v for v in rules.row_violations(frame, row_level, mistyped)}, before)
        for name, metric in metrics:
            if metric != "duplicateValues":
                counts[name, metric] += rules.count(frame, name, metric)
        for name, found in hashes.items():
            found.append(duplicates.hashes(frame[[name] if name else list(frame)], table.obj))
    return Found(violations, counts, {name: np.concatenate(found) for name, found in hashes.items()})


def _typed(table: Table, piece: Piece) -> Iterator[tuple[int, pd.DataFrame, Mistyped]]:
    """Yield the rows of the piece before each chunk, and the chunk as ``readers.read`` returns it."""
    before = 0
    for raw in pieces.read(piece, table.obj, table.names, table.root):
        yield before, *readers.coerce_dtypes(raw, table.obj, table.where, table.optional)
        before += len(raw)


def _columns(table: Table) -> pd.DataFrame:
    """The columns of the table, without rows."""
    return pd.DataFrame(columns=[p.name for p in table.obj.properties if p.name in table.names])


def _key(violation: Violation) -> Key:
    """Name a rule without what its words say of the values that broke it."""
    is_type = violation.rule.startswith("logicalType ")
    return violation.column, violation.rule.partition(":")[0] if is_type else violation.rule


def _merge(known: dict[Key, Violation], found: dict[Key, Violation], before: int) -> None:
    """Add what was found in later rows, which begin after so many."""
    for key, new in found.items():
        moved = replace(new, rows=tuple(before + row for row in new.rows))
        old = known.get(key)
        if old is None or not old.count:  # words and example are those of the first rows
            known[key] = moved
        elif new.count:
            rows = (*old.rows, *moved.rows)[: rules.SHOWN_ROWS]
            known[key] = replace(old, count=old.count + new.count, rows=rows)


def _unique(table: Table, divided: Sequence[Piece], name: str, count: int, rows: np.ndarray) -> Violation:
    """Describe duplicate values. The first one is read again, since only its hash was stored."""
    piece = next(piece for piece in divided if rows[0] < piece.before + piece.rows)
    typed = _typed(table._replace(optional=tuple(p.name for p in table.obj.properties)), piece)
    first = rows[0] - piece.before
    before, frame, _ = next(part for part in typed if first < part[0] + len(part[1]))
    prop = table.obj.column(name)
    violation = rules.describe_violation(table.obj, prop, "unique", frame[name].iloc[[first - before]])
    return replace(violation, count=count, rows=tuple((rows + 1).tolist()))
