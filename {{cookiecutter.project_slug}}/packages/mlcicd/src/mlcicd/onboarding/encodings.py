"""Detect the encoding of a text file: byte order mark, UTF-8, Windows-1252, or a guess with a warning."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from mlcicd.core.errors import InputError
from mlcicd.data.table_files import open_bytes

HEAD_BYTES = 1 << 18
NON_ASCII_BYTES = 1 << 16  # how much of the lines with non-ASCII bytes is used to guess the encoding
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UNDEFINED_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
WORD = re.compile(r"[^\W\d_]*[^\x00-\x7f\xa0]+[^\W\d_]*")
WORD_SYMBOLS = set("’‘ªº·­")  # symbols that occur within Western words or after numbers
ENCODING_ALIASES = {"koi8-t": "koi8-r", "macroman": "mac-roman", "windows-1252": "cp1252", "iso-8859-1": "cp1252"}


def detect_encoding(path: Path) -> tuple[str, str]:
    """Detect a text file's encoding.

    Returns
    -------
    Python's name of the encoding (``ascii`` if all bytes are ASCII), and a warning if it was guessed.

    Raises
    ------
    InputError
        The file holds NUL bytes, so it is not text.
    """
    with open_bytes(path) as file:
        head = file.read(HEAD_BYTES)
        for bom, name in BOMS:
            if head.startswith(bom):
                return name, ""
        zero_shares = [head[offset::2].count(0) / max(len(head) / 2, 1) for offset in (0, 1)]
        if max(zero_shares) > 0.4 and min(zero_shares) < 0.1:
            return ("utf-16-le" if zero_shares[1] > zero_shares[0] else "utf-16-be"), ""
        utf8, non_ascii = _scan(path, _chunks(head, file))
    if utf8:
        return ("utf-8-sig" if non_ascii else "ascii"), ""
    return _code_page(non_ascii)


def _scan(path: Path, chunks: Iterator[bytes]) -> tuple[bool, bytes]:
    """Return whether a file is UTF-8, and the first of its lines with non-ASCII bytes."""
    decoder, bytes_read, utf8, non_ascii = codecs.getincrementaldecoder("utf-8")(), 0, True, b""
    for chunk in chunks:
        if b"\0" in chunk:
            position = bytes_read + chunk.index(0)
            raise InputError(
                f"{path}: holds a NUL byte at position {position:,}, so it is not text; export it as CSV again"
            )
        bytes_read += len(chunk)
        if len(non_ascii) < NON_ASCII_BYTES and not chunk.isascii():
            non_ascii += b"\n".join(line for line in chunk.splitlines() if not line.isascii())[:NON_ASCII_BYTES] + b"\n"
        utf8 = utf8 and _decodes(decoder, chunk)
    return utf8 and _decodes(decoder, b"", final=True), non_ascii


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


def _code_page(non_ascii: bytes) -> tuple[str, str]:
    """Return Windows-1252 if the words look plausible in it, else the guess of `chardet`."""
    if not UNDEFINED_IN_CP1252.search(non_ascii) and _looks_western(non_ascii.decode("cp1252")):
        return "cp1252", ""
    import chardet

    guess = (chardet.detect(non_ascii)["encoding"] or "cp1252").lower()
    last = "latin-1" if UNDEFINED_IN_CP1252.search(non_ascii) else "cp1252"
    candidates = (ENCODING_ALIASES.get(guess, guess), "mac-roman", "cp850", last)
    name = next(n for n in candidates if n == last or _may_be(non_ascii, n))
    name, text = codecs.lookup(name).name, non_ascii.decode(name)
    words = sorted({w for w in WORD.findall(text) if len(w) > 1} or {text.strip()[:20]}, key=len)
    example = words[len(words) // 2][:30]
    return name, f"the file is not UTF-8; read as {name}, with words such as {example!r}; else name its --encoding"


def _may_be(non_ascii: bytes, name: str) -> bool:
    """Whether bytes are plausible text in an encoding: Western words, or mostly another script."""
    try:
        text = non_ascii.decode(name)
    except (LookupError, UnicodeDecodeError):
        return False
    letters = [c for c in text if c.isalpha() and not c.isascii()]
    latin = sum(unicodedata.name(c, "").startswith("LATIN") for c in letters)
    return latin < 0.5 * len(letters) or _looks_western(text)


def _looks_western(text: str) -> bool:
    """Whether at most 10 % of the words are implausible in a Western European language."""
    words = {word for word in WORD.findall(text) if sum(map(str.isalpha, word)) > 1}
    return sum(map(_is_strange, words)) <= 0.1 * len(words)


def _is_strange(word: str) -> bool:
    """Whether a word is mostly non-ASCII, has an odd capital inside, or a symbol between letters."""
    letters = [c for c in word if c.isalpha()]
    if len(letters) > 2 and sum(not c.isascii() for c in letters) > 0.8 * len(letters):
        return True
    for before, after in pairwise(word):
        if not after.isascii() and before.islower() and after.isupper():
            return True
        symbol = before if not before.isalpha() and after.isalpha() else after if before.isalpha() else ""
        if symbol and not symbol.isascii() and unicodedata.category(symbol)[0] in "SNCP" and symbol not in WORD_SYMBOLS:
            between_letters = re.search(rf"[^\W\d_]{re.escape(symbol)}[^\W\d_]", word)
            if symbol not in "«»‹›“”„‚…–—¿¡®©™°²³µ€£¥§†‡" or between_letters:
                return True
    return False
