"""Call GitHub's API for this repository with gh."""

import json
import os
import subprocess
from typing import Any


def get(path: str) -> Any:
    """Return the JSON answer for a path below the repository."""
    return json.loads(call(path))


def call(path: str, body: dict[str, Any] | None = None, method: str = "GET", limit: int = 10_000_000) -> bytes:
    """Return at most ``limit`` bytes of the answer for a path below the repository.

    Raises
    ------
    subprocess.CalledProcessError
        GitHub answers with an error.
    """
    command = ["gh", "api", f"repos/{os.environ['GITHUB_REPOSITORY']}/{path}", "--method", method]
    if body is not None:
        command += ["--input", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        if body is not None:
            process.stdin.write(json.dumps(body).encode())
        process.stdin.close()
        content = process.stdout.read(limit)
        more = process.stdout.read(1)
        if more:
            process.kill()
    if process.returncode != 0 and not more:
        raise subprocess.CalledProcessError(process.returncode, command)
    return content
