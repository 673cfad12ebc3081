"""Raw files in Pachyderm: the real client against an imitation of its server."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pachd
import pytest
import yaml
from mlcicd.core.errors import InputError
from mlcicd.remote import pachyderm, transfer
from mlcicd.remote.transfer import RemoteError
from mlcicd.sources import raw_files
from mlcicd.sources.pins import NotFetchedError
from pachyderm_sdk import Client

ROWS = b"id,y\n" + b"".join(b"%d,%d\n" % (i, i % 2) for i in range(1000))
ADDRESS = "pachyderm://default/sales@master"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", pachd.TOKEN)
    monkeypatch.setattr(transfer, "WAITS", (0.01, 0.01))
    found = pachd.Pachd()
    found.put("sales", {"/a.csv": ROWS, "/parts/1.csv": b"id\n1\n", "/parts/2.csv": b"id\n2\n", "/parts/_SUCCESS": b""})
    with found.serving() as found.address:
        yield found


def place(server, path: str) -> pachyderm.Place:
    return pachyderm.Place(f"{ADDRESS}/{path}", server.address)


def test_a_file_of_a_branch_has_the_commit_for_its_version(server, tmp_path):
    own = place(server, "a.csv")
    found = own.find(own.location)
    assert found == (own.location, f"commit:{1:032x}", len(ROWS))
    fetched = own.fetch(found, tmp_path / "a.csv", found.revision)
    assert fetched == (len(ROWS), hashlib.sha256(ROWS).hexdigest())
    assert (tmp_path / "a.csv").read_bytes() == ROWS


def test_a_pinned_commit_is_read_when_the_branch_has_moved_on(server, tmp_path):
    pinned = place(server, "a.csv").find(f"{ADDRESS}/a.csv").revision
    server.put("sales", {"/a.csv": b"other"})
    own = place(server, "a.csv")
    assert own.find(own.location).size == 5
    own.fetch(own.find(own.location, pinned), tmp_path / "a.csv", pinned)
    assert (tmp_path / "a.csv").read_bytes() == ROWS


def test_all_parts_of_a_folder_are_of_one_commit(server, tmp_path):
    own = place(server, "parts/*.csv")
    parts = own.parts()
    assert parts == [f"{ADDRESS}/parts/1.csv", f"{ADDRESS}/parts/2.csv"]
    server.put("sales", {"/parts/2.csv": b"id\n3\n"})
    assert {own.find(part).revision for part in parts} == {f"commit:{1:032x}"}
    own.fetch(own.find(parts[1]), tmp_path / "2.csv")
    assert (tmp_path / "2.csv").read_bytes() == b"id\n2\n"


@pytest.mark.parametrize(
    ("path", "said"),
    [("b.csv", "there is no such file"), ("parts", "there is no such file"), ("none/*.csv", "there is no such file")],
)
def test_what_is_not_there_is_named_with_a_remedy(server, path, said):
    own = place(server, path)
    with pytest.raises(RemoteError) as caught:
        own.parts() if "*" in path else own.find(own.location)
    assert str(caught.value).startswith(f"{ADDRESS}/{path}: {said}") and "servers" in str(caught.value)


@pytest.mark.parametrize("gone", ["pachyderm://default/none@master/a.csv", "pachyderm://default/sales@none/a.csv"])
def test_a_repository_or_branch_that_is_gone_is_one_line(server, gone):
    with pytest.raises(RemoteError, match="there is no such file"):
        pachyderm.Place(gone, server.address).find(gone)


def test_a_commit_that_is_gone_is_one_line(server):
    with pytest.raises(RemoteError, match="there is no such file"):
        place(server, "a.csv").find(f"{ADDRESS}/a.csv", f"commit:{9:032x}")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("UNAUTHENTICATED", "the credentials are wrong; set PACH_PYTHON_AUTH_TOKEN"),
        ("PERMISSION_DENIED", "no permission to read it"),
        ("UNAVAILABLE", "the server is busy or broken"),
        ("INTERNAL", "the server is busy or broken"),
        ("hang", "the server does not answer"),
    ],
)
def test_a_server_that_does_not_deliver_is_one_line_without_a_word_of_its_own(server, monkeypatch, fault, said):
    monkeypatch.setenv("ML_DATA_TIMEOUT", "0.3" if fault == "hang" else "20")
    server.fault = fault
    with pytest.raises(RemoteError) as caught:
        place(server, "a.csv").find(f"{ADDRESS}/a.csv")
    line = str(caught.value)
    assert line.startswith(f"{ADDRESS}/a.csv: {said}") and "\n" not in line and pachd.TOKEN not in line


def test_a_token_that_is_missing_is_one_line(server, monkeypatch):
    monkeypatch.delenv("PACH_PYTHON_AUTH_TOKEN")
    with pytest.raises(RemoteError, match="the credentials are wrong; set PACH_PYTHON_AUTH_TOKEN"):
        place(server, "a.csv").find(f"{ADDRESS}/a.csv")


def test_a_server_that_is_gone_is_one_line(monkeypatch):
    monkeypatch.setattr(transfer, "WAITS", ())
    with pytest.raises(RemoteError, match="the server cannot be reached"):
        pachyderm.Place(f"{ADDRESS}/a.csv", "http://127.0.0.1:9").find(f"{ADDRESS}/a.csv")


def test_a_stream_that_was_cut_is_no_file(server, tmp_path):
    own = place(server, "a.csv")
    found = own.find(own.location)
    server.fault = "cut"
    with pytest.raises(RemoteError, match="it ended after 1,000 of"):
        own.fetch(found, tmp_path / "a.csv")


def test_a_failed_commit_is_not_read(server):
    server.errors[f"{1:032x}"] = "datum failed"
    with pytest.raises(RemoteError, match=r"commit 0{12} failed in Pachyderm; repair its pipeline"):
        place(server, "a.csv").find(f"{ADDRESS}/a.csv")


@pytest.mark.parametrize(
    ("location", "endpoint", "said"),
    [
        (f"{ADDRESS}/a.csv", None, "needs its server: endpointUrl"),
        (f"{ADDRESS}/a.csv", "http://pachyderm.example.com", "PACH_PYTHON_AUTH_TOKEN would go to .* unencrypted"),
        ("pachyderm://default/sales/a.csv", "https://pachyderm.example.com", "is no address such as"),
    ],
)
def test_what_is_declared_wrongly_is_one_line(monkeypatch, location, endpoint, said):
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", pachd.TOKEN)
    with pytest.raises(InputError, match=said):
        pachyderm.Place(location, endpoint)


# The pipeline of docs/how-to/pachyderm.md

GUNICORN = """#!{python}
import http.server, json
class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.say(200 if self.path == "/readyz" else 404, {{}})
    def do_POST(self):
        [record] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["records"]
        known = isinstance(record.get("age"), int)
        if known:
            self.say(200, {{"predictions": [{{"score": record["age"] / 100}}]}})
        else:
            self.say(422, {{"detail": "age"}})
    def say(self, status, content):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", {port}), Service).serve_forever()
