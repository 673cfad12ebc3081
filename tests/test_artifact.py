"""Whatever a pull request's run leaves as its artifact, `report` has something to post, and never falls silent."""

from __future__ import annotations

import io
import json
import random
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from github_markdown import alive, page
from scripts import SCRIPTS, blocks, markdown, report_json, script

read_review = script("read_review")
HEAD = "a" * 40
PULL = {
    "number": 7,
    "state": "open",
    "head": {"sha": HEAD, "ref": "change", "repo": {"full_name": "acme/churn"}},
    "base": {"ref": "main"},
    "changed_files": 1,
}
RUN = read_review.Run(
    id="9",
    url="https://github.com/acme/churn/actions/runs/9",
    conclusion="success",
    head=HEAD,
    head_repository="acme/churn",
    head_branch="change",
    number="7",
    event="pull_request",
    created="2026-01-02T00:00:00Z",
)
TABLE = blocks.Table("Metrics", "lr", ["metric", "main"], [["ROC AUC", 0.8], ["rows", 12]])
CHART = blocks.Chart("roc", "ROC", "rate", "rate", [0.0, 0.5, 1.0], {"main": [0.0, 0.7, 1.0]})
INNER = [blocks.Items(["one", "two"]), blocks.Code(["line"]), CHART]
GOOD = report_json.dump(
    blocks.Report("Model review: same ✅", [TABLE, blocks.Text("a word", "word"), blocks.Section("more", INNER)])
)
META = json.dumps({"number": 7, "head": HEAD, "outcome": "reviewed"})


