"""`deploy` under act: a release reaches an endpoint; one that fails its smoke test does not, and an issue says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import releases
import sagemaker_api
from acting import GitHub, Outcome
from conftest import Project, bake, install
from rollouts import digest
from sagemaker_api import ACCOUNT, REGION
from test_service import running

from workflows.conftest import fake_uv, replace

ENDPOINT = "customer-churn-staging"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/deploy"


@pytest.fixture(scope="module")
def project_on_sagemaker(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The example with `deploy` answered by SageMaker, locked and installed."""
    return install(bake(tmp_path_factory.mktemp("hosted"), lock=True, deploy="sagemaker"))


@pytest.fixture
def hub(project_on_sagemaker: Project, tmp_path: Path) -> GitHub:
    root = project_on_sagemaker.root
    own = GitHub(tmp_path / "hub", root, environment=root, counted=False)
    own.commit("main", lambda tree: replace(tree / "deploy/sagemaker/staging.yaml", {"111122223333": ACCOUNT}))
    return own


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sagemaker_api.Account]:
    """An AWS account; a job has no keys for it, and may ask GitHub who it is."""
    with sagemaker_api.account(tmp_path / "packages") as found:
        found.call("ecr", "create_repository", repositoryName="customer-churn")
        for name in sagemaker_api.KEYS:
            monkeypatch.delenv(name, raising=False)
        for name in set(found.variables) - set(sagemaker_api.KEYS):
            monkeypatch.setenv(name, found.variables[name])
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{found.url}/token?api-version=2.0")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "a-job")
        yield found


def publish(hub: GitHub, account: sagemaker_api.Account, name: str, packed: Path, port: int) -> None:
    """The state after `release`: files at GitHub, an image in the registry."""
    image = f"ghcr.io/{hub.repository}"
    folder = hub.state / "releases" / name
    found = releases.publish(packed, folder, image)
    entry = {"tagName": name, "isDraft": False, "target": hub.head(), "body": "", "order": len(hub.releases()) + 1}
    (folder / "release.json").write_text(json.dumps(entry), encoding="utf-8")
    tag = hub.state / "registry" / image / name
    tag.parent.mkdir(parents=True, exist_ok=True)
    tag.write_text(found, encoding="utf-8")
    account.post("images", {found: port})


def test_a_release_is_rolled_out_or_taken_back_and_an_issue_says_why(
    hub: GitHub, account: sagemaker_api.Account, served: Project, tmp_path: Path
) -> None:
    packed = releases.pack(served.root / "runs/model", tmp_path)
    other = releases.otherwise(served, packed, tmp_path / "other")

    def deploy(release: str) -> Outcome:
        inputs, variables = {"release": release, "to": "staging"}, {"AWS_ROLE_ARN": ROLE}
        return hub.on_push("deploy", event="workflow_dispatch", inputs=inputs, variables=variables)

    def runs() -> str:
        config = account.call("sagemaker", "describe_endpoint", EndpointName=ENDPOINT)["EndpointConfigName"]
        variants = account.call("sagemaker", "describe_endpoint_config", EndpointConfigName=config)[
            "ProductionVariants"
        ]
        models = [account.call("sagemaker", "describe_model", ModelName=v["ModelName"]) for v in variants]
        [image] = [model["PrimaryContainer"]["Image"] for model in models]
        return image

    with running(served, tmp_path) as server:
        publish(hub, account, "model-1", packed, server.port)
        publish(hub, account, "model-2", other, server.port)
        done = deploy("model-1")
        assert done.conclusion == "success", done.log
        assert "same predictions as the run" in done.summary
        assert runs() == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/customer-churn@{digest('model-1')}"
        assert f"assume {ROLE}" in account.post("log", None)
        assert "a-token-that-github-signed" not in done.log
        failed = deploy("model-2")
        assert failed.jobs == {"roll-out": "failure", "tell": "success"}, failed.log
        assert runs().endswith(digest("model-1"))
    [issue] = issues(hub)
    assert (issue["state"], issue["title"]) == ("OPEN", "model-2 was not rolled out to staging")
    assert "OTHER predictions as the run" in issue["body"]
    assert "model-2 was not rolled out; staging: model-1, 1 of 1 ready" in issue["body"]


def issues(hub: GitHub) -> list[dict]:
    return json.loads((hub.state / "hub.json").read_text(encoding="utf-8"))["items"]


def test_a_release_starts_its_roll_out_which_says_that_it_has_no_role(hub: GitHub, tmp_path: Path) -> None:
    fakes = fake_uv(tmp_path)
    released = hub.on_push("release", fakes=fakes)
    assert released.conclusion == "success", released.log
    [tag] = [release["tagName"] for release in hub.releases()]
    started = [(event["workflow"], event["inputs"]) for event in hub.events("dispatch")]
    assert ("deploy", {"release": tag}) in started
    inputs = {"release": tag, "to": "staging"}  # as the workflow's default
    refused = hub.on_push("deploy", event="workflow_dispatch", inputs=inputs, fakes=fakes)
    assert refused.jobs == {"roll-out": "failure", "tell": "success"}, refused.log
    [issue] = issues(hub)
    assert "The environment staging has no variable AWS_ROLE_ARN" in issue["body"]
