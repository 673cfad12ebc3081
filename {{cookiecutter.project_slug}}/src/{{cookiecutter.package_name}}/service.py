"""The model over HTTP, as a BentoML service: ``POST /predict``, validated by the contract. This file is yours."""

from __future__ import annotations

from typing import Any

import bentoml
from mlcicd.serving import app


@bentoml.service(**app.settings(__name__.split(".")[0]))
@bentoml.asgi_app(app.app, path="/")
class Service(app.Worker):
    """One worker of the service."""


def asgi() -> Any:
    """Build the application for gunicorn, which forks its workers from a process that holds the model."""
    return app.preloaded(Service)
