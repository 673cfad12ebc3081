"""`ml drift` raises drift where there is some, and almost never where there is none."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import Project

# Each runs in the project's environment and prints one JSON document.
HEAD = """
import functools, json
from pathlib import Path
import numpy as np
import pandas as pd
from {package} import prepare
from mlcicd.contract import document as contracts
from mlcicd.data import load as data
from mlcicd.lifecycle import drift
from mlcicd.contract import schema as odcs
from mlcicd.core import params
from mlcicd.training import run as runs
from mlcicd.data import readers as tables
rng = np.random.default_rng(0)

def contract_of(**kinds):
    columns = [{{"name": name, "logicalType": kind}} for name, kind in kinds.items()]
    target = {{"name": "y", "logicalType": "integer", "customProperties": [{{"property": "role", "value": "target"}}]}}
    table = {{"name": "table", "properties": [*columns, target]}}
    head = {{"apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": "1.0.0", "status": "active"}}
    return odcs.Contract.model_validate(head | {{"schema": [table]}})

def moved(old, new, contract):
    found = drift.compare(old, new, contract, params.Drift())
    return [name for name, column in found.items() if column["drift"]]
"""
WINDOWS = """
contract, chosen, run = contracts.load(), params.load(), runs.Run(Path("runs/model"))
table = data.load(contract, chosen, Path()).table
verdicts = []
drift.model_io.load = functools.cache(drift.model_io.load)
for size in np.repeat([500, 1000, 2000, 6000], 50):
    table.iloc[rng.permutation(len(table))[:size]].to_parquet("window.parquet")
    verdicts.append(drift.drift(run, Path(), Path("window.parquet"))["verdict"])
print(json.dumps(verdicts))
"""
SHIFTS = """
names = [f"c{{i}}" for i in range(20)]
contract = contract_of(**dict.fromkeys(names, "number"))
def sample(rows): return pd.DataFrame(rng.normal(size=(rows, 20)), columns=names)
found = []
for trial in range(100):
    old, new = sample(10_000), sample(10_000)
    column = names[trial % 20]
    new[column] += 0.2
    found.append(moved(old, new, contract) == [column])
