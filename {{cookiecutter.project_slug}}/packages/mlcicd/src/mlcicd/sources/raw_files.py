"""Ask all kinds of stores about the raw files of a project: what pins them, whether they are here, fetch them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mlcicd.core.errors import InputError
from mlcicd.remote.addresses import scheme
from mlcicd.sources import dvc, git_files, git_lfs, lock, object_storage
from mlcicd.sources.pins import LockedStore, Pin, Store

# A file belongs to the first that pins it; git comes last, since it has the pointers of the others.
STORES: tuple[Store, ...] = (object_storage, dvc, git_lfs, git_files)
# Those whose versions the lock names.
LOCKED: tuple[LockedStore, ...] = (object_storage,)
CHECKED = (dvc.NAME, *(store.NAME for store in LOCKED))


class Status(NamedTuple):
    """A raw file, what pins it, and a problem with the bytes that are here; empty if there is none."""

    name: str
    pin: Pin
    problem: str


def pin_of(root: Path, name: str, commit: str | None = None) -> Pin:
    """Return what pins a raw file in a commit, or in the working tree."""
    found = (store.pin(root, name, commit) for store in STORES)
    return next(pin for pin in found if pin)


def locked_pin(root: Path, name: str, commit: str) -> Pin | None:
    """Return what pins a raw file in a commit's lock; None where the lock does not name it."""
    return next((pin for store in LOCKED if (pin := store.pin(root, name, commit))), None)


def store_of(pin: Pin) -> Store:
    """Return the store of a pin."""
    return next(store for store in STORES if pin.store == store.NAME)


def unfetched(path: Path) -> str | None:
    """Return what there is in place of a file's bytes and how to fetch them; None if nothing says that it is stored."""
    return next((said for store in STORES if (said := store.unfetched(path))), None)


def problem(root: Path, name: str, pin: Pin) -> str:
    """Say what is wrong with the bytes of a pinned file; empty if they are here and are what the pin names."""
    path = root / name
    if said := unfetched(path):
        return said
    if not path.exists():
        return "is not here, and no store has it"
    other = store_of(pin).differs(path, pin.version) if pin.version else None
    return f"is {short(other)} here, and {pin.pointer} names {short(pin.version)}" if other else ""


def short(version: str | None) -> str:
    """Return a version as people compare it: the kind of hash and its first characters."""
    kind, _, digest = (version or "none").partition(":")
    return f"{kind} {digest[:12]}…" if digest else kind


def status(root: Path, names: Iterable[str]) -> list[Status]:
    """Return the state of each raw file."""
    pins = {name: pin_of(root, name) for name in names}
    return [Status(name, pin, problem(root, name, pin)) for name, pin in pins.items()]


def check(root: Path, name: str) -> None:
    """Refuse a file whose pin is not its bytes here: a run would name a version that it does not have.

    Of files in git and in Git LFS, git itself knows that they are changed.

    Raises
    ------
    InputError
        The bytes are not those of the pointer.
    """
    pin = pin_of(root, name)
    if pin.store not in CHECKED or not (root / name).exists() or not (said := problem(root, name, pin)):
        return
    remedy = "'ml data pull' brings the pinned one, 'ml data pin' takes what is there now"
    if pin.store == dvc.NAME:
        remedy = f"'dvc add {name}' keeps what is here, 'dvc checkout --force {pin.pointer}' brings the other back"
    raise InputError(f"{name}: {said}; {remedy}")


def pull(tree: Path, names: Sequence[str], root: Path | None = None) -> list[str]:
    """Fetch the raw files of a checked-out tree that are not here; return the names of those that were not.

    Parameters
    ----------
    tree : the project's folder in the tree
    names : the raw files
    root : the project whose settings and caches are used, where the tree is another commit's

    Raises
    ------
    NotFetchedError
        A file could not be fetched.
    """
    before = [name for name in names if unfetched(tree / name)]
    for store in STORES:
        store.pull(tree, root or tree, names)
    return before


def pin(root: Path, places: Mapping[str, tuple[str, str | None]], declared: set[str]) -> dict[str, tuple[str, str]]:
    """Fetch what is at the places of raw files now, and let the lock pin that.

    Parameters
    ----------
    root : the project's folder
    places : address and server by the names of the raw files to pin
    declared : the names of all raw files at other places; the lock forgets others

    Returns
    -------
    What pinned each file before, and what does now; empty where nothing did.

    Raises
    ------
    InputError
        A file could not be fetched, or is in git, too.
    """
    before, after = lock.read(root), dict[str, lock.Entry]()
    for name in places:
        git_files.refuse_tracked(root, name)
    for name, (location, endpoint) in places.items():
        store = next((store for store in LOCKED if scheme(location) in store.SCHEMES), None)
        if store is None:
            known = ", ".join(f"{word}://" for store in LOCKED for word in store.SCHEMES if word != "http")
            raise InputError(f"contract.yaml: servers: {location} is not understood; known: {known}")
        after[name] = store.take(root, name, location, endpoint)
    lock.update(root, after, declared)
    for name in places:
        git_files.ignore(root, name)
    old = {name: before[name].revision or before[name].version for name in places if name in before}
    return {name: (old.get(name, ""), entry.revision or entry.version) for name, entry in after.items()}
