"""A GitHub with a small project on it, shared by the tests of its workflows, and the table of what they executed."""

from __future__ import annotations

import gzip
import io
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from acting import EXECUTED, GitHub, Outcome, Pull
from scripts import blocks, report_json

from workflows.coverage_table import render

FAST = {
    "model": {"max_iter": 10, "learning_rate": 0.3},
    "split": {"folds": 2},
}


def shrink(tree: Path) -> None:
    """A sixth of the customers and a model that trains at once: what is tested is the path, not the verdict."""
    data = tree / "data/transactions.csv.gz"
    header, *rows = gzip.decompress(data.read_bytes()).decode().splitlines(keepends=True)
    kept = [row for row in rows if int(row[:5]) % 6 == 0]
    data.write_bytes(gzip.compress("".join([header, *kept]).encode(), mtime=0))
    params = yaml.safe_load((tree / "params.yaml").read_text(encoding="utf-8"))
    for section, values in FAST.items():
        params[section] = {**params.get(section, {}), **values}
    (tree / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def replace(file: Path, changes: dict[str, str]) -> None:
    """Change a file's text; a change that finds nothing to change is a mistake."""
    text = file.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text, f"{file.name} has no {old!r}"
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def drop_features(tree: Path) -> None:
    """The worse branch: nothing is left of when and how often somebody bought."""
    file = next(tree.glob("src/*/features.py"))
    before, _, rest = file.read_text(encoding="utf-8").partition("FEATURES = [\n")
    after = rest.partition("]\n")[2]
    file.write_text(f'{before}FEATURES = [\n    "items_per_order",\n]\n{after}', encoding="utf-8")


def write(name: str, text: str) -> Callable[[Path], None]:
    """An edit that writes one file."""

    def edit(tree: Path) -> None:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text, encoding="utf-8")

    return edit


def nothing(_: Path) -> None:
    """An edit that changes nothing: an empty commit."""


def fake_uv(folder: Path) -> Path:
    """A folder for PATH in which `uv` only pretends: see `fake_uv.py`."""
    fakes = folder / "fakes"
    fakes.mkdir()
    (fakes / "uv").symlink_to(Path(__file__).with_name("fake_uv.py"))
    return fakes


def archive(files: dict[str, str | bytes], *, links: tuple[str, ...] = ()) -> bytes:
    """A zip archive; the names in `links` become symbolic links to their content."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = ((stat.S_IFLNK if name in links else stat.S_IFREG) | 0o644) << 16
            packed.writestr(entry, text)
    return content.getvalue()


def finished(
    hub: GitHub,
    pull: Pull,
    *,
    conclusion: str = "success",
    title: str = "Model review: same ✅",
    text: str = "",
    review: str | None = None,
    number: int | None = None,
    outcome: str = "reviewed",
    head: str = "",
    files: dict[str, str | bytes] | None = None,
    links: tuple[str, ...] = (),
) -> Outcome:
    """A run of `model` for the pull request's head, with an artifact that a test, or an attacker, made up.

    `review` is the whole of review.json; without it, a report of a title and a paragraph.
    """
    source = {"sha": hub.head(pull.branch), "ref": pull.branch, "repo": {"full_name": pull.repository}}
    run = Outcome("model", next(hub.runs), {"pull_request": {"number": pull.number, "head": source}}, conclusion)
    meta = {"number": pull.number if number is None else number, "head": head or source["sha"], "outcome": outcome}
    if review is None:
        review = report_json.dump(blocks.Report(title, [blocks.Text(text)] if text else []))
    hub.set_artifact(run, archive({"review.json": review, "meta.json": json.dumps(meta), **(files or {})}, links=links))
    return run


@pytest.fixture(scope="session")
def small(project, tmp_path_factory: pytest.TempPathFactory) -> GitHub:
    """The small project, pushed to main. Do not change it: take a `hub`."""
    hub = GitHub(tmp_path_factory.mktemp("small") / "hub", project.root, environment=project.root)
    hub.commit("main", shrink, message="A smaller example")
    return hub


@pytest.fixture
def hub(small: GitHub, tmp_path: Path) -> Iterator[GitHub]:
    """A GitHub of one's own, with the small project on main."""
    own = small.copy(tmp_path / "hub")
    yield own
    own.stop_containers()


@pytest.fixture(scope="session")
def trained(small: GitHub, tmp_path_factory: pytest.TempPathFactory) -> tuple[GitHub, Outcome]:
    """The small project after `model` ran on main, and that run."""
    own = small.copy(tmp_path_factory.mktemp("trained") / "hub")
    return own, own.on_push("model")


@pytest.fixture
def reviewing(trained: tuple[GitHub, Outcome], tmp_path: Path) -> GitHub:
    """A GitHub of one's own whose cache holds main's run."""
    return trained[0].copy(tmp_path / "hub")


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """Programs that only pretend."""
    return fake_uv(tmp_path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which jobs and steps ran, and which conditions went both ways."""
    if EXECUTED:
        terminalreporter.section("jobs and steps executed under act")
        terminalreporter.write_line(render())
