"""GitLab CI, as its predefined variables describe a job."""

from __future__ import annotations

from collections.abc import Mapping

from mlcicd.ci.job import Job

VARIABLE = "GITLAB_CI"


def job(env: Mapping[str, str]) -> Job:
    """Read a job's environment. A branch that no merge request is open for is compared with the default branch."""
    branch, default = env.get("CI_COMMIT_BRANCH", ""), env.get("CI_DEFAULT_BRANCH", "main")
    image = env.get("CI_REGISTRY_IMAGE", "")
    if env.get("CI_PIPELINE_SOURCE") != "merge_request_event":
        target = "" if branch == default else default
        return Job(env.get("CI_COMMIT_SHA", ""), target, image=image)
    return Job(
        # Set where GitLab checked out a merge of the branch: pipelines for merged results and merge trains.
        head=env.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or env.get("CI_COMMIT_SHA", ""),
        target=env.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", default),
        base=env.get("CI_MERGE_REQUEST_DIFF_BASE_SHA", ""),
        number=int(env.get("CI_MERGE_REQUEST_IID") or 0),
        fork=env.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID") != env.get("CI_MERGE_REQUEST_PROJECT_ID"),
        image=image,
    )


def line(name: str, value: str) -> str:
    """Spell an output for a file of `artifacts: reports: dotenv`."""
    return f"ML_{name.upper()}={value}"
