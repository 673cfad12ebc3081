"""What GitHub makes of Markdown: its own parser, and imitations of what it does with the result.

Links for addresses are the parser's; mentions, references, commits, emoji and formulas come afterwards, out of the
texts between the tags, but not inside of code. The imitations find more than GitHub does rather than less.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from html.parser import HTMLParser

import cmarkgfm
from cmarkgfm.cmark import Options

OPTIONS = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_FOOTNOTES
# What the renderer may write: everything else was made by a text.
TAGS = {"h2", "p", "ul", "li", "strong", "table", "thead", "tbody", "tr", "th", "td"}
TAGS |= {"details", "summary", "pre", "code", "span"}
JOINER = "\u2060"
# Unicode's Default_Ignorable_Code_Point, and what else has no ink.
IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
ALIVE = {
    "mention": re.compile(r"@[A-Za-z0-9]"),
    "reference": re.compile(r"#\d|(?i:gh-\d|ghsa-[0-9a-z])|[A-Za-z]-\d"),
    "commit": re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{7,}(?![0-9A-Za-z])"),
    "address": re.compile(r"(?i)[a-z]://|www\.|[\w.+-]@[\w-]+\."),
    "emoji": re.compile(r":[\w+-]+:"),
    "formula": re.compile(r"\$\$|\$(?=\S)[^$]*(?<=\S)\$(?!\w)|\$`"),
}


@dataclass
class Node:
    """A text between tags, and the tags that it stands in."""

    text: str
    inside: tuple[str, ...]


@dataclass
class Page(HTMLParser):
    """The tags of a page in order, with their attributes, and its texts."""

    source: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    blocks: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)
        if tag in ("h2", "p", "li", "th", "td", "summary", "pre"):
            self.blocks.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.nodes.append(Node(data, tuple(self.open)))
        if self.blocks and self.open:
            tag, text = self.blocks[-1]
            self.blocks[-1] = (tag, text + data)

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", {"data": data}))

    def handle_decl(self, decl: str) -> None:
        self.tags.append(("declaration", {"data": decl}))

    def handle_pi(self, data: str) -> None:
        self.tags.append(("instruction", {"data": data}))

    def unknown_decl(self, data: str) -> None:
        self.tags.append(("declaration", {"data": data}))


def page(markdown: str) -> Page:
    """What GitHub's parser makes of a Markdown text."""
    return Page(cmarkgfm.github_flavored_markdown_to_html(markdown, options=OPTIONS))


def alive(found: Page) -> list[str]:
    """Everything that acts on a reader or deceives one; empty where nothing does."""
    problems = [f"tag {tag} {attrs}" for tag, attrs in found.tags if tag not in TAGS]
    problems += [
        f"attributes of {tag}: {attrs}"
        for tag, attrs in found.tags
        if attrs and (tag, *attrs.items()) not in _attributes()
    ]
    for node in found.nodes:
        problems += [f"hidden U+{ord(c):04X}" for c in node.text if hidden(c)]
        if "code" not in node.inside and "pre" not in node.inside:
            problems += [f"{what}: {node.text!r}" for what, pattern in ALIVE.items() if pattern.search(node.text)]
    # A formula between code and dollars; a dollar in an element of its own is none.
    for one, two in zip(found.nodes, found.nodes[1:], strict=False):
        if "code" in two.inside and one.text.endswith("$") and "span" not in one.inside:
            problems.append(f"formula: {one.text!r} before code")
    return problems


def hidden(c: str) -> bool:
    """Whether nobody sees a character, or it changes how others are seen."""
    if c in (JOINER, "\n", " ") or c in "\ufe0e\ufe0f":
        return False
    return unicodedata.category(c) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs") or bool(IGNORABLE.match(c))


def _attributes() -> set[tuple[object, ...]]:
    aligned = {(tag, ("align", side)) for tag in ("th", "td") for side in ("left", "right")}
    return (
        aligned
        | {("pre", ("lang", language)) for language in ("text", "mermaid")}
        | {("code", ("class", f"language-{language}")) for language in ("text", "mermaid")}
    )
