"""What the contract calls text reaches the encoders as that text, by every way.

All that skrub, pandas and our own readers take for "no value", and texts that look like numbers, dates or booleans, go
through init, train, batch and service; what the encoders were given is compared with the table, row by row.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from adversarial import call
from hypothesis import given, settings
from hypothesis import strategies as st
from mlcicd import cli
from mlcicd.contract import document as contracts
from mlcicd.core import project
from mlcicd.onboarding import csv_dialect
from mlcicd.scoring import scorer as scoring
from mlcicd.validation import logical_types, request_validation
from pandas._libs.parsers import STR_NA_VALUES as PANDAS
from sklearn.pipeline import make_pipeline
from skrub import StringEncoder, ToCategorical
from skrub._clean_null_strings import STR_NA_VALUES as SKRUB

PACKAGE = project.package_name()

make_features = importlib.import_module(f"{PACKAGE}.features").make_features
make_model = importlib.import_module(f"{PACKAGE}.model").make_model

EXAMPLES = settings(max_examples=60)

ROWS = 400
MISSING_TOKENS = sorted(
    {*SKRUB, *PANDAS, *logical_types.MISSING, *csv_dialect.MISSING_TOKENS, "nil", "NaT", "NONE", "Null", "na"} - {""}
)
LOOK_LIKE = {
    "codes": ["0123", "123", "00123", "0077", "77", "077"],
    "long": ["1234567890123456783", "1234567890123456784", "9007199254740992", "9007199254740993"],
    "longest": ["9" * 60, "9" * 59 + "8", "1" + "0" * 59, "1" + "0" * 58 + "1"],
    "numbers": ["1", "1.0", "1.00", "+1", "1e0", "1e5", "100000", "100,000", "1_000", "1000", "0x10", "16", "-0", "0"],
    "infinite": ["inf", "Infinity", "-inf", "1e999", "-1e999"],
    "other digits": ["１２", "12", "٣", "3", "½", "0.5", "−1", "-1"],
    "dates": ["2024-01-02", "2024-1-2", "01/02/2024", "20240102", "2024-01-02T00:00:00Z", "2024-01-02 00:00"],
    "times": ["12:30", "12:30:00", "1 days", "P1D", "NaT"],
    "booleans": ["true", "True", "TRUE", "false", "yes", "no", "t", "f", "1"],
    "cases": ["ab", "AB", "Ab", "a b", "ab.", "äb", "äb"],
}
SOME = 20  # below the threshold at which a text is embedded instead
COLUMNS = {f"gap {n}": MISSING_TOKENS[n : n + SOME] for n in range(0, len(MISSING_TOKENS), SOME)} | LOOK_LIKE
COLUMNS |= {"many gaps": MISSING_TOKENS, "many": [text for texts in LOOK_LIKE.values() for text in texts]}
Seen = dict[tuple[str, str], list[pd.Series]]


@contextlib.contextmanager
def recorded() -> Iterator[Seen]:
    """Note each column that an encoder of text is given, by what it was asked to do and the column's name."""
    seen: Seen = {}

    def noting(method):
        def noted(self, column, *rest, **named):
            seen.setdefault((method.__name__, column.name), []).append(column.copy())
            return method(self, column, *rest, **named)

        return noted

    with pytest.MonkeyPatch.context() as patch:
        for encoder in (ToCategorical, StringEncoder):
            for name in ("fit_transform", "transform"):
                patch.setattr(encoder, name, noting(getattr(encoder, name)))
        yield seen


def same(seen: pd.Series, expected: pd.Series) -> bool:
    """Whether a column holds these texts and gaps, and nothing else."""
    return [None if pd.isna(v) else v for v in seen] == [None if pd.isna(v) else v for v in expected]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Each text of a column about equally often, and gaps: what a column of the contract may hold."""
    draw = random.Random(0)
    columns = {name: (texts * ROWS)[: ROWS - 40] + [None] * 40 for name, texts in COLUMNS.items()}
    for values in columns.values():
        draw.shuffle(values)
    frame = pd.DataFrame({name: pd.array(values, dtype="str") for name, values in columns.items()})
    return frame.assign(x=[draw.random() for _ in range(ROWS)], y=[draw.choice(["no", "yes"]) for _ in range(ROWS)])


def contract_of_texts(path: Path) -> None:
    """Call every column text, whatever `ml init` made of it: the contract is the user's."""
    obj = contracts.load(path).table
    written = {"apiVersion: v3.2.0", "kind: DataContract", "id: t", "version: 1.0.0", "status: draft"}
    properties = [{"name": name, "logicalType": "string"} for name in COLUMNS]
    properties += [{"name": "x", "logicalType": "number"}]
    properties += [
        {"name": "y", "logicalType": "string", "customProperties": [{"property": "role", "value": "target"}]}
    ]
    table = {"name": obj.name, "physicalName": obj.physicalName, "properties": properties}
    path.write_text("\n".join([*sorted(written), f"schema: {json.dumps([table])}"]) + "\n", encoding="utf-8")


