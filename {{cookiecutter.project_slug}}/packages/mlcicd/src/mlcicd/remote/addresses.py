"""The address of a raw file on another machine: which are understood, and never a credential in one."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://[^\s/]+(/\S*)?")
# Names of what opens a door for whoever reads it: a signed link, a key, a token.
SECRET = re.compile(r"(?i)sig|token|key|secret|passw|credential|auth")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def scheme(location: str) -> str:
    """Return the scheme of an address, such as ``s3``."""
    return location.partition("://")[0]


def checked(location: str) -> str:
    """Return an address as it is, once it is known that it may be committed, logged and shown.

    Raises
    ------
    ValueError
        It is no address, holds a credential, or would send one unencrypted.
    """
    if not (ADDRESS.fullmatch(location) and location.isprintable()):
        raise ValueError(f"location '{_shown(location)}' is no address, such as s3://bucket/folder/*.parquet")
    parts = urlsplit(location)
    secret = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if SECRET.search(name)]
    if "@" in parts.netloc or secret:
        raise ValueError(
            f"location '{_shown(location)}' holds a credential, and this file is committed; leave it out, revoke it, "
            "and set it in the environment"
        )
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError(f"location '{_shown(location)}' is not encrypted; write https://")
    return location


def checked_endpoint(endpoint: str) -> str:
    """Return the address of a server of one's own, for which S3 sends signatures and no secret; so http will do."""
    if scheme(endpoint) not in ("http", "https"):
        raise ValueError(f"endpointUrl '{_shown(endpoint)}' is no address; write http:// or https://")
    checked(endpoint.replace("http://", "https://", 1))
    return endpoint


def is_folder(location: str) -> bool:
    """Return whether an address is of a folder's parts: it ends with ``/``, or has a ``*`` in its last name."""
    return location.endswith("/") or "*" in location.rpartition("/")[2]


def _shown(location: str) -> str:
    """Return the beginning of an address, without what may be secret in it."""
    return re.sub(r"://[^/]*@", "://", location.partition("?")[0])[:100]
