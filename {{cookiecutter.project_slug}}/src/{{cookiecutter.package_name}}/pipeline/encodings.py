"""Which encoding an unknown text file has: by its mark, UTF-8, Western Europe's code page, or a guess that says so."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from .errors import InputError
from .table_files import open_bytes

HEAD_BYTES = 1 << 18
FOREIGN_BYTES = 1 << 16  # of lines that are not ASCII: enough to guess by
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UNDEFINED_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
WORD = re.compile(r"[^\W\d_]*[^\x00-\x7f\xa0]+[^\W\d_]*")
AMONG_LETTERS = set("’‘ªº·­")  # signs that Western words hold, or numbers beside them
COARSE = {"koi8-t": "koi8-r", "macroman": "mac-roman", "windows-1252": "cp1252", "iso-8859-1": "cp1252"}


def encoding_of(path: Path) -> tuple[str, str]:
    """Find a text file's encoding.

    Returns
    -------
    Its name to Python (``ascii`` where that is enough), and what is doubtful about it, for people.

    Raises
    ------
    InputError
        It holds NUL bytes, so it is no text.
    """
    with open_bytes(path) as file:
        head = file.read(HEAD_BYTES)
        for mark, name in BOMS:
            if head.startswith(mark):
                return name, ""
        zeros = [head[side::2].count(0) / max(len(head) / 2, 1) for side in (0, 1)]
        if max(zeros) > 0.4 and min(zeros) < 0.1:
            return ("utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"), ""
        utf8, foreign = _scan(path, _chunks(head, file))
    if utf8:
        return ("utf-8-sig" if foreign else "ascii"), ""
    return _code_page(foreign)


def _scan(path: Path, chunks: Iterator[bytes]) -> tuple[bool, bytes]:
    """Whether all of a file is UTF-8, and the first of its lines that are not ASCII."""
    decoder, read, utf8, foreign = codecs.getincrementaldecoder("utf-8")(), 0, True, b""
    for chunk in chunks:
        if b"\0" in chunk:
            where = read + chunk.index(0)
            raise InputError(
                f"{path}: holds a NUL byte at position {where:,}, so it is no text; export it as CSV again"
            )
        read += len(chunk)
        if len(foreign) < FOREIGN_BYTES and not chunk.isascii():
            foreign += b"\n".join(line for line in chunk.splitlines() if not line.isascii())[:FOREIGN_BYTES] + b"\n"
        utf8 = utf8 and _decodes(decoder, chunk)
    return utf8 and _decodes(decoder, b"", final=True), foreign


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _chunks(head: bytes, file: BinaryIO) -> Iterator[bytes]:
    while head:
        yield head
        head = file.read(1 << 22)


def _code_page(foreign: bytes) -> tuple[str, str]:
    """Windows-1252 where the words look so in it, else what `chardet` takes them for."""
    if not UNDEFINED_IN_CP1252.search(foreign) and _looks_western(foreign.decode("cp1252")):
        return "cp1252", ""
    import chardet

    guess = (chardet.detect(foreign)["encoding"] or "cp1252").lower()
    last = "latin-1" if UNDEFINED_IN_CP1252.search(foreign) else "cp1252"
    name = next(n for n in (COARSE.get(guess, guess), "mac-roman", "cp850", last) if n == last or _may_be(foreign, n))
    name, text = codecs.lookup(name).name, foreign.decode(name)
    words = sorted({w for w in WORD.findall(text) if len(w) > 1} or {text.strip()[:20]}, key=len)
    example = words[len(words) // 2][:30]
    return name, f"the file is not UTF-8; read as {name}, so that a word in it is {example!r}: else name its --encoding"


def _may_be(foreign: bytes, name: str) -> bool:
    """Whether bytes are text in an encoding: in Latin letters as these are used, or in another script."""
    try:
        text = foreign.decode(name)
    except (LookupError, UnicodeDecodeError):
        return False
    letters = [c for c in text if c.isalpha() and not c.isascii()]
    latin = sum(unicodedata.name(c, "").startswith("LATIN") for c in letters)
    return latin < 0.5 * len(letters) or _looks_western(text)


def _looks_western(text: str) -> bool:
    """Whether words look as Western Europe writes them: few letters with marks, and no signs among letters."""
    words = {word for word in WORD.findall(text) if sum(map(str.isalpha, word)) > 1}
    return sum(map(_is_strange, words)) <= 0.1 * len(words)


def _is_strange(word: str) -> bool:
    letters = [c for c in word if c.isalpha()]
    if len(letters) > 2 and sum(not c.isascii() for c in letters) > 0.8 * len(letters):
        return True
    for before, after in pairwise(word):
        if not after.isascii() and before.islower() and after.isupper():
            return True
        sign = before if not before.isalpha() and after.isalpha() else after if before.isalpha() else ""
        if sign and not sign.isascii() and unicodedata.category(sign)[0] in "SNCP" and sign not in AMONG_LETTERS:
            quoted = sign in "«»‹›“”„‚…–—¿¡®©™°²³µ€£¥§†‡" and not re.search(rf"[^\W\d_]{re.escape(sign)}[^\W\d_]", word)
            if not quoted:
                return True
    return False
