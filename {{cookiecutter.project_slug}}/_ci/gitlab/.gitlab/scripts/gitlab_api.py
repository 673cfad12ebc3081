"""Call GitLab's API for this project: with the job's own token, or with a token from a variable."""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

PAGE = 100


class Refused(Exception):
    """GitLab answers with an error; ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def call(path: str, method: str = "GET", body: Any = None, token: str = "") -> bytes:
    """Return the answer for a path below the project.

    Parameters
    ----------
    body : bytes are sent as they are, anything else as JSON
    token : of an account; without one it is the job's own

    Raises
    ------
    Refused
        GitLab answers with an error, or does not answer.
    """
    address = path if path.startswith("/") else f"/projects/{os.environ['CI_PROJECT_ID']}/{path}"
    headers = {"PRIVATE-TOKEN": token} if token else {"JOB-TOKEN": os.environ["CI_JOB_TOKEN"]}
    if body is not None and not isinstance(body, bytes):
        headers["Content-Type"], body = "application/json", json.dumps(body).encode()
    request = urllib.request.Request(os.environ["CI_API_V4_URL"] + address, body, headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the server that started this job
            content: bytes = answer.read()
    except urllib.error.HTTPError as error:
        said = error.read(500).decode(errors="replace")
        raise Refused(error.code, f"{method} {address}: GitLab answers {error.code}: {said}") from None
    except OSError as error:
        raise Refused(0, f"{method} {address}: GitLab does not answer ({error})") from None
    return content


def get(path: str, token: str = "") -> Any:
    """Return the JSON answer for a path below the project."""
    return json.loads(call(path, token=token))


def listed(path: str, token: str = "", **query: str | int) -> Iterator[Any]:
    """Yield what all pages of a list hold."""
    page, found = 1, [None] * PAGE
    while len(found) == PAGE:
        found = get(f"{path}?{urlencode({**query, 'per_page': PAGE, 'page': page})}", token)
        yield from found
        page += 1


def run(main: Callable[[], None]) -> None:
    """Run a script; a refusal is one line and the exit status 1."""
    try:
        main()
    except Refused as error:
        sys.exit(" ".join(str(error).split()))
