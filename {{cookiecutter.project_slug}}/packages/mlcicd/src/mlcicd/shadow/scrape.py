"""Read the metrics of one running service."""

from __future__ import annotations

import http.client
import os
from urllib.parse import urlsplit

SECONDS = 10


def scraped(url: str) -> str | None:
    """Return the text of a service's ``/metrics``, asked with ``ML_SERVICE_TOKEN``; None if it does not answer."""
    parts, token = urlsplit(url), os.environ.get("ML_SERVICE_TOKEN")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException, UnicodeDecodeError):
        return None
    finally:
        connection.close()
