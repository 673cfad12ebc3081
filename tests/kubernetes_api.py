"""An imitation of the Kubernetes API server on loopback, for the real kubectl.

Objects are kept in memory as they are applied. Revisions of a Deployment are ReplicaSets, the pods of an image are
ready or not as a test says, and their port is forwarded to a server of this machine. It hides what makes a cluster:
nothing is scheduled, pulled, probed, scaled, admitted or authorised, and no Service balances anything.
"""

from __future__ import annotations

import copy
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]
# Kind by plural name in the path: the group and version it lives in, and whether in a namespace.
KINDS = {
    "namespaces": ("Namespace", "v1", False),
    "pods": ("Pod", "v1", True),
    "services": ("Service", "v1", True),
    "serviceaccounts": ("ServiceAccount", "v1", True),
    "deployments": ("Deployment", "apps/v1", True),
    "replicasets": ("ReplicaSet", "apps/v1", True),
    "horizontalpodautoscalers": ("HorizontalPodAutoscaler", "autoscaling/v2", True),
    "poddisruptionbudgets": ("PodDisruptionBudget", "policy/v1", True),
    "networkpolicies": ("NetworkPolicy", "networking.k8s.io/v1", True),
    "leases": ("Lease", "coordination.k8s.io/v1", True),
}
REVISION = "deployment.kubernetes.io/revision"


