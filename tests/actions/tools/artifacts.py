"""Stand-in for upload-artifact and download-artifact: zip archives, listed where GitHub's API lists them."""

import json
import os
import sys
import zipfile
from pathlib import Path

import plans
import storage
from state import STANDIN, api, record

REPOSITORY, RUN = os.environ["GITHUB_REPOSITORY"], os.environ["GITHUB_RUN_ID"]
LISTING = api(f"repos/{REPOSITORY}/actions/runs/{RUN}/artifacts")
NAME = os.environ["NAME"]


def listed() -> list[dict]:
    """The artifacts of this run."""
    return json.loads(LISTING.read_text())["artifacts"] if LISTING.exists() else []


def refused_names() -> list[str]:
    """Artifacts for which there is no room, where a test names them."""
    file = STANDIN / "no-room-for"
    return file.read_text().split() if file.exists() else []


def upload() -> None:
    """Store the named files relative to their common folder, as the real action does."""
    plans.refuse("actions")
    if storage.is_over() or NAME in refused_names():
        plans.refuse_always("artifact storage")
    artifacts = listed()
    if any(artifact["name"] == NAME for artifact in artifacts):
        sys.exit(f"::error::Conflict: an artifact with this name already exists on the workflow run: {NAME}")
    wanted = [Path(line.strip()) for line in os.environ["PATHS"].splitlines() if line.strip()]
    files = [file for path in wanted for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    files = [file for file in files if file.is_file() and not any(part.startswith(".") for part in file.parts)]
    if not files:
        print(f"::warning::No files were found with the provided path: {wanted}")
        sys.exit(1 if os.environ["IF_NONE"] == "error" else 0)
    root = wanted[0] if len(wanted) == 1 and wanted[0].is_dir() else Path(os.path.commonpath([f.parent for f in files]))
    identifier = int(RUN) * 100 + len(artifacts)
    content = api(f"repos/{REPOSITORY}/actions/artifacts/{identifier}/zip")
    content.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(root))
    size, day = content.stat().st_size, storage.now() / 24
    storage.keep(identifier, NAME, size, until=day + (float(os.environ["DAYS"]) or 90))
    artifacts.append({"id": identifier, "name": NAME, "size_in_bytes": size, "expired": False})
    LISTING.parent.mkdir(parents=True, exist_ok=True)
    LISTING.write_text(json.dumps({"total_count": len(artifacts), "artifacts": artifacts}))
    record(event="upload", name=NAME, size=size)
    with Path(os.environ["GITHUB_OUTPUT"]).open("a") as file:
        file.write(f"artifact-id={identifier}\n")


def download() -> None:
    """Unpack an artifact."""
    plans.refuse("actions")
    found = [artifact["id"] for artifact in listed() if artifact["name"] == NAME]
    if not found:
        sys.exit(f"::error::Artifact not found for name: {NAME}")
    with zipfile.ZipFile(api(f"repos/{REPOSITORY}/actions/artifacts/{found[0]}/zip")) as archive:
        archive.extractall(os.environ["TARGET"])


if __name__ == "__main__":
    {"upload": upload, "download": download}[sys.argv[1]]()
