"""Patterns mean the same to both engines and take linear time; what cannot is refused."""

# ruff: noqa: E501 - one line a kind of pattern

from __future__ import annotations

import json
import re
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlcicd.contract import patterns
from mlcicd.core import errors
from mlcicd.validation import request_validation, rules
from test_contract import table_of

EXAMPLES = settings(max_examples=300)

ODD = "aAbZz09_ -.|$^é\u00dfſK\u0130ıéǅ\u0661\u00a0\u2028\u1d7d\U0001f600\x00\x1c\n\r\t\v\u200b"
letters = st.sampled_from(
    ["a", "b", "é", "K", "ſ", "ß", " ", "-", "\\.", "\\d", "\\D", "\\w", "\\W", "\\s", "\\S", "."]
)
members = st.sampled_from([*"abkzéK_.$(|*", "a-z", "0-9", "\\d", "\\W", "\\s", "\\n", "\\]", "À-ÿ", "\\u0660-\\u0669"])
classes = st.builds("[{}{}]".format, st.sampled_from(["", "^"]), st.lists(members, min_size=1, max_size=4).map("".join))
atoms = letters | classes | st.sampled_from(["^", "$", "\\b", "\\t", "\\x41", "}", "\\\\"])
expressions = st.recursive(
    atoms,
    lambda inner: (
        st.builds("{}{}".format, inner, inner)
        | st.builds("(?:{}){}".format, inner, st.sampled_from(["", "*", "+", "?", "{2}", "{,2}", "{1,3}?", "+?"]))
        | st.builds("({}|{})".format, inner, inner)
        | st.builds("(?i:{})".format, inner)
    ),
    max_leaves=6,
)


def obj_of(pattern: str) -> Any:
    return table_of({"name": "c", "logicalType": "string", "logicalTypeOptions": {"pattern": pattern}})


def by_table(pattern: str, texts: list[str]) -> list[bool]:
    """Whether each text is kept; straight to the rule, since a table's texts have no blanks around them."""
    masks = dict(rules.rule_masks(pd.Series(texts, dtype="str"), obj_of(pattern).column("c")))
    return (~masks[f"pattern {pattern}"]).tolist()


def by_request(pattern: str, texts: list[str]) -> list[bool]:
    try:
        request_validation.RequestValidator(obj_of(pattern)).read(
            json.dumps({"records": [{"c": text} for text in texts]}).encode()
        )
    except request_validation.RequestError as refusal:
        broken = {p["row"] for p in refusal.problems}
        return [row not in broken for row in range(len(texts))]
    return [True] * len(texts)


@EXAMPLES
@given(pattern=expressions, texts=st.lists(st.text(ODD, min_size=1, max_size=6), min_size=1, max_size=8))
@example(pattern="(?i)[a-z]", texts=["K", "ſ", "ı", "\u0130"])
@example(pattern="^a$", texts=["a", "ab", "a\nb"])
@example(pattern=r"\bé", texts=["aé", "é", "-é"])
def test_a_pattern_means_the_same_to_tables_and_to_requests(pattern, texts):
    texts = [text for text in (t.strip() for t in texts) if text]  # blanks around a text are none of it
    try:
        patterns.translate(pattern)
    except ValueError:
        return
    assert by_table(pattern, texts) == by_request(pattern, texts)


@EXAMPLES
@given(pattern=expressions, text=st.text("aAbk09_-. (|$", max_size=6))
def test_a_pattern_means_what_python_means_by_it_in_ascii(pattern, text):
    """All but the end: Python's ``$`` also stands before a last line break."""
    try:
        patterns.translate(pattern)
        expected = re.search(pattern, text, re.ASCII) is not None
    except (ValueError, re.error):
        return
    if "(?i" not in pattern or text.isascii():
        assert by_table(pattern, [text]) == [expected]


SLOW = [
    r"^(a+)+$",
    r"^(a|a)*$",
    r"^(a|aa)+$",
    r"(a*)*b",
    r"^(\w+\s?)*$",
    r"(.*a){20}",
    r"^([a-zA-Z0-9])(([\-.]|[_]+)?([a-zA-Z0-9]+))*$",
]


@pytest.mark.parametrize("pattern", SLOW)
def test_no_cell_takes_endless_time(pattern: str):
    texts = ["a" * 41 + "!", "a" * 5000 + "!", "aA" * 300 + "\u00e9"]
    assert by_table(pattern, texts) == by_request(pattern, texts)


REFUSED = {
    "looking ahead": r"(?=a)b", "not ahead": r"(?!a)b", "looking behind": r"(?<=a)b", "not behind": r"(?<!a)b",
    "back by number": r"(a)\1", "back by name": r"(?P<x>a)(?P=x)", "a condition": r"(a)?(?(1)b|c)", "atomic": r"(?>a)",
    "possessive": "a++", "classes of Unicode": r"\p{L}", "of POSIX": "[[:alpha:]]", "an intersection": "[a-z&&[^b]]",
    "verbose": "(?x) a b", "many": "a{1001}", "many in many": "((a{20}){20}){20}", "deep": "(" * 5000 + ")" * 5000,
    "long": "a" * 100_000, "an open bracket": "(a", "a closed one": "a)", "an open class": "[a", "nothing repeated": "*a",
    "twice repeated": "a**", "backwards": "[z-a]", "nobody": r"[^\d\D]", "half a pair": r"\ud800", "unknown": r"\q",
    "octal": r"\012", "an end": "a\\", "large": "|".join(["[^a]{1000}"] * 100),
}  # fmt: skip


@pytest.mark.parametrize("pattern", REFUSED.values(), ids=REFUSED.keys())
def test_what_an_engine_cannot_do_is_refused_when_the_contract_loads(pattern: str):
    with pytest.raises(errors.InputError, match=r"pattern") as caught:
        obj_of(pattern)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)
