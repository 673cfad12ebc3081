"""The comments of a pull request, as the stand-ins for gh and CML write them: always as Actions' own account."""

import json
import sys

from state import STANDIN

BOT = "github-actions[bot]"
LONGEST = 65_536


def load(number: int | str) -> list[dict]:
    """All comments, oldest first."""
    file = STANDIN / "comments" / f"{number}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def write(number: int | str, body: str, identifier: int | None) -> None:
    """Change a comment, whoever wrote it, or add one."""
    if len(body) > LONGEST:
        sys.exit(f"422 Validation Failed: body is too long (maximum is {LONGEST} characters)")
    entries = load(number)
    if identifier is None:
        entries.append({"id": 1000 * int(number) + len(entries) + 1, "body": body, "user": {"login": BOT}})
    else:
        next(entry for entry in entries if entry["id"] == identifier)["body"] = body
    file = STANDIN / "comments" / f"{number}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(entries), encoding="utf-8")