def packed(files: dict[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def handed_over(review: str | bytes = GOOD, meta: str | bytes = META) -> bytes:
    return packed({"review.json": review, "meta.json": meta})


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """What GitHub answers; `zip` is the artifact."""
    answers: dict[str, Any] = {"zip": handed_over(), "files": [{"filename": "params.yaml"}], "pull": PULL}

    def call(path: str, limit: int = 10_000_000) -> bytes:
        if path.endswith("/zip"):
            return answers["zip"][:limit]
        if "/artifacts" in path:
            return json.dumps(
                {"artifacts": [{"id": 1, "name": "review", "expired": False, "size_in_bytes": 1}]}
            ).encode()
        for part, key in (("/files?", "files"), ("/pulls/7", "pull"), ("/events?", "events"), ("/pulls?", "pulls")):
            if part in f"/{path}":
                return json.dumps(answers.get(key, [])).encode()
        raise read_review.subprocess.CalledProcessError(1, path)

    monkeypatch.setattr(read_review.github_api, "call", call)
    monkeypatch.setattr(read_review.traceback, "format_exc", lambda: "")
    yield answers


def post(github: dict[str, Any], archive: bytes) -> tuple[dict[str, str], str]:
    """What `report` posts for an archive: always a comment on the pull request, and a check."""
    github["zip"] = archive
    outputs, body = read_review.review(RUN)
    assert (outputs["head"], outputs["number"]) == (HEAD, "7")
    assert outputs["conclusion"] in ("success", "failure", "neutral")
    assert body.startswith("## ") and len(body.encode()) <= 65_000
    assert "\n" not in outputs["problem"]
    assert (outputs["conclusion"] == "failure") == bool(outputs["problem"])
    return outputs, body


def test_a_good_artifact_is_shown(github: dict[str, Any]) -> None:
    outputs, body = post(github, handed_over())
    assert outputs["problem"] == ""
    assert body.startswith("## Model review: same ✅\n\n| metric | main |\n| --- | --: |\n| ROC AUC | 0.800 |")
    assert post(github, packed({"review.json": GOOD, "meta.json": META}, zipfile.ZIP_STORED)) == (outputs, body)


def headers(content: bytes, field: int, value: bytes, *, local: int | None = None) -> bytes:
    """Change a field of the first central header, and of the first local one."""
    found, place = bytearray(content), content.index(b"PK\x01\x02")
    found[place + field : place + field + len(value)] = value
    if local is not None:
        found[local : local + len(value)] = value
    return bytes(found)


def twice() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive, pytest.warns(UserWarning):
        archive.writestr("meta.json", META)
        archive.writestr("review.json", GOOD)
        archive.writestr("review.json", GOOD)
    return content.getvalue()


def linked() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        entry = zipfile.ZipInfo("review.json")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr("meta.json", META)
        archive.writestr(entry, "/etc/passwd")
    return content.getvalue()


ARCHIVES = {
    "nothing": (b"", "artifact is no archive"),
    "no archive": (b"PK\x03\x04 not really", "artifact is no archive"),
    "too large": (b"\0" * 1_000_001, "larger than 1,000,000 bytes"),
    "an empty archive": (packed({}), "holds 0 files called meta.json"),
    "no report": (packed({"meta.json": META}), "holds 0 files called review.json"),
    "a folder": (packed({"meta.json": META, "review.json/": b""}), "holds 0 files called review.json"),
    "two reports": (twice(), "holds 2 files called review.json"),
    "a link": (linked(), "its review.json is no regular file"),
    "bzip2": (packed({"review.json": "x" * 50_000_000, "meta.json": META}, zipfile.ZIP_BZIP2), "packed in a way"),
    "LZMA": (packed({"review.json": GOOD, "meta.json": META}, zipfile.ZIP_LZMA), "packed in a way"),
    "a bomb": (handed_over("x" * 50_000_000), "its review.json is larger than 1,000,000 bytes"),
    "a bomb of claims": (handed_over(meta=" " * 50_000_000), "its meta.json is larger than 1,000 bytes"),
    "an unknown method": (headers(handed_over(), 10, struct.pack("<H", 77)), "packed in a way"),
    "an unknown version": (headers(handed_over(), 6, b"\xff"), "artifact is no archive"),
    "encrypted": (headers(handed_over(), 8, b"\x01\x00"), "packed in a way"),
    "a name that is no UTF-8": (
        headers(headers(handed_over(), 8, b"\x00\x08"), 46, b"\xff\xfe"),
        "artifact is no archive",
    ),
    "another name in front": (headers(handed_over(), 46, b"another", local=30), "holds 0 files called review.json"),
    "a lie about the size": (headers(handed_over(), 24, struct.pack("<I", 5)), "cannot be unpacked"),
    "a huge size": (headers(handed_over(), 24, b"\xff\xff\xff\x7f"), "is larger than"),
    "no zlib": (handed_over().replace(handed_over()[45:60], b"\xff" * 15, 1), "cannot be unpacked"),
    "no UTF-8": (handed_over(review=b"\xff\xfe" * 10), "its review.json is not UTF-8"),
    "version 0.1": (
        packed({"report.md": "## Model review: better ✅\n", "meta.json": META}),
        "made by version 0.1 of the pipeline, which left text instead of data; push again",
    ),
    "claims of another shape": (handed_over(meta="[]"), "its meta.json is not what this project writes"),
    "claims without end": (handed_over(meta="[" * 1000), "its meta.json is not what this project writes"),
    "a number without end": (handed_over(meta='{"number": ' + "9" * 900 + "}"), "its meta.json is not what"),
    "another commit": (handed_over(meta=META.replace("aaa", "bbb")), "made for another commit"),
    "another pull request": (handed_over(meta=META.replace("7", "8")), "names a pull request that does not exist"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_bad_archive_is_refused_with_a_comment(github: dict[str, Any], case: str) -> None:
    archive, message = ARCHIVES[case]
    outputs, body = post(github, archive)
    assert outputs["conclusion"] == "failure"
    assert message in outputs["problem"] and message in body
    assert alive(page(body.partition("\n\n<sub>")[0].replace("UTF-8", ""))) == []


def documents() -> dict[str, str]:
    good = json.loads(GOOD)
    table, text, section = good["blocks"]
    items, code, chart = section["blocks"]
    deep: Any = text
    for _ in range(5):
        deep = {"kind": "section", "title": "x", "blocks": [deep]}

    def with_block(block: object) -> str:
        return json.dumps({**good, "blocks": [block]})

    return {
        "nothing": "",
        "no JSON": "{",
        "a list": "[]",
        "a number": "1",
        "deep brackets": "[" * 100_000,
        "a key twice": GOOD.replace('"title"', '"title":"","title"', 1),
        "no title": GOOD.replace('"title"', '"titel"', 1),
        "another version": GOOD.replace('"version":1', '"version":2'),
        "true": GOOD.replace('"version":1', '"version":true'),
        "no number": GOOD.replace("0.8", "NaN", 1),
        "infinity": GOOD.replace("0.8", "1e999", 1),
        "a long number": GOOD.replace("0.8", "9" * 5000, 1),
        "a number that is long": GOOD.replace("0.8", "9" * 4000, 1),
        "more keys": with_block({**text, "html": "<b>"}),
        "an unknown kind": with_block({"kind": "html", "text": "<b>"}),
        "no kind": with_block({"text": "x"}),
        "no block": with_block("x"),
        "a long text": with_block({**text, "text": "x" * 2002}),
        "text that is none": with_block({**text, "text": 1}),
        "too deep": with_block(deep),
        "a narrow row": with_block({**table, "rows": [["x"]]}),
        "another side": with_block({**table, "align": "lc"}),
        "no column": with_block({**table, "head": [], "align": "", "rows": []}),
        "a cell": with_block({**table, "rows": [["x", True]]}),
        "a list in a cell": with_block({**table, "rows": [["x", ["y"]]]}),
        "many rows": with_block({**table, "rows": [["x", 1]] * 21}),
        "less than nothing": with_block({**table, "more": -1}),
        "many items": with_block({**items, "items": ["x"] * 21}),
        "many lines": with_block({**code, "lines": ["x"] * 31}),
        "many points": with_block({**chart, "x": [0] * 201}),
        "a short line": with_block({**chart, "series": [{"name": "x", "values": [1]}]}),
        "no line": with_block({**chart, "series": []}),
        "many series": with_block({**chart, "series": chart["series"] * 6}),
        "text for a point": with_block({**chart, "x": ["0", "1", "2"]}),
        "many blocks": json.dumps({**good, "blocks": [text] * 101}),
    }


DOCUMENTS = documents()


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_document_that_breaks_the_schema_is_refused(github: dict[str, Any], case: str) -> None:
    outputs, _ = post(github, handed_over(DOCUMENTS[case]))
    assert "its review.json is not what this project writes" in outputs["problem"]


def test_ten_thousand_damaged_archives_each_end_in_a_comment(github: dict[str, Any]) -> None:
    rng, good, shown = random.Random(7), handed_over(), 0
    for _ in range(10_000):
        content = bytearray(good)
        for _ in range(rng.choice((1, 1, 2, 5, 20))):
            place = rng.randrange(len(content))
            match rng.randrange(5):
                case 0:
                    content[place] ^= 1 << rng.randrange(8)
                case 1:
                    content[place : place + rng.randrange(1, 5)] = rng.randbytes(rng.randrange(5))
                case 2:
                    content[place] = rng.choice((0, 0xFF, 0x7F, 0x80))
                case 3:
                    content[place : place + 4] = struct.pack("<I", rng.choice((0, 1, 0xFFFFFFFF, 0x7FFFFFFF)))
                case 4:
                    start = rng.randrange(len(content))
                    content[place:place] = content[start : start + rng.randrange(60)]
        outputs, _ = post(github, bytes(content))
        shown += not outputs["problem"]
    assert 0 < shown < 5000  # not every damage matters, and most of it does


def test_ten_thousand_damaged_documents_each_end_in_a_comment(github: dict[str, Any]) -> None:
    rng, shown = random.Random(7), 0
    values = [
        None,
        True,
        -1,
        1e308,
        10**400,
        "",
        "x" * 5000,
        "\ud800",
        "@x #1 www.e.example",
        [],
        {},
        [[]],
        "text",
        "chart",
    ]
    for _ in range(10_000):
        document = json.loads(GOOD)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            inside: Any = document
            while True:
                keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
                if not keys:
                    break
                key = rng.choice(keys)
                if isinstance(inside[key], dict | list) and rng.random() < 0.8:
                    inside = inside[key]
                    continue
                if rng.random() < 0.2:
                    del inside[key]
                else:
                    inside[key] = rng.choice(values)
                break
        outputs, body = post(
            github, packed({"review.json": json.dumps(document), "meta.json": META}, zipfile.ZIP_STORED)
        )
        shown += not outputs["problem"]
        assert "www.e" not in body and "@x" not in body
    assert 0 < shown < 9000


def test_what_goes_wrong_at_github_is_no_silence(github: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    github["files"] = [{"name": "no filename"}]
    outputs, _ = post(github, handed_over())
    assert outputs["problem"] == "reading it ended in an error (KeyError)"
    monkeypatch.setattr(read_review.markdown, "render", lambda *_, **__: 1 / 0)
    github["files"] = []
    assert post(github, handed_over())[0]["problem"] == "reading it ended in an error (ZeroDivisionError)"


def test_a_claim_to_a_closed_pull_request_silences_nothing(github: dict[str, Any]) -> None:
    """An artifact that names an older pull request of the same branch, as if the review were out of date."""
    closed = {**PULL, "number": 70, "state": "closed"}
    github |= {"pull": closed, "pulls": [PULL]}
    outputs, _ = post(github, handed_over(meta=META.replace("7", "70")))
    assert outputs["problem"] == "it names a pull request that is closed, or has moved on"


def test_a_document_of_any_report_can_be_read_again() -> None:
    long = blocks.Report("x" * 9999, [blocks.Items(["\ud800" * 999] * 99), blocks.Code(["  y" * 999] * 99)] * 60)
    wide = blocks.Table("c" * 999, "l" * 99, ["h" * 999] * 99, [["v" * 9999] * 99] * 2000)
    for report in (long, blocks.Report("t", [wide] * 200), blocks.Report("t", [CHART] * 200)):
        text = report_json.dump(report)
        assert len(text.encode()) <= report_json.MAX_BYTES
        read = report_json.load(text)
        assert markdown.render(read) == markdown.render(report_json.load(report_json.dump(read)))


MACHINERY = [
    "pyproject.toml",
    "uv.lock",
    "uv.toml",
    ".python-version",
    "setup.py",
    "pandas.py",
    "pandas/__init__.py",
    "conftest.py",
    "sitecustomize.py",
    "evil.pth",
    "runs/x",
    ".gitattributes",
    ".github/workflows/model.yml",
    ".github/README.md",
    "src/other/__init__.py",
    "src/PACKAGE/__init__.py",
    "packages/mlcicd/pyproject.toml",
    "packages/mlcicd/src/mlcicd/evaluation/metrics.py",
    "packages/other/x.py",
    "src/mlcicd/__init__.py",
    "src/PACKAGE/model.cpython-313-x86_64-linux-gnu.so",
    "src/PACKAGE/evil.pth",
    "src/sitecustomize.py",
    "src/usercustomize.py",
    "src/numexpr.py",
    "src/json.py",
    "src/polars/__init__.py",
    "src/evil.so",
    "src/x.pth",
    "src/other/metrics.py",
    "tests/conftest.py",
    "data",
    "docs",
    "x\ny.md/z",
    "data/a\nb",
]
SUBJECT = [
    "data/customers.csv",
    "data/sub/x.parquet",
    "contract.yaml",
    "params.yaml",
    "README.md",
    "docs/security.md",
    "LICENSE",
    "src/PACKAGE/features.py",
    "src/PACKAGE/prepare.py",
    "src/PACKAGE/model.py",
    "src/PACKAGE/service.py",
    "src/PACKAGE/helpers/text.py",
    "tests/test_model.py",
    "monitoring/alerts.yml",
    "src/new.py",
]


def named(name: str) -> str:
    return name.replace("PACKAGE", script("machinery").PACKAGE)


@pytest.mark.parametrize("name", MACHINERY)
def test_what_can_write_the_review_is_pointed_at(github: dict[str, Any], name: str) -> None:
    github["files"] = [{"filename": "params.yaml"}, {"filename": named(name)}]
    body = read_review.review(RUN)[1]
    assert body.startswith("> [!WARNING]\n> This pull request changes what wrote this review (")
    github["files"] = [{"filename": "params.yaml", "previous_filename": named(name)}]
    assert read_review.review(RUN)[1] == body


@pytest.mark.parametrize("name", SUBJECT)
def test_what_is_under_review_itself_is_not(github: dict[str, Any], name: str) -> None:
    github["files"] = [{"filename": named(name)}]
    assert read_review.review(RUN)[1].startswith("## Model review: same")


def test_names_of_files_are_text_too(github: dict[str, Any]) -> None:
    names = ["[x](https://evil.example)/@everyone", "a\n> b #1", "x" * 500, "y.sh"]
    github["files"] = [{"filename": name} for name in names]
    warning = read_review.review(RUN)[1].partition("\n\n")[0]
    assert " and 1 more): read that change" in warning
    found = page(warning.replace("[!WARNING]\n> ", ""))
    assert [problem for problem in alive(found) if "blockquote" not in problem] == []


def test_the_renderer_needs_what_report_checks_out_and_no_more(tmp_path: Path) -> None:
    """As `report` checks them out; nothing is installed, and no code of the project's own runs."""
    project = SCRIPTS.parents[1]
    shutil.copytree(SCRIPTS, tmp_path / ".github/scripts")
    shutil.copytree(project / "packages", tmp_path / "packages")
    shutil.copyfile(project / "pyproject.toml", tmp_path / "pyproject.toml")
    for file in (tmp_path / "packages/mlcicd/src/mlcicd").glob("*/__init__.py"):
        if file.parent.name not in ("core", "rendering"):
            file.write_text("raise SystemExit('ran')", encoding="utf-8")
    code = "import read_review; print(len(read_review.markdown.render(read_review.report_json.load(input()))))"
    command = [sys.executable, "-S", "-c", f"import sys; sys.path.append('.github/scripts'); {code}"]
    done = subprocess.run(command, cwd=tmp_path, input=GOOD, capture_output=True, text=True, encoding="utf-8")
    assert done.stdout.strip().isdigit(), done.stderr
