"""Tables in parts, on this machine and on real Dask clusters: the same findings and files, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlcicd.compute import places
from mlcicd.compute.this_machine import ThisMachine
from mlcicd.contract import document as contracts
from mlcicd.core import params
from mlcicd.core.errors import InputError
from mlcicd.data import readers
from mlcicd.partitions import validation
from mlcicd.validation import rules

Opened = Callable[[int], AbstractContextManager[places.Place]]
PARTS, ROWS = 6, 40  # in a folder, and in each of its parts


def role(name: str) -> list[dict[str, str]]:
    """The part that a column plays."""
    return [{"property": "role", "value": name}]


DOCUMENT = {
    **{"apiVersion": "v3.2.0", "kind": "DataContract", "id": "t", "version": "1.0.0", "status": "draft"},
    "schema": [
        {
            "name": "customers",
            "quality": [{"metric": "duplicateValues", "mustBe": 0}],
            "properties": [
                {"name": "key", "logicalType": "integer", "primaryKey": True, "customProperties": role("id")},
                {"name": "a", "logicalType": "number", "logicalTypeOptions": {"maximum": 100}},
                {"name": "b", "logicalType": "string", "enum": [{"value": "x"}, {"value": "y"}]},
                {"name": "y", "logicalType": "integer", "required": True, "customProperties": role("target")},
            ],
        }
    ],
}
CUSTOMERS = contracts.parse(DOCUMENT).table


def here(_: int) -> AbstractContextManager[places.Place]:
    """This machine, one part after the other."""
    return nullcontext(ThisMachine(lambda _: None, cores=1))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Opened]:
    """Two workers, which stay for all tests."""
    with places.opened(params.Compute(scheduler="local", workers=2), print) as place:
        yield lambda _: nullcontext(place)


def table() -> pd.DataFrame:
    """Rows with one repeated key, a missing value, and one number that is too large."""
    count = PARTS * ROWS
    frame = pd.DataFrame({"key": range(count), "a": [n % 90 + 0.5 for n in range(count)], "b": "x", "y": 1})
    frame.loc[[5, 130, 231], "b"] = ["z", None, "z"]
    frame.loc[222, ["a", "key"]] = [100.5, 7]
    return frame


def written(folder: Path, frame: pd.DataFrame) -> Path:
    """The rows in parts of a folder."""
    folder.mkdir()
    for number in range(PARTS):
        frame.iloc[number * ROWS : (number + 1) * ROWS].to_parquet(folder / f"part-{number}.parquet", index=False)
    return folder


def test_a_cluster_finds_what_this_machine_finds_in_the_whole(cluster: Opened, tmp_path: Path) -> None:
    folder, frame = written(tmp_path / "t", table()), table()
    found, rows = validation.check(folder, CUSTOMERS, cluster)
    assert rows == len(frame)
    assert found == rules.check(readers.read(folder, CUSTOMERS)[0], CUSTOMERS)
    assert [str(v) for v in found] == [
        "customers.key: unique: 2 rows; first 8, 223, for example 7",
        "customers.a: maximum 100: row 223, for example 100.5",
        "customers.b: enum: 2 rows; first 6, 232, for example 'z'",
    ]
    assert found == validation.check(folder, CUSTOMERS, here)[0]


def test_integers_that_would_be_rounded_are_found_in_any_part(tmp_path: Path) -> None:
    obj = CUSTOMERS.model_copy(update={"properties": [p for p in CUSTOMERS.properties if p.name in ("key", "y")]})
    frame = table()[["key", "y"]]
    frame["key"] = frame["key"].astype("uint64")
    frame.loc[[100, 150], "key"] = [2**63, 2**63 + 1]
    folder = written(tmp_path / "t", frame)
    found, _ = validation.check(folder, obj, here)
    frame, mistyped = readers.read(folder, obj)
    assert found == rules.check(frame, obj, mistyped)
    assert "beyond 2**63" in found[0].rule


def test_a_part_that_cannot_be_read_is_named(cluster: Opened, tmp_path: Path) -> None:
    folder = written(tmp_path / "t", table())
    content = bytearray((folder / "part-3.parquet").read_bytes())
    content[4:200] = bytes(196)
    (folder / "part-3.parquet").write_bytes(content)
    for opened in (here, cluster):
        with pytest.raises(InputError, match=r"part-3\.parquet: cannot be read"):
            validation.check(folder, CUSTOMERS, opened)


def test_a_worker_that_does_not_see_the_table_is_named(cluster: Opened, tmp_path: Path) -> None:
    folder = written(tmp_path / "t", table())
    whole = validation.pieces.divide

    def gone(files: Any, rows: int) -> Any:
        divided = whole(files, rows)
        (folder / "part-2.parquet").unlink()
        return divided

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation.pieces, "divide", gone)
        with pytest.raises(InputError, match=r"part-2\.parquet: is not there; put the table where .* \(worker tcp://"):
            validation.check(folder, CUSTOMERS, cluster)
