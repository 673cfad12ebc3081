"""Raw data in object storage and on the web: the real s3fs against moto's S3, and a web server, on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import object_store
import pandas as pd
import pytest
from fsspec.registry import _registry
from mlcicd import cli_data
from mlcicd.compute import places
from mlcicd.contract import document as contracts
from mlcicd.contract import servers
from mlcicd.core.errors import InputError
from mlcicd.core.yaml_io import parse_yaml
from mlcicd.data import load
from mlcicd.lifecycle import audit as audits
from mlcicd.partitions import validation
from mlcicd.remote import transfer
from mlcicd.sources import lock, raw_files
from mlcicd.sources.pins import NotFetchedError
from mlcicd.training import run
from object_store import PLANTED, S3
from test_review import FILES, based, commit, git
from test_sources import trained_on as trained_on
from typer.testing import CliRunner

ROWS, OTHER = (b"id,y\n" + b"".join(b"%d,%d\n" % (i, i % n) for i in range(50)) for n in (2, 3))
NAME = "data/a.csv"
CONTRACT = """\
apiVersion: v3.2.0
kind: DataContract
id: x
version: 1.0.0
status: active
servers:
  - {{server: a, type: s3, location: {location}, endpointUrl: '{endpoint}'}}
schema:
  - name: a
    physicalName: {name}
    properties:
      - {{name: id, logicalType: integer, customProperties: [{{property: role, value: id}}]}}
      - {{name: y, logicalType: integer, customProperties: [{{property: role, value: target}}]}}
