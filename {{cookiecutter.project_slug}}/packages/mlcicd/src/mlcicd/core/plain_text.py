"""Show any text as it is: characters that nobody would see, or that act on a terminal or a log, are written out.

Standard library alone: `report` runs this file from the default branch without installing anything.
"""

from __future__ import annotations

import re
import unicodedata

# Invisible, although Unicode counts them as letters, symbols or marks and Python calls them printable.
BLANK = set(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\U00013441\U00013442\U00016fe4\U0001d159"
)
STYLES = {"\ufe0e", "\ufe0f"}  # after a symbol: draw it as text, or as an emoji
SELECTORS = re.compile("[\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
MARKS = 4  # on one letter; more of them would paint over the lines above and below
SHORT = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}
# Colours and other sequences that a program sends to a terminal.
TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# A runner obeys `::command::` at the beginning of a line, and `##[command]` anywhere in it.
COMMANDS = re.compile(r"^([^\S\n]*:)(?=:)|(##)(?=\[)", re.MULTILINE)
LAST = 25  # lines of a log in a report
CREDENTIALS = re.compile(r"://[^/@\s]*@")
# What a terminal obeys, and what turns the direction of reading; lone halves of a pair cannot be printed at all.
ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Write out, as Python would, each character that cannot be seen: controls, directions, blanks, private ones."""
    if text.isascii() and text.isprintable():
        return text
    shown, marks, before = [], 0, ""
    for c in text:
        kind = unicodedata.category(c)
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        # Nothing comes before a mark that would stand on whatever this text is put after.
        odd = marks > MARKS or (kind[0] == "M" and not before)
        styled = c in STYLES and before != "" and unicodedata.category(before) in ("So", "Sm")
        hidden = not c.isprintable() or c in BLANK or (SELECTORS.match(c) is not None and not styled) or odd
        shown.append(_written_out(c) if hidden else c)
        before = c
    return "".join(shown)


def flat(text: str) -> str:
    """Return text without the blanks that nobody would see: at its ends, and after another."""
    return re.sub(" {2,}", " ", text).strip(" ")


def cut(text: str, limit: int) -> str:
    """Return text on one line, visible, with at most ``limit`` characters."""
    shown = visible(flat(text)[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def without_colours(text: str) -> str:
    """Return what a program printed without its instructions to a terminal."""
    return TERMINAL.sub("", text)


def last_lines(text: str) -> list[str]:
    """Return the last lines of a log that say something, without the colours of a terminal."""
    return [line for line in without_colours(text).splitlines() if line.strip()][-LAST:]


def without_credentials(text: str) -> str:
    """Return text without the user names and passwords in its URLs."""
    return CREDENTIALS.sub("://", text)


def harmless(text: str) -> str:
    """Make lines for a terminal or a log harmless: no command of a workflow, no control of a terminal.

    Line ends stay. Text that is to stay on one line goes through ``visible`` first.
    """
    written = ACTIVE.sub(lambda match: _written_out(match[0]), text)
    return COMMANDS.sub(lambda match: f"{match[0]}\\", written)


def _written_out(c: str) -> str:
    code = ord(c)
    return SHORT.get(c) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )
