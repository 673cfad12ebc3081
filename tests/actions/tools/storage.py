"""The storage for artifacts: adds up what is kept, counts it anew every six hours, and refuses while over.

The file `hours` in the state folder is the clock, `quota-bytes` another limit than the plan's. Nothing here waits.
"""

import json
from typing import Any

import plans
from state import STANDIN

FILE = STANDIN / "storage.json"
EVERY = 6  # hours; the real one says 6 to 12


def now() -> float:
    """Hours since the beginning."""
    clock = STANDIN / "hours"
    return float(clock.read_text()) if clock.exists() else 0.0


def load() -> dict[str, Any]:
    """What is kept, what the last count was, and the most there has ever been."""
    return json.loads(FILE.read_text()) if FILE.exists() else {"kept": {}, "counted": 0, "at": -1, "most": 0}


def total(known: dict[str, Any]) -> int:
    """The bytes that are kept and not expired."""
    return sum(size for _, size, until in known["kept"].values() if until > now() / 24)


def keep(identifier: int, name: str, size: int, until: float) -> None:
    """Store an artifact until a day."""
    known = load()
    known["kept"][str(identifier)] = [name, size, until]
    known["most"] = max(known["most"], total(known))
    FILE.write_text(json.dumps(known))


def drop(identifier: str) -> None:
    """Delete an artifact."""
    known = load()
    del known["kept"][identifier]
    FILE.write_text(json.dumps(known))


def is_over() -> bool:
    """Whether the last count was over the quota."""
    own = STANDIN / "quota-bytes"
    megabytes = plans.setup()["artifact_mb"]
    quota = int(own.read_text()) if own.exists() else megabytes and megabytes * 1_000_000
    if not quota:
        return False
    known, slot = load(), int(now() // EVERY)
    if slot != known["at"]:
        known |= {"at": slot, "counted": total(known)}
        FILE.write_text(json.dumps(known))
    return known["counted"] > quota
