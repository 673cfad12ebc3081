"""The CIs that are known, and which of them a process runs in."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from mlcicd.ci import github, gitlab, jenkins
from mlcicd.core.errors import InputError

# Each answers for its VARIABLE, which is set where it runs; for its `job`; and for the spelling of an output `line`.
KINDS = (github, gitlab, jenkins)


def here(env: Mapping[str, str]) -> ModuleType:
    """Return the module of the CI whose environment this is.

    Raises
    ------
    InputError
        It is the environment of none.
    """
    for kind in KINDS:
        if env.get(kind.VARIABLE, "false") not in ("", "false"):
            return kind
    names = ", ".join(kind.VARIABLE for kind in KINDS)
    raise InputError(f"this is no CI that is known: none of {names} is set; on your own machine, run 'ml review'")
