"""Hostile and careless contracts: each is refused at load, at once, in one line."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from mlcicd.contract import document as contracts
from mlcicd.core import errors, params, yaml_io
from mlcicd.data import load as data
from mlcicd.data import readers

LEVELS = "\n".join([f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" if i else "l0: &l0 [x]" for i in range(10)])
UNREADABLE = {
    "levels of aliases": LEVELS,
    "one alias": "a: &x 1\nb: *x\n",
    "an alias in a list": "a: &x 1\nb: [1, *x]\n",
    "a merge": "a: &x {b: 1}\nc:\n  <<: *x\n",
    "an alias as key": "a: &x b\n*x : 1\n",
    "a list as key": "? [a, b]\n: 1\n",
    "a mapping as key": "{a: 1}: 2\n",
    "a key twice": "a: 1\na: 2\n",
    "a day that is none": "a: 2026-02-30\n",
    "5,000 digits": f"a: {'1' * 5000}\n",
    "no time": "a: !!timestamp soon\n",
    "no truth": "a: !!bool perhaps\n",
    "an object": "a: !!python/object/apply:os.system ['true']\n",
    "100,000 brackets": "a: " + "[" * 100_000,
    "a zero byte": "a: \0\n",
}


def refused(action: Any, *arguments: Any) -> str:
    """The one line that a person reads."""
    with pytest.raises(errors.InputError) as caught:
        action(*arguments)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    return text


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("load", [contracts.load, params.load], ids=["contract", "params"])
def test_yaml_beyond_plain_values_is_refused_at_once(tmp_path: Path, load: Any, text: str):
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    assert str(path) in refused(load, path)


@pytest.mark.parametrize("under", ["", "    ", "      - "])
def test_aliases_are_found_wherever_they_stand(tmp_path: Path, under: str):
    path = tmp_path / "contract.yaml"
    path.write_text(
        f"a: &anchor 1\nb:\n{under or '  '}{'' if under.endswith('- ') else 'c: '}*anchor\n", encoding="utf-8"
    )
    assert "alias '*anchor' is not allowed" in refused(contracts.load, path)


@pytest.mark.parametrize(
    "text", ["a: 'SELECT COUNT(*) FROM {object}'", "a: 3 *x", "a: '[*x]'", "# *x\na: 1", "a: |\n  *x"]
)
def test_a_star_in_a_text_is_no_alias(text: str):
    assert "a" in yaml_io.parse_yaml(text, "here")


def document(name: str) -> dict[str, Any]:
    target = {"name": "y", "logicalType": "integer", "customProperties": [{"property": "role", "value": "target"}]}
    head = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "t", "version": "1", "status": "draft"}
    return head | {"schema": [{"name": "t", "physicalName": name, "properties": [target]}]}


def test_only_regular_files_of_the_project_are_read(tmp_path: Path):
    root, outside = tmp_path / "project", tmp_path / "secret.csv"
    (root / "folder").mkdir(parents=True)
    outside.write_text("y\n1\n", encoding="utf-8")
    names = ["/dev/zero", "../secret.csv", str(outside), "folder/../../secret.csv", "x" * 5000 + ".csv", "loop.csv"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "pipe.csv")
        os.mkfifo(root / "folder" / "part.csv")
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(root / "socket.csv"))
        server.close()
        (root / "link.csv").symlink_to(outside)
        (root / "zero.csv").symlink_to("/dev/zero")
        (root / "loop.csv").symlink_to("loop.csv")
        names += ["pipe.csv", "folder", "socket.csv", "link.csv", "zero.csv"]
    for name in names:
        contract = contracts.Contract.model_construct(**{"objects": contracts.parse(document("t.csv")).objects})
        obj = contract.objects[0].model_copy(update={"physicalName": name})
        refused(data.read_raw, contract.model_copy(update={"objects": [obj]}), root)
    (root / "t.csv").write_text("y\n1\n", encoding="utf-8")
    (root / "alike.csv").symlink_to("t.csv")
    for name in ("t.csv", "alike.csv"):
        assert len(data.read_raw(contracts.parse(document(name)), root)[0]["t"]) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_table(tmp_path: Path):
    os.mkfifo(tmp_path / "t.csv")
    assert "regular file" in refused(readers.parts, tmp_path / "t.csv", "")
