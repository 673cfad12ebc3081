"""Stand-in for GitLab's API, on loopback: releases, generic packages, issues, merge requests, branches, one project.

It answers what the pipeline asks, and refuses what GitLab refuses: requests without a token, a job's token where GitLab
takes none, a release or a branch that is there, a package's version that is none, a merge request without its branch.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

JOB, ACCOUNT = "job-token", "monitor-token"
OURS, SOMEBODY = {"id": 7, "username": "project_1_bot"}, {"id": 8, "username": "somebody"}
# What GitLab lets the token of a job do: docs.gitlab.com/ci/jobs/ci_job_token
OF_JOBS = re.compile(r"projects/1/(releases|packages/generic/.*)")
VERSION = re.compile(r"(\.?[\w+-]+\.?)+")


class RefusedError(Exception):
    """An error of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """What the project holds."""

    def __init__(self) -> None:
        self.releases: list[dict[str, Any]] = []
        self.packages: dict[str, bytes] = {}
        self.branches: dict[str, dict[str, Any]] = {}
        self.lists: dict[str, list[dict[str, Any]]] = {"issues": [], "merge_requests": []}
        self.notes: list[tuple[str, str]] = []
        self.down = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                content = self.rfile.read(length)
                status = 200
                try:
                    found = outer.handle(self.command, self.path, dict(self.headers), content)
                except RefusedError as error:
                    status, found = error.status, {"message": str(error)}
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """The value of CI_API_V4_URL."""
        return f"http://127.0.0.1:{self.http.server_port}/api/v4"

    def handle(self, method: str, address: str, headers: dict[str, str], content: bytes) -> Any:
        """Answer a request."""
        parts = urlsplit(address)
        path = parts.path.removeprefix("/api/v4/")
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self._allow(path, headers)
        if path == "user":
            return OURS
        place = path.removeprefix("projects/1/")
        if place.startswith("packages/generic/"):
            return self._package(method, place, content)
        body = json.loads(content) if content else {}
        if place == "releases":
            return self._page(self.releases, query) if method == "GET" else self._release(body)
        if place == "repository/commits" and method == "POST":
            return self._commit(body)
        if place.startswith("repository/branches/"):
            return self._branch(method, unquote(place.removeprefix("repository/branches/")))
        kind, _, rest = place.partition("/")
        if kind in self.lists:
            return self._item(method, kind, rest, body, query)
        raise RefusedError(404, "404 Not Found")

    def _allow(self, path: str, headers: dict[str, str]) -> None:
        if self.down:
            raise RefusedError(503, "GitLab is not responding")
        given = {name.lower(): value for name, value in headers.items()}
        if given.get("private-token") == ACCOUNT:
            return
        if given.get("job-token") != JOB or not OF_JOBS.fullmatch(path):
            raise RefusedError(401, "401 Unauthorized")

    def _package(self, method: str, place: str, content: bytes) -> Any:
        version = place.split("/")[3]
        if not VERSION.fullmatch(version):
            raise RefusedError(400, "package_version is invalid")
        if method == "PUT":
            self.packages[place] = content
            return {"message": "201 Created"}
        if place not in self.packages:
            raise RefusedError(404, "404 Not Found")
        return self.packages[place]

    def _release(self, body: dict[str, Any]) -> Any:
        if any(release["tag_name"] == body["tag_name"] for release in self.releases):
            raise RefusedError(409, "Release already exists")
        if not re.fullmatch("[0-9a-f]{40}", body.get("ref", "")):
            raise RefusedError(422, "Ref is not specified")
        self.releases.insert(0, body)
        return body

    def _commit(self, body: dict[str, Any]) -> Any:
        if body["branch"] in self.branches:
            raise RefusedError(400, f"A branch called '{body['branch']}' already exists.")
        self.branches[body["branch"]] = {"commit": {"title": body["commit_message"]}, "actions": body["actions"]}
        return {"id": "0" * 40}

    def _branch(self, method: str, name: str) -> Any:
        if name not in self.branches:
            raise RefusedError(404, "404 Branch Not Found")
        return self.branches.pop(name) if method == "DELETE" else self.branches[name]

    def _item(self, method: str, kind: str, rest: str, body: dict[str, Any], query: dict[str, str]) -> Any:
        items = self.lists[kind]
        if not rest and method == "GET":
            return self._page([item for item in items if _fits(item, query)], query)
        if not rest:
            source = body.get("source_branch")
            if kind == "merge_requests" and source not in self.branches:
                raise RefusedError(400, "source branch does not exist")
            if kind == "merge_requests" and any(
                item["source_branch"] == source and item["state"] == "opened" for item in items
            ):
                raise RefusedError(409, "Another open merge request already exists for this source branch")
            items.append(body | {"iid": len(items) + 1, "state": "opened", "author": OURS})
            return items[-1]
        number, _, what = rest.partition("/")
        item = items[int(number) - 1]
        if what == "notes":
            self.notes.append((f"{kind}/{number}", body["body"]))
            return {}
        if body.pop("state_event", "") == "close":
            item["state"] = "closed"
        return item.update(body) or item

    @staticmethod
    def _page(found: list[Any], query: dict[str, str]) -> list[Any]:
        size, page = int(query["per_page"]), int(query["page"])
        return found[size * (page - 1) : size * page]


def _fits(item: dict[str, Any], query: dict[str, str]) -> bool:
    wanted = {key: value for key, value in query.items() if key in ("labels", "source_branch", "target_branch")}
    if query.get("state", "all") not in ("all", item["state"]) or str(item["author"]["id"]) != query["author_id"]:
        return False
    return all(item.get(key) == value for key, value in wanted.items())
