"""What of the template's files belongs to an answer, without baking."""

from __future__ import annotations

import re


def without_answers(text: str) -> str:
    """A workflow without the lines and paragraphs that belong to an answer."""
    marked = [part for part in text.split("\n\n") if not re.match(r" *# with \w+: ", part)]
    return re.sub(r"\n.*# with \w+: .*", "", "\n\n".join(marked)).rstrip("\n") + "\n"
