"""Kubernetes: the Deployment ``model`` of one overlay in ``deploy/kubernetes``, through kubectl."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import yaml

from mlcicd.core.errors import InputError
from mlcicd.core.yaml_io import read_yaml
from mlcicd.deployment import lease
from mlcicd.deployment.kubectl import Kubectl, last_line
from mlcicd.deployment.release import Release
from mlcicd.deployment.targets import RollOutError, Running
from mlcicd.shadow.names import VARIABLE
from mlcicd.shadow.scrape import scraped

NAME, CANDIDATE = "model", "model-candidate"
LABEL, CAUSE = "app.kubernetes.io/name", "kubernetes.io/change-cause"
PORT = 3000
APPLY = ("apply", "--server-side", "--force-conflicts")
DIGEST = re.compile(r"(?m)^( *digest: *)sha256:[0-9a-f]{64}$")
TIMEOUT = "--timeout=10m"  # beyond the progress deadline in the manifest, which usually ends the wait
Manifest = dict[str, Any]


class Kubernetes:
    """One environment: an overlay, its namespace, and the cluster that kubectl is configured for."""

    def __init__(self, root: Path, environment: str) -> None:
        """Read the overlay; an InputError names what is wrong with it."""
        overlays = root / "deploy/kubernetes/overlays"
        self.overlay = overlays / environment
        self.file = self.overlay / "kustomization.yaml"
        if not re.fullmatch(r"[A-Za-z0-9._-]+", environment) or not self.file.is_file():
            known = ", ".join(sorted(path.parent.name for path in overlays.glob("*/kustomization.yaml")))
            raise InputError(f"--to {environment}: no such folder in {overlays}; known: {known}")
        self.settings = read_yaml(self.file, "restore it from git")
        if not isinstance(self.settings, dict) or not isinstance(self.settings.get("namespace"), str):
            raise InputError(f"{self.file}: has no namespace; add the line 'namespace: NAME'")
        self.kubectl = Kubectl(root, self.settings["namespace"])

    def check(self, release: Release) -> None:
        """Refuse an overlay in which the digest would name no image."""
        images = self.settings.get("images") or []
        named = next((image.get("newName") for image in images if image.get("name") == NAME), None)
        if named != release.repository:
            raise InputError(
                f"{self.file}: newName of the image '{NAME}' is {named}; write the release's, {release.repository}"
            )
        if len(DIGEST.findall(self.file.read_text(encoding="utf-8"))) != 1:
            raise InputError(f"{self.file}: needs one line 'digest: sha256:…' for the image '{NAME}'")

    def lock(self, what: str) -> AbstractContextManager[None]:
        """Hold the namespace's lease."""
        return lease.held(self.kubectl, what, self._make_namespace)

    def running(self) -> Running | None:
        """Return what the Deployment runs."""
        found = self.kubectl.get("deployment", NAME)
        if found is None:
            return None
        return Running(
            _container(found)["image"],
            found["metadata"].get("annotations", {}).get(CAUSE, "unnamed"),
            found.get("status", {}).get("readyReplicas", 0),
            found["spec"].get("replicas", 1),
        )

    @contextmanager
    def candidate(self, release: Release) -> Iterator[str]:
        """Run one pod of a release under a label that no Service selects, and forward a port to it."""
        manifests = self._manifests()
        deployment = next(manifest for manifest in manifests if _is_model(manifest))
        if self.kubectl.get("deployment", NAME) is None:  # the pod needs the namespace, the account, the policy
            self._apply([manifest for manifest in manifests if not _is_model(manifest)])
        self.kubectl("delete", "deployment", CANDIDATE, "--ignore-not-found")  # of a roll-out that was killed
        try:
            self._apply([as_candidate(deployment, release.image)])
            self._wait(CANDIDATE)
            with self.kubectl.forward(f"deployment/{CANDIDATE}", PORT) as url:
                if url is None:
                    raise RollOutError(f"kubectl port-forward: no connection to a pod of {CANDIDATE}")
                yield url
        finally:
            self.kubectl.run("delete", "deployment", CANDIDATE, "--ignore-not-found", "--wait=false")

    def mirrors(self) -> dict[str, str] | None:
        """Return the metrics of each pod that runs, where the overlay has the component ``shadow``."""
        wanted = next(manifest for manifest in self._manifests() if _is_model(manifest))
        found = self.kubectl.get("deployment", NAME)
        if found is None or not _has_mirror(wanted):
            return None
        if not _has_mirror(found):
            raise InputError(
                f"{self.overlay}: what runs has no shadow yet; run 'kubectl apply --server-side -k' with it"
            )
        pods = (self.kubectl.get("pods", f"--selector={LABEL}={NAME}") or {"items": []})["items"]
        metrics = {}
        for name in (pod["metadata"]["name"] for pod in pods if _is_ready(pod)):
            with self.kubectl.forward(f"pod/{name}", PORT) as url:
                text = url and scraped(url)
            if text:
                metrics[name] = text
        return metrics

    def promote(self, release: Release) -> None:
        """Write the digest into the overlay and apply it; an overlay whose version fails is as it was."""
        before = self.file.read_text(encoding="utf-8")
        self._write(release.digest)
        try:
            self.kubectl(*APPLY, f"--kustomize={self.overlay}")
            self.kubectl("annotate", "deployment", NAME, f"{CAUSE}={release.name}", "--overwrite")
            self._wait(NAME)
        except BaseException:
            self._replace(before)
            raise

    def pin(self, release: Release) -> None:
        """Write the digest into the overlay, for whoever rolls out what is in git."""
        self._write(release.digest)

    def rollback(self) -> None:
        """Undo the last change of the Deployment, and write what runs then into the overlay."""
        done = self.kubectl.run("rollout", "undo", f"deployment/{NAME}")
        if done.returncode:
            raise InputError(f"kubectl rollout undo: {last_line(done.stderr)}")
        self._wait(NAME)
        running = self.running()
        assert running is not None
        self._write(running.image.partition("@")[2])

    def _manifests(self) -> list[Manifest]:
        built = list(yaml.safe_load_all(self.kubectl("kustomize", str(self.overlay))))
        if not any(_is_model(manifest) for manifest in built):
            raise InputError(f"{self.overlay}: has no Deployment named '{NAME}'")
        return built

    def _make_namespace(self) -> None:
        self._apply([manifest for manifest in self._manifests() if manifest["kind"] == "Namespace"])

    def _write(self, digest: str) -> None:
        self._replace(DIGEST.sub(rf"\g<1>{digest}", self.file.read_text(encoding="utf-8")))

    def _replace(self, text: str) -> None:
        beside = self.file.with_name(f".{self.file.name}.ml")
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(self.file)

    def _apply(self, manifests: list[Manifest]) -> None:
        verb, *options = APPLY
        done = self.kubectl.send(verb, manifests, *options)
        if done.returncode:
            raise InputError(f"kubectl apply: {last_line(done.stderr)}")

    def _wait(self, name: str) -> None:
        done = self.kubectl.run("rollout", "status", f"deployment/{name}", TIMEOUT)
        if done.returncode:
            pods = self.kubectl.get("pods", f"--selector={LABEL}={name}") or {"items": []}
            raise RollOutError(f"{name}: {reason(pods['items']) or last_line(done.stderr)}")


