"""The Deployment that kubectl builds, run by `podman kube play` with the real image, on this machine's loopback.

podman 4.3 differs from a kubelet: without systemd it schedules no probes, which are asked by hand as the manifest words
them; its secrets hold JSON; an `emptyDir` is not for everybody to write, so that its own /dev/shm stays in that place.
The pod has the machine's network, since there no port is mapped.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml
from conftest import Project, bake, clean_environ
from containers import podman
from rollouts import TOKEN

Manifest = dict[str, Any]
NAME = "model-pod-0-model"  # podman's name for the container


class Pod(NamedTuple):
    """The running pod, what it was made from, and where it answers."""

    engine: dict[str, str]
    spec: Manifest
    url: str

    @property
    def container(self) -> Manifest:
        [found] = self.spec["containers"]
        return found

    def asks(self, probe: str) -> int:
        """The status that a probe of the manifest gets, or 0."""
        wanted = self.container[probe]["httpGet"]
        assert wanted["port"] == self.container["ports"][0]["name"]
        try:
            timeout = self.container[probe]["timeoutSeconds"]
            with urllib.request.urlopen(self.url + wanted["path"], timeout=timeout) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def run(self, *command: str) -> str:
        return podman(self.engine, "exec", NAME, *command)


@pytest.fixture(scope="module")
def pod(kubectl: str, image: str, engine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    folder = tmp_path_factory.mktemp("play")
    overlay = bake(folder, deploy="kubernetes") / "deploy/kubernetes/overlays/production"
    command = [f"{kubectl}/kubectl", "kustomize", str(overlay)]
    built = subprocess.run(command, env=clean_environ(), capture_output=True, text=True, check=True).stdout
    [deployment] = [found for found in yaml.safe_load_all(built) if found["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    address = f"127.{os.getpid() % 250 + 2}.{time.monotonic_ns() // 1000 % 250}.9"
    played = copy.deepcopy(deployment)
    place = played["spec"]["template"]["spec"]
    place["hostNetwork"] = True
    [container] = place["containers"]
    container["image"], container["imagePullPolicy"] = f"localhost/{image}", "Never"
    del container["ports"], container["volumeMounts"], place["volumes"]
    bind = f"--config=python:mlcicd.serving.gunicorn_conf --bind={address}:3000"
    container["env"].append({"name": "GUNICORN_CMD_ARGS", "value": bind})
    (folder / "deployment.yaml").write_text(yaml.safe_dump(played), encoding="utf-8")
    token = base64.b64encode(TOKEN["ML_SERVICE_TOKEN"].encode()).decode()
    (folder / "secret.json").write_text(json.dumps({"token": token}), encoding="utf-8")
    podman(engine, "secret", "create", "model-token", str(folder / "secret.json"))
    try:
        podman(engine, "kube", "play", str(folder / "deployment.yaml"))
        yield Pod(engine, spec, f"http://{address}:3000")
    finally:
        podman(engine, "pod", "rm", "--force", "--time", "5", "model-pod-0")
        podman(engine, "secret", "rm", "model-token")


def test_it_gets_ready_within_its_startup_probe_and_lives(pod: Pod) -> None:
    probe = pod.container["startupProbe"]
    end = time.monotonic() + probe["periodSeconds"] * probe["failureThreshold"]
    while pod.asks("startupProbe") != 200:
        assert time.monotonic() < end, podman(pod.engine, "logs", NAME)
        time.sleep(0.2)
    assert (pod.asks("readinessProbe"), pod.asks("livenessProbe")) == (200, 200)


def test_it_predicts_for_who_has_the_secret(pod: Pod, served: Project) -> None:
    smoke = served.run("ml", "smoke", pod.url, **TOKEN)
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
    assert served.run("ml", "smoke", pod.url, ML_SERVICE_TOKEN="another").returncode == 1


def test_it_runs_as_the_manifest_says(pod: Pod) -> None:
    user = pod.spec["securityContext"]
    assert pod.run("sh", "-c", "id -u; id -g").split() == [str(user["runAsUser"]), str(user["runAsGroup"])]
    assert pod.run("sh", "-c", "grep CapEff /proc/1/status").split()[1] == 16 * "0"
    assert pod.run("sh", "-c", "grep NoNewPrivs /proc/1/status").split()[1] == "1"
    denied = pod.run("sh", "-c", "touch /x 2> /dev/null || touch /tmp/x 2> /dev/null || echo denied")
    assert denied == "denied"
    assert pod.run("sh", "-c", "touch /dev/shm/x && echo written") == "written"
    inspected = json.loads(podman(pod.engine, "container", "inspect", NAME))[0]
    assert inspected["HostConfig"]["Memory"] == 1 << 30  # limits.memory


def test_the_hook_can_run_and_a_stop_takes_less_than_the_grace(pod: Pod) -> None:
    hook = pod.container["lifecycle"]["preStop"]["exec"]["command"]
    assert hook[0] == "sleep"
    began = time.monotonic()
    pod.run(hook[0], "1")
    podman(pod.engine, "stop", "--time", str(pod.spec["terminationGracePeriodSeconds"]), NAME)
    assert time.monotonic() - began < pod.spec["terminationGracePeriodSeconds"] - int(hook[1])
    inspected = json.loads(podman(pod.engine, "container", "inspect", NAME))[0]
    assert inspected["State"]["ExitCode"] == 0
