"""A release in the account's registries: its image in ECR, and a model package with its card in SageMaker's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mlcicd.core.errors import InputError
from mlcicd.deployment.release import Release
from mlcicd.deployment.sagemaker_account import NOT_IN_TAGS, Account, Settings, facts
from mlcicd.system import processes
from mlcicd.system.scratch import scratch
from mlcicd.training.run import Run

SHORT, LONG = 1024, 2048  # characters that SageMaker's schema of a card allows
SERVICE = "sagemaker"


def push(account: Account, settings: Settings, release: Release, root: Path) -> str:
    """Copy a release's image to ECR, where SageMaker can pull it; return its name with the same digest."""
    host, _, name = settings.repository.partition("/")
    copied = f"{settings.repository}@{release.digest}"
    asked = {
        "registryId": host.partition(".")[0],
        "repositoryName": name,
        "imageIds": [{"imageDigest": release.digest}],
    }
    there = account.ask("ecr", "describe_images", **asked)
    if not isinstance(there, Exception):
        return copied
    if "ImageNotFound" not in str(there):
        raise InputError(f"AWS ecr: {there}")
    token = account("ecr", "get_authorization_token")["authorizationData"][0]["authorizationToken"]
    with scratch("deploy") as work:
        login = work / "login.json"
        login.touch(mode=0o600)
        login.write_text(json.dumps({"auths": {host: {"auth": token}}}), encoding="utf-8")
        target = f"docker://{settings.repository}:{release.name}"
        command = ["skopeo", "copy", "--preserve-digests", "--dest-authfile", str(login)]
        try:
            done = processes.run([*command, f"docker://{release.image}", target], root)
        except FileNotFoundError:
            raise InputError("'skopeo' is not installed; it copies the image to ECR: see its page install.md") from None
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise InputError(f"skopeo copy: {(said or ['it failed and said nothing'])[-1][:500]}")
    return copied


def register(account: Account, settings: Settings, release: Release, image: str) -> str:
    """Return the model package of a release; it is made where there is none yet."""
    group, about = settings.registry, f"{release.name} {release.digest}"
    if account.find(SERVICE, "describe_model_package_group", ModelPackageGroupName=group) is None:
        account(SERVICE, "create_model_package_group", ModelPackageGroupName=group)
    for package in packages(account, group):
        if package.get("ModelPackageDescription") == about:
            return package["ModelPackageArn"]
    known = facts(release.name, image, release.run)
    made = account(
        SERVICE,
        "create_model_package",
        ModelPackageGroupName=group,
        ModelPackageDescription=about,
        InferenceSpecification={
            "Containers": [{"Image": image}],
            "SupportedContentTypes": ["application/json", "text/csv"],
            "SupportedResponseMIMETypes": ["application/json"],
            "SupportedRealtimeInferenceInstanceTypes": [settings.instance.type],
        },
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties={key: NOT_IN_TAGS.sub("_", value)[:256] for key, value in known.items()},
        ModelCard={"ModelCardContent": json.dumps(card(Run(release.run), known)), "ModelCardStatus": "Draft"},
    )
    return made["ModelPackageArn"]


def packages(account: Account, group: str) -> list[dict[str, Any]]:
    """Return the versions of a group, the newest first."""
    found: list[dict[str, Any]] = []
    asked = {"ModelPackageGroupName": group, "SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 100}
    while True:
        page = account(SERVICE, "list_model_packages", **asked)
        found += page["ModelPackageSummaryList"]
        if not page.get("NextToken"):
            return found
        asked["NextToken"] = page["NextToken"]


def judge(account: Account, package: str, status: str, why: str) -> None:
    """Mark a model package as ``Approved`` or ``Rejected``."""
    known = {"ModelPackageArn": package, "ModelApprovalStatus": status}
    account(SERVICE, "update_model_package", **known, ApprovalDescription=re.sub(r"\s+", " ", why)[:SHORT])


def card(run: Run, known: dict[str, str]) -> dict[str, Any]:
    """Return the model card in the words of SageMaker's schema for model packages."""
    description, results = run.contract.description, run.metrics
    uses = {"purpose_of_model": description.purpose, "intended_uses": description.usage}
    measured = [
        {"name": f"{name}{end}"[:255], "type": "number", "value": estimate[key]}
        for name, estimate in results["holdout"].items()
        for key, end in (("value", ""), ("low", " (low)"), ("high", " (high)"))
        if estimate[key] == estimate[key]  # a NaN is no JSON
    ]
    rows = {name: f"{count:,}" for name, count in results["rows"].items()}
    manifest = run.manifest
    details = known | {f"data {name}": str(digest) for name, digest in manifest["data"].items()}
    details |= {"python": manifest["python"], "task": results["task"]}
    found: dict[str, Any] = {
        "intended_uses": {key: text[:LONG] for key, text in uses.items() if text} | {"risk_rating": "Unknown"},
        "evaluation_details": [
            {"name": "holdout", "metadata": rows, "metric_groups": [{"name": "holdout", "metric_data": measured}]}
        ],
        "additional_information": {"custom_details": {key: value[:SHORT] for key, value in details.items()}},
    }
    if description.limitations:
        found["additional_information"]["caveats_and_recommendations"] = description.limitations[:LONG]
    return found