@pytest.fixture(scope="module", params=["csv", "parquet"])
def walked(request, tmp_path_factory, table) -> dict:
    """The table through init, validate, train and predict, by one kind of file, with what the encoders saw."""
    root = tmp_path_factory.mktemp(request.param)
    path = root / f"table.{request.param}"
    if request.param == "csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    found, out = {"root": root, "kind": request.param}, root / "predictions.parquet"
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        patch.setattr(cli, "ROOT", root)
        steps = {"init": ("init", str(path), "--target", "y")}
        steps |= {"validate": ("validate",), "train": ("train", "--out", str(root / "run"))}
        steps |= {"predict": ("predict", str(path), "--run", str(root / "run"), "--out", str(out))}
        for name, step in steps.items():
            with recorded() as found[f"{name} saw"]:
                found[name] = call(cli, step)
            if name == "init":
                contract_of_texts(root / "contract.yaml")
                with (root / "params.yaml").open("a", encoding="utf-8") as file:
                    file.write("\nmodel: {max_iter: 5}\n")
    found["warned"] = [str(w.message) for w in warned if issubclass(w.category, UserWarning | RuntimeWarning)]
    return found


@pytest.mark.slow
def test_every_step_works_without_a_warning_of_a_library(walked: dict) -> None:
    for step in ("init", "validate", "train", "predict"):
        code, _, err = walked[step]
        assert code == 0, f"{step}: {err}"
        assert all(line.startswith("warning: ") for line in err.splitlines()), err
    assert walked["warned"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(("step", "method"), [("train", "fit_transform"), ("predict", "transform")])
def test_files_reach_the_encoders_as_they_are(walked: dict, table: pd.DataFrame, name: str, step: str, method: str):
    parts = walked[f"{step} saw"].get((method, name))
    assert parts, "no encoder of text saw this column: it was taken for something else"
    for part in parts:
        assert same(part, table[name].loc[part.index])
    fitted = {row for part in parts for row in part.index}  # the holdout is for no encoder to learn from
    assert len(fitted) > ROWS / 2 if step == "train" else fitted == set(table.index)


@pytest.mark.slow
@pytest.mark.parametrize("name", COLUMNS)
def test_requests_reach_the_encoders_as_the_texts_they_hold(walked: dict, table: pd.DataFrame, name: str) -> None:
    scorer = scoring.Scorer(walked["root"] / "run")
    validator = request_validation.RequestValidator(scorer.contract.table)
    rows = table.head(100).astype(object).where(table.head(100).notna(), None)[[*COLUMNS, "x"]]
    body = json.dumps({"records": rows.to_dict("records")}).encode()
    with recorded() as seen:
        answers = scorer.score(validator.frame(validator.cells(validator.read(body))))
    assert same(pd.concat(seen["transform", name]), rows[name])
    from_file = pd.read_parquet(walked["root"] / "predictions.parquet")["probability"].head(100)
    assert np.array_equal(answers["probability"], from_file.to_numpy())


PAIRS = [("NA", None), ("null", "none"), ("n/a", "#N/A"), ("0123", "123"), ("1e5", "100000"), ("1.0", "1")]
PAIRS += [("1234567890123456783", "1234567890123456784"), ("9" * 60, "9" * 59 + "8"), ("2024-01-02", "01/02/2024")]


# Few texts are categories; many are embedded by their letters, whose case does not count.
@pytest.mark.parametrize("threshold", [2, 40])
@pytest.mark.parametrize("pair", PAIRS, ids=map(str, PAIRS))
def test_texts_that_only_look_alike_are_told_apart(pair: tuple[str, str | None], threshold: int) -> None:
    draw = np.random.default_rng(0)
    which, other = draw.integers(0, 2, 400), draw.integers(0, 60, 400)
    values = [f"other {o}" if o < 20 else pair[w] for w, o in zip(which, other, strict=True)]
    frame = pd.DataFrame({"text": pd.array(values, dtype="str"), "x": draw.normal(size=400)})
    y = (draw.random(400) < np.where(other < 20, 0.5, np.where(which, 0.95, 0.05))).astype(int)
    model = make_pipeline(
        make_features(cardinality_threshold=threshold), make_model(task="binary", seed=0, max_iter=20)
    )
    asked = pd.DataFrame({"text": pd.array(pair, dtype="str"), "x": [0.0, 0.0]})
    first, second = model.fit(frame, y).predict_proba(asked)[:, 1]
    assert first < 0.3 < 0.7 < second


texts = st.one_of(st.sampled_from([*MISSING_TOKENS, *(t for column in LOOK_LIKE.values() for t in column)]), st.text())


@EXAMPLES
@given(st.lists(st.one_of(st.none(), texts), min_size=2, max_size=60), st.sampled_from([2, 40]))
def test_no_text_changes_on_its_way_to_an_encoder(values: list[str | None], threshold: int) -> None:
    frame = pd.DataFrame({"text": pd.array(values, dtype="str"), "x": np.arange(len(values), dtype="float64")})
    with recorded() as seen, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            features = make_features(cardinality_threshold=threshold).fit(frame)
        except ValueError as error:
            assert "empty vocabulary" in str(error)  # not a letter anywhere: nothing to embed
            return
        features.transform(frame)
    if frame["text"].notna().any():
        for method in ("fit_transform", "transform"):
            (given,) = seen[method, "text"]
            assert same(given, frame["text"])
