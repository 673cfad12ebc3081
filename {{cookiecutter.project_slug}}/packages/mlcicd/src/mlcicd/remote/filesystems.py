"""File systems of fsspec by an address: time-outs, no caches, and one attempt, since ``transfer`` tries again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mlcicd.core.errors import InputError
from mlcicd.remote.addresses import scheme

TIMEOUT = "ML_DATA_TIMEOUT"
SECONDS = 30.0  # without an answer, or without a byte
# What installs the file system of a scheme.
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "https": "fsspec[http]", "http": "fsspec[http]"}


def seconds() -> float:
    """Return how long a server may be silent."""
    text = os.environ.get(TIMEOUT, "")
    try:
        found = float(text) if text else SECONDS
    except ValueError:
        found = 0.0
    if not 0 < found < 3600:
        raise InputError(f"{TIMEOUT}: must be a number of seconds below 3600, not '{text[:20]}'")
    return found


def opened(location: str, endpoint: str | None = None, *, versions: bool = True) -> Any:
    """Return the file system of an address.

    Parameters
    ----------
    endpoint : the server, where it is not the one that the address implies
    versions : whether versions are asked for, which a listing has no use for and needs a permission of its own

    Raises
    ------
    InputError
        Its package is not installed, or the scheme is not known.
    """
    kind, limit = scheme(location), seconds()
    if kind not in PACKAGES:
        raise InputError(f"{location}: '{kind}://' is not known; known: {', '.join(PACKAGES)}")
    package = PACKAGES[kind]
    try:
        import fsspec

        options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
        if kind == "s3":
            silent = {"connect_timeout": limit, "read_timeout": limit, "retries": {"total_max_attempts": 1}}
            options |= {"version_aware": versions, "endpoint_url": endpoint, "config_kwargs": silent}
        elif kind == "gs":
            options |= {"version_aware": versions, "endpoint_url": endpoint, "timeout": limit}
        elif kind == "az":
            options |= {"version_aware": versions, "connection_timeout": int(limit), "read_timeout": int(limit)}
        else:
            import aiohttp

            silence = aiohttp.ClientTimeout(total=None, sock_connect=limit, sock_read=limit)
            # Proxies, and passwords from ~/.netrc, come from the environment.
            options["client_kwargs"] = {"timeout": silence, "trust_env": True}
        found = fsspec.filesystem("http" if kind == "https" else kind, **options)
    except ImportError:
        raise InputError(
            f"{location}: {kind}:// needs {package}, which is not installed; run 'uv add --group object-storage "
            f'"{package}"\''
        ) from None
    found.retries = 1
    return found


def call(filesystem: Any, method: str, *arguments: Any, within: float, **named: Any) -> Any:
    """Call a method of an asynchronous file system, and give it up after some seconds, whatever its library thinks."""
    from fsspec.asyn import sync

    return sync(filesystem.loop, getattr(filesystem, f"_{method}"), *arguments, timeout=within, **named)


def revision(info: Mapping[str, Any]) -> str:
    """Return what a store calls the version of an object; empty where it has no word for it."""
    for key, word in (("VersionId", "version-id"), ("version_id", "version-id"), ("generation", "generation")):
        if info.get(key) not in (None, "", "null"):
            return f"{word}:{info[key]}"
    tag = info.get("ETag") or info.get("etag")
    if tag:
        return f"etag:{str(tag).replace(chr(34), '')}"
    return f"last-modified:{info['Last-Modified']}" if info.get("Last-Modified") else ""


def versioned(location: str, pinned: str) -> str:
    """Return the address of a version, where its store can be asked for one."""
    word, _, value = pinned.partition(":")
    mark = {"version-id": {"s3": "?versionId=", "az": "?versionid="}, "generation": {"gs": "#"}}.get(word, {})
    separator = mark.get(scheme(location))
    return f"{location}{separator}{value}" if separator else location
