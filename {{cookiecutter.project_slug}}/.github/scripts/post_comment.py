"""Find and post the one comment of a review with gh, under the mark by which CML knows its own comment.

Usage: post_comment.py find | post FILE. `find` tells the step who is to post: `by=cml`, or `by=gh` where CML would
take another comment for ours: it looks at the first 30 comments alone, and at no author. `post` updates our comment, or
makes it, so that CML can update it later. Whoever posts, there is one comment.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from github_api import call, get

TITLE = "CML watermark Model review"
# As CML 0.20.6 writes and finds it (src/watermark.js).
MARK = re.compile(rf'!\[\]\(https://cml\.dev/watermark\.png#[0-9a-fA-F]+ "{TITLE}"\)')
AUTHOR = "github-actions[bot]"  # nobody can register this name
SEEN_BY_CML = 30
PAGE = 100
MAX_PAGES = 100


class Comment(NamedTuple):
    """A comment that bears the mark, and its place among all."""

    id: int
    author: str
    place: int


def main() -> None:
    """Do what the command line says."""
    marked = list_marked(os.environ["NUMBER"])
    if sys.argv[1] == "find":
        with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
            file.write(f"by={poster(marked)}\n")
        return
    body = {"body": sign(Path(sys.argv[2]).read_text(encoding="utf-8"), os.environ["HEAD"])}
    kept = ours(marked)
    if kept:
        call(f"issues/comments/{kept.id}", body, method="PATCH")
    else:
        call(f"issues/{os.environ['NUMBER']}/comments", body, method="POST")


def poster(marked: list[Comment]) -> str:
    """Return ``cml`` where CML finds our comment, or none where there is none; else ``gh``."""
    found = [comment for comment in marked if comment.place < SEEN_BY_CML]
    return "cml" if (found[-1] if found else None) == ours(marked) else "gh"


def ours(marked: list[Comment]) -> Comment | None:
    """Return our newest comment; what others write under our mark is theirs."""
    return next((comment for comment in reversed(marked) if comment.author == AUTHOR), None)


def sign(text: str, head: str) -> str:
    """Return the text as CML writes it."""
    if not text.strip():
        raise SystemExit("The review is empty; the comment stays as it is.")
    return f'{text}\n\n![](https://cml.dev/watermark.png#{head} "{TITLE}")'


def list_marked(number: str) -> list[Comment]:
    """Return the pull request's comments that bear the mark, oldest first."""
    found: list[Comment] = []
    for page in range(1, MAX_PAGES + 1):
        comments: list[dict[str, Any]] = get(f"issues/{number}/comments?per_page={PAGE}&page={page}")
        for index, comment in enumerate(comments, start=(page - 1) * PAGE):
            if MARK.search(comment["body"] or ""):
                # The account of whoever wrote it may be gone.
                found.append(Comment(comment["id"], (comment["user"] or {}).get("login", ""), index))
        if len(comments) < PAGE:
            break
    return found


if __name__ == "__main__":
    main()
