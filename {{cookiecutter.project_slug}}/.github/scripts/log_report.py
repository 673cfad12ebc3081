"""Print a report of a step that failed, with the last lines that it printed, as the machinery's renderer writes it.

Usage: log_report.py TITLE LOG SENTENCE.
"""

import sys
from pathlib import Path

from machinery import load


def last_lines(log: Path) -> list[str]:
    """The last lines of a log that say something, without the colours of a terminal."""
    text = log.read_bytes().decode(errors="replace") if log.is_file() else ""
    lines: list[str] = load("core.plain_text").last_lines(text)
    return lines


def main() -> None:
    """Print the report."""
    title, log, sentence = sys.argv[1:]
    blocks, markdown = load("rendering.blocks"), load("rendering.markdown")
    shown = [blocks.Code(last_lines(Path(log))), blocks.Text(sentence)]
    sys.stdout.buffer.write(markdown.render(blocks.Report(title, shown)).encode())


if __name__ == "__main__":
    main()
