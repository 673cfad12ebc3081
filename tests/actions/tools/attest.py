"""Stand-in for attest-build-provenance: the statement that the real one signs, in a bundle without a signature.

The statement is built as packages/attest/src/provenance.ts of actions/toolkit builds it. Where the table of plans says
that GitHub does not attest, it refuses with GitHub's own words.
"""

import base64
import json
import os
import re
import sys
from pathlib import Path

import plans
from state import record

ENV = os.environ
WORKFLOW = ".github/workflows/release.yml"

subjects = []
for line in Path(ENV["CHECKSUMS"]).read_text().splitlines():
    found = re.fullmatch(r"([0-9a-f]{64}) [ *](\S+)", line)
    if not found:
        sys.exit(f"::error::Invalid digest: {line}")
    subjects.append({"name": found[2], "digest": {"sha256": found[1]}})
if not subjects:
    sys.exit("::error::Could not find subject")
plans.refuse("attestations")
repository = f"{ENV['GITHUB_SERVER_URL']}/{ENV['GITHUB_REPOSITORY']}"
github = {"event_name": ENV["GITHUB_EVENT_NAME"], "repository_id": ENV.get("GITHUB_REPOSITORY_ID", "")}
github |= {"repository_owner_id": ENV.get("GITHUB_REPOSITORY_OWNER_ID", ""), "runner_environment": "github-hosted"}
statement = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": subjects,
    "predicateType": "https://slsa.dev/provenance/v1",
    "predicate": {
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {"workflow": {"ref": ENV["GITHUB_REF"], "repository": repository, "path": WORKFLOW}},
            "internalParameters": {"github": github},
            "resolvedDependencies": [
                {"uri": f"git+{repository}@{ENV['GITHUB_REF']}", "digest": {"gitCommit": ENV["GITHUB_SHA"]}}
            ],
        },
        "runDetails": {
            "builder": {"id": f"{repository}/{WORKFLOW}@{ENV['GITHUB_REF']}"},
            "metadata": {"invocationId": f"{repository}/actions/runs/{ENV['GITHUB_RUN_ID']}/attempts/1"},
        },
    },
}
payload = base64.b64encode(json.dumps(statement).encode()).decode()
envelope = {"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": [{"sig": ""}]}
bundle = Path(ENV["RUNNER_TEMP"]) / "attestation.json"
bundle.write_text(json.dumps({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": envelope}))
with Path(ENV["GITHUB_OUTPUT"]).open("a") as file:
    file.write(f"bundle-path={bundle}\n")
image = subjects[0]
record(event="attest", image=image["name"], digest="sha256:" + image["digest"]["sha256"], statement=statement)
