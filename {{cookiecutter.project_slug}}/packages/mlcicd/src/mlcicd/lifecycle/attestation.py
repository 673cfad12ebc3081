"""Check the provenance statement of a release: which workflow built which image from which commit.

The CI job `release` attaches it as ``provenance.json`` (in-toto, SLSA). If GitHub signs it, the same statement is in
``provenance.sigstore.json`` with a signature that ``gh attestation verify`` checks; otherwise it is unsigned.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from mlcicd.training.run import sha256

STATEMENT, SIGNED = "provenance.json", "provenance.sigstore.json"
STATEMENT_TYPE, PREDICATE_TYPE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
RECORD, RUN = "release.json", "run.tar.gz"
WORKFLOW, BRANCH = ".github/workflows/release.yml", "refs/heads/main"
# Only parts of a statement that match these patterns are printed.
IMAGE, DIGEST = re.compile(r"[a-z0-9._/-]{1,300}"), re.compile("[0-9a-f]{64}")
REPOSITORY = re.compile(r"https://[A-Za-z0-9._-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")
EXPECTED = "is not what 'release' writes"


def find(run: Path) -> Path | None:
    """Return the path of the statement in a run's folder or in its parent; None if there is none."""
    return next((place / STATEMENT for place in (run, run.parent) if (place / STATEMENT).is_file()), None)


def check(file: Path, run: Path, commit: str | None) -> tuple[str, str]:
    """Check a statement against the run that it describes.

    Returns
    -------
    A summary, and the first problem; one of the two is empty.
    """
    try:
        statement = json.loads(file.read_text(encoding="utf-8"))
        subjects = {entry["name"]: entry["digest"]["sha256"] for entry in statement["subject"]}
        definition = statement["predicate"]["buildDefinition"]
        source, workflow = definition["resolvedDependencies"][0], definition["externalParameters"]["workflow"]
        source_commit, repository = source["digest"]["gitCommit"], workflow["repository"]
        types = (statement["_type"], statement["predicateType"])
        name, image = next((name, digest) for name, digest in subjects.items() if name not in (RECORD, RUN))
        signed = _signed_statement(file.with_name(SIGNED))
        if not (IMAGE.fullmatch(name) and REPOSITORY.fullmatch(repository) and DIGEST.fullmatch(image)):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, StopIteration):
        return "", EXPECTED
    if types != (STATEMENT_TYPE, PREDICATE_TYPE):
        return "", f"{EXPECTED}: another kind of statement"
    if (workflow["path"], workflow["ref"]) != (WORKFLOW, BRANCH):
        return "", f"names another workflow or branch than {WORKFLOW} at {BRANCH}"
    if source_commit != commit:
        return "", f"is about another commit than {str(commit)[:7]}"
    for subject, path in ((RECORD, run / RECORD), (RUN, file.with_name(RUN))):
        if (subject == RECORD or path.is_file()) and sha256(path) != subjects.get(subject):
            return "", f"is about another {subject}"
    if signed and (signed["subject"], signed["predicate"]["buildDefinition"]["resolvedDependencies"]) != (
        statement["subject"],
        definition["resolvedDependencies"],
    ):
        return "", f"is not what {SIGNED} holds"
    signature = _signature(bool(signed), repository)
    return f"{name}@sha256:{image[:12]}…, built by {WORKFLOW} of {repository}; {signature}", ""


def _signed_statement(bundle: Path) -> Any:
    """Return the statement in a bundle, or None without a bundle; its signature is left to gh."""
    if not bundle.is_file():
        return None
    envelope = json.loads(bundle.read_text(encoding="utf-8"))["dsseEnvelope"]
    return json.loads(base64.b64decode(envelope["payload"], validate=True))


def _signature(signed: bool, place: str) -> str:
    if not signed:
        return "nobody signed it"
    repository = "/".join(place.split("/")[-2:])
    return (
        f"signed, and checked by 'gh attestation verify {RUN} --repo {repository} "
        f"--signer-workflow {repository}/{WORKFLOW} --source-ref {BRANCH}'"
    )
