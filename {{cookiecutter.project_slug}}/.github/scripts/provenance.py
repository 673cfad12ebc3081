"""Write down where a release comes from: what GitHub signs where it attests, in the same words (in-toto, SLSA).

Usage: provenance.py FOLDER. Of the image, the run and the record inside the run, which lie in FOLDER, it writes
`provenance.json` there, and prints it.
"""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORKFLOW = ".github/workflows/release.yml"
RECORD = "model/release.json"


def main() -> None:
    """Write the statement."""
    folder = Path(sys.argv[1])
    asked = ["skopeo", "inspect", "--format", "{{.Digest}}", f"dir:{folder}/image"]
    image = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    digests = {os.environ["IMAGE"]: image.removeprefix("sha256:")} | digests_of_run(folder / "run.tar.gz")
    text = json.dumps(statement(digests, os.environ), indent=2) + "\n"
    (folder / "provenance.json").write_text(text, encoding="utf-8")
    print(text, end="")


def digests_of_run(archive: Path) -> dict[str, str]:
    """The hashes of a packed run and of the record inside it."""
    with tarfile.open(archive) as packed:
        record = packed.extractfile(RECORD)
        if record is None:
            sys.exit(f"{archive}: {RECORD} is no file")
        inside = hashlib.sha256(record.read()).hexdigest()
    return {archive.name: hashlib.sha256(archive.read_bytes()).hexdigest(), "release.json": inside}


def statement(digests: Mapping[str, str], env: Mapping[str, str]) -> dict[str, Any]:
    """State which run of the workflow made files with these hashes, from which commit."""
    repository, ref = f"{env['GITHUB_SERVER_URL']}/{env['GITHUB_REPOSITORY']}", env["GITHUB_REF"]
    github = {"event_name": env["GITHUB_EVENT_NAME"], "repository_id": env["REPOSITORY_ID"]}
    github |= {"repository_owner_id": env["OWNER_ID"], "runner_environment": env["RUNNER"]}
    run = f"{repository}/actions/runs/{env['GITHUB_RUN_ID']}/attempts/{env['GITHUB_RUN_ATTEMPT']}"
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in digests.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://actions.github.io/buildtypes/workflow/v1",
                "externalParameters": {"workflow": {"ref": ref, "repository": repository, "path": WORKFLOW}},
                "internalParameters": {"github": github},
                "resolvedDependencies": [
                    {"uri": f"git+{repository}@{ref}", "digest": {"gitCommit": env["GITHUB_SHA"]}}
                ],
            },
            "runDetails": {
                "builder": {"id": f"{repository}/{WORKFLOW}@{ref}"},
                "metadata": {"invocationId": run},
            },
        },
    }


if __name__ == "__main__":
    main()
