"""Whatever text goes in, nothing that acts on a reader comes out; the judge is a Markdown parser, not our own rules."""

from __future__ import annotations

import html
import importlib.util
import re
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from workflows.coverage_table import PROJECT


def load(name: str) -> ModuleType:
    """A script of the generated project."""
    spec = importlib.util.spec_from_file_location(name, PROJECT / f".github/scripts/{name}.py")
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


defuse = load("defuse").defuse
MARKDOWN = MarkdownIt("commonmark").enable("table")
PIECES = [
    "@", "#1", "#12 ", "GH-7", "acme/churn#3", "&#64;", "&commat;", "&#35;1", "&num;1", "&lt;", "&amp;#64;",
    "\\", "`", "``", "[", "]", "](", "![", "]: ", "<", ">", "<img src=x onerror=a>", "<!-- ", " -->",
    "<a href=x>", "<details>", "</details>", "https://evil.example", "http:&#47;&#47;x.y", "www.evil.example",
    "javascript:x", "<https://a.b>", "<a@b.co>", "$", "$$", "$5", "```", "```math\n", "~~~geojson hidden\n",
    "\n", "\n\n", "    ", "\t", "> ", "| a | b |\n|---|---|\n", "everyone", "closes ", "\u200b", "\u202e",
    "\u2066", "\U000e0041", "\ufeff", "\x1b[31m", "\r", "é", "−", "✅", "&NewLine;", "<b>",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=30).map("".join)


@given(texts)
@example("[x](https://evil.example)")
@example("[x]: https://evil.example\n\n[x]")
@example("<https://evil.example>")
def test_no_links_pictures_or_html(text: str) -> None:
    for token in MARKDOWN.parse(defuse(text)):
        for part in [token, *(token.children or [])]:
            assert part.type not in ("link_open", "image"), part
            if part.type in ("html_block", "html_inline"):
                tags = re.findall(r"<[A-Za-z/!?][^>]*>?", part.content)
                assert set(tags) <= {
                    "<details>", "</details>", "<details open>", "<summary>", "</summary>", "<sub>", "</sub>",
                    "<sup>", "</sup>", "<b>", "</b>", "<br>", "<br/>", "<br />",
                }  # fmt: skip


@given(texts)
def test_no_mentions_references_or_addresses(text: str) -> None:
    """In the text as GitHub sees it, after Markdown took away backslashes and entities."""
    seen = html.unescape(re.sub(r"<[^>]*>", "", MARKDOWN.render(defuse(text))))
    assert not re.search(r"@[A-Za-z0-9]", seen)
    assert not re.search(r"#\d+(?!\w)", seen)
    assert not re.search(r"(?i)\bGH-\d", seen)
    assert not re.search(r"(?i)https?://|\bwww\.", seen)
    assert not re.search(r"\$(?!\d)", seen)


@given(texts)
def test_nothing_is_hidden(text: str) -> None:
    out = defuse(text)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e01ef\ufeff\x00-\x08\x1b]", out)
    assert "<!--" not in out
    for token in MARKDOWN.parse(out):
        if token.type == "fence":
            assert token.info.strip() in ("", "mermaid", "text", "diff", "yaml", "python", "json", "console")


@given(texts)
def test_again_changes_nothing(text: str) -> None:
    assert defuse(defuse(text)) == defuse(text)


@pytest.mark.parametrize(
    "text",
    [
        "## Model review: worse ❌, costs $1.90 more per customer (95 % CI $0.80 to $3.00)\n",
        "| metric | main | this branch |\n|---|--:|--:|\n| ROC AUC ↑ | 0.807 | 0.789 |\n",
        "```mermaid\nxychart-beta\n  x-axis [0, 0.5, 1]\n  line [0, 0.7, 1]\n```\n",
        "<details><summary>Other metrics</summary>\n\nmore\n\n</details>\n",
        "`contract.yaml`: `amount.max` 1000 → 2000 &lt;b&gt; a \\| b\n",
        "%%{init: {'themeVariables': {'xyChart': {'plotColorPalette': '#1f77b4, #d62728'}}}}%%\n",
    ],
)
def test_an_honest_report_stays_as_it_is(text: str) -> None:
    assert defuse(text) == text
