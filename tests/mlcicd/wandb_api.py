"""An imitation of the HTTP API of Weights & Biases, as far as its client uses it for runs and artifacts.

It keeps everything in memory and refuses what is malformed: requests without the key, runs and artifacts that nobody
made, operations that are not known, artifacts that are committed before their files are there. What it hides:
permissions, quotas, the registry of organisations, and whatever the real server checks beyond that.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

from stand_in import Handler

ENTITY = "acme"
RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
WHEN = "2026-11-28T00:00:00Z"


class RefusedError(Exception):
    """The real server refuses this, too."""


@dataclass
class Run:
    """A run: its project, what was upserted, the lines of its streams and its files."""

    project: str
    values: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Artifact:
    """A version of an artifact; ``files`` are those that were announced, None until they are there."""

    id: str
    collection: str
    project: str
    kind: str
    digest: str
    index: int
    metadata: Any
    aliases: set[str]
    state: str = "PENDING"
    files: dict[str, bytes | None] = field(default_factory=dict)
    manifest: bytes | None = None


class Api(ThreadingHTTPServer):
    """The server and what it was told."""

    daemon_threads = True

    def __init__(self, key: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key, self.lock = key, threading.RLock()
        self.runs: dict[str, Run] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.operations: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that the client cuts."""

    def versions(self, collection: str) -> list[Artifact]:
        return [a for a in self.artifacts.values() if a.collection == collection and a.state == "COMMITTED"]

    def run(self, name: str) -> Run:
        if name not in self.runs:
            raise RefusedError(f"run {name} not found")
        return self.runs[name]

    def artifact(self, identifier: str) -> Artifact:
        if identifier not in self.artifacts:
            raise RefusedError(f"artifact {identifier} not found")
        return self.artifacts[identifier]

    # What the client asks, by the names of its operations ------------------------------------------------------------

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        self.operations.append(operation)
        known = getattr(self, f"op_{operation}", None)
        if known is None:
            raise RefusedError(f"unknown operation {operation}")
        return known(given)

    def op_Viewer(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - the client's own names
        return {
            "viewer": {"id": "u", "username": "a", "entity": ENTITY, "email": "", "flags": "{}", "teams": {"edges": []}}
        }

    def op_GetDefaultEntity(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self.op_Viewer(given)

    def op_ServerFeaturesQuery(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"serverInfo": {"features": []}}

    def op_OrganizationCoreWeaveOrganizationID(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"entity": {"organization": None}}

    def op_RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self.runs.get(given["name"])
        return {"model": _project(given["project"]) | {"bucket": self._bucket(given["name"], run) if run else None}}

    def op_UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name, project = given["name"], given["project"]
        if not RUN_ID.fullmatch(name or "") or not project:
            raise RefusedError("a run needs a name of letters, digits, - and _, and a project")
        new = name not in self.runs
        run = self.runs.setdefault(name, Run(project))
        run.values |= {key: value for key, value in given.items() if value is not None}
        return {"upsertBucket": {"bucket": self._bucket(name, run) | {"project": _project(project)}, "inserted": new}}

    def op_CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.run(given["run"])
        files = [{"name": n, "uploadUrl": f"{self.address}/run/{given['run']}/{n}"} for n in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def op_ArtifactType(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = self._named(given["name"])
        return {"project": {"artifact": {"artifactType": {"name": found.kind}} if found else None}}

    def op_CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        told = given["input"]
        self.run(told["runName"])
        name = told["artifactCollectionName"]
        same = next((a for a in self.versions(name) if a.digest == told["digest"]), None)
        if same is None:
            wanted = {alias["alias"] for alias in told.get("aliases") or []}
            identifier = f"artifact-{len(self.artifacts)}"
            same = Artifact(
                identifier, name, told["projectName"], told["artifactTypeName"], told["digest"],
                len(self.versions(name)), told.get("metadata"), wanted,
            )  # fmt: skip
            self.artifacts[identifier] = same
        else:
            self._alias(same, {alias["alias"] for alias in told.get("aliases") or []})
        latest = self.versions(name)[-1:]
        sequence = {
            "id": name,
            "latestArtifact": {"id": latest[0].id, "versionIndex": latest[0].index} if latest else None,
        }
        return {"createArtifact": {"artifact": {"id": same.id, "state": same.state, "artifactSequence": sequence}}}

    def op_CreateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = self.artifact(given["artifactID"])
        return {"createArtifactManifest": {"artifactManifest": self._manifest(found, given["name"])}}

    def op_UpdateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = self.artifact(given["artifactManifestID"].removeprefix("manifest-"))
        return {"updateArtifactManifest": {"artifactManifest": self._manifest(found, "wandb_manifest.json")}}

    def op_CreateArtifactFiles(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        edges = []
        for told in given["input"]["artifactFiles"]:
            found = self.artifact(told["artifactID"])
            found.files.setdefault(told["name"], None)
            url = f"{self.address}/artifact/{found.id}/{told['name']}"
            node = {"id": told["name"], "name": told["name"], "displayName": told["name"], "uploadUrl": url}
            node |= {"uploadHeaders": [], "artifact": {"id": found.id}, "storagePath": f"{found.id}/{told['name']}"}
            edges.append({"node": node | {"uploadMultipartUrls": None}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def op_CommitArtifact(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = self.artifact(given["artifactID"])
        absent = [name for name, content in found.files.items() if content is None]
        if found.manifest is None or absent:
            raise RefusedError(f"artifact {found.id} lacks {absent or 'its manifest'}")
        found.index, found.state = len(self.versions(found.collection)), "COMMITTED"
        self._alias(found, found.aliases | {"latest"})
        return {"commitArtifact": {"artifact": {"id": found.id, "digest": found.digest}}}

    def op_ArtifactByID(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"artifact": self._whole(self.artifact(given["id"]))}

    def op_ArtifactMembershipByName(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = self._named(given["name"])
        return {"project": {"artifactCollectionMembership": self._member(found) if found else None}}

    def op_ProjectArtifacts(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = self.versions(given["collection"])
        edges = [{"version": f"v{a.index}", "node": self._whole(a)} for a in reversed(found)]
        page = {"totalCount": len(found), "pageInfo": _LAST, "edges": edges}
        collection = {"__typename": "ArtifactSequence", "artifacts": page} if found else None
        return {"project": {"artifactType": {"artifactCollection": collection}}}

    def op_UpdateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"result": {"artifact": self._whole(self.artifact(given["input"]["artifactID"]))}}

    def op_AddAliases(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        told = given["input"]
        self._alias(self.artifact(told["artifactID"]), {alias["alias"] for alias in told["aliases"]})
        return {"result": {"success": True}}

    def op_FetchArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = self.artifact(given["id"])
        return {"artifact": {"currentManifest": {"file": {"directUrl": f"{self.address}/manifest/{found.id}"}}}}

    def op_GetArtifactMembershipFileUrls(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = self._named(f"{given['collection']}:{given['alias']}")
        files = found.files if found else {}
        edges = [
            {"node": {"__typename": "File", "name": name, "directUrl": f"{self.address}/content/{found.id}/{name}"}}
            for name in files
        ]
        member = {"files": {"pageInfo": _LAST, "edges": edges}} if found else None
        collection = {"__typename": "ArtifactSequence", "artifactMembership": member}
        return {"project": {"artifactCollection": collection}}

    def op_Run(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self.runs.get(given["name"])
        if run is None:
            return {"project": {"run": None}}
        found = self._bucket(given["name"], run) | {
            "projectId": "1",
            "state": "finished",
            "group": None,
            "jobType": None,
        }
        found |= dict.fromkeys(("commit", "heartbeatAt", "systemMetrics", "historyKeys"))
        return {
            "project": {"run": found | {"readOnly": False, "createdAt": WHEN, "user": {"name": "a", "username": "a"}}}
        }

    # What they have in common ----------------------------------------------------------------------------------------

    def _alias(self, artifact: Artifact, names: set[str]) -> None:
        """Give a version aliases, which its neighbours lose."""
        for other in self.versions(artifact.collection):
            if other is not artifact:
                other.aliases -= names
        artifact.aliases |= names

    def _named(self, name: str) -> Artifact | None:
        collection, _, alias = name.partition(":")
        found = (a for a in self.versions(collection) if alias in a.aliases or alias == f"v{a.index}")
        return next(found, None)

    def _bucket(self, name: str, run: Run) -> dict[str, Any]:
        told = run.values
        lines = {"logLineCount": 0, "historyLineCount": len(run.history), "eventsLineCount": 0}
        tail = json.dumps([json.dumps(run.history[max(run.history)])] if run.history else [])
        found = {"id": name, "name": name, "displayName": told.get("displayName"), "description": "", "sweepName": None}
        found |= {"summaryMetrics": told.get("summaryMetrics") or "{}", "config": told.get("config") or "{}", **lines}
        return found | {"historyTail": tail, "eventsTail": "[]", "tags": [], "notes": "", "wandbConfig": '{"t": 1}'}

    def _manifest(self, artifact: Artifact, name: str) -> dict[str, Any]:
        url = f"{self.address}/manifest/{artifact.id}"
        file = {"id": name, "name": name, "displayName": name, "uploadUrl": url, "uploadHeaders": []}
        return {"id": f"manifest-{artifact.id}", "file": file}

    def _whole(self, artifact: Artifact) -> dict[str, Any]:
        collection = {"__typename": "ArtifactSequence", "name": artifact.collection}
        collection |= {"project": _project(artifact.project)}
        aliases = [
            {"__typename": "ArtifactAlias", "id": name, "alias": name, "artifactCollection": collection}
            for name in sorted(artifact.aliases)
        ]
        found = {"__typename": "Artifact", "id": artifact.id, "artifactSequence": collection, "aliases": aliases}
        found |= {
            "versionIndex": artifact.index,
            "artifactType": {"name": artifact.kind},
            "metadata": artifact.metadata,
        }
        found |= dict.fromkeys(("description", "historyStep", "updatedAt")) | {"ttlDurationSeconds": -1}
        found |= {"ttlIsInherited": True, "tags": [], "state": artifact.state, "size": 1, "digest": artifact.digest}
        return found | {"digestAlgorithm": "MANIFEST_MD5", "commitHash": "c", "fileCount": 1, "createdAt": WHEN}

    def _member(self, artifact: Artifact) -> dict[str, Any]:
        whole = self._whole(artifact)
        member = {"__typename": "ArtifactCollectionMembership", "id": artifact.id, "versionIndex": artifact.index}
        member |= {"createdAt": WHEN, "aliases": whole["aliases"], "artifactCollection": whole["artifactSequence"]}
        return member | {"artifact": whole}

    # Streams and files ------------------------------------------------------------------------------------------------

    def stream(self, path: str, content: dict[str, Any]) -> None:
        run, files = self.run(path.split("/")[-2]), content.get("files") or {}
        for line in files.get("wandb-history.jsonl", {}).get("content", []):
            row = json.loads(line)
            run.history[int(row["_step"])] = row
        for line in files.get("wandb-summary.json", {}).get("content", []):
            run.values["summaryMetrics"] = line

    def store(self, path: str, content: bytes) -> None:
        kind, _, rest = path.lstrip("/").partition("/")
        owner, _, name = rest.partition("/")
        if kind == "run":
            self.run(owner).files[name] = content
        elif kind == "manifest":
            self.artifact(owner).manifest = content
        elif kind == "artifact" and name in self.artifact(owner).files:
            self.artifact(owner).files[name] = content
        else:
            raise RefusedError(f"nobody announced {path}")

    def fetch(self, path: str) -> bytes:
        kind, _, rest = path.lstrip("/").partition("/")
        if kind == "manifest":
            return self.artifact(rest).manifest or b""
        if kind == "content":
            owner, _, name = rest.partition("/")
            return self.artifact(owner).files[name] or b""
        raise RefusedError(f"nothing at {path}")


_LAST = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}


def _project(name: str) -> dict[str, Any]:
    return {"id": "p", "internalId": "p", "name": name, "entity": {"id": "e", "name": ENTITY}}


class _Handler(Handler):
    server: Api

    def _any(self) -> None:
        body = self.body()
        token = base64.b64encode(f"api:{self.server.key}".encode()).decode()
        path = self.path.partition("?")[0]
        with self.server.lock:
            try:
                if self.command == "PUT":  # to an address that only its holder knows
                    self.server.store(path, body)
                    return self.answer(200, b"{}")
                if path.startswith("/sdk/otel"):
                    return self.answer(200, b"{}")
                if self.headers.get("Authorization") != f"Basic {token}" and not path.startswith(
                    ("/manifest/", "/content/")
                ):
                    return self.answer(401, b'{"error": "user is not logged in"}')
                if self.command == "GET":
                    return self.answer(200, self.server.fetch(self.path))
                content = json.loads(body)
                if path.endswith("/file_stream"):
                    self.server.stream(path, content)
                    return self.answer(200, b'{"exitcode": null, "limits": {}}')
                operation = (
                    content.get("operationName") or re.search(r"(?:query|mutation)\s+(\w+)", content["query"])[1]
                )
                found = self.server.answer(operation, content.get("variables") or {})
                return self.answer(200, json.dumps({"data": found}).encode())
            except (RefusedError, KeyError, ValueError, StopIteration) as error:
                said = f"{type(error).__name__}: {error}"
                return self.answer(400, json.dumps({"errors": [{"message": said}]}).encode())

    do_GET = do_POST = do_PUT = _any  # noqa: N815 - the names of http.server


@contextmanager
def started(key: str) -> Iterator[Api]:
    """Start the imitation; stop it after the block."""
    api = Api(key)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    try:
        yield api
    finally:
        api.shutdown()
        api.server_close()
