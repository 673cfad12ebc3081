"""The image that a release hands over, gathered by the real skopeo: health check, labels and one digest.

Skips where skopeo is not installed. `SKOPEO` names other ones as well, separated by colons: the archive of an older and
of a newer Docker is read by each.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from acting import workflow
from workflows.coverage_table import PROJECT

SKOPEO = [path for path in (shutil.which("skopeo"), *os.environ.get("SKOPEO", "").split(":")) if path]
NAME = "ghcr.io/acme/churn:abc"
LABELS = {"org.opencontainers.image.revision": "abc"}
HEALTH = {"Test": ["CMD", "python", "-c", "pass"], "Interval": 10_000_000_000}

pytestmark = pytest.mark.skipif(not SKOPEO, reason="skopeo is not installed: apt-get install skopeo")


def pack(files: dict[str, bytes]) -> bytes:
    """A tar archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def saved(*, old: bool) -> bytes:
    """What `docker save` writes: before Docker 25 a layout of its own, since then an OCI layout as well."""
    layer = pack({"hello": bytes(range(256)) * 8})
    image: dict[str, Any] = {"architecture": "amd64", "os": "linux", "history": [{"created_by": "x"}]}
    image |= {"config": {"Labels": LABELS, "Healthcheck": HEALTH, "Cmd": ["gunicorn"]}}
    image |= {"rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}"]}}
    config = json.dumps(image).encode()
    if old:
        names = {f"{sha256(config)}.json": config, f"{sha256(layer)}/layer.tar": layer}
    else:
        names = {f"blobs/sha256/{sha256(content)}": content for content in (config, layer)}
    first, second = names
    manifest = [{"Config": first, "RepoTags": [NAME], "Layers": [second]}]
    return pack(names | {"manifest.json": json.dumps(manifest).encode()})


def gather(skopeo: str, folder: Path, *, old: bool) -> str:
    """Run the step's own command; returns the digest."""
    folder.mkdir()
    (folder / "image.tar").write_bytes(saved(old=old))
    steps = workflow(PROJECT, "release")["jobs"]["build"]["steps"]
    [script] = [step["run"] for step in steps if step["name"] == "Gather what is to be published"]
    [command] = [line.strip() for line in script.splitlines() if line.strip().startswith("skopeo ")]
    environment = os.environ | {"RUNNER_TEMP": str(folder), "IMAGE": "ghcr.io/acme/churn", "GITHUB_SHA": "abc"}
    (folder / "release").mkdir()
    command = command.replace("skopeo", skopeo, 1)
    subprocess.run(["bash", "-ec", command], cwd=folder, env=environment, check=True)
    asked = [skopeo, "inspect", "--format", "{{.Digest}}", f"dir:{folder}/release/image"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("old", [True, False], ids=["older docker", "newer docker"])
@pytest.mark.parametrize("skopeo", SKOPEO)
def test_the_image_keeps_health_check_labels_and_digest(skopeo: str, old: bool, tmp_path: Path) -> None:
    digest = gather(skopeo, tmp_path / "work", old=old)
    image = tmp_path / "work/release/image"
    manifest = json.loads((image / "manifest.json").read_text())
    config = json.loads((image / manifest["config"]["digest"].removeprefix("sha256:")).read_text())
    assert (config["config"]["Healthcheck"], config["config"]["Labels"]) == (HEALTH, LABELS)
    assert all("gzip" in layer["mediaType"] for layer in manifest["layers"]), (
        "it is compressed before it is handed over"
    )
    # As `publish` pushes it.
    copied = ["copy", "--quiet", "--preserve-digests", f"dir:{image}", f"dir:{tmp_path}/pushed"]
    subprocess.run([skopeo, *copied], check=True)
    assert f"sha256:{sha256((tmp_path / 'pushed/manifest.json').read_bytes())}" == digest


def test_no_client_but_docker_speaks_to_its_daemon() -> None:
    for file in (PROJECT / ".github/workflows").glob("*.yml"):
        assert "docker-daemon:" not in file.read_text(encoding="utf-8"), file.name
