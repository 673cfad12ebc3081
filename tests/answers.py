"""What of the template's files belongs to an answer, without baking."""

from __future__ import annotations

import json
import re
from pathlib import Path

QUESTIONS = json.loads((Path(__file__).parents[1] / "cookiecutter.json").read_text(encoding="utf-8"))
MARK = re.compile(r" *# with (\w+): ([\w, -]+)$", re.MULTILINE)


def without_answers(text: str, **answers: str) -> str:
    """A workflow as answers leave it; those that are not given are the defaults."""

    def kept(found: re.Match[str] | None) -> bool:
        return found is None or answers.get(found[1], QUESTIONS[found[1]][0]) in found[2].split(", ")

    parts = [part for part in text.split("\n\n") if kept(MARK.match(part))]
    lines = [line for line in "\n\n".join(parts).split("\n") if kept(MARK.search(line)) and not MARK.fullmatch(line)]
    return MARK.sub("", "\n".join(lines)).rstrip("\n") + "\n"
