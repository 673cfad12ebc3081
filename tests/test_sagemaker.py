"""`ml deploy` with the real boto3 and the real service; sagemaker_api.py imitates the AWS account between them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import releases
import sagemaker_api
import yaml
from conftest import TEMPLATE, Project, bake, clean_environ
from rollouts import IMAGE, digest
from sagemaker_api import ACCOUNT, REGION
from test_service import Server, running

REPOSITORY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/customer-churn"
ENDPOINT, LOCK = "customer-churn-staging", "customer-churn-staging-roll-out"
SETTINGS = "deploy/sagemaker/staging.yaml"
QUICK = ("canary: {percentage: 10, minutes: 10}", "canary: {percentage: 10, minutes: 0.02}")
ALARMED = ("alarms: []", "alarms: [errors]")


def change(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


class Place(NamedTuple):
    """A project for SageMaker, an account, and a service that answers as the containers of its releases."""

    project: Project
    account: sagemaker_api.Account
    folder: Path
    packed: Path
    port: int

    def deploy(self, *arguments: str, **variables: str) -> tuple[int, str]:
        done = self.project.run("ml", "deploy", *arguments, **variables)
        return done.returncode, done.stdout + done.stderr

    def release(self, name: str, port: int | None = None, packed: Path | None = None) -> str:
        """A release whose image the registry has; the folder with its files. Port 0: its container crashes."""
        folder = self.folder / "releases" / name
        image = releases.publish(packed or self.packed, folder, IMAGE)
        self.account.post("images", {image: self.port if port is None else port})
        tag = self.folder / "state/registry" / IMAGE / name
        tag.parent.mkdir(parents=True, exist_ok=True)
        tag.write_text(image, encoding="utf-8")
        return str(folder)

    def ask(self, operation: str, **arguments: Any) -> Any:
        return self.account.call("sagemaker", operation, **arguments)

    @property
    def endpoint(self) -> dict[str, Any]:
        return self.ask("describe_endpoint", EndpointName=ENDPOINT)

    @property
    def configurations(self) -> dict[str, dict[str, str]]:
        """The tags of each configuration that is kept."""
        found = {}
        for entry in self.ask("list_endpoint_configs")["EndpointConfigs"]:
            tags = self.ask("list_tags", ResourceArn=entry["EndpointConfigArn"])["Tags"]
            found[entry["EndpointConfigName"]] = {tag["Key"]: tag["Value"] for tag in tags}
        return found

    @property
    def packages(self) -> dict[str, tuple[str, str]]:
        """What the registry says of each release: its approval, and why."""
        found = {}
        for entry in self.ask("list_model_packages", ModelPackageGroupName="customer-churn")["ModelPackageSummaryList"]:
            package = self.ask("describe_model_package", ModelPackageName=entry["ModelPackageArn"])
            name = (
                package["CustomerMetadataProperties"]["ml:release"] if package.get("CustomerMetadataProperties") else ""
            )
            name = name or package["ModelPackageDescription"].split()[0]
            found[name] = (package["ModelApprovalStatus"], package.get("ApprovalDescription", ""))
        return found


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sagemaker_api.Account]:
    with sagemaker_api.account(tmp_path_factory.mktemp("moto") / "packages") as found:
        found.call("ecr", "create_repository", repositoryName="customer-churn")
        alarm = {"ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1, "Threshold": 0}
        alarm |= {"Namespace": "AWS/SageMaker", "MetricName": "Invocation5XXErrors", "Period": 60, "Statistic": "Sum"}
        found.call("cloudwatch", "put_metric_alarm", AlarmName="errors", **alarm)
        yield found


@pytest.fixture(scope="module")
def boto3(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of boto3, which the session's project has not."""
    folder = tmp_path_factory.mktemp("boto3")
    command = ["uv", "pip", "install", "--quiet", "--target", str(folder), "boto3>=1.40"]
    subprocess.run(command, env=clean_environ(), check=True)
    return str(folder)


