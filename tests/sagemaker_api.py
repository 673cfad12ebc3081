"""AWS on loopback: moto's server, where SageMaker takes its time, refuses what the real one refuses, and runs images.

    python tests/sagemaker_api.py      (in an environment with moto[server]; prints the address)

moto answers at once, overwrites what is there, has no UpdateEndpoint, invokes nothing and reads no model card. Added
here: names and model cards are checked, an endpoint is in transition for one look at it and refuses changes meanwhile,
a container must answer /ping or the endpoint falls back, and an invocation is an HTTP request to the service that
stands for the image. `/imitation/…` is how tests look and interfere. `account` starts it from a test.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

REGION = "eu-central-1"
ACCOUNT = "123456789012"
IDENTITY = "a-token-that-github-signed"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
VALUE = re.compile(r"[\w .:/=+\-@]{0,256}")
PING = "The {} container for production variant {} did not pass the ping health check. Please check CloudWatch logs."


class Account:
    """The imitation, from the side of a test."""

    def __init__(self, url: str, packages: Path) -> None:
        self.url, self.packages = url, packages

    def post(self, path: str, content: object) -> Any:
        """Interfere, or look."""
        request = urllib.request.Request(f"{self.url}/imitation/{path}", json.dumps(content).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def call(self, service: str, operation: str, **arguments: Any) -> Any:
        """What boto3 answers."""
        return self.post("call", [service, operation, arguments])

    @property
    def variables(self) -> dict[str, str]:
        """With these `ml` calls this account, and no other."""
        return KEYS | {"AWS_ENDPOINT_URL": self.url, "AWS_CONFIG_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}


@contextlib.contextmanager
def account(packages: Path) -> Iterator[Account]:
    """Start the imitation; `packages` holds moto[server], and is filled where it does not."""
    if not packages.is_dir():
        command = ["uv", "pip", "install", "--quiet", "--target", str(packages), "moto[server]>=5.2"]
        subprocess.run(command, check=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    environment = clean | KEYS | {"PYTHONPATH": str(packages), "AWS_DEFAULT_REGION": REGION}
    process = subprocess.Popen([sys.executable, __file__], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, "the imitation did not start"
        yield Account(url, packages)
    finally:
        process.terminate()
        process.wait(10)


def main() -> None:
    """Serve until somebody ends it."""
    import boto3
    from moto.core.responses import ActionResult
    from moto.ecr.models import ecr_backends
    from moto.sagemaker import models
    from moto.sagemaker.exceptions import ValidationError
    from moto.sagemaker.responses import SageMakerResponse
    from moto.sagemakerruntime.responses import SageMakerRuntimeResponse
    from moto.server import DomainDispatcherApplication, create_backend_app
    from moto.sts.exceptions import STSClientError
    from moto.sts.responses import TokenResponse
    from werkzeug.serving import WSGIRequestHandler, make_server

    images: dict[str, int] = {}  # digest → port of the service that stands for it; 0: it crashes
    ring: dict[str, str] = {}
    log: list[str] = []
    lock = threading.RLock()
    backend = models.sagemaker_backends[ACCOUNT][REGION]

    def client(service: str) -> Any:
        return boto3.client(service, endpoint_url=url, region_name=REGION)

    def arn(kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"

    def refuse(condition: object, message: str) -> None:
        if condition:
            raise ValidationError(message=message)

    def check_new(kind: str, words: str, name: str, known: dict[str, Any], tags: Any) -> None:
        refuse(
            not NAME.fullmatch(name),
            f"1 validation error detected: Value '{name}' failed to satisfy constraint: Member must satisfy regular "
            "expression pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        )
        refuse(name in known, f'Cannot create already existing {words} "{arn(kind, name)}".')
        check_tags({tag["Key"]: tag["Value"] for tag in tags or []})

    def check_tags(tags: dict[str, str]) -> None:
        bad = [value for pair in tags.items() for value in pair if not VALUE.fullmatch(value)]
        refuse(
            bad, f"1 validation error detected: Value {bad} failed to satisfy constraint: regular expression pattern"
        )

    def check_instance(_: Any, kind: str) -> None:
        known = client("sagemaker").meta.service_model.shape_for("ProductionVariantInstanceType").enum
        refuse(kind not in known, f"Value '{kind}' at 'instanceType' failed to satisfy constraint: enum value set")

    def image_of(variant: dict[str, Any]) -> str:
        return backend.describe_model(variant["ModelName"]).primary_container["Image"]

    def answers_ping(variant: dict[str, Any]) -> bool:
        port = images.get(image_of(variant).partition("@")[2], 0)
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/ping")
            return port > 0 and connection.getresponse().status == 200
        except OSError:
            return False

    def begin(endpoint: Any, status: str, config: str) -> None:
        """Put an endpoint into transition."""
        endpoint.endpoint_status, endpoint.looks, endpoint.goal = status, 1, config

    def finish(endpoint: Any) -> None:
        """End a transition: with the goal, or with what was before."""
        variants = backend.endpoint_configs[endpoint.goal].production_variants
        failed = [variant["VariantName"] for variant in variants if not answers_ping(variant)]
        fresh, endpoint.failure_reason = endpoint.endpoint_status == "Creating", None
        endpoint.endpoint_status = "InService"
        if failed:
            endpoint.failure_reason = PING.format("primary", failed[0])
            endpoint.endpoint_status = "Failed" if fresh else "InService"
            endpoint.goal = endpoint.endpoint_config_name
            return
        if fresh or endpoint.goal != endpoint.endpoint_config_name:
            endpoint.endpoint_config_name = endpoint.goal
            endpoint.production_variants = [
                {
                    "VariantName": variant["VariantName"],
                    "CurrentWeight": variant["InitialVariantWeight"],
                    "DesiredWeight": variant["InitialVariantWeight"],
                    "CurrentInstanceCount": variant["InitialInstanceCount"],
                    "DesiredInstanceCount": variant["InitialInstanceCount"],
                }
                for variant in variants
            ]

    def settled(name: str) -> Any:
        """An endpoint that takes changes."""
        refuse(name not in backend.endpoints, f'Could not find endpoint "{arn("endpoint", name)}".')
        endpoint = backend.endpoints[name]
        busy = endpoint.endpoint_status.endswith("ing")
        refuse(busy, f'Cannot update in-progress endpoint "{arn("endpoint", name)}".')
        return endpoint

    real = {name: getattr(SageMakerResponse, name) for name in dir(SageMakerResponse) if not name.startswith("_")}

    def create_model(self: Any) -> Any:
        name, container = self._get_param("ModelName"), self._get_param("PrimaryContainer")
        check_new("model", "model", name, backend._models, self._get_param("Tags"))
        repository, _, digest = container["Image"].partition("@")
        kept = ecr_backends[ACCOUNT][REGION].repositories.get(repository.partition("/")[2])
        found = kept and any(image.image_digest == digest for image in kept.images)
        refuse(not found, f"Requested image {container['Image']} not found.")
        return real["create_model"](self)

    def create_endpoint_config(self: Any) -> Any:
        name, variants = self._get_param("EndpointConfigName"), self._get_param("ProductionVariants")
        known = backend.endpoint_configs
        check_new("endpoint-config", "endpoint configuration", name, known, self._get_param("Tags"))
        names = [variant["VariantName"] for variant in variants]
        refuse(len(set(names)) < len(names), "Variant names must be unique")
        refuse(not sum(variant["InitialVariantWeight"] for variant in variants), "At least one weight must not be 0")
        return real["create_endpoint_config"](self)

    def delete_endpoint_config(self: Any) -> Any:
        name = self._get_param("EndpointConfigName")  # the real one lets it happen, and its page says: you must not
        used = [e for e in backend.endpoints.values() if name in (e.endpoint_config_name, e.goal)]
        refuse(used, f"{name} is in use")
        return real["delete_endpoint_config"](self)

    def create_endpoint(self: Any) -> Any:
        name = self._get_param("EndpointName")
        check_new("endpoint", "endpoint", name, backend.endpoints, self._get_param("Tags"))
        answer = real["create_endpoint"](self)
        begin(backend.endpoints[name], "Creating", self._get_param("EndpointConfigName"))
        return answer

    def update_endpoint(self: Any) -> Any:
        endpoint, config = settled(self._get_param("EndpointName")), self._get_param("EndpointConfigName")
        missing = config not in backend.endpoint_configs
        refuse(missing, f'Could not find endpoint configuration "{arn("endpoint-config", config)}".')
        refuse(endpoint.endpoint_status == "Failed", "Cannot update a failed endpoint")
        begin(endpoint, "Updating", config)
        return ActionResult({"EndpointArn": endpoint.arn})

    def update_endpoint_weights_and_capacities(self: Any) -> Any:
        endpoint, wanted = settled(self._get_param("EndpointName")), self._get_param("DesiredWeightsAndCapacities")
        variants = {variant["VariantName"]: variant for variant in endpoint.production_variants}
        for change in wanted:
            name = change["VariantName"]
            refuse(
                name not in variants, f'The variant name(s) "{name}" is/are not present within endpoint configuration'
            )
            variants[name]["CurrentWeight"] = variants[name]["DesiredWeight"] = change["DesiredWeight"]
        begin(endpoint, "Updating", endpoint.endpoint_config_name)
        log.append(f"weights {json.dumps({name: v['CurrentWeight'] for name, v in variants.items()}, sort_keys=True)}")
        if ring and variants.get("candidate", {}).get("CurrentWeight"):
            client("cloudwatch").set_alarm_state(
                AlarmName=ring["alarm"], StateValue="ALARM", StateReason="too many 5xx"
            )
        return ActionResult({"EndpointArn": endpoint.arn})

    def describe_endpoint(self: Any) -> Any:
        with lock:
            endpoint = backend.endpoints.get(self._get_param("EndpointName"))
            if endpoint is not None and endpoint.endpoint_status.endswith("ing"):
                endpoint.looks -= 1
                if endpoint.looks < 0:
                    finish(endpoint)
            return real["describe_endpoint"](self)

    def delete_endpoint(self: Any) -> Any:
        settled(self._get_param("EndpointName"))
        return real["delete_endpoint"](self)

    def create_model_package(self: Any) -> Any:
        check_tags(self._get_param("CustomerMetadataProperties") or {})
        card = self._get_param("ModelCard")["ModelCardContent"]
        wrong = card_problem(json.loads(card))
        refuse(wrong, f"Model card content does not follow the schema: {wrong}")
        answer = real["create_model_package"](self)
        newest = max(backend.model_packages.values(), key=lambda package: package.model_package_version)
        newest.card = card
        return answer

    def invoke_endpoint(self: Any) -> Any:
        name, variant = self.path.split("/")[2], self.headers.get("X-Amzn-SageMaker-Target-Variant")
        endpoint = backend.endpoints.get(name)
        refuse(endpoint is None, f"Endpoint {name} of account {ACCOUNT} not found.")
        config = backend.endpoint_configs[endpoint.endpoint_config_name]
        known = {entry["VariantName"]: entry for entry in config.production_variants}
        refuse(variant and variant not in known, f"Variant {variant} not found for Endpoint {name}")
        weights = {entry["VariantName"]: entry["CurrentWeight"] for entry in endpoint.production_variants}
        variant = variant or max(weights, key=lambda entry: weights[entry])
        connection = http.client.HTTPConnection("127.0.0.1", images[image_of(known[variant]).partition("@")[2]])
        kind = self.headers.get("Content-Type")
        body = self.body if isinstance(self.body, bytes) else self.body.encode()
        connection.request("POST", "/invocations", body, {"Content-Type": kind})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            message = f"Received client error ({answer.status}) from {variant} with message {text.decode()!r}."
            failed = {"OriginalStatusCode": answer.status, "OriginalMessage": text.decode(), "Message": message}
            return 424, {"x-amzn-ErrorType": "ModelError", "status": 424}, json.dumps(failed)
        headers = {"Content-Type": "application/json", "x-Amzn-Invoked-Production-Variant": variant}
        return 200, headers, text

    added = (
        create_model, create_endpoint_config, delete_endpoint_config, create_endpoint, update_endpoint,
        update_endpoint_weights_and_capacities, describe_endpoint, delete_endpoint, create_model_package,
    )  # fmt: skip
    for function in added:

        def logged(self: Any, function: Any = function) -> Any:
            answer = function(self)
            if not function.__name__.startswith("describe"):
                named = self._get_param("EndpointConfigName") or self._get_param("ModelName") or ""
                log.append(f"{function.__name__} {named}".strip())
            return answer

        setattr(SageMakerResponse, function.__name__, logged)
    SageMakerRuntimeResponse.invoke_endpoint = invoke_endpoint
    models.FakeEndpointConfig.validate_instance_type = check_instance  # moto's own list ends in 2021

    def token(environ: dict[str, Any], start_response: Any) -> Any:
        """What GitHub answers a job that may ask who it is."""
        asked = parse_qs(environ["QUERY_STRING"]).get("audience"), environ.get("HTTP_AUTHORIZATION")
        allowed = asked == (["sts.amazonaws.com"], "bearer a-job")
        start_response("200 OK" if allowed else "403 Forbidden", [("Content-Type", "application/json")])
        return [json.dumps({"value": IDENTITY}).encode()]

    def assume_role_with_web_identity(self: Any) -> Any:
        """STS gives the role's credentials to whom GitHub says it may."""
        assumed = real_sts(self)
        if self._get_param("WebIdentityToken") != IDENTITY:
            raise STSClientError("InvalidIdentityToken", "No OpenIDConnect provider found in your account")
        log.append(f"assume {self._get_param('RoleArn')}")
        return assumed

    real_sts, TokenResponse.assume_role_with_web_identity = (
        TokenResponse.assume_role_with_web_identity,
        assume_role_with_web_identity,
    )

    def push(repository: str, tag: str, digest: str, authorization: str) -> None:
        """What skopeo does to ECR."""
        token = client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
        assert authorization == token, "no basic auth credentials"
        name = repository.partition("/")[2]
        manifest = json.dumps({"mediaType": "application/vnd.oci.image.manifest.v1+json", "of": digest})
        client("ecr").put_image(repositoryName=name, imageManifest=manifest, imageTag=tag, imageDigest=digest)
        log.append(f"push {tag}")

    def interfere(path: str, content: Any) -> Any:
        if path == "images":
            images.update(content)
        elif path == "ring":
            ring.update(content)
        elif path == "reset":
            for known in (images, ring, log, backend.endpoints, backend.endpoint_configs, backend._models):
                known.clear()
            backend.model_packages.clear()
            backend.model_package_groups.clear()
        elif path == "push":
            push(*content)
        elif path == "card":
            return backend.model_packages[content].card
        elif path == "log":
            return log
        else:
            service, operation, arguments = content
            return getattr(client(service), operation)(**arguments)
        return None

    moto = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path == "/token":
            return token(environ, start_response)
        if not path.startswith("/imitation/"):
            return moto(environ, start_response)
        content = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        try:
            answer, status = interfere(path.removeprefix("/imitation/"), content), "200 OK"
        except Exception as error:
            answer, status = str(error), "400 Bad Request"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(answer, default=str).encode()]

    class Quiet(WSGIRequestHandler):
        def log(self, *_: Any) -> None:
            """Say nothing."""

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    url = f"http://127.0.0.1:{server.server_port}"
    print(url, flush=True)
    server.serve_forever()


