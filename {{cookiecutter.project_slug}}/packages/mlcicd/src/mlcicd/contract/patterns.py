r"""Translate a contract's regular expressions for two engines with linear run time: RE2 and pydantic's Rust regex.

The engines disagree on ``\d`` and ``(?i)``, with each other and with Python. So a pattern is parsed here and written
with nothing but classes, groups, alternatives, repetitions and anchors. Constructs that an engine does not support are
refused when a contract loads.

- ``\d``, ``\w``, ``\s`` and ``\b`` match ASCII, as in JSON Schema; ``(?i)`` makes letters match in either case.
- ``^`` and ``$`` are the start and end of the text; a pattern without them may match anywhere in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

LAST_CHARACTER, SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)
MAX_REPETITIONS = 1000  # nested ones multiplied; the limit of RE2
MAX_DEPTH, MAX_LENGTH = 100, 2000
Ranges = list[tuple[int, int]]
SETS: dict[str, Ranges] = {
    "d": [(48, 57)],
    "w": [(48, 57), (65, 90), (95, 95), (97, 122)],
    "s": [(9, 10), (12, 13), (32, 32)],
}
CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "a": 7}
HEX = re.compile(r"x\{([0-9a-fA-F]{1,6})\}|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})")
COUNT = re.compile(r"\{(\d{0,9})(,?)(\d{0,9})\}")
GROUP = re.compile(r"\((?:\?(?:P?<[A-Za-z_]\w*>|:|(?P<i>i):))?", re.ASCII)
UNSUPPORTED = {
    **dict.fromkeys(("(?=", "(?!"), "looking ahead"),
    **dict.fromkeys(("(?<=", "(?<!"), "looking behind"),
    **dict.fromkeys(("(?P=", "(?("), "referring back to a group"),
    "(?>": "an atomic group",
}


@dataclass(frozen=True)
class Pattern:
    """A pattern in the syntax of each engine."""

    re2: str
    rust: str


@lru_cache(maxsize=1024)
def translate(pattern: str) -> Pattern:
    """Translate a pattern and check that both engines accept it.

    Raises
    ------
    ValueError
        It is not a regular expression, cannot be matched in linear time, or is too large.
    """
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH} characters")
    expression = _Parser(pattern).whole()
    translated = Pattern(expression.replace("\0", r"\b"), expression.replace("\0", r"(?-u:\b)"))
    _check(translated)
    return translated


def _check(pattern: Pattern) -> None:
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    try:
        SchemaValidator(core_schema.str_schema(pattern=pattern.rust))
        try:
            import pyarrow as pa
            import pyarrow.compute as pc
        except ImportError:  # a service without pyarrow: the contract was checked in training
            return
        pc.match_substring_regex(pa.array([""]), pattern.re2)
    except (SchemaError, ValueError):
        raise ValueError("is too large: repeat less, or use smaller classes") from None


class _Parser:
    r"""A recursive descent parser. It writes ``\0`` for a word boundary, for which each engine has its own syntax."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0
        self.fold = text.startswith("(?i)")
        self.at = 4 * self.fold

    def whole(self) -> str:
        expression, _ = self._alternatives()
        if self.at < len(self.text):
            raise ValueError(f"has a ')' without '(' at position {self.at + 1}")
        return expression

    def _peek(self, size: int = 1) -> str:
        return self.text[self.at : self.at + size]

    def _alternatives(self) -> tuple[str, int]:
        """Parse up to the closing bracket; return the expression and the largest number of repetitions in it."""
        parts, most = [""], 1
        while self._peek() not in ("", ")"):
            if self._peek() == "|":
                self.at += 1
                parts.append("")
                continue
            atom, repetitions = self._atom()
            atom, repetitions = self._repeated(atom, repetitions)
            parts[-1] += atom
            most = max(most, repetitions)
        return "|".join(parts), most

    def _atom(self) -> tuple[str, int]:
        letter = self._peek()
        if letter == "(":
            return self._group()
        if letter == "[":
            return self._class(), 1
        if letter == "\\":
            return self._escape(), 1
        self.at += 1
        if letter in ("*", "+", "?") or (letter == "{" and COUNT.match(self.text, self.at - 1)):
            raise ValueError(f"has nothing to repeat at position {self.at}")
        return {"^": r"\A", "$": r"\z", ".": r"[^\n]"}.get(letter) or self._character(ord(letter)), 1

    def _group(self) -> tuple[str, int]:
        for start, what in UNSUPPORTED.items():
            if self.text.startswith(start, self.at):
                raise ValueError(
                    f"has {start}…), {what}, which is not supported: it may take exponential time; write it without"
                )
        opening = GROUP.match(self.text, self.at)
        if opening is None or self.text.startswith("?", opening.end()):
            raise ValueError(f"has {self._peek(4)!r}; of flags only (?i) at the start and (?i:…) are known")
        before, self.at, self.depth = self.fold, opening.end(), self.depth + 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"has more than {MAX_DEPTH} nested groups")
        self.fold |= bool(opening["i"])
        expression, repetitions = self._alternatives()
        if self._peek() != ")":
            raise ValueError("has a '(' without ')'")
        self.at, self.fold, self.depth = self.at + 1, before, self.depth - 1
        return f"(?:{expression})", repetitions

    def _repeated(self, atom: str, repetitions: int) -> tuple[str, int]:
        counted = COUNT.match(self.text, self.at)
        if counted and (counted[1] or counted[3]):
            low = int(counted[1] or 0)
            high = int(counted[3]) if counted[3] else None if counted[2] else low
            mark, size, most = f"{{{low},{'' if high is None else high}}}", len(counted[0]), high or low
            if high is not None and high < low:
                raise ValueError(f"has {counted[0]}: the smaller number comes first")
        elif self._peek() in ("*", "+", "?") and self._peek():
            mark, size, most = self._peek(), 1, 1
        else:
            return atom, repetitions
        if atom in (r"\A", r"\z", "\0"):
            raise ValueError(f"repeats {self.text[: self.at][-2:]!r}, which matches no character")
        self.at += size
        if self._peek() == "?":  # a lazy repetition accepts the same texts
            self.at += 1
        if self._peek() in ("*", "+") and self._peek():
            raise ValueError(f"has {mark}{self._peek()}: a repetition is repeated; put it in brackets")
        if (total := repetitions * max(most, 1)) > MAX_REPETITIONS:
            raise ValueError(f"repeats {total:,} times; at most {MAX_REPETITIONS:,} are allowed")
        return f"{atom}{mark}", total

    def _escape(self) -> str:
        letter = self.text[self.at + 1 : self.at + 2]
        if letter.lower() in SETS:
            self.at += 2
            return _class_text(SETS[letter] if letter in SETS else _complement(SETS[letter.lower()]))
        if letter in ("A", "Z", "z", "b"):
            self.at += 2
            return {"A": r"\A", "b": "\0"}.get(letter, r"\z")
        return self._character(self._code())

    def _code(self) -> int:
        """Parse an escape sequence; return the code of its character."""
        letter = self.text[self.at + 1 : self.at + 2]
        if hexadecimal := HEX.match(self.text, self.at + 1):
            code = int(next(filter(None, hexadecimal.groups())), 16)
            if code > LAST_CHARACTER or SURROGATES[0] <= code <= SURROGATES[1]:
                raise ValueError(f"has \\{hexadecimal[0]}, which is not a character")
            self.at = hexadecimal.end()
            return code
        if letter.isdigit():
            raise ValueError(
                f"has \\{letter}, a reference back to a group, which may take exponential time; write it without"
            )
        if not letter or (letter.isascii() and letter.isalnum() and letter not in CONTROLS):
            raise ValueError(f"has \\{letter}, which engines read differently; write the characters out, as [a-zäöü]")
        self.at += 2
        return CONTROLS.get(letter, ord(letter))

    def _character(self, code: int) -> str:
        return _class_text(self._folded([(code, code)]))

    def _class(self) -> str:
        self.at += 1
        negated = self._peek() == "^"
        self.at += negated
        ranges, first = Ranges(), True
        while first or self._peek() != "]":
            first = False
            if self._peek() == "":
                raise ValueError("has a '[' without ']'")
            if self._peek() == "[" or self._peek(2) in ("--", "&&", "||", "~~"):
                raise ValueError(f"has {self._peek(2)!r} in a class, which engines read differently; escape it with \\")
            letter = self.text[self.at + 1 : self.at + 2] if self._peek() == "\\" else ""
            if letter and letter.lower() in SETS:
                self.at += 2
                ranges += SETS[letter] if letter in SETS else _complement(SETS[letter.lower()])
                continue
            low = self._class_code()
            if self._peek() == "-" and self._peek(2) != "-]" and len(self._peek(2)) == 2:
                self.at += 1
                high = self._class_code()
                if high < low:
                    raise ValueError(f"has the range {chr(low)}-{chr(high)} backwards in a class")
                ranges.append((low, high))
            else:
                ranges.append((low, low))
        self.at += 1
        ranges = self._folded(ranges)
        return _class_text(_complement(ranges) if negated else ranges)

    def _class_code(self) -> int:
        if self._peek() == "\\":
            if self.text[self.at + 1 : self.at + 2].lower() in SETS:
                raise ValueError("has a range that ends in a class such as \\d")
            return self._code()
        self.at += 1
        return ord(self.text[self.at - 1])

    def _folded(self, ranges: Ranges) -> Ranges:
        if not self.fold:
            return ranges
        if sum(high - low for low, high in ranges) > 5000:
            raise ValueError("ignores case in a class of more than 5,000 characters; write both cases out")
        letters = (chr(code) for low, high in ranges for code in range(low, high + 1))
        cases = {case for letter in letters for case in (letter, letter.lower(), letter.upper()) if len(case) == 1}
        return [(ord(case), ord(case)) for case in cases]


def _complement(ranges: Ranges) -> Ranges:
    complement, start = Ranges(), 0
    for low, high in sorted(ranges):
        if low > start:
            complement.append((start, low - 1))
        start = max(start, high + 1)
    return complement + [(start, LAST_CHARACTER)] * (start <= LAST_CHARACTER)


def _class_text(ranges: Ranges) -> str:
    """Write a class with escapes that both engines understand, without surrogates, which neither supports."""
    joined = Ranges()
    for low, high in _complement(_complement([*ranges])) if len(ranges) > 1 else ranges:
        pieces = [(low, min(high, SURROGATES[0] - 1)), (max(low, SURROGATES[1] + 1), high)]
        joined += [(a, b) for a, b in pieces if a <= b]
    if not joined:
        raise ValueError("has an empty class, which matches no character")
    if len(joined) == 1 and joined[0][0] == joined[0][1]:
        return _char(joined[0][0])
    return "[" + "".join(_char(a) if a == b else f"{_char(a)}-{_char(b)}" for a, b in joined) + "]"


def _char(code: int) -> str:
    letter = chr(code)
    return letter if letter.isascii() and letter.isalnum() else f"\\x{{{code:X}}}"
