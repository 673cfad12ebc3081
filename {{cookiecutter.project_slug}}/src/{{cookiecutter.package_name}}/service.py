"""The model over HTTP, as a BentoML service: ``POST /predict``, validated by the contract. This file is yours."""

from __future__ import annotations

from typing import Any

import bentoml
from mlcicd.serving.model_service import ModelService, preloaded, settings


@bentoml.service(**settings(__name__.split(".")[0]))
class Service(ModelService):
    """Predictions of the released model. Add endpoints with ``@bentoml.api``, as BentoML's documentation shows."""


def asgi() -> Any:
    """Build the application for gunicorn, which forks its workers from a process that holds the model."""
    return preloaded(Service)
