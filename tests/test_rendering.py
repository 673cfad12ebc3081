"""Whatever a text says, a reader sees that text, and nothing comes alive: the judge is GitHub's own parser."""

from __future__ import annotations

import re

import pytest
from github_markdown import JOINER, alive, page
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scripts import blocks, markdown, plain_text, report_json

# One a construct of CommonMark and of GitHub's extensions, and one a trick that was seen.
NAMED = {
    # Links and pictures
    "www after an underscore": "x_www.evil.example/a",
    "emphasised www": "_www.evil.example/login_",
    "www after stars, tildes, brackets": "*www.a.example ~www.b.example (www.c.example) [www.d.example",
    "http": "see https://evil.example/a?b=c#d, HTTP://EVIL.example ftp://evil.example",
    "an address": "a@b.example mailto:a@b.example xmpp:a@b.example/c a.b-c+d@e.example",
    "an autolink": "<https://evil.example> <a@b.example> <made-up:x>",
    "a link": "[click](https://evil.example) [click](<b c>) [click]( /x 'title' )",
    "a reference": "[click][ref] [ref][] [ref] [ref]: https://evil.example",
    "a definition": "[ref]: https://evil.example 'title'",
    "a footnote": "[^1] [^1]: note ^[inline]",
    "a picture": "![x](http://evil.example/p.png) ![x][ref] <img src=x onerror=alert(1)>",
    "brackets": "[[x]](y) ![[x](y)](z) ] ( [",
    "a wiki link": "[[Home]]",
    # Mentions and references
    "everyone": "@everyone @acme/team @a",
    "a mention that an entity makes": "&#64;someone &commat;someone &#x40;someone &#64someone",
    "emphasised references": "_#1_ _GH-1_ _o/r#2_ __#1__ *#1* ~#1~ (#1) o/r#2 o#2",
    "a reference that an entity makes": "&#35;1 &num;1 #&#x31 #&#x31; GH&#45;1",
    "closing words": "closes #1 fixes GH-2, resolves acme/churn#3",
    "tickets": "TICKET-12 jira-1 CVE-2026-12345 GHSA-abcd-1234-efgh ghsa-x",
    "commits": f"deadbeef1234567 {'0123456789' * 4} (1234567) _abcdef1_ a/b@abcdef1 abcdef1...abcdef2",
    "a commit in backticks": "`1234567` ``1234567`` \\`1234567` `1234567",
    "commits by their neighbours": "1234567_ -1234567 x1234567 1234567x 1234567.",
    "emoji": ":tada: :+1: :a:b:c: ::1234:: x:100:y 12:30:45",
    # Formulas
    "a formula": "$x$ $x_1$ $$y$$ $1+x$ a $5$ b $5 and $x$",
    "a formula with code": "$`x`$ $`1234567`$ $1234567$ $1234567$5",
    "amounts": "costs $1.90 more (95 % CI $0.80 to $3.00), US$5, 5$, $ 5, $$5, $5$",
    "a formula of backslashes": "\\(x\\) \\[x\\] \\$x\\$",
    # HTML
    "tags": "<b>x</b> <script>alert(1)</script> </details> </summary> <details open> <svg/onload=x>",
    "odd tags": "<!-- hidden --> <!--> <? php ?> <!DOCTYPE x> <![CDATA[x]]> <a\thref='x'> </a > <a/>",
    "entities": "&lt;b&gt; &amp;lt; &nbsp; &copy; &#0; &#x110000; &#8238; &#8238 &NewLine;&#10; &;",
    "a long entity": "&#" + "1" * 5000,
    "half tags": "< b > <b <b> a<b>c <3 <",
    # Blocks
    "headings": "# x ## y # #",
    "an underlined heading": "=== --- = -",
    "lists": "- x",
    "a list of stars": "* x",
    "a list of plusses": "+ x",
    "a list of numbers": "1. x",
    "a list with a bracket": "12) x",
    "a list of a commit": "1234567. x",
    "nothing but a dash": "-",
    "dashes": "---",
    "a number": "1.",
    "stars": "***",
    "underscores": "___",
    "a rule of blanks": "- - -",
    "a box": "[ ] x",
    "a ticked box": "- [x] y",
    "boxes": "- [ ] a [x] b",
    "a quotation": "> x >> y",
    "a warning": "> [!WARNING] x [!NOTE]",
    "fences": "``` ~~~ ```mermaid ~~~geojson x ````",
    "a fence of tildes": "~~~`",
    "code": "`x` ``y`` ` `` \\` `",
    "a table": "| a | b | \\| c \\\\| d |",
    "a table's second line": ":--- | :-: | --- |",
    "a bar": "|",
    "bars": "||||",
    "a backslash before a bar": "a\\|b \\",
    "backslashes": "\\ \\\\ \\\\\\ \\* \\_ \\# \\a",
    "a colon": ": x",
    "blanks": "    x",
    "many blanks": " " * 64_000 + "x",
    "tabs": "\tx\ty\t",
    "nothing": "",
    "a blank": " ",
    # Emphasis
    "emphasis": "*a* **b** ***c*** _d_ __e__ ~f~ ~~g~~ *a_b* a*b*c snake_case_name",
    # Lines
    "lines": "a\nb\r\nc\n\n# d\n\n```\ne",
    "a fence within lines": "x\n```\ny",
    "other line ends": "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g",
    "a cut at a blank": "x" * 80 + " y" * 2000,
    "another cut at a blank": "x" * 79 + " y",
    "a hard break": "a  \nb\\\nc",
    # Mermaid
    "clicks": 'click A href "https://evil.example"',
    "Mermaid's links": "links A: {x: https://evil.example}",
    "directives": "%%{init: {'securityLevel': 'loose'}}%%",
    "Mermaid's quotes": '" --> x "` $$x$$ #quot; #35;',
    "Mermaid's end": 'x"\n  line [1, 2]\n```\n# out',
    "statements": "a; b\nend subgraph x",
    # Characters that hide, or are hidden
    "directions": "a\u202eb\u202c c\u2066d\u2069 \u200f\u200e\u061c",
    "zero width": "a\u200bb\u200cc\u200dd\u2060e\ufefff",
    "invisible letters": "\u3164 \u115f\u1160 \uffa0 \u2800 \u17b4\u17b5 \u180e \u034f \U0001d159 \U00016fe4",
    "spaces": "a\u00a0b\u2003c\u202fd\u3000e\u1680f",
    "tags of letters": "x\U000e0041\U000e0042\U000e007f",
    "variations": "a\ufe0f\ufe00 \U000e0100 ⚠️ ✅ \ufe0f",
    "private": "\ue000 \U000f0000 \U0010fffd",
    "unassigned": "\u0378 \uffff",
    "controls": "\x00\x01\x07\x08\x1b[31mred\x1b]0;title\x07\x7f\x9b",
    "soft hyphens": "a\u00adb",
    "halves": "a\ud800b\udfff",
    "piles": "Z" + "\u0301" * 50,
    "a mark at the beginning": "\u0338x \u20dd",
    "interlinear": "a\ufff9b\ufffac\ufffb \ufffc",
    "other scripts": "顧客 модель عميل לקוח ग्राहक é 👩‍💻 🇩🇪 1️⃣",
}
PIECES = sorted({word for text in NAMED.values() for word in re.findall(r"\s+|[^\s]+", text[:500])})
texts = st.lists(
    st.sampled_from(PIECES) | st.text(max_size=4) | st.sampled_from("@#-_*`$[]()<>&|~:!\\ \n"), max_size=12
)
TEXTS = texts.map("".join)
QUICK = settings(max_examples=200, deadline=None)


