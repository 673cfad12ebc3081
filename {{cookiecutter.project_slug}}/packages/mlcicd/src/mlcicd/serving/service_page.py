"""The documentation page of a running service: paths, columns and an example. It loads nothing from other hosts."""

from __future__ import annotations

import json
from html import escape
from typing import Any

PATHS = {
    "POST /predict": "predictions for records",
    "GET /model": "version, metrics, contract and card",
    "GET /openapi.json": "this page as OpenAPI",
    "GET /metrics": "counts for Prometheus",
    "GET /readyz": "200 when the model is loaded",
}
LIMITS = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
    "minLength": "length ≥",
    "maxLength": "length ≤",
    "pattern": "matches",
}
STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8884 }
pre { padding: 1rem; background: #8881; overflow-x: auto } code { font-family: ui-monospace, monospace }
"""


def render(openapi: dict[str, Any]) -> str:
    """Return the HTML page of a service from its OpenAPI document."""
    info, record = openapi["info"], openapi["components"]["schemas"]["Record"]
    content = openapi["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    required = set(record.get("required", []))
    columns: list[tuple[str, ...]] = [
        (name, _kind(column), _rules(column), "yes" if name in required else "no", column.get("description", ""))
        for name, column in record["properties"].items()
    ]
    example = json.dumps(content["example"], indent=2, ensure_ascii=False) if "example" in content else ""
    parts = [
        f"<h1>{escape(info['title'])}</h1>",
        f"<p>{escape(info['description'])}</p>" if info["description"] else "",
        f"<p>Version <code>{escape(info['version'])}</code></p>",
        "<h2>Paths</h2>",
        _table(("path", "answers"), [*PATHS.items(), *_added(openapi["paths"])]),
        "<h2>Columns</h2>",
        _table(("column", "type", "rules", "must be named", "meaning"), columns),
        f"<h2>Example of a request</h2><pre><code>{escape(example)}</code></pre>" if example else "",
    ]
    title = escape(info["title"])
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = "".join(parts)
    return f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>'


def _added(paths: dict[str, Any]) -> list[tuple[str, str]]:
    """The endpoints beside ``predict``, with the first line of what their docstrings say."""
    posts = {path: item["post"] for path, item in paths.items() if "post" in item and path != "/predict"}
    return [
        (f"POST {path}", (item.get("description") or "").strip().partition("\n")[0]) for path, item in posts.items()
    ]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _kind(column: dict[str, Any]) -> str:
    kinds = [part.get("type", "") for part in column.get("anyOf", [column])]
    return f"{' or '.join(kind for kind in kinds if kind)}{', ' + column['format'] if 'format' in column else ''}"


def _rules(column: dict[str, Any]) -> str:
    variants = [column, *column.get("anyOf", [])]
    rules = [f"{sign} {part[key]}" for part in variants for key, sign in LIMITS.items() if key in part]
    if "enum" in column:
        allowed = ["null" if value is None else str(value) for value in column["enum"]]
        rules.append(f"one of {', '.join(allowed[:20])}{', …' if len(allowed) > 20 else ''}")
    return ", ".join(dict.fromkeys(rules))
