"""The tables of the project's `docs/plans.md`, from the table that drives the stand-ins for GitHub.

`python docs/plans.py` prints them; a test compares them with the page.
"""

import json
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parents[1] / "tests/actions/plans.json"


def render(table: dict[str, Any]) -> str:
    """Write what each kind of repository may use, and what happens where it may not."""
    setups = {row["id"]: row for row in table["setups"]}
    names = {identifier: f"{row['visibility']}, {row['owner']}, {row['plan']}" for identifier, row in setups.items()}
    switched = [feature for feature in table["features"] if 0 < len(feature["allowed"]) < len(setups) - 1]
    heads = [feature["id"] for feature in switched]
    lines = ["| repository, owner, plan | " + " | ".join([*heads, "artifacts", "minutes a month"]) + " |"]
    lines.append("|---" * (len(heads) + 3) + "|")
    for identifier, row in setups.items():
        if row["server"] != "GitHub":
            continue
        marks = ["yes" if identifier in feature["allowed"] else "no" for feature in switched]
        room = f"{row['artifact_mb']:,} MB" if row["artifact_mb"] else "no limit"
        time = f"{row['minutes']:,}" if row["minutes"] else "no limit"
        lines.append(f"| {names[identifier]} | " + " | ".join([*marks, room, time]) + " |")
    lines += ["", "| what | without it | GitHub's page |", "|---|---|---|"]
    for feature in table["features"]:
        what, host = feature["what"], feature["source"].removeprefix("https://docs.github.com/en/")
        lines.append(f"| {feature['id']}: {what} | {feature['then']} | [{host.split('/')[-1]}]({feature['source']}) |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render(json.loads(TABLE.read_text(encoding="utf-8"))), end="")
