"""The contract is the standard's: `datacontract` accepts it as it is, and finds in the same rows what we find.

datacontract-cli runs in an environment of its own, as users run it; it is no dependency.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml
from conftest import Project, clean_environ

CLI = ["uvx", "--quiet", "--from", "datacontract-cli[duckdb]>=1.2.8", "datacontract"]
# The referee's names for our rules; what it checks beyond them, presence and type, has no planted breach.
RULES = {"field_required": "required", "field_unique": "unique", "field_primary_key": "unique"}
RULES |= {"field_regex": "pattern", "field_minimum": "minimum", "field_maximum": "maximum", "field_enum": "enum"}
RULES |= {"model_quality_sql": "sql"}

# Runs in the project's environment: rows of the prepared table, each breach planted in a row of its own, and what
# tables and requests make of them.
PLANT = """
import json, sys
from pathlib import Path
from mlcicd.contract import document as contract
from mlcicd.data import load as data
from mlcicd.core import params
from mlcicd.validation import request_validation as records
from mlcicd.validation import rules
from mlcicd.data import readers as tables
root, out = Path(), Path(sys.argv[1])
agreed = contract.load()
obj = agreed.table
table = data.load(agreed, params.load(), root).table.head(1300).astype("object")
table["average_gap_days"] = table["average_gap_days"].where(table["average_gap_days"].notna(), None)
breaches = {{
    1: ("customer_id", "12x45"), 2: ("total_orders", None), 3: ("total_spent", -0.01), 4: ("total_spent", 200000.5),
    5: ("weekend_purchases", 999), 6: ("recent_orders", -1), 7: ("average_gap_days", 2000.5), 8: ("q4_purchases", None),
}}
for row, (column, value) in breaches.items():
    table.loc[row, column] = value
backwards = table.loc[10, "as_of"] - table.loc[10, "first_purchase"]
table.loc[9, "last_purchase"] = table.loc[9, "first_purchase"] - backwards
table.loc[1, "first_purchase"] = table.loc[1, "last_purchase"]  # a bound itself is no breach
table.to_csv(out / "customers.csv", index=False)
frame, mistyped = tables.read(out / "customers.csv", obj)
found = [[v.column, v.rule, v.count, v.rows] for v in rules.check(frame, obj, mistyped)]

def record(row):
    values = {{p.name: row[p.name] for p in obj.features}} | {{obj.id: row[obj.id]}}
    plain = {{k: getattr(v, "item", lambda v=v: v)() for k, v in values.items() if not hasattr(v, "date")}}
    return plain | {{k: str(v.date()) for k, v in values.items() if hasattr(v, "date")}}

validator = records.RequestValidator(obj, 10_000)
answers = {{}}
for number, row in table.iterrows():
    try:
        validator.read(json.dumps({{"records": [record(row)]}}).encode())
    except records.RequestError as refusal:
        answers[number] = sorted(str(p.get("column")) + " " + str(p["rule"]) for p in refusal.problems)
print(json.dumps({{"tables": found, "requests": answers, "planted": [*breaches, 9]}}))
"""


def cli(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [*CLI, *arguments]
    environment = clean_environ()
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300
    )


def test_the_standards_own_tool_accepts_the_contract(project: Project):
    done = cli("lint", "contract.yaml", folder=project.root)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def verdicts(project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What tables, requests and the referee say of the same planted rows."""
    folder = tmp_path_factory.mktemp("referee")
    done = project.run("python", "-c", PLANT.format(package=project.package.name), str(folder))
    assert done.returncode == 0, done.stderr[-2000:]
    document = yaml.safe_load((project.root / "contract.yaml").read_text(encoding="utf-8"))
    document["schema"] = [obj for obj in document["schema"] if obj["name"] == "customers"]
    document["servers"] = [{"server": "local", "type": "local", "path": "./{model}.csv", "format": "csv"}]
    (folder / "contract.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    cli("test", "contract.yaml", "--output", "result.json", "--output-format", "json", folder=folder)
    checks = json.loads((folder / "result.json").read_text(encoding="utf-8"))["checks"]
    failed = [check for check in checks if check["result"] != "passed"]
    assert {check["type"] for check in failed} <= set(RULES), failed
    return json.loads(done.stdout) | {"referee": failed}


def test_tables_and_the_referee_count_the_same_breaches(verdicts: dict):
    def ours(column: str, rule: str) -> tuple[str, str]:
        return (column, rule.split()[0]) if column else ("", "sql")

    counted = Counter()
    for column, rule, count, _ in verdicts["tables"]:
        counted[ours(column, rule)] += count
    refereed = Counter()
    for check in verdicts["referee"]:
        refereed[check["field"] or "", RULES[check["type"]]] += int(check["diagnostics"]["value"])
    assert counted == refereed
    assert sum(counted.values()) >= 10


def test_requests_refuse_the_rows_that_break_the_table(verdicts: dict):
    broken = {row for *_, rows in verdicts["tables"] for row in rows}
    assert {int(row) + 1 for row in verdicts["requests"]} == broken
    assert broken == {row + 1 for row in verdicts["planted"]}
