"""The state that stand-ins share: a folder which plays GitHub's servers."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

STANDIN = Path(os.environ["STANDIN"])


def api(path: str) -> Path:
    """The file that answers an API path."""
    return STANDIN / "api" / quote(path, safe="")


def record(**event: Any) -> None:
    """Append to the list of what happened, in order."""
    with (STANDIN / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")
