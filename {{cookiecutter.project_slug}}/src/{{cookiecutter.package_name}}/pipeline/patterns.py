r"""Patterns of a contract, read once and written for two engines that take linear time: RE2 and pydantic's Rust regex.

The two differ in what ``\d`` or ``(?i)`` mean, and each from Python. So a pattern is parsed here and written with
nothing but classes, groups, alternatives, repetitions and anchors. What neither engine can do is refused when a
contract loads.

- ``\d``, ``\w``, ``\s`` and ``\b`` are of ASCII, as in JSON Schema; ``(?i)`` makes letters match in either case.
- ``^`` and ``$`` are the text's very start and end; a pattern without them may match anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

LAST, SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)
MOST = 1000  # repetitions, nested ones multiplied; RE2 takes no more
DEEPEST, LONGEST = 100, 2000
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
CANNOT = {
    **dict.fromkeys(("(?=", "(?!"), "looking ahead"),
    **dict.fromkeys(("(?<=", "(?<!"), "looking behind"),
    **dict.fromkeys(("(?P=", "(?("), "referring back to a group"),
    "(?>": "an atomic group",
}


@dataclass(frozen=True)
class Pattern:
    """One pattern as each engine reads it."""

    re2: str
    rust: str


@lru_cache(maxsize=1024)
def translate(pattern: str) -> Pattern:
    """Parse a pattern and check that both engines take it.

    Raises
    ------
    ValueError
        It is no regular expression, or needs what takes longer than linear time, or is too large.
    """
    if len(pattern) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    plain = _Parser(pattern).whole()
    found = Pattern(plain.replace("\0", r"\b"), plain.replace("\0", r"(?-u:\b)"))
    _check(found)
    return found


def _check(pattern: Pattern) -> None:
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    try:
        SchemaValidator(core_schema.str_schema(pattern=pattern.rust))
        try:
            import pyarrow as pa
            import pyarrow.compute as pc
        except ImportError:  # a service, whose contract was checked where its model was trained
            return
        pc.match_substring_regex(pa.array([""]), pattern.re2)
    except (SchemaError, ValueError):
        raise ValueError("is too large: repeat less, or use smaller classes") from None


class _Parser:
    r"""Recursive descent; ``\0`` stands for a word boundary, which the engines write differently."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0
        self.fold = text.startswith("(?i)")
        self.at = 4 * self.fold

    def whole(self) -> str:
        found, _ = self._alternatives()
        if self.at < len(self.text):
            raise ValueError(f"has a ')' without '(' at position {self.at + 1}")
        return found

    def _peek(self, size: int = 1) -> str:
        return self.text[self.at : self.at + size]

    def _alternatives(self) -> tuple[str, int]:
        """Return what stands up to the closing bracket, and how often its parts are repeated."""
        parts, most = [""], 1
        while self._peek() not in ("", ")"):
            if self._peek() == "|":
                self.at += 1
                parts.append("")
                continue
            atom, times = self._atom()
            atom, times = self._repeated(atom, times)
            parts[-1] += atom
            most = max(most, times)
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
        return {"^": r"\A", "$": r"\z", ".": r"[^\n]"}.get(letter) or self._one(ord(letter)), 1

    def _group(self) -> tuple[str, int]:
        for start, what in CANNOT.items():
            if self.text.startswith(start, self.at):
                raise ValueError(f"has {start}…), {what}, which is not taken: it may need endless time; say it without")
        opened = GROUP.match(self.text, self.at)
        if opened is None or self.text.startswith("?", opened.end()):
            raise ValueError(f"has {self._peek(4)!r}; of flags only (?i) at the start and (?i:…) are known")
        before, self.at, self.depth = self.fold, opened.end(), self.depth + 1
        if self.depth > DEEPEST:
            raise ValueError(f"has more than {DEEPEST} groups in each other")
        self.fold |= bool(opened["i"])
        inside, times = self._alternatives()
        if self._peek() != ")":
            raise ValueError("has a '(' without ')'")
        self.at, self.fold, self.depth = self.at + 1, before, self.depth - 1
        return f"(?:{inside})", times

    def _repeated(self, atom: str, times: int) -> tuple[str, int]:
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
            return atom, times
        if atom in (r"\A", r"\z", "\0"):
            raise ValueError(f"repeats {self.text[: self.at][-2:]!r}, a place without a letter")
        self.at += size
        if self._peek() == "?":  # lazy: another match, but one all the same
            self.at += 1
        if self._peek() in ("*", "+") and self._peek():
            raise ValueError(f"has {mark}{self._peek()}: a repetition is repeated; put it in brackets")
        if (total := times * max(most, 1)) > MOST:
            raise ValueError(f"repeats {total:,} times; at most {MOST:,} are taken")
        return f"{atom}{mark}", total

    def _escape(self) -> str:
        letter = self.text[self.at + 1 : self.at + 2]
        if letter.lower() in SETS:
            self.at += 2
            return _written(SETS[letter] if letter in SETS else _others(SETS[letter.lower()]))
        if letter in ("A", "Z", "z", "b"):
            self.at += 2
            return {"A": r"\A", "b": "\0"}.get(letter, r"\z")
        return self._one(self._code())

    def _code(self) -> int:
        """The character that an escape stands for, in and outside of classes."""
        letter = self.text[self.at + 1 : self.at + 2]
        if found := HEX.match(self.text, self.at + 1):
            code = int(next(filter(None, found.groups())), 16)
            if code > LAST or SURROGATES[0] <= code <= SURROGATES[1]:
                raise ValueError(f"has \\{found[0]}, which is no character")
            self.at = found.end()
            return code
        if letter.isdigit():
            raise ValueError(
                f"has \\{letter}, a reference back to a group, which may need endless time; say it without"
            )
        if not letter or (letter.isascii() and letter.isalnum() and letter not in CONTROLS):
            raise ValueError(f"has \\{letter}, which engines read differently; write the characters out, as [a-zäöü]")
        self.at += 2
        return CONTROLS.get(letter, ord(letter))

    def _one(self, code: int) -> str:
        return _written(self._folded([(code, code)]))

    def _class(self) -> str:
        self.at += 1
        negated = self._peek() == "^"
        self.at += negated
        found, first = Ranges(), True
        while first or self._peek() != "]":
            first = False
            if self._peek() == "":
                raise ValueError("has a '[' without ']'")
            if self._peek() == "[" or self._peek(2) in ("--", "&&", "||", "~~"):
                raise ValueError(f"has {self._peek(2)!r} in a class, which engines read differently; escape it with \\")
            letter = self.text[self.at + 1 : self.at + 2] if self._peek() == "\\" else ""
            if letter and letter.lower() in SETS:
                self.at += 2
                found += SETS[letter] if letter in SETS else _others(SETS[letter.lower()])
                continue
            low = self._class_code()
            if self._peek() == "-" and self._peek(2) != "-]" and len(self._peek(2)) == 2:
                self.at += 1
                high = self._class_code()
                if high < low:
                    raise ValueError(f"has the range {chr(low)}-{chr(high)} backwards in a class")
                found.append((low, high))
            else:
                found.append((low, low))
        self.at += 1
        found = self._folded(found)
        return _written(_others(found) if negated else found)

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


def _others(ranges: Ranges) -> Ranges:
    found, start = Ranges(), 0
    for low, high in sorted(ranges):
        if low > start:
            found.append((start, low - 1))
        start = max(start, high + 1)
    return found + [(start, LAST)] * (start <= LAST)


def _written(ranges: Ranges) -> str:
    """Write a class in escapes that both engines read; no engine has a half of a surrogate pair."""
    joined = Ranges()
    for low, high in _others(_others([*ranges])) if len(ranges) > 1 else ranges:
        pieces = [(low, min(high, SURROGATES[0] - 1)), (max(low, SURROGATES[1] + 1), high)]
        joined += [(a, b) for a, b in pieces if a <= b]
    if not joined:
        raise ValueError("has a class that no character is in")
    if len(joined) == 1 and joined[0][0] == joined[0][1]:
        return _char(joined[0][0])
    return "[" + "".join(_char(a) if a == b else f"{_char(a)}-{_char(b)}" for a, b in joined) + "]"


def _char(code: int) -> str:
    letter = chr(code)
    return letter if letter.isascii() and letter.isalnum() else f"\\x{{{code:X}}}"
