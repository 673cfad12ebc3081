"""Make Markdown that a stranger wrote safe to post under our name.

Nothing that comes out of `defuse` mentions a person, refers to or closes an issue, links anywhere, embeds a picture,
or hides text. It still reads the same: most marks are broken by a zero-width space, which nobody sees.
"""

import html
import re
import unicodedata

BREAK = "\u200b"
ALLOWED_TAGS = re.compile(r"</?(?:details|summary|sub|sup|b)>|<details open>|<br ?/?>")
# Entities which stand for punctuation that means nothing more once it is an entity.
ALLOWED_ENTITIES = set("<>&\"'|`*_[]~\\\u00a0")
LANGUAGES = "mermaid|text|diff|yaml|python|json|console"
# A fence that says more than a plain language: the rest of that line would be invisible, or draw a map or a formula.
ODD_FENCE = re.compile(rf"^([ \t>]*)(`{{3,}}|~{{3,}})(?![ \t]*(?:{LANGUAGES})?[ \t]*$)[^`\n]*$", re.MULTILINE)
RULES = [
    (re.compile("@"), "@" + BREAK),  # a mention, also behind a backslash
    (re.compile(r"#(?=\d+(?!\w))"), "#" + BREAK),  # issue 1; colours such as #1f77b4 stay
    (re.compile(r"\b(GH-)(?=\d)", re.IGNORECASE), r"\1" + BREAK),
    (re.compile("://"), ":" + BREAK + "//"),
    (re.compile(r"\b(www)\.", re.IGNORECASE), r"\1" + BREAK + "."),
    (re.compile(r"\](?=[(:])"), "]" + BREAK),  # links, pictures, definitions, footnotes
    (re.compile(r"\$(?!\d)"), "\uff04"),  # formulas can hide text; amounts of money stay
    (ODD_FENCE, r"\1\2"),
]


def defuse(text: str) -> str:
    """Break everything in a Markdown text that would act on its readers.

    Parameters
    ----------
    text
        Markdown from an untrusted source.

    Returns
    -------
    str
        The same text to read, with no mentions, references, links, pictures, HTML or hidden characters.
    """
    text = "".join(filter(_visible, text.replace("\r\n", "\n")))
    text = re.sub(r"&(?=#?\w+;)", _entity, text)
    text = re.sub(r"<(?=[A-Za-z/!?])", _tag, text)
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    return text


def _visible(character: str) -> bool:
    if character in "\n\t":
        return True
    # Control, format (directions, joiners, tags), private and unassigned characters; line and paragraph separators.
    if unicodedata.category(character) in {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}:
        return False
    return not 0xE0100 <= ord(character) <= 0xE01EF


def _entity(match: re.Match[str]) -> str:
    end = match.string.index(";", match.start()) + 1
    return "&" if html.unescape(match.string[match.start() : end]) in ALLOWED_ENTITIES else "&amp;"


def _tag(match: re.Match[str]) -> str:
    return "<" if ALLOWED_TAGS.match(match.string, match.start()) else "<" + BREAK