@pytest.fixture(scope="module")
def server(served: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(served, tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture
def place(
    served: Project, server: Server, released_files: Path, account: sagemaker_api.Account, boto3: str, tmp_path: Path
) -> Iterator[Place]:
    account.post("reset", None)
    account.call("cloudwatch", "set_alarm_state", AlarmName="errors", StateValue="OK", StateReason="a new test")
    root = bake(tmp_path, deploy="sagemaker")
    change(root / SETTINGS, ("111122223333", ACCOUNT), QUICK)
    actions = TEMPLATE / "tests/actions"
    paths = [str(root / "src"), str(root / "packages/mlcicd/src"), boto3]
    variables = {
        **account.variables,
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join([str(actions / "engine"), str(served.environment / "bin"), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(paths),
        "STANDIN": str(tmp_path / "state"),
        "STANDIN_TOOLS": str(actions / "tools"),
    }
    yield Place(Project(root, served.environment, variables), account, tmp_path, released_files, server.port)


def test_releases_are_tried_promoted_and_taken_back(place: Place):
    change(place.project.root / SETTINGS, ALARMED, ("# capture:", "capture:"))
    assert place.deploy() == (0, "staging: nothing is rolled out\n")
    code, said = place.deploy(place.release("model-1"))
    assert code == 0, said
    assert "same predictions as the run on 1,000 rows" in said
    assert f"staging: model-1, 1 of 1 ready: {REPOSITORY}@{digest('model-1')}" in said
    first = place.endpoint["EndpointConfigName"]
    assert list(place.configurations) == [first]

    code, said = place.deploy(place.release("model-2"))
    assert code == 0, said
    assert f"staging: model-2, 1 of 1 ready: {REPOSITORY}@{digest('model-2')}" in said
    # Tried without traffic, then with a tenth, then with all of it.
    steps = place.account.post("log", None)
    weights = [line for line in steps if line.startswith("weights")]
    assert weights == ['weights {"candidate": 0.1, "current": 0.9}']
    assert steps.index(f"create_endpoint_config {LOCK}") < steps.index(f"update_endpoint {LOCK}")
    second = place.endpoint["EndpointConfigName"]
    assert steps.index(f"update_endpoint {LOCK}") < steps.index(weights[0]) < steps.index(f"update_endpoint {second}")
    assert set(place.configurations) == {first, second}
    tags = place.configurations[second]
    assert (tags["ml:release"], tags["ml:previous"]) == ("model-2", first)
    assert len(tags["ml:commit"]) == 40 and tags["ml:run"].startswith("sha256:")
    described = place.ask("describe_endpoint_config", EndpointConfigName=second)
    assert described["DataCaptureConfig"]["InitialSamplingPercentage"] == 10
    assert [variant["VariantName"] for variant in described["ProductionVariants"]] == ["current"]
    model = place.ask("describe_model", ModelName=described["ProductionVariants"][0]["ModelName"])
    assert model["PrimaryContainer"]["Image"] == f"{REPOSITORY}@{digest('model-2')}"
    approved = {name: ("Approved", f"{name} is rolled out to staging") for name in ("model-1", "model-2")}
    assert place.packages == approved
    summaries = place.ask("list_model_packages", ModelPackageGroupName="customer-churn")["ModelPackageSummaryList"]
    card = json.loads(place.account.post("card", summaries[0]["ModelPackageArn"]))
    metrics = {m["name"]: m["value"] for m in card["evaluation_details"][0]["metric_groups"][0]["metric_data"]}
    assert metrics["roc_auc (low)"] < metrics["roc_auc"] < metrics["roc_auc (high)"]
    assert card["intended_uses"]["purpose_of_model"].startswith("Tell which customers")
    assert card["additional_information"]["custom_details"]["ml:commit"] == tags["ml:commit"]

    code, said = place.deploy("rollback")
    assert (code, said) == (0, f"rolled back; staging: model-1, 1 of 1 ready: {REPOSITORY}@{digest('model-1')}\n")
    assert place.endpoint["EndpointConfigName"] == first
    assert place.deploy("rollback") == (2, f"ml: {ENDPOINT}: there is no version to go back to\n")
    # Once more, for whoever runs the workflow again: what runs is only tested.
    code, said = place.deploy(str(place.folder / "releases/model-1"))
    assert code == 0 and place.endpoint["EndpointConfigName"] == first, said
    assert len(place.packages) == 2


def test_what_does_not_start_or_answers_otherwise_never_gets_traffic(place: Place):
    code, said = place.deploy(place.release("model-0", port=0))
    assert code == 1
    assert "did not pass the ping health check" in said
    assert "model-0 was not rolled out; staging: nothing is rolled out" in said
    assert place.configurations == {}
    code, said = place.deploy(place.release("model-1"))
    assert code == 0, said
    before = place.configurations
    code, said = place.deploy(place.release("model-2", port=0))
    assert code == 1
    assert "variant candidate did not pass the ping health check" in said
    assert "model-2 was not rolled out; staging: model-1, 1 of 1 ready" in said
    assert place.configurations == before
    assert place.packages["model-2"][0] == "Rejected" and "ping" in place.packages["model-2"][1]
    # Its run predicts otherwise than the service in its image.
    other = releases.otherwise(place.project, place.packed, place.folder / "other")
    code, said = place.deploy(place.release("model-3", packed=other))
    assert code == 1
    assert "OTHER predictions as the run" in said
    assert "model-3 was not rolled out; staging: model-1" in said
    assert place.configurations == before
    assert not [line for line in place.account.post("log", None) if '"candidate": 0.1' in line]


def test_an_alarm_takes_a_version_back(place: Place):
    change(place.project.root / SETTINGS, ALARMED)
    code, said = place.deploy(place.release("model-1"))
    assert code == 0, said
    first = place.endpoint["EndpointConfigName"]
    place.account.post("ring", {"alarm": "errors"})
    code, said = place.deploy(place.release("model-2"))
    assert code == 1
    assert "alarm errors: too many 5xx" in said
    assert f"rolled back; staging: model-1, 1 of 1 ready: {REPOSITORY}@{digest('model-1')}" in said
    assert place.endpoint["EndpointConfigName"] == first and list(place.configurations) == [first]
    weights = [line for line in place.account.post("log", None) if line.startswith("weights")]
    assert weights[-1] == 'weights {"candidate": 0.0, "current": 1.0}', (
        "the traffic is taken away before the machines are"
    )
    assert place.packages["model-2"] == ("Rejected", "staging: alarm errors: too many 5xx")


def test_two_at_once_are_refused_and_one_that_was_killed_is_taken_back(place: Place):
    code, said = place.deploy(place.release("model-1"))
    assert code == 0, said
    first = place.endpoint["EndpointConfigName"]
    # What a process that is killed leaves behind while its version is tried.
    variant = place.ask("describe_endpoint_config", EndpointConfigName=first)["ProductionVariants"][0]
    variants = [variant, variant | {"VariantName": "candidate", "InitialVariantWeight": 0}]
    tags = place.configurations[first] | {"ml:previous": first, "ml:on-trial": "model-2"}
    known = {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
    place.ask("create_endpoint_config", EndpointConfigName=LOCK, ProductionVariants=variants, **known)
    place.ask("update_endpoint", EndpointName=ENDPOINT, EndpointConfigName=LOCK)
    code, said = place.deploy(place.release("model-3"))
    assert (code, said.count("\n")) == (2, 1) and "is Updating; wait until it is InService" in said
    assert place.endpoint["EndpointStatus"] == "InService"
    assert "staging: model-1, with model-2 on trial, 1 of 1 ready" in place.deploy()[1]
    code, said = place.deploy(str(place.folder / "releases/model-3"))
    assert (code, said.count("\n")) == (2, 1)
    assert "model-2 is being rolled out; wait until that ends, or take it back: ml deploy rollback --to staging" in said
    assert place.endpoint["EndpointConfigName"] == LOCK
    code, said = place.deploy("rollback")
    assert code == 0 and "rolled back; staging: model-1, 1 of 1 ready" in said
    assert place.endpoint["EndpointConfigName"] == first and list(place.configurations) == [first]
    code, said = place.deploy(str(place.folder / "releases/model-3"))
    assert code == 0, said


def test_wrong_input_is_one_line_and_changes_nothing(place: Place, served: Project):
    folder = place.release("model-8")
    gone = place.release("model-9")
    (place.folder / "state/registry" / IMAGE / "model-9").unlink()
    bare = {"PYTHONPATH": os.pathsep.join(place.project.variables["PYTHONPATH"].split(os.pathsep)[:2])}
    settings = place.project.root / SETTINGS
    text = settings.read_text(encoding="utf-8")
    for arguments, variables, replaced, says in (
        (["--to", "nowhere"], {}, (), "--to nowhere: no such file in deploy/sagemaker; known: production, staging"),
        (["status"], bare, (), "boto3 is not installed; 'uv sync --group sagemaker' installs it"),
        (["status"], {"AWS_ACCESS_KEY_ID": ""}, (), "'aws sts get-caller-identity'"),
        (["rollback"], {}, (), "staging: nothing is rolled out, so there is no version to go back to"),
        ([folder, "--only-write"], {}, (), "--only-write: no file in deploy/sagemaker names a release"),
        ([gone], {}, (), "skopeo copy: "),
        ([folder], {"PATH": str(served.environment / "bin")}, (), "'skopeo' is not installed"),
        ([folder], {}, ("alarms: []", "alarms: [typo]"), "there is no alarm 'typo' in eu-central-1"),
        ([folder], {}, ('endpoint: "', 'endpoint: "no_'), "staging.yaml: endpoint: String should match pattern"),
        ([folder], {}, ("amazonaws.com/customer-churn", "amazonaws.com/other"), "RepositoryNotFoundException"),
    ):
        settings.write_text(text.replace(*replaced) if replaced else text, encoding="utf-8")
        code, said = place.deploy(*arguments, **variables)
        assert (code, said.count("\n")) == (2, 1), said
        assert says in said
    assert place.configurations == {} and place.ask("list_endpoints")["Endpoints"] == []


def test_only_who_wants_sagemaker_gets_its_files(tmp_path: Path):
    roots = [bake(tmp_path / answer, deploy=answer) for answer in ("none", "sagemaker")]
    none, hosted = ({str(path.relative_to(root)) for path in root.rglob("*")} for root in roots)
    folder = {"deploy", "deploy/sagemaker", "deploy/sagemaker/account", "deploy/sagemaker/account/stack.yaml"}
    settings = {f"deploy/sagemaker/{name}.yaml" for name in ("staging", "production")}
    ignored = {name for name in none ^ hosted if name.startswith(".git/")}
    assert (none ^ hosted) - ignored == folder | settings | {
        ".github/workflows/deploy.yml",
        ".github/scripts/deploy_issue.py",
    }
    texts = [
        [(root / name).read_text() for root in roots] for name in ("pyproject.toml", ".github/workflows/release.yml")
    ]
    for before, after in texts:
        assert "boto3" not in before and "deploy.yml" not in before and before != after


def test_the_account_gets_what_the_settings_name(account: sagemaker_api.Account, tmp_path: Path):
    root = bake(tmp_path, deploy="sagemaker", project_slug="My.Model_" + "2" * 50, github_owner="Some-One")
    stack = root / "deploy/sagemaker/account/stack.yaml"
    environment = clean_environ() | {"PYTHONPATH": str(account.packages)}
    lint = [sys.executable, "-c", "from cfnlint.runner.cli import main; main()", "--template", str(stack)]
    done = subprocess.run(lint, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    known = {"StackName": "the-account", "TemplateBody": stack.read_text(encoding="utf-8")}
    account.call("cloudformation", "create_stack", Capabilities=["CAPABILITY_NAMED_IAM"], **known)
    [made] = account.call("cloudformation", "describe_stacks", StackName="the-account")["Stacks"]
    assert made["StackStatus"] == "CREATE_COMPLETE"
    roles = {role["RoleName"] for role in account.call("iam", "list_roles")["Roles"]}
    repositories = {entry["repositoryUri"] for entry in account.call("ecr", "describe_repositories")["repositories"]}
    resources = yaml.safe_load(known["TemplateBody"])["Resources"].values()
    alarms = {entry["Properties"].get("AlarmName") for entry in resources}  # moto makes no alarms of a stack
    for name in ("staging", "production"):
        text = (root / f"deploy/sagemaker/{name}.yaml").read_text(encoding="utf-8").replace("111122223333", ACCOUNT)
        settings = yaml.safe_load(text)
        assert re.fullmatch("[a-z0-9](-*[a-z0-9]){0,47}", settings["endpoint"])
        assert settings["role"].rpartition("/")[2] in roles
        assert settings["repository"] in repositories
        assert f"{settings['endpoint']}-5xx" in alarms
        role = account.call("iam", "get_role", RoleName=f"{settings['registry']}-deploy-{name}")["Role"]
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        subject = trust["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
        assert subject == f"repo:Some-One/My.Model_{'2' * 50}:environment:{name}"
        policy = account.call("iam", "get_role_policy", RoleName=role["RoleName"], PolicyName="deploy")[
            "PolicyDocument"
        ]
        allowed = json.dumps(policy)
        assert f":endpoint/{settings['endpoint']}" in allowed and f":model/{settings['endpoint']}-*" in allowed