old, new = sample(1_000_000), sample(1_000_000)
new += 0.01
print(json.dumps({{"found": sum(found), "tiny": moved(old, new, contract)}}))
"""
KINDS = """
contract = contract_of(text="string", many="string", flag="boolean", count="integer", when="date", seen="date", empty="number")
def sample(rows, common="a", missing=0.0, lag=30):
    when = pd.to_datetime("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, rows), "D")
    frame = pd.DataFrame({{
        "text": rng.choice([common, "b", "c"], rows, p=[0.6, 0.3, 0.1]), "many": rng.integers(0, 10**9, rows).astype(str),
        "flag": rng.random(rows) < 0.4, "count": rng.poisson(2, rows), "when": when,
        "seen": when - pd.to_timedelta(rng.integers(0, lag, rows), "D"), "empty": np.nan,
    }})
    return frame.assign(count=frame["count"].where(rng.random(rows) >= missing))
old = sample(5000)
new = sample(5000, common="new | value")
print(json.dumps({{
    "same": moved(old, sample(5000), contract),
    "next year": moved(old, sample(5000).assign(when=lambda f: f["when"] + pd.Timedelta(days=365), seen=lambda f: f["seen"] + pd.Timedelta(days=365)), contract),
    "categories": moved(old, new, contract), "levels": drift.compare(old, new, contract, params.Drift())["text"]["new_values"],
    "missing": moved(old, sample(5000, missing=0.2), contract), "older": moved(old, sample(5000, lag=60), contract),
    "gone": moved(old, sample(5000, missing=1.0), contract), "one row": moved(old, sample(1), contract),
}}))
"""  # noqa: E501


DATES = """
def of(**dates): return pd.DataFrame(dates)
def days(start, spread=300, rows=2000): return pd.Timestamp(start) + pd.to_timedelta(rng.integers(0, spread, rows), "D")
def with_time(contract):
    time = {{"name": "t", "logicalType": "date", "customProperties": [{{"property": "role", "value": "time"}}]}}
    properties = [*contract.table.properties, odcs.Property.model_validate(time)]
    made = contract.table.model_copy(update={{"properties": properties}})
    return contract.model_copy(update={{"objects": [made]}})
def at(frame, times): return frame.assign(row=np.arange(len(frame)).astype(str), time=times)[["row", "time"]]
one, two = contract_of(when="date"), contract_of(when="date", seen="date")
def pair(start):
    when = days(start)
    return of(when=when, seen=when - pd.to_timedelta(rng.integers(0, 30, 2000), "D"))
out = {{
    "one: alike": moved(of(when=days("2024-01-01")), of(when=days("2024-01-01")), one),
    "one: 1950": moved(of(when=days("2024-01-01")), of(when=days("1950-01-01")), one),
    "two: next year": moved(pair("2024-01-01"), pair("2025-01-01"), two),
    "two: 1950": moved(pair("2024-01-01"), pair("1950-01-01"), two),
}}
for name, old, new in (("next year", "2024-01-01", "2025-01-01"), ("1950", "2024-01-01", "1950-01-01")):
    times = days("2024-06-01", 1000), days("2025-06-01", 1000)
    lag = pd.to_timedelta(rng.integers(0, 400, 2000), "D")
    frames = of(when=times[0] - lag), of(when=times[1] - lag if name == "next year" else days(new))
    drawn = tuple(at(frame, time) for frame, time in zip(frames, times))
    found = drift.compare(*frames, with_time(one), params.Drift(), drawn=drawn)
    out[f"time: {{name}}"] = [column for column, c in found.items() if c["drift"]]
print(json.dumps(out))
"""
ALIKE = """
contract = contract_of(amount="number", kind="string", gap="number")
def sample(groups=60, rows=50):
    group = np.repeat(np.arange(groups), rows)
    frame = pd.DataFrame({{
        "amount": rng.normal(size=groups)[group] + 0.1 * rng.normal(size=len(group)),
        "kind": rng.choice(["a", "b"], groups)[group],
        "gap": np.where(rng.random(groups)[group] < 0.3, np.nan, 1.0),
    }})
    return frame, pd.DataFrame({{"row": np.arange(len(group)).astype(str), "group": group}})
counted = {{"rows": 0, "groups": 0, "found": 0}}
for trial in range(20):
    (old, a), (new, b) = sample(), sample()
    counted["rows"] += bool(moved(old, new, contract))
    counted["groups"] += any(c["drift"] for c in drift.compare(old, new, contract, params.Drift(), drawn=(a, b)).values())
    new["amount"] += 3
    counted["found"] += drift.compare(old, new, contract, params.Drift(), drawn=(a, b))["amount"]["drift"]
print(json.dumps(counted))
"""  # noqa: E501


def run_script(project: Project, text: str, timeout: float = 600) -> dict | list:
    """What a script prints in the project's environment."""
    script = (HEAD + text).format(package=project.package.name)
    done = project.run("python", "-c", script, timeout=timeout)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def trained(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy with a run."""
    copy = project.copy(tmp_path_factory.mktemp("drift") / "copy")
    done = copy.run("ml", "train")
    assert done.returncode == 0, done.stderr
    return copy


def found(project: Project) -> dict:
    """What `ml drift` wrote."""
    return json.loads((project.root / "drift/drift.json").read_text(encoding="utf-8"))


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    [line] = done.stderr.strip().splitlines()
    for word in words:
        assert word in line


def test_windows_from_the_training_period_raise_almost_no_alarm(trained: Project) -> None:
    verdicts = run_script(trained, WINDOWS)
    assert len(verdicts) == 200
    assert set(verdicts) <= {"stable", "drift"}  # a small window breaks no contract
    assert verdicts.count("drift") <= 10


def test_a_fifth_of_a_standard_deviation_is_found_and_a_hundredth_is_not_reported(trained: Project) -> None:
    shifts = run_script(trained, SHIFTS)
    assert shifts["found"] >= 90
    assert shifts["tiny"] == []


def test_every_kind_of_column(trained: Project) -> None:
    kinds = run_script(trained, KINDS)
    assert kinds["same"] == kinds["next year"] == kinds["one row"] == []
    assert kinds["categories"] == ["text"]
    assert list(kinds["levels"]) == ["new | value"]
    assert kinds["missing"] == kinds["gone"] == ["count"]
    assert kinds["older"] == ["seen"]


def test_dates_are_relative_to_the_time_of_the_data_and_absolute_without_one(trained: Project) -> None:
    assert run_script(trained, DATES) == {
        "one: alike": [],
        "one: 1950": ["when"],
        "two: next year": [],
        "two: 1950": ["when"],
        "time: next year": [],
        "time: 1950": ["when"],
    }


def test_rows_of_a_group_are_no_witnesses_of_their_own(trained: Project) -> None:
    counted = run_script(trained, ALIKE)
    assert counted["rows"] >= 15  # counted by rows, chance looks like drift
    assert counted["groups"] <= 3
    assert counted["found"] == 20


def test_the_next_quarter_has_moved_and_a_training_on_it_is_proposed(trained: Project, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    done = trained.run("ml", "drift", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 1, done.stderr
    assert found(trained)["verdict"] == "drift"
    assert found(trained)["window"] == {"as_of": "1998-03-31"}
    assert {"last_purchase", "prediction"} <= set(found(trained)["moved"])
    assert found(trained)["performance"]["roc_auc"]["worse"] is False
    text = (trained.root / "drift/drift.md").read_text(encoding="utf-8")
    assert text.startswith("## Data since training: drift ⚠️\n")
    assert summary.read_text(encoding="utf-8").strip() == text.strip()
    page = (trained.root / "drift/drift.html").read_text(encoding="utf-8")
    assert "last_purchase" in page and "http" not in page.replace("http-equiv", "")
    before = (trained.root / "params.yaml").read_text(encoding="utf-8")
    proposal = (trained.root / "drift/params.yaml").read_text(encoding="utf-8")
    assert proposal == before.replace("as_of: 1997-12-31", "as_of: 1998-03-31")


def test_where_no_later_quarter_is_known_nothing_has_moved(trained: Project, tmp_path: Path) -> None:
    copy = trained.copy(tmp_path / "copy")
    params = copy.root / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("1997-12-31", "1998-03-31"), encoding="utf-8")
    assert copy.run("ml", "train").returncode == 0
    done = copy.run("ml", "drift")
    assert done.returncode == 0, done.stdout + done.stderr
    assert found(copy)["window"] == {}
    assert not (copy.root / "drift/params.yaml").exists()


def test_a_broken_contract_is_its_own_verdict(trained: Project) -> None:
    script = """
contract, run = contracts.load(), runs.Run(Path("runs/model"))
table = data.load(contract, params.load(), Path()).table.head(2000)
table["total_spent"] = table["total_spent"].where(table.index > 2, -1.0)
table.drop(columns="churned").to_csv("broken.csv", index=False)
print(json.dumps(drift.drift(run, Path(), Path("broken.csv"))))
"""
    result = run_script(trained, script)
    assert result["verdict"] == "contract-broken"
    assert len(result["violations"]) == 1
    assert "total_spent: minimum 0: 3 rows" in result["violations"][0]
    assert result["performance"] is None
    assert trained.run("ml", "drift", "broken.csv").returncode == 1


def test_labels_that_have_arrived_for_some_rows_are_used(trained: Project) -> None:
    script = """
contract, chosen, run = contracts.load(), params.load(), runs.Run(Path("runs/model"))
table = data.load(contract, chosen, Path()).table.astype({{"churned": "object"}})
table.loc[rng.permutation(len(table))[5000:], "churned"] = None
flipped = table.assign(churned=[None if v is None else not v for v in table["churned"]])
out = {{}}
for name, frame in (("partly", table), ("flipped", flipped)):
    frame.to_parquet(f"{{name}}.parquet")
    found = drift.drift(run, Path(), Path(f"{{name}}.parquet"))
    out[name] = [found["verdict"], found["moved"], found["performance"]["roc_auc"]["now"]["value"]]
print(json.dumps(out))
"""
    result = run_script(trained, script)
    assert result["partly"][:2] == ["stable", []]
    assert result["flipped"][0] == "drift"
    assert "roc_auc" in result["flipped"][1]
    assert result["flipped"][2] < 0.3


def test_what_cannot_be_read_is_one_line(trained: Project, tmp_path: Path) -> None:
    garbled = tmp_path / "garbled.parquet"
    garbled.write_bytes(b"PAR1 not a table")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert_one_line(trained.run("ml", "drift", "nowhere.csv"), "nowhere.csv", "no such file")
    assert_one_line(trained.run("ml", "drift", str(garbled)), "garbled.parquet", "cannot be read")
    assert_one_line(trained.run("ml", "drift", str(empty)), "empty.csv", "cannot be read")
    assert_one_line(trained.run("ml", "drift", "--run", "nowhere"), "nowhere", "not a run")


def test_new_data_of_the_users_own_is_believed_or_named(trained: Project, tmp_path: Path) -> None:
    copy = trained.copy(tmp_path / "copy")
    file = copy.package / "prepare.py"
    body = file.read_text(encoding="utf-8")
    for answer, words in {
        'raise ConnectionError("the warehouse does not answer")': ("new_data()", "the warehouse does not answer"),
        "return 3": ("new_data()", "must return"),
        'return __import__("pathlib").Path("gone.csv"), {}': ("gone.csv", "no such file"),
        'return pd.DataFrame({"x": [1]}), {}': ("new_data()", "'customer_id' is missing"),
    }.items():
        file.write_text(body.replace("    covered =", f"    {answer}\n    covered =", 1), encoding="utf-8")
        assert_one_line(copy.run("ml", "drift", "--run", str(trained.root / "runs/model")), *words)


def test_moving_the_window_keeps_the_file_or_refuses(trained: Project) -> None:
    script = """
cases = {{
    "prepare:\\n  as_of: 1 # a\\n\\nmodel: {{as_of: 1}}\\n": "prepare:\\n  as_of: 2 # a\\n\\nmodel: {{as_of: 1}}\\n",
    "seed: 1\\nprepare: {{days: 9, as_of: 1}}\\n": "seed: 1\\nprepare: {{days: 9, as_of: 2}}\\n",
    "prepare:\\n  x_as_of: 1\\n  as_of: 1\\n": "prepare:\\n  x_as_of: 1\\n  as_of: 2\\n",
    "prepare:\\n  # not as_of: 0\\n  as_of: 1\\n": "prepare:\\n  # not as_of: 0\\n  as_of: 2\\n",
    "prepare:\\n  'as_of' : 'old # text'   # a\\n": "prepare:\\n  'as_of' : 2   # a\\n",
    "model: {{as_of: 1}}\\n": "refused",
    "prepare: {{as_of: 2}}\\n": None,
}}
answers = []
for text in cases:
    Path("moved.yaml").write_text(text)
    try:
        answers.append(drift.update_window(Path("moved.yaml"), {{"as_of": 2}}))
    except drift.InputError:
        answers.append("refused")
print(json.dumps([[text, want, got] for (text, want), got in zip(cases.items(), answers) if want != got]))
"""
    assert run_script(trained, script) == []