"""


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with object_store.s3(tmp_path_factory.mktemp("moto")) as server:
        server.bucket("versioned", versions=True)
        server.bucket("plain", versions=False)
        yield server


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (PLANTED | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(transfer, "WAITS", (0.0, 0.0))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "--quiet")
    commit(root, FILES)
    return root


def declare(root: Path, location: str, endpoint: str = "", name: str = NAME) -> None:
    text = CONTRACT.format(location=location, endpoint=endpoint, name=name)
    (root / "contract.yaml").write_text(text.replace(", endpointUrl: ''", ""), encoding="utf-8")


def pin(root: Path) -> None:
    places = servers.declared(contracts.load(root / "contract.yaml"))
    raw_files.pin(root, places, set(places))


def pinned(root: Path, s3: S3, key: str, content: bytes = ROWS, bucket: str = "versioned") -> None:
    """Upload an object, declare it and pin it, and commit that."""
    s3.put(bucket, key, content)
    declare(root, f"s3://{bucket}/{key}", s3.url)
    pin(root)
    commit(root, {})


def refused(root: Path) -> str:
    """Pull what cannot be had; return the line, once nothing of the file is left and nothing secret is shown."""
    with pytest.raises(NotFetchedError) as caught:
        raw_files.pull(root, [NAME])
    return judged(root, caught.value)


def judged(root: Path, error: Exception) -> str:
    said = str(error)
    assert "\n" not in said and said.startswith(f"{NAME}: is in ")
    assert not any(secret in said for secret in PLANTED.values())
    assert not [path.name for path in (root / "data").glob("*") if path.name != ".gitignore"]
    return said


# What is pinned is what is read


def test_a_file_is_pinned_by_its_version_and_pulled_as_it_was(project, s3):
    pinned(project, s3, "story/a.csv")
    entry = lock.read(project)[NAME]
    assert entry.file and entry.file.revision.startswith("version-id:") and entry.file.size == len(ROWS)
    assert git(project, "ls-files", "data") == "data/.gitignore", "git has the pin, and not the data"
    assert (project / "data/.gitignore").read_text(encoding="utf-8") == "/a.csv\n"
    s3.put("versioned", "story/a.csv", OTHER)
    (project / NAME).unlink()
    with pytest.raises(InputError, match=f"^{NAME}: is at s3://versioned/story/a.csv, and is not here; fetch it with"):
        os.chdir(project)
        load.read_raw(contracts.load(project / "contract.yaml"), Path())
    assert raw_files.pull(project, [NAME]) == [NAME]
    assert (project / NAME).read_bytes() == ROWS, "the pinned version, not today's"
    assert len(load.read_raw(contracts.load(project / "contract.yaml"), project)[0]["a"]) == 50
    pin(project)
    assert (project / NAME).read_bytes() == OTHER
    assert [one.problem for one in raw_files.status(project, [NAME])] == [""]


def test_a_folder_of_parts_is_pinned_part_by_part(project, s3):
    parts = {f"part-{n}.csv": b"id,y\n%d,%d\n" % (n, n % 2) for n in range(3)}
    for name, content in (parts | {"_SUCCESS": b"x", "notes.txt": b"x"}).items():
        s3.put("versioned", f"parts/{name}", content)
    declare(project, "s3://versioned/parts/*.csv", s3.url, "data/parts")
    pin(project)
    entry = lock.read(project)["data/parts"]
    assert list(entry.parts or {}) == sorted(parts)
    assert len(load.read_raw(contracts.load(project / "contract.yaml"), project)[0]["a"]) == 3
    (project / "data/parts/part-1.csv").unlink()
    [one] = raw_files.status(project, ["data/parts"])
    assert one.problem.startswith("lacks part-1.csv, which is at s3://versioned/parts/*.csv; fetch it with")
    raw_files.pull(project, ["data/parts"])
    assert {path.name: path.read_bytes() for path in (project / "data/parts").iterdir()} == parts


@pytest.mark.parametrize("same_size", [True, False])
def test_changed_bytes_under_a_pinned_name_are_refused_and_both_are_named(project, s3, same_size):
    pinned(project, s3, f"changed-{same_size}/a.csv", bucket="plain")
    entry = lock.read(project)[NAME]
    (project / NAME).unlink()
    other = ROWS.replace(b"7,1", b"7,0") if same_size else OTHER + b"50,1\n"
    s3.put("plain", f"changed-{same_size}/a.csv", other)
    said = refused(project)
    tag = s3.client.head_object(Bucket="plain", Key=f"changed-{same_size}/a.csv")["ETag"].strip('"')
    assert f"there it is etag:{tag}" in said and f"and data.lock pins {entry.revision}" in said
    assert said.endswith("take them with 'ml data pin', or upload the pinned ones again")
    s3.put("plain", f"changed-{same_size}/a.csv", ROWS)
    assert raw_files.pull(project, [NAME]) == [NAME]


def test_a_base_is_trained_on_what_its_own_lock_pins(project, s3, tmp_path, trained_on):
    pinned(project, s3, "base/a.csv")
    git(project, "switch", "--quiet", "--create", "branch")
    pinned(project, s3, "base/a.csv", OTHER)
    assert "it ends here" in based(project, tmp_path / "1").why
    assert trained_on == [ROWS.decode()] and (project / NAME).read_bytes() == OTHER
    # A base with the bytes that are here asks nobody; one with data in git needs no lock.
    git(project, "switch", "--quiet", "--create", "later")
    s3.client.delete_object(Bucket="versioned", Key="base/a.csv", VersionId=lock.read(project)[NAME].revision[11:])
    assert "it ends here" in based(project, tmp_path / "2", "branch").why
    assert trained_on == [ROWS.decode(), OTHER.decode()]
    # The version of main is gone there, too: the line names the base.
    git(project, "switch", "--quiet", "main")
    gone = lock.read(project)[NAME].revision[11:]
    git(project, "switch", "--quiet", "later")
    s3.client.delete_object(Bucket="versioned", Key="base/a.csv", VersionId=gone)
    why = based(project, tmp_path / "3").why
    assert "the base, has data/a.csv in s3://versioned/base/a.csv, and it could not be fetched (" in why


def test_what_another_branch_pins_replaces_what_is_here_and_what_nobody_pins_stays(project, s3):
    pinned(project, s3, "switch/a.csv")
    git(project, "switch", "--quiet", "--create", "branch")
    pinned(project, s3, "switch/a.csv", OTHER)
    git(project, "switch", "--quiet", "main")
    with pytest.raises(InputError, match=r"a\.csv: is sha256 .* here, and data\.lock names sha256 .*'ml data pull'"):
        load.read_raw(contracts.load(project / "contract.yaml"), project)
    raw_files.pull(project, [NAME])
    assert (project / NAME).read_bytes() == ROWS
    (project / NAME).write_bytes(b"id,y\n1,1\n")
    for command in (lambda: raw_files.pull(project, [NAME]), lambda: pin(project)):
        with pytest.raises(InputError, match=r"^data/a\.csv: is not what data\.lock pins, and no commit pins it"):
            command()
    assert (project / NAME).read_bytes() == b"id,y\n1,1\n"


def test_a_file_of_the_web_is_pinned_by_its_tag_and_hash(project):
    with object_store.web() as server:
        server.files["/a.csv"] = ROWS
        declare(project, f"{server.url}/a.csv")
        pin(project)
        assert lock.read(project)[NAME].revision == f"etag:{len(ROWS)}-{sum(ROWS)}"
        (project / NAME).unlink()
        server.failures = 2
        assert raw_files.pull(project, [NAME]) == [NAME], "a cut connection is tried again"
        assert (project / NAME).read_bytes() == ROWS
        commit(project, {})
        (project / NAME).unlink()
        for how, cause in ((503, "busy or broken"), (403, "no permission"), (401, "credentials are wrong")):
            server.failures, server.how = 9, how
            assert cause in refused(project)
        server.failures, server.how = 9, "cut"
        assert f"{server.url}/a.csv" in refused(project)
        server.failures = 0
        del server.files["/a.csv"]
        assert "there is no such file" in refused(project)


# What goes wrong


def test_each_fault_of_s3_is_one_line_with_its_own_remedy(project, s3, monkeypatch):
    s3.put("plain", "fault/a.csv", ROWS)

    def said(location: str = "s3://plain/fault/a.csv", endpoint: str = s3.url) -> str:
        declare(project, location, endpoint)
        with pytest.raises(NotFetchedError) as caught:
            pin(project)
        assert location in str(caught.value) and not (project / lock.FILE).exists()
        return judged(project, caught.value)

    assert "there is no such file); check the location" in said("s3://plain/fault/none.csv")
    assert "there is no such bucket); check the location" in said("s3://no-such-bucket/a.csv")
    assert "there is no such file in it); check" in said("s3://plain/fault/*.parquet")
    assert "the server cannot be reached); check the network" in said(endpoint="http://127.0.0.1:9")
    with s3.strict():
        assert "the credentials are wrong); set AWS_ACCESS_KEY_ID" in said()
        assert "the credentials are wrong); set AWS_ACCESS_KEY_ID" in said("s3://plain/fault/")
    s3.iam.create_user(UserName="guest")
    key = s3.iam.create_access_key(UserName="guest")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    with s3.strict():
        assert "no permission to read it); ask its owner" in said()
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        assert "the credentials are wrong); set AWS" in said()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    assert "no credentials that can be used are set); set AWS_ACCESS_KEY_ID" in said()


def test_a_server_that_never_answers_is_given_up(project, monkeypatch):
    monkeypatch.setenv("ML_DATA_TIMEOUT", "0.2")
    monkeypatch.setattr(transfer, "WAITS", (0.0,))
    with object_store.silent() as url:
        for location, endpoint in (("s3://plain/a.csv", url), (f"{url}/a.csv", "")):
            declare(project, location, endpoint)
            with pytest.raises(NotFetchedError) as caught:
                pin(project)
            assert "the server does not answer); check the network, or set ML_DATA_TIMEOUT" in str(caught.value)
    monkeypatch.setenv("ML_DATA_TIMEOUT", "soon")
    with pytest.raises(InputError, match=r"^ML_DATA_TIMEOUT: must be a number of seconds"):
        pin(project)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system of Linux")
def test_on_a_full_disk_nothing_half_written_stays(project, s3):
    pinned(project, s3, "full/a.csv", ROWS * 2000)
    (project / NAME).unlink()
    disk = project / "data"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], capture_output=True).returncode:
        assert not (os.environ.get("CI") and os.geteuid() == 0), "CI runs this as root: a file system can be mounted"
        pytest.skip("no right to mount a file system")
    try:
        with pytest.raises(InputError, match=r"a\.csv: cannot be written \(No space left on device\); make room"):
            raw_files.pull(project, [NAME])
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_two_pulls_at_once_both_have_the_file(project, s3):
    pinned(project, s3, "twice/a.csv", ROWS * 5000)
    (project / NAME).unlink()
    code = f"from pathlib import Path; from mlcicd.sources import raw_files; raw_files.pull(Path(), ['{NAME}'])"
    pulls = [subprocess.Popen([sys.executable, "-c", code], cwd=project, stderr=subprocess.PIPE) for _ in range(2)]
    said = [pull.communicate()[1].decode() for pull in pulls]
    assert [pull.returncode for pull in pulls] == [0, 0], said
    assert [one.problem for one in raw_files.status(project, [NAME])] == [""]
    assert sorted(path.name for path in (project / "data").iterdir()) == [".gitignore", "a.csv"]


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://a:b@example.org/a.csv", "servers: 'a': location 'https://example.org/a.csv' holds a credential"),
        ("https://example.org/a.csv?sig=x", "holds a credential"),
        ("http://example.org/a.csv", "is not encrypted; write https://"),
        ("data/a.csv", "is no address, such as s3://"),
        ("ftp://example.org/a.csv", "servers: ftp://example.org/a.csv is not understood; known: s3://"),
    ],
)
def test_a_location_that_cannot_be_read_is_refused_before_anything_is_asked(project, location, said):
    declare(project, f"'{location}'")
    with pytest.raises(InputError, match=r"^contract\.yaml: servers: ") as caught:
        pin(project)
    assert said in str(caught.value) and not (project / lock.FILE).exists()


def test_a_machine_without_the_package_is_told_what_installs_it(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)
    declare(project, "s3://plain/a.csv")
    with pytest.raises(
        InputError, match=r"s3:// needs s3fs, which is not installed; run 'uv add --group object-storage"
    ):
        pin(project)


# The commands, and what a run says of its data


def test_the_commands_say_what_is_declared_where_it_is_and_what_is_pinned(project, s3, monkeypatch):
    monkeypatch.chdir(project)

    def ml(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli_data.app, words)
        if isinstance(done.exception, InputError):
            return 2, str(done.exception)
        return done.exit_code, done.output

    s3.put("versioned", "told/a.csv", ROWS)
    declare(project, "s3://versioned/told/a.csv", s3.url)
    declared = "contract.yaml: 'a' is at s3://versioned/told/a.csv, and data.lock does not pin it; run 'ml data pin'"
    assert ml("status") == ml("pull") == (2, declared)
    commit(project, {NAME: ROWS.decode()})
    said = ml("pin")
    assert said == (2, f"{NAME}: is in git, too; take it out with 'git rm --cached -r {NAME}', then pin it")
    git(project, "rm", "--cached", "--quiet", NAME)
    code, text = ml("pin")
    assert code == 0 and text.startswith(f"{NAME}: version-id:") and "before" not in text
    version = lock.read(project)[NAME].revision
    assert ml("pin") == (0, f"{NAME}: {version}, as before\n")
    code, text = ml("status")
    assert (
        code == 0 and text.startswith(f"{NAME}  s3://versioned/told/a.csv  version-id ") and text.endswith("  here\n")
    )
    (project / NAME).unlink()
    code, text = ml("status")
    assert code == 1 and "is not here; fetch it with 'ml data pull'" in text
    assert ml("pull") == (0, f"fetched: {NAME}\n")
    assert ml("pin", "data/b.csv") == (2, f"data/b.csv: is at no server of contract.yaml; at one are: {NAME}")
    s3.put("versioned", "moved/a.csv", ROWS)
    declare(project, "s3://versioned/moved/a.csv", s3.url)
    assert ml("pull")[1].endswith("and data.lock pins it at s3://versioned/told/a.csv; run 'ml data pin'")
    code, text = ml("pin")
    assert code == 0 and f", before {version}" in text
    text = (project / "contract.yaml").read_text(encoding="utf-8").replace("server: a,", "server: b,")
    (project / "contract.yaml").write_text(text, encoding="utf-8")
    assert ml("status")[1].startswith(
        "contract.yaml: 'a' is at no server, and data.lock pins it at s3://versioned/moved"
    )
    assert ml("pin")[1].startswith("nothing to pin: no server of contract.yaml is named after a raw file (a)")
    assert lock.read(project) == {}


def test_a_manifest_names_place_version_and_hash_and_an_audit_follows_them(project, s3):
    pinned(project, s3, "audited/a.csv")
    manifest = run.provenance(project, [NAME]) | {"files": {}}
    version = lock.read(project)[NAME].revision
    assert manifest["sources"][NAME] == {
        "store": "object-storage",
        "version": f"sha256:{manifest['data'][NAME]}",
        "location": "s3://versioned/audited/a.csv",
        "revision": version,
    }
    folder = project / "run"
    folder.mkdir()
    (folder / "metrics.json").write_text('{"task": "binary", "classes": [0, 1]}', encoding="utf-8")

    def audit(made: dict) -> list[str]:
        (folder / "manifest.json").write_text(json.dumps(made), encoding="utf-8")
        answers, links = audits.audit(str(folder), project)
        assert "(s3://versioned/audited/a.csv, version-id " in answers["data"]
        return [f"{link.name} {link.problem}" for link in links if link.problem]

    (project / NAME).unlink()
    assert audit(manifest) == [], "the lock has the hash: the bytes need not be here"
    forged = json.loads(json.dumps(manifest))
    forged["data"][NAME] = "0" * 64
    assert audit(forged)[0].startswith(f"{NAME} is not what data.lock of commit {manifest['commit'][:7]} says: 0000")
    moved = json.loads(json.dumps(manifest))
    moved["sources"][NAME]["revision"] = "version-id:another"
    assert audit(moved)[0].startswith(f"{NAME} is at s3://versioned/audited/a.csv {version} in data.lock of commit")
    shown = json.dumps(manifest) + (project / lock.FILE).read_text(encoding="utf-8")
    assert not any(secret in shown for secret in PLANTED.values())


def test_one_server_may_have_all_files_and_two_may_not_have_one():
    text = CONTRACT.format(location="'s3://b/{model}.csv'", endpoint="http://minio:9000", name=NAME)
    document = contracts.parse(parse_yaml(text.replace("server: a", "server: all"), "contract.yaml"))
    assert servers.declared(document) == {NAME: ("s3://b/a.csv", "http://minio:9000")}
    twice = document.model_copy(update={"servers": document.servers * 2})
    with pytest.raises(InputError, match="'a' is at two of them; leave one"):
        servers.declared(twice)


# A table that is checked where it is


def test_a_table_in_object_storage_is_checked_part_by_part_with_the_findings_of_a_local_one(tmp_path, s3, monkeypatch):
    contract = contracts.parse(
        parse_yaml(CONTRACT.format(location="s3://b/k", endpoint="", name=NAME), "contract.yaml")
    )
    table = contract.table.model_copy(
        update={"properties": [p.model_copy(update={"unique": True}) for p in contract.table.properties]}
    )
    for n in range(3):
        frame = pd.DataFrame({"id": range(40 * n, 40 * n + 50), "y": [0, 1] * 25})
        frame.to_parquet(tmp_path / f"part-{n}.parquet")
        s3.put("versioned", f"table/part-{n}.parquet", (tmp_path / f"part-{n}.parquet").read_bytes())
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "scratch").mkdir()
    here, there = (
        validation.check(where, table, lambda _: places.opened(None, print))
        for where in (tmp_path, "s3://versioned/table/")
    )
    assert there == here and here[1] == 150
    assert {violation.rule for violation in here[0]} == {"unique"} and here[0][0].count == 40
    assert not list((tmp_path / "scratch").iterdir())
    with pytest.raises(InputError, match=r"^s3://versioned/none/: could not be read \(there is no such file\); check"):
        validation.check("s3://versioned/none/", table, lambda _: places.opened(None, print))