"""


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    page = (Path(__file__).parents[2] / "docs/how-to/pachyderm.md").read_text(encoding="utf-8")
    added = page.partition("+++ b/deploy/pachyderm.yaml\n")[2].partition("\n```")[0].splitlines()[1:]
    return yaml.safe_load("\n".join(line.removeprefix("+") for line in added))


def test_pachyderm_takes_the_pipeline_and_refuses_a_typo(server, pipeline):
    client = Client.from_pachd_address(server.address)
    client.pps.create_pipeline_v2(create_pipeline_request_json=json.dumps(pipeline))
    [made] = server.pipelines
    assert (made.pipeline.name, made.input.pfs.glob, made.transform.cmd) == ("scores", "/*", ["python", "-"])
    pipeline = pipeline | {"transform": pipeline["transform"] | {"imge": "x"}}
    with pytest.raises(grpc.RpcError, match=r"pipeline\.transform: unknown field imge"):
        client.pps.create_pipeline_v2(create_pipeline_request_json=json.dumps(pipeline))


@pytest.mark.parametrize(("age", "said"), [(20, ""), ("20", '{"detail": "age"}')])
def test_the_pipelines_program_scores_each_record_and_names_what_the_service_refuses(pipeline, tmp_path, age, said):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for folder in ("pfs/records", "pfs/out", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bin/gunicorn").write_text(GUNICORN.format(python=sys.executable, port=port), encoding="utf-8")
    (tmp_path / "bin/gunicorn").chmod(0o755)
    (tmp_path / "pfs/records/new.jsonl").write_text(f'{{"age": 30}}\n{json.dumps({"age": age})}\n', encoding="utf-8")
    program = pipeline["transform"]["stdin"][0].replace("/pfs/", f"{tmp_path}/pfs/").replace(":3000", f":{port}")
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-"], input=program, env=environment, capture_output=True, text=True)
    assert (done.returncode, said in done.stderr) == (1 if said else 0, True), done.stderr
    scores = (tmp_path / "pfs/out/new.jsonl").read_text(encoding="utf-8").splitlines()
    assert scores == ['{"score": 0.3}', *([] if said else ['{"score": 0.2}'])]


# With the lock, as `ml data` has it


def test_a_pinned_commit_is_fetched_again_and_no_token_is_written(server, tmp_path):
    name, location = "data/a.csv", f"{ADDRESS}/a.csv"
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "data").mkdir()
    raw_files.pin(tmp_path, {name: (location, server.address)}, {name})
    text = (tmp_path / "data.lock").read_text(encoding="utf-8")
    assert f"commit:{1:032x}" in text and hashlib.sha256(ROWS).hexdigest() in text and pachd.TOKEN not in text
    server.put("sales", {"/a.csv": b"other"})
    (tmp_path / name).unlink()
    assert raw_files.pull(tmp_path, [name]) == [name]
    assert (tmp_path / name).read_bytes() == ROWS
    assert [one.problem for one in raw_files.status(tmp_path, [name])] == [""]
    raw_files.pin(tmp_path, {name: (location, server.address)}, {name})
    assert f"commit:{2:032x}" in (tmp_path / "data.lock").read_text(encoding="utf-8")
    assert (tmp_path / name).read_bytes() == b"other"


def test_a_commit_with_other_bytes_than_the_lock_has_is_refused(server, tmp_path):
    name, location = "data/a.csv", f"{ADDRESS}/a.csv"
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "data").mkdir()
    raw_files.pin(tmp_path, {name: (location, server.address)}, {name})
    server.commits[f"{1:032x}"]["/a.csv"] = ROWS.replace(b"7,1", b"7,0")
    (tmp_path / name).unlink()
    with pytest.raises(NotFetchedError, match=f"^{name}: .*its bytes were changed.*commit:0+1"):
        raw_files.pull(tmp_path, [name])
    assert not (tmp_path / name).exists()
