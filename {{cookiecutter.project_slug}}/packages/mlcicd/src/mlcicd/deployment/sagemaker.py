"""SageMaker: one endpoint, on which a release is tried as a variant without traffic, then with a little of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from mlcicd.core.errors import InputError
from mlcicd.deployment import sagemaker_registry as registry
from mlcicd.deployment.release import Release
from mlcicd.deployment.rollout import ROLLBACK
from mlcicd.deployment.sagemaker_account import Account, as_tags, facts, gateway, read_settings, valid_name
from mlcicd.deployment.targets import RollOutError, Running
from mlcicd.training.run import say

# The same for each release, so that alarms and autoscaling can name them.
CURRENT, CANDIDATE = "current", "candidate"
PREVIOUS, TRIAL = "ml:previous", "ml:on-trial"
LOOK = 15  # seconds between two looks at the alarms
START = 120  # seconds for the container to answer /ping: the example's takes two
ABANDONED = timedelta(minutes=10)  # the endpoint is made within seconds
SERVICE = "sagemaker"


class SageMaker:
    """One environment: an endpoint, and the configurations that it has had.

    While a release is rolled out there is a configuration with the endpoint's name and ``-roll-out``. Only one can be
    made, so it is also the lock between two roll-outs. Each other configuration names in a tag the one before it.
    """

    def __init__(self, root: Path, environment: str) -> None:
        """Read the settings; an InputError names what is wrong with them."""
        self.root, self.environment = root, environment
        self.settings = read_settings(root, environment)
        self.account = Account(self.settings.region)
        self.endpoint = self.settings.endpoint
        self.trial = f"{self.endpoint}-roll-out"  # the configuration while a release is rolled out
        self.package = ""
        self.promoted = ""  # the configuration that the release in hand gets all traffic with

    def check(self, release: Release) -> None:
        """Refuse alarms that are not there, before anything is touched; any release has a name that fits."""
        self.account.alarm(self.settings.alarms)

    @contextmanager
    def lock(self, what: str) -> Iterator[None]:
        """Refuse a roll-out while there is another; the configuration that `candidate` makes keeps a later one away."""
        found = self._described()
        trial = self._configuration(self.trial)
        if found is None and trial and trial["CreationTime"] < datetime.now(UTC) - ABANDONED:
            self._delete_configuration(self.trial)  # its process was killed before it made the endpoint
        elif what != ROLLBACK and found is not None and found["EndpointStatus"] != "InService":
            raise InputError(f"{self.endpoint}: is {found['EndpointStatus']}; wait until it is InService, or delete it")
        elif what != ROLLBACK and trial:
            raise InputError(self._busy())
        yield

    def pin(self, release: Release) -> None:
        """Refuse: no file names a release."""
        raise InputError("--only-write: no file in deploy/sagemaker names a release; leave the option out")

    def running(self) -> Running | None:
        """Return what the endpoint's traffic goes to."""
        found = self._described()
        if found is None:
            return None
        variants = {variant["VariantName"]: variant for variant in found.get("ProductionVariants", [])}
        known = self._tags(found["EndpointConfigName"])
        image, release = known.get("ml:image", "unknown"), known.get("ml:release", "unnamed")
        if found["EndpointConfigName"] == self.trial:
            release += f", with {known.get(TRIAL)} on trial"
        counts = variants.get(CURRENT, {})
        ready = counts.get("CurrentInstanceCount", 0) if found["EndpointStatus"] != "Failed" else 0
        return Running(image, release, ready, counts.get("DesiredInstanceCount", self.settings.instance.count))

    @contextmanager
    def candidate(self, release: Release) -> Iterator[str]:
        """Add a release to the endpoint as a variant without traffic; yield the URL of a way to it."""
        found, running = self._described(), self.running()
        image = registry.push(self.account, self.settings, release, self.root)
        if running is not None and running.image == image and not self._under_way():
            with gateway(self.account, self.endpoint, CURRENT) as url:
                yield url
            return
        self.package = registry.register(self.account, self.settings, release, image)
        try:
            self._add(found, release, image)
            with gateway(self.account, self.endpoint, CANDIDATE if found else CURRENT) as url:
                yield url
        except BaseException as error:
            if self.promoted:
                self._withdraw()
                self._reject(str(error))
            raise

    def promote(self, release: Release) -> None:
        """Give the variant some traffic while the alarms are watched, then all of it."""
        if not self.promoted:  # it runs already
            return
        found = self._described()
        if found is not None and found["EndpointConfigName"] != self.promoted:
            try:
                self._watch()
                self._update(self.promoted)
            except BaseException as error:
                if not isinstance(error, RollOutError):  # after that, `rollback` is called
                    self._withdraw()
                self._reject(str(error))
                raise
        self._delete_configuration(self.trial)
        registry.judge(self.account, self.package, "Approved", f"{release.name} is rolled out to {self.environment}")

    def rollback(self) -> None:
        """Take a roll-out back that has not ended; else return to the configuration before."""
        found = self.account.settle(self.endpoint)
        if self._under_way():
            self._withdraw()
            return
        if self.promoted:  # somebody else took this roll-out back
            return
        if found is None:
            raise InputError(f"{self.endpoint}: there is no such endpoint; nothing is rolled out")
        before = self._tags(found["EndpointConfigName"]).get(PREVIOUS)
        if not before or self._configuration(before) is None:
            raise InputError(f"{self.endpoint}: there is no version to go back to")
        self._update(before)

    def _add(self, found: dict[str, Any] | None, release: Release, image: str) -> None:
        """Make model and configurations, and give the endpoint the variant."""
        known = facts(release.name, image, release.run)
        model = self._model(image, known)
        before = found["EndpointConfigName"] if found else ""
        stamp = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
        final = valid_name(self.endpoint, stamp, release.name)
        known |= {PREVIOUS: before} if before else {}
        if before:
            variants = self._configuration(before)["ProductionVariants"]  # type: ignore[index]
            current = next(variant for variant in variants if variant["VariantName"] == CURRENT)
            trial = [current | {"InitialVariantWeight": 1.0}, self._variant(CANDIDATE, model, 0.0)]
            self._begin(trial, self._tags(before) | {PREVIOUS: before, TRIAL: release.name})
        else:
            self._begin([self._variant(CURRENT, model, 1.0)], known | {TRIAL: release.name})
        self.promoted = final
        self._configure(final, [self._variant(CURRENT, model, 1.0)], known)
        if before:
            self._update(self.trial)
            return
        tags = as_tags({"ml:environment": self.environment})
        self.account(SERVICE, "create_endpoint", EndpointName=self.endpoint, EndpointConfigName=final, Tags=tags)
        self.account.in_service(self.endpoint, final)

    def _model(self, image: str, known: dict[str, str]) -> str:
        """Make the model of an image and a role; the same two are the same model."""
        same = sha256(f"{image} {self.settings.role}".encode()).hexdigest()[:12]
        name = valid_name(self.endpoint, same, known["ml:release"])
        if self.account.find(SERVICE, "describe_model", ModelName=name) is None:
            self.account(
                SERVICE,
                "create_model",
                ModelName=name,
                PrimaryContainer={"Image": image},
                ExecutionRoleArn=self.settings.role,
                EnableNetworkIsolation=True,  # the service calls nobody
                Tags=as_tags(known),
            )
        return name

    def _variant(self, name: str, model: str, weight: float) -> dict[str, Any]:
        return {
            "VariantName": name,
            "ModelName": model,
            "InstanceType": self.settings.instance.type,
            "InitialInstanceCount": self.settings.instance.count,
            "InitialVariantWeight": weight,
            "ContainerStartupHealthCheckTimeoutInSeconds": START,
        }

    def _arguments(self, name: str, variants: list[dict[str, Any]], known: dict[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = {"EndpointConfigName": name, "ProductionVariants": variants, "Tags": as_tags(known)}
        capture = self.settings.capture
        if capture:
            found["DataCaptureConfig"] = {
                "EnableCapture": True,
                "InitialSamplingPercentage": capture.percentage,
                "DestinationS3Uri": capture.to,
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"], "CsvContentTypes": ["text/csv"]},
            }
        return found

    def _configure(self, name: str, variants: list[dict[str, Any]], known: dict[str, str]) -> None:
        self.account(SERVICE, "create_endpoint_config", **self._arguments(name, variants, known))

    def _begin(self, variants: list[dict[str, Any]], known: dict[str, str]) -> None:
        """Make the configuration of a roll-out; where there is one already, another roll-out is under way."""
        made = self.account.ask(SERVICE, "create_endpoint_config", **self._arguments(self.trial, variants, known))
        if isinstance(made, Exception) and "already existing" in str(made):
            raise InputError(self._busy())
        if isinstance(made, Exception):
            raise InputError(f"AWS {SERVICE} create_endpoint_config: {made}")

    def _busy(self) -> str:
        other = self._tags(self.trial).get(TRIAL, "another release")
        back = f"ml deploy rollback --to {self.environment}"
        return f"{self.endpoint}: {other} is being rolled out; wait until that ends, or take it back: {back}"

    def _update(self, configuration: str) -> None:
        known = {"EndpointName": self.endpoint, "EndpointConfigName": configuration}
        self.account(SERVICE, "update_endpoint", **known)
        self.account.in_service(self.endpoint, configuration)

    def _weigh(self, candidate: float) -> None:
        weights = ((CURRENT, 1 - candidate), (CANDIDATE, candidate))
        wanted = [{"VariantName": name, "DesiredWeight": weight} for name, weight in weights]
        known = {"EndpointName": self.endpoint, "DesiredWeightsAndCapacities": wanted}
        self.account(SERVICE, "update_endpoint_weights_and_capacities", **known)
        self.account.in_service(self.endpoint, self.trial)

    def _watch(self) -> None:
        """Send a share of the traffic to the candidate, as long as no alarm rings. Without alarms nobody would see."""
        canary, alarms = self.settings.canary, self.settings.alarms
        if not alarms:
            return
        self._weigh(canary.percentage / 100)
        until = time.monotonic() + 60 * canary.minutes
        while True:
            if rings := self.account.alarm(alarms):
                raise RollOutError(rings)
            left = until - time.monotonic()
            if left <= 0:
                return
            say(f"{self.endpoint}: {canary.percentage} % of the traffic for {left / 60:.0f} more minutes")
            time.sleep(min(LOOK, left))
            self.account.in_service(self.endpoint, self.trial)  # nobody took it back meanwhile

    def _withdraw(self) -> None:
        """Leave the endpoint as it was before the roll-out that has not ended."""
        found = self.account.settle(self.endpoint)
        if not self._under_way():  # somebody else was faster
            return
        before = self._tags(self.trial).get(PREVIOUS, "")
        if found is not None and not before:  # the first one: nothing was there
            self.account(SERVICE, "delete_endpoint", EndpointName=self.endpoint)
            self.account.settle(self.endpoint)
            self._delete_configuration(found["EndpointConfigName"])
        elif found is not None and found["EndpointConfigName"] != before:
            if found["EndpointConfigName"] == self.trial:
                self._weigh(0)  # at once; the rest takes minutes
            self._update(before)
        self._delete_configuration(self.trial)
        self._delete_configuration(self.promoted)

    def _reject(self, why: str) -> None:
        with suppress(InputError):  # the endpoint is as it was, and that counts
            registry.judge(self.account, self.package, "Rejected", f"{self.environment}: {why}")

    def _delete_configuration(self, name: str) -> None:
        if name:
            self.account.find(SERVICE, "delete_endpoint_config", EndpointConfigName=name)

    def _described(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.account.find(SERVICE, "describe_endpoint", EndpointName=self.endpoint)
        return found

    def _configuration(self, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.account.find(SERVICE, "describe_endpoint_config", EndpointConfigName=name)
        return found

    def _under_way(self) -> bool:
        return self._configuration(self.trial) is not None

    def _tags(self, configuration: str) -> dict[str, str]:
        """Return the tags of a configuration; none where it is not there."""
        found = self._configuration(configuration)
        if found is None:
            return {}
        tags = self.account(SERVICE, "list_tags", ResourceArn=found["EndpointConfigArn"])["Tags"]
        return {tag["Key"]: tag["Value"] for tag in tags}
