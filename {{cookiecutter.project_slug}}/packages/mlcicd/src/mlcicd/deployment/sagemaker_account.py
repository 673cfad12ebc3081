"""What a project deploys to in an AWS account, and the calls to it: errors in one line, waiting, invocations."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from pydantic import Field, ValidationError

from mlcicd.core.errors import InputError, explain
from mlcicd.core.params import Strict
from mlcicd.core.yaml_io import read_yaml
from mlcicd.deployment.targets import RollOutError
from mlcicd.training.run import MANIFEST, Run, say, sha256

FOLDER = "deploy/sagemaker"
NAME = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"  # SageMaker's own pattern
LONGEST = 63
PATIENCE = 45 * 60  # seconds; SageMaker gives up by itself earlier
NOT_IN_TAGS = re.compile(r"[^\w .:/=+\-@]")
MISSING = ("Could not find", "does not exist", "not found")
TRANSITIONS = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
Tags = list[dict[str, str]]


class Instance(Strict):
    """The machines of one version."""

    type: str = Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")
    count: int = Field(1, ge=1)


class Capture(Strict):
    """The share of requests and answers that is written to S3."""

    to: str = Field(pattern=r"^s3://[a-z0-9.-]{3,63}(/.*)?$")
    percentage: int = Field(100, ge=1, le=100)


class Canary(Strict):
    """How much traffic a new version gets while the alarms are watched, and how long."""

    percentage: int = Field(10, ge=1, le=50)
    minutes: float = Field(10, ge=0, le=120)


class Settings(Strict):
    """``deploy/sagemaker/ENVIRONMENT.yaml``."""

    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    endpoint: str = Field(pattern=f"^{NAME}$", max_length=LONGEST - len("-20261128000000"))
    role: str = Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/.+$")
    repository: str = Field(pattern=r"^\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[a-z0-9._/-]+$")
    registry: str = Field(pattern=f"^{NAME}$", max_length=LONGEST)
    instance: Instance
    capture: Capture | None = None
    canary: Canary = Canary()
    alarms: tuple[str, ...] = ()


def read_settings(root: Path, environment: str) -> Settings:
    """Read the settings of an environment; an InputError names what is wrong with them."""
    file = root / FOLDER / f"{environment}.yaml"
    if not re.fullmatch(r"[A-Za-z0-9._-]+", environment) or not file.is_file():
        known = ", ".join(sorted(path.stem for path in (root / FOLDER).glob("*.yaml")))
        raise InputError(f"--to {environment}: no such file in {root / FOLDER}; known: {known}")
    document = read_yaml(file, "restore it from git")
    if not isinstance(document, dict):
        raise InputError(f"{file}: a mapping such as 'region: eu-central-1' is expected at the top")
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        names = {name for model in (Settings, Instance, Capture, Canary) for name in model.model_fields}
        raise explain(error, str(file), names) from None


def valid_name(*parts: str) -> str:
    """Join words to a name that SageMaker accepts: letters, digits and hyphens, at most 63."""
    joined = re.sub("[^a-zA-Z0-9]+", "-", "-".join(parts)).strip("-")
    return joined[:LONGEST].rstrip("-") or "unnamed"


def as_tags(values: dict[str, str]) -> Tags:
    """Return tags; what AWS allows in no tag becomes an underscore."""
    return [{"Key": key, "Value": NOT_IN_TAGS.sub("_", value)[:256]} for key, value in values.items()]


def facts(name: str, image: str, run: Path) -> dict[str, str]:
    """Return what the tags of everything that a release brings say: release, image, commit and run."""
    commit, record = Run(run).manifest["commit"], sha256(run / MANIFEST)
    return {"ml:release": name, "ml:image": image, "ml:commit": commit or "unknown", "ml:run": f"sha256:{record}"}


class Account:
    """One region of an AWS account, with whatever credentials boto3 finds."""

    def __init__(self, region: str) -> None:
        try:
            import boto3
        except ImportError:
            raise InputError("boto3 is not installed; 'uv sync --group sagemaker' installs it") from None
        self.region, self._session = region, boto3.session.Session(region_name=region)
        self._clients: dict[str, Any] = {}

    def __call__(self, service: str, operation: str, **arguments: Any) -> Any:
        """Call AWS; what it refuses, and what stands in the way, is an InputError."""
        found = self.ask(service, operation, **arguments)
        if isinstance(found, Exception):
            raise InputError(f"AWS {service} {operation}: {found}")
        return found

    def find(self, service: str, operation: str, **arguments: Any) -> Any:
        """Call AWS; None where what is asked about is not there."""
        found = self.ask(service, operation, **arguments)
        if isinstance(found, Exception) and any(words in str(found) for words in MISSING):
            return None
        if isinstance(found, Exception):
            raise InputError(f"AWS {service} {operation}: {found}")
        return found

    def ask(self, service: str, operation: str, **arguments: Any) -> Any:
        """Call AWS; return its answer, or the error that it refuses the call with."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if service not in self._clients:
                self._clients[service] = self._session.client(service)
            return getattr(self._clients[service], operation)(**arguments)
        except ClientError as error:
            return error
        except BotoCoreError as error:
            raise InputError(
                f"AWS {service}: {error}; is the account signed in? 'aws sts get-caller-identity'"
            ) from None

    def settle(self, endpoint: str) -> dict[str, Any] | None:
        """Wait until an endpoint is in no transition; return its description, or None if there is none."""
        pause, began = 1.0, time.monotonic()
        while True:
            found: dict[str, Any] | None = self.find("sagemaker", "describe_endpoint", EndpointName=endpoint)
            if found is None or found["EndpointStatus"] not in TRANSITIONS:
                return found
            if time.monotonic() - began > PATIENCE:
                raise RollOutError(f"{endpoint}: still {found['EndpointStatus']} after {PATIENCE // 60} minutes")
            say(f"{endpoint}: {found['EndpointStatus']}")
            time.sleep(pause)
            pause = min(2 * pause, 15)

    def in_service(self, endpoint: str, configuration: str) -> None:
        """Wait until an endpoint serves a configuration; a RollOutError says why it does not."""
        found = self.settle(endpoint)
        if found is None:
            raise RollOutError(f"{endpoint}: somebody deleted it meanwhile")
        if found["EndpointStatus"] == "InService" and found["EndpointConfigName"] == configuration:
            return
        why = found.get("FailureReason") or f"it is {found['EndpointStatus']} with {found['EndpointConfigName']}"
        raise RollOutError(f"{endpoint}: {' '.join(why.split())[:400]}")

    def alarm(self, names: tuple[str, ...]) -> str:
        """Return which alarm rings and why; empty where none does. One that is not there is an InputError."""
        if not names:
            return ""
        found = self(
            "cloudwatch", "describe_alarms", AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        alarms = found["MetricAlarms"] + found.get("CompositeAlarms", [])
        for name in sorted(set(names) - {alarm["AlarmName"] for alarm in alarms}):
            raise InputError(f"alarms: there is no alarm '{name}' in {self.region}; create it, or take it off the list")
        ringing = (alarm for alarm in alarms if alarm["StateValue"] == "ALARM")
        return next((f"alarm {alarm['AlarmName']}: {alarm.get('StateReason', '')}"[:400] for alarm in ringing), "")


@contextmanager
def gateway(account: Account, endpoint: str, variant: str) -> Iterator[str]:
    """Yield the URL of a server on this machine that passes requests on to one variant, whatever its traffic."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            ready = self.path == "/readyz"  # the variant is in service, or there was no gateway
            self._answer(200 if ready else 404, b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path != "/predict":
                self._answer(404, b"{}")
                return
            found = account.ask(
                "sagemaker-runtime",
                "invoke_endpoint",
                EndpointName=endpoint,
                TargetVariant=variant,
                ContentType="application/json",
                Accept="application/json",
                Body=body,
            )
            if not isinstance(found, Exception):
                self._answer(200, found["Body"].read())
                return
            answer = getattr(found, "response", {})  # of a container that answered with an error, its own
            refused = json.dumps({"error": str(found)})
            self._answer(answer.get("OriginalStatusCode", 502), answer.get("OriginalMessage", refused).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: the smoke test says what it saw."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
