"""An imitation of Pachyderm's PFS and PPS over gRPC, made of the message classes of its own client.

It hides what pachd does: chunks and deduplication, transactions, provenance, authorisation by role, and running
pipelines. It refuses what pachd refuses of the calls that are used here: a wrong token, an unknown repository, branch,
commit or path, and a pipeline with unknown fields.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import betterproto
import grpc
from betterproto.lib.google.protobuf import BytesValue
from pachyderm_sdk.api import pfs, pps

TOKEN = "a-planted-token"
PIECE = 1000  # bytes in an answer; pachd's are larger


def strictly(kind: type[betterproto.Message], document: object, where: str = "pipeline") -> None:
    """Refuse keys that a message does not have, as pachd does, and its client does not."""
    if not isinstance(document, dict):
        raise ValueError(f"{where}: a mapping is expected")
    known = {betterproto.casing.camel_case(name): name for name in kind().__dataclass_fields__}
    for key, value in document.items():
        if key not in known:
            raise ValueError(f"{where}: unknown field {key}")
        inner = kind._cls_for(kind.__dataclass_fields__[known[key]])
        if isinstance(inner, type) and issubclass(inner, betterproto.Message):
            for one in value if isinstance(value, list) else [value]:
                strictly(inner, one, f"{where}.{key}")


class Pachd:
    """The repositories of one project: files by commit, and commits in order, by branch.

    Attributes
    ----------
    fault : ``""``, a code of gRPC, ``cut``: a file's stream ends early, or ``hang``
    """

    def __init__(self) -> None:
        self.branches: dict[tuple[str, str], list[str]] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.errors: dict[str, str] = {}
        self.pipelines: list[pps.CreatePipelineRequest] = []
        self.fault, self.asked = "", list[str]()

    def put(self, repo: str, files: dict[str, bytes], branch: str = "master") -> str:
        """Add a commit with files beside those of the one before; return its identifier."""
        line = self.branches.setdefault((repo, branch), [])
        identifier = f"{len(self.commits) + 1:032x}"
        self.commits[identifier] = (self.commits[line[-1]] if line else {}) | files
        line.append(identifier)
        return identifier

    def find(self, commit: pfs.Commit, context: grpc.ServicerContext) -> str:
        """Return the identifier of a commit, which a branch may name."""
        names = [name for name, _ in self.branches]
        if commit.repo.name not in names or commit.repo.project.name != "default":
            context.abort(grpc.StatusCode.NOT_FOUND, f"repo default/{commit.repo.name} not found")
        if commit.id:
            of_repo = {one for (name, _), line in self.branches.items() if name == commit.repo.name for one in line}
            if commit.id not in of_repo:
                context.abort(grpc.StatusCode.NOT_FOUND, f"commit {commit.id} not found")
            return commit.id
        line = self.branches.get((commit.repo.name, commit.branch.name))
        if not line:
            context.abort(grpc.StatusCode.NOT_FOUND, f"branch {commit.branch.name} not found")
            raise AssertionError
        return line[-1]

    def inspect_commit(self, request: pfs.InspectCommitRequest, context: grpc.ServicerContext) -> pfs.CommitInfo:
        found = self.find(request.commit, context)
        commit = pfs.Commit(repo=request.commit.repo, id=found)
        return pfs.CommitInfo(commit=commit, error=self.errors.get(found, ""))

    def inspect_file(self, request: pfs.InspectFileRequest, context: grpc.ServicerContext) -> pfs.FileInfo:
        files = self.commits[self.find(request.file.commit, context)]
        path = request.file.path
        if path in files:
            return pfs.FileInfo(file=request.file, file_type=pfs.FileType.FILE, size_bytes=len(files[path]))
        if any(name.startswith(f"{path.rstrip('/')}/") for name in files):
            return pfs.FileInfo(file=request.file, file_type=pfs.FileType.DIR)
        context.abort(grpc.StatusCode.NOT_FOUND, f"file {path} not found")
        raise AssertionError

    def list_file(self, request: pfs.ListFileRequest, context: grpc.ServicerContext) -> Iterator[pfs.FileInfo]:
        folder = request.file.path.rstrip("/") + "/"
        for name, content in self.commits[self.find(request.file.commit, context)].items():
            if name.startswith(folder) and "/" not in name[len(folder) :]:
                file = pfs.File(commit=request.file.commit, path=name)
                yield pfs.FileInfo(file=file, file_type=pfs.FileType.FILE, size_bytes=len(content))

    def get_file(self, request: pfs.GetFileRequest, context: grpc.ServicerContext) -> Iterator[BytesValue]:
        files = self.commits[self.find(request.file.commit, context)]
        if request.file.path not in files:
            context.abort(grpc.StatusCode.NOT_FOUND, f"file {request.file.path} not found")
        content = files[request.file.path]
        for start in range(0, len(content), PIECE):
            if start and self.fault == "cut":
                return
            yield BytesValue(value=content[start : start + PIECE])

    def create_pipeline(self, request: pps.CreatePipelineV2Request, context: Any) -> pps.CreatePipelineV2Response:
        try:
            document = json.loads(request.create_pipeline_request_json)
            strictly(pps.CreatePipelineRequest, document)
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        found = pps.CreatePipelineRequest().from_dict(document)
        if not found.pipeline.name or not found.transform.image:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a pipeline needs a name, and an image")
        self.pipelines.append(found)
        return pps.CreatePipelineV2Response()

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Answer on a free port; yield the address."""
        server = grpc.server(futures.ThreadPoolExecutor(4))
        stream = (self.list_file, self.get_file)
        methods = {
            "pfs_v2.API": [
                ("InspectCommit", self.inspect_commit, pfs.InspectCommitRequest),
                ("InspectFile", self.inspect_file, pfs.InspectFileRequest),
                ("ListFile", self.list_file, pfs.ListFileRequest),
                ("GetFile", self.get_file, pfs.GetFileRequest),
            ],
            "pps_v2.API": [("CreatePipelineV2", self.create_pipeline, pps.CreatePipelineV2Request)],
        }
        for service, listed in methods.items():
            handlers = {name: self._handler(name, answer, kind, answer in stream) for name, answer, kind in listed}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop(None)

    def _handler(self, name: str, answer: Any, kind: type[betterproto.Message], stream: bool) -> grpc.RpcMethodHandler:
        def checked(request: Any, context: grpc.ServicerContext) -> Any:
            self.asked.append(name)
            if dict(context.invocation_metadata()).get("authn-token") != TOKEN:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, f"no valid token; {TOKEN} would be")
            if self.fault == "hang":
                time.sleep(3)
            if self.fault.isupper():
                context.abort(grpc.StatusCode[self.fault], f"as the test wants, with {TOKEN}")
            return answer(request, context)

        make = grpc.unary_stream_rpc_method_handler if stream else grpc.unary_unary_rpc_method_handler
        return make(checked, request_deserializer=kind.FromString, response_serializer=bytes)
