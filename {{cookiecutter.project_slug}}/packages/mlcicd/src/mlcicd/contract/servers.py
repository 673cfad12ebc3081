"""Which of a contract's ``servers`` has which raw file: the one of its name, or the one with ``{model}`` for a name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlcicd.contract.schema import Contract
from mlcicd.core.errors import InputError
from mlcicd.remote import addresses
from mlcicd.sources import lock

MODEL = "{model}"  # as datacontract-cli understands it


class Place(NamedTuple):
    """Where a raw file is: its address, and its server where the address does not imply it."""

    location: str
    endpoint: str | None = None


def declared(contract: Contract) -> dict[str, Place]:
    """Return the places of the raw files that are on other machines, by their names.

    Raises
    ------
    InputError
        A location is no address, or holds a credential; or two servers have one name.
    """
    found = ((str(obj.physicalName), _server(contract.servers, obj.name), obj.name) for obj in contract.raw)
    return {name: _place(server, model) for name, server, model in found if server}


def check(contract: Contract, root: Path) -> None:
    """Refuse a lock that pins other places than the contract declares.

    Raises
    ------
    InputError
        A raw file is declared and not pinned, or pinned and not declared, or at two places.
    """
    places, entries = declared(contract), lock.read(root)
    for obj in contract.raw:
        name = str(obj.physicalName)
        place, entry = places.get(name), entries.get(name)
        there = Place(entry.location, entry.endpoint) if entry else None
        if place == there:
            continue
        declares = f"is at {place.location}" if place else "is at no server"
        pins = f"{lock.FILE} pins it at {there.location}" if there else f"{lock.FILE} does not pin it"
        also = " of another endpointUrl" if place and there and place.location == there.location else ""
        raise InputError(f"contract.yaml: '{obj.name}' {declares}, and {pins}{also}; run 'ml data pin'")


def _server(servers: Sequence[dict[str, Any]], model: str) -> dict[str, Any] | None:
    named = [server for server in servers if server.get("server") == model and server.get("type") != "local"]
    named = named or [server for server in servers if MODEL in str(server.get("location"))]
    if len(named) > 1:
        raise InputError(f"contract.yaml: servers: '{model}' is at two of them; leave one")
    return named[0] if named else None


def _place(server: dict[str, Any], model: str) -> Place:
    location, endpoint = server.get("location"), server.get("endpointUrl")
    where = f"contract.yaml: servers: '{server.get('server')}'"
    if not isinstance(location, str) or not isinstance(endpoint, str | None):
        raise InputError(f"{where}: a location is expected, such as s3://bucket/folder/*.parquet")
    try:
        checked = addresses.checked(location.replace(MODEL, model))
        return Place(checked, addresses.checked_endpoint(endpoint) if endpoint else None)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
