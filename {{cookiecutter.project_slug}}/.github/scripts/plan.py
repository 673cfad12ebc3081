"""Print what this job is to do, before anything is installed: `ml ci plan`, from the machinery's files.

Usage: plan.py, or plan.py release with the tags that are released on standard input, newest first.
"""

import os
import sys
from pathlib import Path

from machinery import load


def main() -> None:
    """Print `name=value` lines; as annotations, why there is nothing to do, or what is wrong."""
    ci, errors = load("ci.plan"), load("core.errors")
    try:
        if sys.argv[1:] == ["release"]:
            plan = ci.release(os.environ, Path(), sys.stdin.read().split())
        else:
            plan = ci.review(os.environ, Path())
    except errors.InputError as error:
        print(f"::error::{error}", file=sys.stderr)
        sys.exit(2)
    if plan.skip:
        print(f"::notice::{plan.skip}", file=sys.stderr)
    print(*ci.lines(os.environ, plan), sep="\n")


if __name__ == "__main__":
    main()