def everything(text: str) -> object:
    """A report that carries a text in each place where one can stand."""
    table = blocks.Table(text, "lr", [text, "n"], [[text, text], [text, 1234], ["x", 0.5], [text, None]])
    line = {text: [0.0, 0.5, 1.0], "main": [1.0, 0.5, 0.0]}
    chart = blocks.Chart("roc", text, text, text, [0.0, 0.5, 1.0], line, (text, [0.0, 0.5, 1.0]))
    inner = [blocks.Text(text), blocks.Text(f"x {text} y", text), blocks.Items([text, "x"]), table]
    inner += [blocks.Code([text, "x"]), chart]
    return blocks.Report(text, [*inner, blocks.Section(text, [*inner, blocks.Section(text, [blocks.Text(text)])])])


def shown(text: str, limit: int) -> str:
    """What a reader is to see of a text."""
    return plain_text.cut(text, limit)


def check(text: str) -> None:
    written = markdown.render(report_json.load(report_json.dump(everything(text))))
    found = page(written)
    assert alive(found) == []
    # The structure is the one that the same report has with a harmless word.
    plain = page(markdown.render(everything("word")))
    # A paragraph of nothing is none.
    inline = ("code", "span", "strong", *(["p"] if not shown(text, 1) else []))
    assert [tag for tag, _ in found.tags if tag not in inline] == [tag for tag, _ in plain.tags if tag not in inline]
    said = [
        (tag, seen.removesuffix("\n") if tag == "pre" else seen.replace(JOINER, "").strip("\n"))
        for tag, seen in found.blocks
    ]
    expected = {
        "h2": {shown(text, markdown.TITLE)},
        "summary": {shown(text, markdown.SUMMARY)},
        "li": {shown(text, markdown.ITEM), "x"},
        "th": {shown(text, markdown.CELL), "n"},
        "td": {shown(text, markdown.CELL), "1,234", "0.500", "–", "x"},
    }
    for tag, wanted in expected.items():
        assert {seen for kind, seen in said if kind == tag} == wanted, tag
    paragraphs = {seen for kind, seen in said if kind == "p"}
    assert {shown(text, markdown.TEXT), f"{shown(text, markdown.CELL)}:"} - {""} <= paragraphs
    code = plain_text.visible(text[: markdown.LINE])
    assert f"{code}\nx" in {seen for kind, seen in said if kind == "pre"}


@pytest.mark.parametrize("name", NAMED)
def test_a_known_trick_is_text(name: str) -> None:
    check(NAMED[name])


@QUICK
@given(TEXTS)
@example("\\" * 100)
@example("`" * 100)
def test_any_text_is_text(text: str) -> None:
    check(text)


@QUICK
@given(st.text(max_size=200))
def test_any_unicode_is_text(text: str) -> None:
    check(text)