class Cluster:
    """The objects, and where the pods of an image answer: a port of this machine, or why they are not ready."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.images: dict[str, int | str] = {}
        self.slow: set[str] = set()  # images whose pods get neither ready nor an error
        self.failing: set[tuple[str, str]] = set()  # Deployments in which the pods of an image crash
        self.seen: list[str] = []
        self.lock = threading.RLock()
        self.version = 1

    def put(self, plural: str, namespace: str, item: Object) -> Object:
        """Store an object as the server would: with a version, and with what its controllers add."""
        kind, api, _ = KINDS[plural]
        name = item["metadata"]["name"]
        with self.lock:
            before = self.objects.get((plural, namespace, name))
            self.version += 1
            item |= {"kind": kind, "apiVersion": api}
            item["metadata"] |= {"uid": f"{plural}-{namespace}-{name}", "resourceVersion": str(self.version)}
            if KINDS[plural][2]:
                item["metadata"]["namespace"] = namespace
            generation = before["metadata"].get("generation", 1) if before else 0
            changed = before is None or before.get("spec") != item.get("spec")
            item["metadata"]["generation"] = generation + changed
            self.objects[plural, namespace, name] = item
            if plural == "deployments":
                self.reconcile(namespace, item)
            return item

    def reconcile(self, namespace: str, deployment: Object) -> None:
        """Do at once what the controllers of Deployments do: a ReplicaSet a template, its pod, the status."""
        name, spec, metadata = deployment["metadata"]["name"], deployment["spec"], deployment["metadata"]
        spec.setdefault("replicas", 1)
        annotations = metadata.setdefault("annotations", {})
        sets = [s for s in self.listed("replicasets", namespace) if owner_of(s) == name]
        last = max((int(s["metadata"]["annotations"][REVISION]) for s in sets), default=0)
        current = next((s for s in sets if s["spec"]["template"] == spec["template"]), None)
        if current is None or int(current["metadata"]["annotations"][REVISION]) < last:
            annotations[REVISION] = str(last + 1)
        current_name = current["metadata"]["name"] if current else f"{name}-{last + 1}"
        owner = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": name,
            "uid": metadata["uid"],
            "controller": True,
        }
        labels = spec["template"]["metadata"]["labels"]
        made = {"name": current_name, "labels": labels, "annotations": dict(annotations), "ownerReferences": [owner]}
        replicas = {key: copy.deepcopy(spec[key]) for key in ("replicas", "selector", "template")}
        self.put("replicasets", namespace, {"metadata": made, "spec": replicas})
        image = spec["template"]["spec"]["containers"][0]["image"]
        answers = self.images.get(image, "ImagePullBackOff")
        if (name, image) in self.failing:
            answers = "CrashLoopBackOff"
        ready = isinstance(answers, int)
        slow = image in self.slow
        ready = ready and not slow
        state = {"running": {}} if ready or slow else {"waiting": {"reason": answers, "message": "says the imitation"}}
        for pod in self.listed("pods", namespace):
            if owner_of(pod) == name:
                del self.objects["pods", namespace, pod["metadata"]["name"]]
        status = {"phase": "Running" if ready else "Pending", "containerStatuses": [{"name": "model", "state": state}]}
        status["conditions"] = [{"type": "Ready", "status": str(ready)}]
        made = {"name": f"{current_name}-pod", "labels": labels, "ownerReferences": [owner]}
        pod = {"metadata": made, "spec": spec["template"]["spec"]}
        self.put("pods", namespace, pod | {"status": status})
        count = spec["replicas"] * ready
        progress = {"type": "Progressing", "status": str(ready)}
        progress["reason"] = "NewReplicaSetAvailable" if ready else "ProgressDeadlineExceeded"
        if slow:
            progress |= {"status": "True", "reason": "ReplicaSetUpdated"}
        deployment["status"] = {
            "observedGeneration": metadata["generation"],
            **dict.fromkeys(("replicas", "updatedReplicas"), spec["replicas"]),
            **dict.fromkeys(("readyReplicas", "availableReplicas"), count),
            "conditions": [progress],
        }

    def collect(self, namespace: str, deployment: str) -> None:
        """Remove what a Deployment that is gone had made."""
        for kind in ("replicasets", "pods"):
            for item in self.listed(kind, namespace):
                if owner_of(item) == deployment:
                    del self.objects[kind, namespace, item["metadata"]["name"]]

    def listed(self, plural: str, namespace: str, query: dict[str, list[str]] | None = None) -> list[Object]:
        """The objects of a kind that the selectors of a query leave."""
        found = [item for (kind, where, _), item in self.objects.items() if (kind, where) == (plural, namespace)]
        for selector in (query or {}).get("labelSelector", []):
            wanted = dict(pair.split("=", 1) for pair in selector.split(","))
            found = [item for item in found if wanted.items() <= item["metadata"].get("labels", {}).items()]
        for selector in (query or {}).get("fieldSelector", []):
            found = [item for item in found if selector == f"metadata.name={item['metadata']['name']}"]
        return found


def owner_of(item: Object) -> str:
    """The name of the Deployment that made a ReplicaSet or a pod."""
    return item["metadata"]["ownerReferences"][0]["name"]


def merged(before: Any, patch: Any) -> Any:
    """What a merge patch makes of an object; a null removes."""
    if not isinstance(patch, dict) or not isinstance(before, dict):
        return patch
    found = {**before, **{key: merged(before.get(key), value) for key, value in patch.items()}}
    return {key: value for key, value in found.items() if value is not None}


def patched(before: Object, operations: list[Object]) -> Object:
    """What a JSON patch makes of an object; keys are added, replaced and removed."""
    found = copy.deepcopy(before)
    for operation in operations:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place = found
        for part in path:
            place = place.setdefault(part, {})
        if operation["op"] == "remove":
            place.pop(last, None)
        else:
            place[last] = operation["value"]
    return found


class Handler(BaseHTTPRequestHandler):
    """Discovery, objects, and port-forward."""

    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        found = self.discovery(url.path)
        if found is not None:
            return self.answer(200, found)
        plural, namespace, name, _ = self.place(url.path)
        query = parse_qs(url.query)
        if name and (plural, namespace, name) in self.cluster.objects:
            return self.answer(200, self.cluster.objects[plural, namespace, name])
        if name or plural not in KINDS:
            return self.missing(plural, name)
        if query.get("watch") in (["true"], ["1"]):
            return self.watch(plural, namespace, query)
        kind, api, _ = KINDS[plural]
        items = self.cluster.listed(plural, namespace, query)
        listed = {"kind": f"{kind}List", "apiVersion": api, "metadata": {"resourceVersion": str(self.cluster.version)}}
        return self.answer(200, listed | {"items": items})

    def do_POST(self) -> None:
        plural, namespace, name, part = self.place(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if part == "portforward":
            return self.forward(namespace, name)
        item = json.loads(body)
        name = item["metadata"]["name"]
        with self.cluster.lock:
            if KINDS[plural][2] and ("namespaces", "", namespace) not in self.cluster.objects:
                return self.missing("namespaces", namespace)
            if (plural, namespace, name) in self.cluster.objects:
                return self.answer(409, self.status(409, "AlreadyExists", f'{plural} "{name}" already exists'))
            return self.answer(201, self.cluster.put(plural, namespace, item))

    def do_PUT(self) -> None:
        """Replace an object; one that has changed since it was read is a conflict."""
        plural, namespace, name, _ = self.place(urlsplit(self.path).path)
        item = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.cluster.lock:
            before = self.cluster.objects.get((plural, namespace, name))
            if before is None:
                return self.missing(plural, name)
            if item["metadata"].get("resourceVersion", "") not in ("", before["metadata"]["resourceVersion"]):
                message = f'Operation cannot be fulfilled on {plural} "{name}": the object has been modified'
                return self.answer(409, self.status(409, "Conflict", message))
            return self.answer(200, self.cluster.put(plural, namespace, item))

    def do_PATCH(self) -> None:
        plural, namespace, name, _ = self.place(urlsplit(self.path).path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        before = self.cluster.objects.get((plural, namespace, name))
        kind = self.headers["Content-Type"]
        self.cluster.seen.append(f"{plural}/{name} {kind}")
        if plural not in KINDS:
            return self.missing(plural, name)
        if KINDS[plural][2] and ("namespaces", "", namespace) not in self.cluster.objects:
            return self.missing("namespaces", namespace)
        if kind == "application/apply-patch+yaml":
            after = merged(before or {}, body)
        elif before is None:
            return self.missing(plural, name)
        elif kind == "application/json-patch+json":
            after = patched(before, body)
        elif kind == "application/merge-patch+json":
            after = merged(before, body)
        else:
            return self.answer(415, self.status(415, "UnsupportedMediaType", f"{kind} is not imitated"))
        return self.answer(200, self.cluster.put(plural, namespace, copy.deepcopy(after)))

    def do_DELETE(self) -> None:
        plural, namespace, name, _ = self.place(urlsplit(self.path).path)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.cluster.objects.pop((plural, namespace, name), None) is None:
            return self.missing(plural, name)
        if plural == "deployments":
            self.cluster.collect(namespace, name)
        self.cluster.seen.append(f"{plural}/{name} deleted")
        return self.answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}})

    def place(self, path: str) -> tuple[str, str, str, str]:
        """The kind, namespace, name and part of an object that a path names."""
        parts = path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if parts[:1] == ["namespaces"] and len(parts) > 2:
            namespace, parts = parts[1], parts[2:]
        plural, name, part, *_ = [*parts, "", "", ""]
        return plural, namespace, name, part

    def discovery(self, path: str) -> Object | None:
        """What the server has, by group."""
        groups = sorted({api for _, api, _ in KINDS.values()} - {"v1"})
        if path == "/version":
            return {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            versions = [{"groupVersion": group, "version": group.split("/")[1]} for group in groups]
            named = [
                {"name": v["groupVersion"].split("/")[0], "versions": [v], "preferredVersion": v} for v in versions
            ]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}
        if path.startswith("/openapi/v3"):
            return self.openapi(path.removeprefix("/openapi/v3").strip("/"))
        group = path.removeprefix("/apis/") if path != "/api/v1" else "v1"
        resources = [
            {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": namespaced}
            | {"verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]}
            for plural, (kind, api, namespaced) in KINDS.items()
            if api == group
        ]
        return {"kind": "APIResourceList", "groupVersion": group, "resources": resources} if resources else None

    def openapi(self, path: str) -> Object | None:
        """That the server itself looks for misspelt fields: kubectl then leaves that to it."""
        places = {"api/v1" if api == "v1" else f"apis/{api}" for _, api, _ in KINDS.values()}
        if not path:
            return {"paths": {place: {"serverRelativeURL": f"/openapi/v3/{place}?hash=1"} for place in places}}
        operations = {}
        for plural, (kind, api, _) in KINDS.items():
            if path in (f"apis/{api}", f"api/{api}"):
                group, _, version = api.rpartition("/")
                patch = {"x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind}}
                patch["parameters"] = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
                operations[f"/{path}/{plural}/{{name}}"] = {"patch": patch | {"responses": {}}}
        info = {"title": "Kubernetes", "version": "v1.37.0"}
        return {"openapi": "3.0.0", "info": info, "paths": operations, "components": {}} if operations else None

    def watch(self, plural: str, namespace: str, query: dict[str, list[str]]) -> None:
        """Name what there is. Nothing follows, since controllers act at once here."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        events = [{"type": "ADDED", "object": item} for item in self.cluster.listed(plural, namespace, query)]
        kind, api, _ = KINDS[plural]
        end = {"resourceVersion": str(self.cluster.version), "annotations": {"k8s.io/initial-events-end": "true"}}
        events.append({"type": "BOOKMARK", "object": {"kind": kind, "apiVersion": api, "metadata": end}})
        for event in events if "sendInitialEvents" in query else []:
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()
        time.sleep(20)
        self.wfile.write(b"0\r\n\r\n")

    def missing(self, plural: str, name: str) -> None:
        self.answer(404, self.status(404, "NotFound", f'{plural} "{name}" not found'))

    def status(self, code: int, reason: str, message: str) -> Object:
        common = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        return common | {"code": code, "reason": reason, "message": message}

    def answer(self, code: int, content: Object) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def forward(self, namespace: str, name: str) -> None:
        """Port-forward as before WebSockets, to which kubectl falls back: SPDY/3.1, two streams for each connection."""
        if self.headers.get("Upgrade", "").upper() != "SPDY/3.1":
            return self.answer(403, self.status(403, "Forbidden", "only SPDY/3.1 is imitated"))
        pod = self.cluster.objects["pods", namespace, name]
        port = self.cluster.images[pod["spec"]["containers"][0]["image"]]
        self.send_response(101)
        for header, value in (("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")):
            self.send_header(header, value)
        self.send_header("X-Stream-Protocol-Version", "portforward.k8s.io")
        self.end_headers()
        self.close_connection = True
        Streams(self, int(port)).serve()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Streams:
    """The frames of one SPDY connection. The first stream of each pair carries errors, the second the data."""

    def __init__(self, handler: Handler, port: int) -> None:
        self.read, self.write, self.port = handler.rfile.read, handler.wfile.write, port
        self.packer = zlib.compressobj()
        self.lock = threading.Lock()
        self.sockets: dict[int, socket.socket] = {}

    def serve(self) -> None:
        while head := self.read(8):
            first, second = struct.unpack(">II", head)
            body = self.read(second & 0xFFFFFF)
            kind, flags = first & 0xFFFF, second >> 24
            if not first >> 31:
                self.data(first, body, bool(flags & 1))
            elif kind == 1:  # SYN_STREAM
                self.begin(struct.unpack(">I", body[:4])[0] & 0x7FFFFFFF)
            elif kind == 6:  # PING
                self.send(head + body)
            elif kind == 7:  # GOAWAY
                break

    def begin(self, stream: int) -> None:
        with self.lock:
            block = self.packer.compress(struct.pack(">I", 0)) + self.packer.flush(zlib.Z_SYNC_FLUSH)
            self.write(struct.pack(">III", 0x80030002, 4 + len(block), stream) + block)
        if stream % 4 == 3:
            self.sockets[stream] = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self.pump, args=(stream,), daemon=True).start()

    def data(self, stream: int, body: bytes, last: bool) -> None:
        if stream in self.sockets:
            self.sockets[stream].sendall(body)
            if last:
                self.sockets[stream].shutdown(socket.SHUT_WR)

    def pump(self, stream: int) -> None:
        with suppress(OSError):  # kubectl may be gone already
            while body := self.sockets[stream].recv(16_384):
                self.send(struct.pack(">II", stream, len(body)) + body)
            for closed in (stream, stream - 2):
                self.send(struct.pack(">II", closed, 1 << 24))

    def send(self, frame: bytes) -> None:
        with self.lock:
            self.write(frame)


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[Cluster, Path]]:
    """A cluster and the file that tells kubectl where it is."""
    found = Cluster()
    handler = type("Handler", (Handler,), {"cluster": found})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "here"}
        config["clusters"] = [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}]
        config["contexts"] = [{"name": "here", "context": {"cluster": "here", "user": "nobody"}}]
        config["users"] = [{"name": "nobody", "user": {}}]
        (folder / "kubeconfig").write_text(json.dumps(config), encoding="utf-8")
        yield found, folder / "kubeconfig"
        server.shutdown()