def as_candidate(deployment: Manifest, image: str) -> Manifest:
    """Return the same Deployment with one replica, another image, and a label of its own."""
    found = copy.deepcopy(deployment)
    labels = found["metadata"].setdefault("labels", {})
    spec = found["spec"]
    for place in (labels, spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]):
        place[LABEL] = CANDIDATE
    found["metadata"]["name"] = CANDIDATE
    spec["replicas"] = 1
    spec["template"]["spec"].pop("topologySpreadConstraints", None)
    container = _container(found)
    container["image"] = image
    container["env"] = [variable for variable in container.get("env", []) if variable["name"] != VARIABLE]
    return found


def reason(pods: list[Manifest]) -> str:
    """Return why a container waits, in the cluster's words; empty if none does."""
    states = (status["state"] for pod in pods for status in pod.get("status", {}).get("containerStatuses", []))
    waiting = (state["waiting"] for state in states if "waiting" in state)
    return next((f"{w['reason']}: {w.get('message', '')}".rstrip(": ")[:300] for w in waiting if "reason" in w), "")


def _container(deployment: Manifest) -> Manifest:
    containers: list[Manifest] = deployment["spec"]["template"]["spec"]["containers"]
    return next(container for container in containers if container["name"] == NAME)


def _has_mirror(deployment: Manifest) -> bool:
    return any(variable["name"] == VARIABLE for variable in _container(deployment).get("env", []))


def _is_ready(pod: Manifest) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    is_ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return is_ready and "deletionTimestamp" not in pod["metadata"]


def _is_model(manifest: Manifest) -> bool:
    return bool(manifest["kind"] == "Deployment" and manifest["metadata"]["name"] == NAME)
