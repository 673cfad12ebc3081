"""Check the provenance statement of a release: which workflow built what, from which commit.

`release` attaches it as ``provenance.json`` (in-toto, SLSA). Where GitHub signs, ``provenance.sigstore.json`` holds the
same statement in an envelope with the signature, which ``gh attestation verify`` checks; elsewhere nobody signed it.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from .runs import sha256

STATEMENT, SIGNED = "provenance.json", "provenance.sigstore.json"
STATEMENT_TYPE, PREDICATE_TYPE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
RECORD, RUN = "release.json", "run.tar.gz"
WORKFLOW, BRANCH = ".github/workflows/release.yml", "refs/heads/main"
# What is printed of a statement; nothing else of it is.
IMAGE, DIGEST = re.compile(r"[a-z0-9._/-]{1,300}"), re.compile("[0-9a-f]{64}")
REPOSITORY = re.compile(r"https://[A-Za-z0-9._-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")
EXPECTED = "is not what 'release' writes"


def find(run: Path) -> Path | None:
    """Return the statement that lies in a run's folder, or beside it as among the files of a release."""
    return next((place / STATEMENT for place in (run, run.parent) if (place / STATEMENT).is_file()), None)


def check(file: Path, run: Path, commit: str | None) -> tuple[str, str]:
    """Check a statement against the run that it is about.

    Returns
    -------
    What it says, for people, and what is wrong with it; one of the two is empty.
    """
    try:
        statement = json.loads(file.read_text(encoding="utf-8"))
        subjects = {entry["name"]: entry["digest"]["sha256"] for entry in statement["subject"]}
        built = statement["predicate"]["buildDefinition"]
        source, workflow = built["resolvedDependencies"][0], built["externalParameters"]["workflow"]
        made_from, place = source["digest"]["gitCommit"], workflow["repository"]
        kinds = (statement["_type"], statement["predicateType"])
        name, image = next((name, digest) for name, digest in subjects.items() if name not in (RECORD, RUN))
        signed = _signed_statement(file.with_name(SIGNED))
        if not (IMAGE.fullmatch(name) and REPOSITORY.fullmatch(place) and DIGEST.fullmatch(image)):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, StopIteration):
        return "", EXPECTED
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE):
        return "", f"{EXPECTED}: another kind of statement"
    if (workflow["path"], workflow["ref"]) != (WORKFLOW, BRANCH):
        return "", f"names another workflow or branch than {WORKFLOW} at {BRANCH}"
    if made_from != commit:
        return "", f"is about another commit than {str(commit)[:7]}"
    for subject, path in ((RECORD, run / RECORD), (RUN, file.with_name(RUN))):
        if (subject == RECORD or path.is_file()) and sha256(path) != subjects.get(subject):
            return "", f"is about another {subject}"
    if signed and (signed["subject"], signed["predicate"]["buildDefinition"]["resolvedDependencies"]) != (
        statement["subject"],
        built["resolvedDependencies"],
    ):
        return "", f"is not what {SIGNED} holds"
    return f"{name}@sha256:{image[:12]}…, built by {WORKFLOW} of {place}; {_signature(bool(signed), place)}", ""


def _signed_statement(bundle: Path) -> Any:
    """Return the statement inside a bundle; none where there is no bundle. Its signature is for gh to check."""
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
