"""Stands in for Grafana, of which neither image nor package can be had here: provisioning, variables and queries.

It loads what is provisioned where Grafana looks for it, and refuses what Grafana would not load. `/panels` asks the
data source what each panel of the dashboards asks, and answers with the number of series by panel. Nothing is drawn.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

PROVISIONING = Path("/etc/grafana/provisioning")


def provisioned(kind: str, entries: str) -> list[dict[str, Any]]:
    """What the files of one kind list."""
    found = []
    for file in sorted((PROVISIONING / kind).glob("*.y*ml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert content["apiVersion"] == 1, f"{file}: apiVersion"
        found += content[entries]
    assert found, f"{PROVISIONING / kind}: nothing is provisioned"
    return found


def source() -> str:
    """The URL of the default data source, which a dashboard's variable takes as long as nobody chooses."""
    [default] = [entry for entry in provisioned("datasources", "datasources") if entry.get("isDefault")]
    assert (default["type"], default["access"]) == ("prometheus", "proxy") and default["name"]
    return default["url"]


def dashboards() -> list[dict[str, Any]]:
    """The dashboards of all providers."""
    found = []
    for provider in provisioned("dashboards", "providers"):
        assert provider["type"] == "file" and provider["name"]
        found += [json.loads(file.read_bytes()) for file in sorted(Path(provider["options"]["path"]).glob("*.json"))]
    assert found and all(dashboard["title"] for dashboard in found)
    return found


def ask(path: str, **given: str) -> Any:
    """What the data source answers."""
    with urllib.request.urlopen(f"{source()}/api/v1/{path}?{urlencode(given)}", timeout=10) as response:
        return json.load(response)["data"]


def variables(dashboard: dict[str, Any]) -> dict[str, str]:
    """The values that a dashboard's variables have when somebody opens it."""
    values = {"$__rate_interval": os.environ.get("RATE_INTERVAL", "1m")}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        metric, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").split(", ")
        options = sorted({series[label] for series in ask("series", **{"match[]": metric})})
        values[f"${variable['name']}"] = variable.get("allValue") or options[0]
    return values


def panels() -> dict[str, list[int]]:
    """The number of series that each query of each panel answers with."""
    found = {}
    for dashboard in dashboards():
        values = variables(dashboard)
        for panel in dashboard["panels"]:
            found[panel["title"]] = []
            for target in panel["targets"]:
                query = target["expr"]
                for name, value in values.items():
                    query = query.replace(name, value)
                found[panel["title"]].append(len(ask("query", query=query)["result"]))
    return found


class Handler(BaseHTTPRequestHandler):
    """`/panels`, for the user admin."""

    def do_GET(self) -> None:
        user = base64.b64encode(f"admin:{os.environ['GF_SECURITY_ADMIN_PASSWORD']}".encode()).decode()
        allowed = self.path == "/panels" and self.headers["Authorization"] == f"Basic {user}"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(json.dumps(panels() if allowed else None).encode())


if __name__ == "__main__":
    source(), dashboards()
    HTTPServer((os.environ.get("GF_SERVER_HTTP_ADDR", ""), 3000), Handler).serve_forever()