def card_problem(card: dict[str, Any]) -> str:
    """What SageMaker's schema of a model package's card does not allow, in the parts that projects write."""
    known = {"model_overview", "intended_uses", "business_details", "training_details", "evaluation_details"}
    uses = {"purpose_of_model", "intended_uses", "factors_affecting_model_efficiency", "explanations_for_risk_rating"}
    if set(card) - known - {"additional_information"}:
        return f"additional properties {set(card) - known}"
    intended = dict(card["intended_uses"])
    if intended.pop("risk_rating") not in ("High", "Medium", "Low", "Unknown") or set(intended) - uses:
        return "intended_uses"
    more = dict(card["additional_information"])
    custom = more.pop("custom_details")
    if set(more) - {"ethical_considerations", "caveats_and_recommendations"}:
        return "additional_information"
    long = [text for text in (*intended.values(), *more.values()) if not isinstance(text, str) or len(text) > 2048]
    long += [text for text in custom.values() if not isinstance(text, str) or len(text) > 1024]
    for detail in card["evaluation_details"]:
        if set(detail) - {
            "name",
            "evaluation_observation",
            "evaluation_job_arn",
            "datasets",
            "metadata",
            "metric_groups",
        }:
            return "evaluation_details"
        long += [text for text in detail["metadata"].values() if not isinstance(text, str) or len(text) > 1024]
        for group in detail["metric_groups"]:
            for metric in group["metric_data"]:
                number = isinstance(metric["value"], int | float) and not isinstance(metric["value"], bool)
                if not re.fullmatch(".{1,255}", metric["name"]) or (metric["type"], number) != ("number", True):
                    return f"metric {metric}"
    return f"too long: {long[0]}" if long else ""


if __name__ == "__main__":
    main()
