"""The report: harmless whatever the data is called, short however wide it is, and it names what is odd."""

from __future__ import annotations

import copy
import html.parser
import importlib
import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import CONTRACT
from hypothesis import given, settings
from hypothesis import strategies as st
from mlcicd import tasks
from mlcicd.contract import contract_diff
from mlcicd.contract import document as contract
from mlcicd.contract import schema as odcs
from mlcicd.data import row_identity
from mlcicd.lifecycle import model_card
from mlcicd.rendering import blocks, curves, markdown
from mlcicd.rendering import html as html_page
from mlcicd.review import review, review_report, run_diff
from mlcicd.training import data_diagnostics, diagnostic_checks, model_diagnostics, run
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

QUICK = settings(max_examples=200)
HOSTILE = (
    "<img src=x onerror=alert(1)> @everyone closes #1 GH-2 https://evil.example www.evil.example a@b.example "
    "[x](http://evil.example) ![x](//evil.example) `| $x$ ~~a~~ **b** :tada: \u202e\u200b\x1b[31m <!-- --> </details>"
)


def everything(text):
    """A report that carries a text in each place where data can stand."""
    table = blocks.Table(text, "lr", [text, "n"], [[text, text]] * 3)
    line = {text: [0.0, 0.5, 1.0]}
    chart = blocks.Chart("roc", text, text, text, [0.0, 0.5, 1.0], line, (text, [0.0, 0.5, 1.0]), {text: 0.5})
    inner = [blocks.Text(text), blocks.Items([text]), blocks.Code([text]), table, chart]
    return blocks.Report(text, [*inner, blocks.Section(text, inner)])


def assert_harmless(text):
    """What GitHub makes of Markdown is tested in tests/test_rendering.py; here, that nothing got past the renderer."""
    assert not re.search(r"<(?!/?(?:details|summary|span|code)>)", text)
    assert not re.search(r"@\w|#\d+(?!\w)|(?i:gh-\d|[a-z]://|www\.)|\u202e", text)
    assert text.count("<details>") == text.count("</details>")


class Page(html.parser.HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@QUICK
@given(st.text(min_size=1, max_size=200) | st.just(HOSTILE))
def test_any_text_is_text_in_html(name):
    page, plain = (Page(html_page.render(everything(t))).found for t in (name, "plain"))
    assert [tag for tag, _ in page] == [tag for tag, _ in plain]
    assert [sorted(a) for _, a in page] == [sorted(a) for _, a in plain]


def test_the_page_asks_nobody_for_anything():
    text = html_page.render(everything("plain"))
    assert not {tag for tag, _ in Page(text).found} & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import", text)


@pytest.mark.parametrize("scale", [1e-7, 1.0, 3e5, -2e9])
def test_charts_hold_only_numbers_that_mermaid_reads(scale):
    line = [scale * x for x in (0.1234567, 0.5, 1.0)]
    chart = blocks.Chart("c", "c", "x", "y", sorted(line), {"main": line})
    drawn = markdown.render(blocks.Report("r", [chart])).partition("xychart-beta")[2]
    assert re.search(r"line \[-?\d", drawn)
    assert not re.search(r"\d[eE][+-]?\d", drawn)


def test_numbers_read_well():
    shown = [blocks.number(v, True) for v in (0.0123, -0.00034, 0.0, 12345.6, float("nan"), None)]
    assert shown == ["+0.012", "−0.0003", "0.000", "+12,346", "–", "–"]
    assert [blocks.money(v, "$", True) for v in (1.9, -0.034, 0.0, 2500.4)] == ["+$1.90", "−$0.034", "$0.00", "+$2,500"]


# Two runs on disk, without training


def made(folder, frame, y, p, *, threshold=0.5, found=None, spec=None, params=None, rows=None):
    """Write a run as a training would have left it."""
    folder.mkdir(parents=True)
    ids = [f"r{i:06}" for i in range(len(y))] if rows is None else rows
    parts = [("holdout", p), *((f"holdout-fold-{k}", p) for k in (1, 2)), ("fold-1", p)]
    frames = [pd.DataFrame({"row": ids, "part": n, "seed": 7, "target": y, "prediction": q}) for n, q in parts]
    pd.concat(frames).to_parquet(folder / "predictions.parquet", index=False)
    frame.assign(row=ids).to_parquet(folder / "holdout.parquet", index=False)
    row_identity.row_hashes(pd.Series(ids), frame).to_parquet(folder / "rows.parquet", index=False)
    (folder / "model.skops").touch()
    kinds = {"f": "number", "i": "integer", "M": "timestamp"}
    columns = [{"name": c, "logicalType": kinds.get(v.dtype.kind, "string")} for c, v in frame.items()]
    target = {"name": "target", "logicalType": "boolean", "customProperties": [{"property": "role", "value": "target"}]}
    base = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": "1", "status": "active"}
    table = {"name": "t", "physicalName": "t.csv", "properties": [*columns, target]}
    (folder / "contract.yaml").write_text(yaml.safe_dump(spec or {**base, "schema": [table]}), encoding="utf-8")
    plain = {"seed": 7, "task": "binary", "costs": {"false_positive": 10, "false_negative": 4}}
    plain |= {"gates": {"roc_auc": {"margin": 0.005}, "cost": {"margin": 0.05}, "calibration_error": {"margin": 0.02}}}
    (folder / "params.yaml").write_text(yaml.safe_dump(plain | (params or {})), encoding="utf-8")
    metrics = {
        "task": "binary",
        "classes": [False, True],
        "threshold": threshold,
        "split": {"method": "stratified", "reason": "classes are predicted", "cutoff": None},
        "rows": {"train": len(y), "holdout": len(y)},
        "holdout": {"roc_auc": {"value": 0.8, "low": 0.7, "high": 0.9}},
        "missing": {},
        "confidence": 0.95,
        "checks": found or QUIET,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    manifest = {"seeds": [7], "commit": None, "head": None, "uncommitted_changes": False, "seconds": 1.0}
    manifest |= {"model_bytes": 1000, "libraries": {}, "packages": {"numpy": "2.0"}, "python": "3.13", "code": {}}
    manifest |= {"data": {}, "contract": "c", "params": "p", "lock": None}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return run.Run(folder)


QUIET = {
    "metric": "roc_auc",
    "holdout": 0.8,
    "train": 0.82,
    "cross_validation": 0.8,
    "small_boosting": 0.79,
    "small_boosting_gain_low": -0.02,
    "alone": {"a": 0.3},
    "importance": {"a": 0.1},
    "edges": {},
    "twins": {"share": 0.0, "loss": 0.0, "model_loss": 0.1, "other_loss": 0.1},
}


def logistic(z):
    return 1 / (1 + np.exp(-z))


@pytest.fixture
def rows():
    """Features, log-odds and outcomes of 6,000 rows."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6000))
    frame = pd.DataFrame({"a": a, "b": b, "shop": rng.choice(["north", "south", "east", "west"], 6000)})
    z = 1.2 * a + 0.8 * b
    return frame, z, (rng.random(6000) < logistic(z)).astype(int)


def reviewed(tmp_path, baseline, candidate):
    """The report's text, and its first screen."""
    review.write(baseline, candidate, tmp_path / "review", tmp_path)
    text = (tmp_path / "review" / "report.md").read_text(encoding="utf-8").replace("\\", "")
    return text, text.partition("<details>")[0]


def test_nothing_changed_says_little(tmp_path, rows):
    frame, z, y = rows
    old, new = (made(tmp_path / side, frame, y, logistic(z)) for side in "ab")
    _, first = reviewed(tmp_path, old, new)
    assert "## Model review: same ✅" in first
    assert "⚠️" not in first and "Changed: nothing" in first
    assert "can see a change of 0." in first


def test_a_planted_slice_regression_is_named(tmp_path, rows):
    frame, z, y = rows
    broken = np.where(frame["shop"] == "east", -z, z)
    _, first = reviewed(
        tmp_path, made(tmp_path / "a", frame, y, logistic(z)), made(tmp_path / "b", frame, y, logistic(broken))
    )
    assert "shop: east" in first
    assert re.search(r"worse ❌, costs \$\d+\.\d+ more per case", first)


def test_a_miscalibrated_model_is_named(tmp_path, rows):
    frame, z, y = rows
    _, first = reviewed(
        tmp_path, made(tmp_path / "a", frame, y, logistic(z)), made(tmp_path / "b", frame, y, logistic(2.5 * z))
    )
    assert "Worse in calibration error" in first


def test_a_change_of_threshold_alone_is_named(tmp_path, rows):
    frame, z, y = rows
    old, new = (made(tmp_path / n, frame, y, logistic(z), threshold=t) for n, t in (("a", 0.7), ("b", 0.3)))
    _, first = reviewed(tmp_path, old, new)
    assert "only the threshold moved from 0.700 to 0.300" in first


def test_changed_rows_are_counted_by_id_and_content(tmp_path, rows):
    frame, z, y = rows
    ids = [f"r{i:06}" for i in range(6000)]
    old = made(tmp_path / "a", frame, y, logistic(z), rows=ids)
    moved = frame.assign(a=np.where(frame["shop"] == "west", frame["a"] + 3, frame["a"]))
    shuffled = np.r_[np.arange(5999, 9, -1)]
    new = made(
        tmp_path / "b", moved.iloc[shuffled], y[shuffled], logistic(z)[shuffled], rows=[ids[i] for i in shuffled]
    )
    found = run_diff.between(old, new, tmp_path)["data"]
    assert (found["added"], found["removed"]) == (0, 10)
    assert found["changed"] == int((frame["shop"][10:] == "west").sum()) == found["columns"]["a"]
    assert set(found["moved"]) == {"a"}


def test_rows_are_the_same_however_their_numbers_are_stored(rows):
    frame, ids = rows[0].assign(n=1), pd.Series(map(str, range(6000)))
    stored = row_identity.row_hashes(ids, frame.assign(n=frame["n"].astype("float64")))
    pd.testing.assert_frame_equal(row_identity.row_hashes(ids, frame), stored)
    pd.testing.assert_frame_equal(row_identity.row_hashes(ids, frame[frame.columns[::-1]]), stored)


def test_rows_whose_values_changed_places_or_beyond_a_floats_reach_have_another_content(tmp_path, rows):
    frame, z, y = rows
    big = frame[["a", "b"]].assign(key=2**53)
    old, order, renamed, swapped, next_ = (
        made(tmp_path / name, table, y, logistic(z))
        for name, table in {
            "old": big,
            "order": big[["key", "b", "a"]],
            "renamed": big.rename(columns={"a": "c"}),
            "swapped": big.rename(columns={"a": "b", "b": "a"}),
            "next": big.assign(key=2**53 + 1),
        }.items()
    )
    counts = [
        run_diff._data(old, new, contract.load(new.path / "contract.yaml"))["changed"] for new in (order, renamed)
    ]
    assert counts == [0, 0]
    for new in (swapped, next_):
        assert run_diff._data(old, new, contract.load(new.path / "contract.yaml"))["changed"] == 6000


@pytest.mark.slow
def test_two_thousand_hostile_columns_fit(tmp_path, rows):
    frame, z, y = rows
    old, new = (made(tmp_path / side, frame, y, logistic(z)) for side in "ab")
    review.write(old, new, tmp_path / "review", tmp_path)
    found = json.loads((tmp_path / "review" / "comparison.json").read_text(encoding="utf-8"))
    names = [f"{HOSTILE * 50}{i}" for i in range(2000)]
    pairs = [{"key": name, "old": name, "new": name} for name in names]
    field = {"old": HOSTILE, "new": HOSTILE, "requests": "breaking", "deliveries": "–"}
    moved = {"distance": 0.3, "missing": [0.0, 0.5], "drift": True}
    slice_ = {
        "metric": "cost",
        "label": "cost per case",
        "rows": 9,
        "baseline": 1.0,
        "candidate": 2.0,
        "verdict": "worse",
    }
    found["slices"] = {"judged": 9, "sure": 9, "shown": [slice_ | {"column": n, "slice": n} for n in names[:12]]}
    found["changes"] |= {
        "params": pairs,
        "libraries": pairs,
        "contract": [{"field": name, **field} for name in names],
        "data": {"rows": [1, 2], "added": 1, "removed": 0, "changed": 1} | {"columns": dict.fromkeys(names, 1)},
        "code": [{"file": name, "plus": "1", "minus": "–"} for name in names],
        "importance": [{"column": name, "baseline": None, "candidate": 0.1} for name in names],
    }
    found["changes"]["data"]["moved"] = dict.fromkeys(names, moved)
    checked = QUIET | {"alone": dict.fromkeys(names[:50], 0.9)}
    hostile = new.metrics | {"missing": dict.fromkeys(names, 0.5), "warnings": names, "checks": checked}
    (new.path / "metrics.json").write_text(json.dumps(hostile), encoding="utf-8")
    shown = review_report.review(found, old, run.Run(new.path))
    text = markdown.render(shown)
    assert 20_000 < len(text.encode()) <= 60_000
    assert "… and 1,980 more" in text and "Leak?" in text
    assert_harmless(text)
    assert len(html_page.render(shown)) < 10_000_000


def test_a_report_that_is_too_long_says_that_it_is_cut():
    wide = blocks.Table("t", "l" * 9, ["x"] * 9, [["é" * 80] * 9] * 20)
    text = markdown.render(blocks.Report("x", [blocks.Section(str(i), [wide]) for i in range(40)]))
    assert 30_000 < len(text.encode()) <= 60_000
    assert text.endswith(f"{markdown.CUT}\n")
    assert text.count("<details>") == text.count("</details>") > 0


def test_a_step_that_failed_is_named_with_its_last_lines():
    log = "\n".join(f"line {i}" for i in range(100)) + "\n\x1b[31mml: ``` contract broken: amount\x1b[0m\n"
    text = markdown.render(review_report.failed("ml validate", log))
    assert "ml validate" in text and "contract broken: amount" in text
    assert "line 99" in text and "line 1\n" not in text
    assert text.count("````") == 2 and "\x1b" not in text  # a fence longer than what stands in it


def test_charts_in_markdown_have_few_points_and_no_colour_of_digits_alone(rows):
    _, z, y = rows
    costs = importlib.import_module("mlcicd.core.params").Costs(false_positive=10, false_negative=4)
    drawn = curves.draw("binary", [curves.Side("main", y, logistic(z), 0.5)], costs)
    text = markdown.render(blocks.Report("x", drawn))
    lines = re.findall(r"^  line \[(.*)\]$", text, re.MULTILINE)
    assert len(lines) == 5 and all(2 < len(line.split(",")) <= 30 for line in lines)
    assert not re.search(r"#\d+(?![0-9a-f])", text)


def test_the_cost_curve_is_the_cost(rows):
    _, z, y = rows
    from mlcicd.core import params
    from mlcicd.evaluation import metrics

    costs = params.Costs(false_positive=10, false_negative=4)
    *_, curve = curves.draw("binary", [curves.Side("main", y, logistic(z), 0.5)], costs)
    asked = [metrics.metrics_for("binary", t, costs)["cost"].value(y, logistic(z)) for t in curve.x]
    np.testing.assert_allclose(curve.series["main"], asked)


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.6), (0.7, 0.9)])
def test_a_calibration_curve_shows_where_each_side_predicts(low, high):
    rng = np.random.default_rng(3)
    p = [rng.uniform(0.1, 0.5, 2000), rng.uniform(low, high, 2000)]
    sides = [curves.Side(n, (rng.random(2000) < v).astype(int), v, 0.5) for n, v in zip(("main", "b"), p, strict=True)]
    _, curve = curves.draw("binary", sides, None)
    assert curve.x[0] == pytest.approx(0.12, abs=0.02) and curve.x[-1] == pytest.approx(high, abs=0.03)
    ends = {name: np.asarray(curve.x)[np.isfinite(line)][[0, -1]] for name, line in curve.series.items()}
    assert ends["main"] == pytest.approx([0.12, 0.48], abs=0.02)
    assert ends["b"] == pytest.approx([low, high], abs=0.03)
    page, text = (render.render(blocks.Report("r", [curve])) for render in (html_page, markdown))
    assert "nan" not in page + text
    assert ("xychart" in text) == (low < 0.5) == ("have no range in common" not in text)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_have_charts(task):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 500)
    p = rng.dirichlet([1, 1, 1], 500) if task == "multiclass" else y + rng.normal(size=500)
    (chart,) = curves.draw(task, [curves.Side("main", y, p, None)], None)
    assert np.isfinite(chart.series["main"]).all()


# The contract


def change(edit):
    """What an edit of the project's contract means, by field: for requests and for deliveries."""
    old = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    new = copy.deepcopy(old)
    tables = {o["name"]: {p["name"]: p for p in o["properties"]} for o in new["schema"]}
    edit(tables["customers"], tables["transactions"], new)
    return {
        c["field"]: (c["requests"], c["deliveries"])
        for c in contract_diff.diff_contracts(contract.parse(old), contract.parse(new))
    }


@pytest.mark.parametrize(
    ("edit", "field", "requests", "deliveries"),
    [
        (
            lambda t, _r, _d: t["total_spent"]["logicalTypeOptions"].update(maximum=9e9),
            "maximum",
            "compatible",
            "compatible",
        ),
        (lambda t, _r, _d: t["total_spent"]["logicalTypeOptions"].update(maximum=9), "maximum", "breaking", "breaking"),
        (
            lambda t, _r, _d: t["total_spent"]["logicalTypeOptions"].update(minimum=-9),
            "minimum",
            "compatible",
            "compatible",
        ),
        (
            lambda t, _r, _d: t["total_spent"]["logicalTypeOptions"].pop("minimum"),
            "minimum",
            "compatible",
            "compatible",
        ),
        (lambda t, _r, _d: t["average_gap_days"].update(required=True), "required", "breaking", "breaking"),
        (lambda t, _r, _d: t["total_spent"].update(required=False), "required", "compatible", "compatible"),
        (lambda t, _r, _d: t["total_orders"].update(logicalType="number"), "logicalType", "compatible", "compatible"),
        (lambda t, _r, _d: t["total_spent"].update(logicalType="integer"), "logicalType", "breaking", "breaking"),
        (lambda t, _r, _d: t["total_spent"].update(description="EUR"), "description", "–", "–"),
        (
            lambda t, _r, _d: t["customer_id"]["logicalTypeOptions"].update(pattern="^[0-9]{6}$"),
            "pattern",
            "breaking",
            "breaking",
        ),
        (lambda _t, r, _d: r["amount"]["logicalTypeOptions"].update(maximum=9), "maximum", "–", "breaking"),
        (lambda _t, r, _d: r["date"]["logicalTypeOptions"].update(minimum="1990-01-01"), "minimum", "–", "compatible"),
        (lambda t, _r, _d: t["churned"].update(unique=True), "unique", "–", "breaking"),
    ],
)
def test_a_change_of_a_column_is_classified_twice(edit, field, requests, deliveries):
    (changed,) = change(edit).items()
    assert changed[0].endswith(f".{field}")
    assert changed[1] == (requests, deliveries)


def test_a_change_of_columns_is_classified_twice():
    def column(name, **more):
        return {"name": name, "logicalType": "number", **more}

    def edit(_table, _raw, document):
        transactions, customers = document["schema"]
        transactions["properties"].append(column("discount"))
        customers["properties"] = [p for p in customers["properties"] if p["name"] != "total_items"]
        customers["properties"] += [column("visits"), column("returns", required=True)]

    assert change(edit) == {
        "transactions.discount": ("–", "breaking"),  # a file must carry each column that is declared
        "customers.total_items": ("breaking", "–"),  # a request may carry no unknown column
        "customers.visits": ("compatible", "–"),
        "customers.returns": ("breaking", "–"),
    }


# The checks


def measured(frame, y, model):
    """Fit on the first two thirds, judge on the rest, which stands for the folds as well."""
    cut = 2 * len(y) // 3
    train, holdout = np.arange(cut), np.arange(cut, len(y))
    fitted = Pipeline([("model", model)]).fit(frame.iloc[train], y[train])
    folds = [roc_auc_score(y[holdout], fitted.predict_proba(frame.iloc[holdout])[:, 1])]
    predict = lambda t: fitted.predict_proba(t)[:, 1]  # noqa: E731
    return model_diagnostics.measure(predict, fitted, frame, y, train, holdout, folds, "binary", 7)


def test_a_sound_model_fires_nothing(rows):
    frame, _, y = rows
    found = measured(frame[["a", "b"]], y, LogisticRegression())
    assert diagnostic_checks.failed_checks(found) == [] == diagnostic_checks.failed_checks(found, found)
    assert found["importance"]["a"] > found["importance"]["b"] > 0.02


@pytest.mark.slow
def test_a_model_far_worse_than_a_guess_or_than_its_folds_is_named_first_and_in_the_headline(rows, tmp_path):
    frame, z, y = rows
    old = made(tmp_path / "old", frame, y, logistic(z))
    quiet = QUIET | {"holdout_error": 0.02, "cross_validation_error": 0.01}
    wrong = (
        ({"holdout": 0.1, "cross_validation": 0.15}, "Worse than guessing: ROC AUC 0.100"),
        ({"holdout": 0.6}, "Far worse than its own folds: ROC AUC 0.600 on held-out rows, 0.800"),
        ({"metric": "r2", "holdout": -0.4, "cross_validation": 0.3}, "Worse than guessing: R² -0.400"),
        ({"metric": "r2", "holdout": 0.1, "cross_validation": 0.5}, "Far worse than its own folds: R² 0.100"),
    )
    for number, (numbers, words) in enumerate(wrong):
        assert diagnostic_checks.failed_checks(quiet | numbers)[0].startswith(words)
        new = made(tmp_path / f"new{number}", frame, y, logistic(z), found=quiet | numbers)
        compared, _ = reviewed(tmp_path, old, new)
        for text in (compared, markdown.render(review_report.alone(new, "There is no base."))):
            assert "⚠️ see below" in text.splitlines()[0]
            assert words.split(":")[0] in text.partition("<details>")[0]
    for numbers in (
        {"holdout": 0.46, "cross_validation": 0.5},
        {"holdout": 0.72},
        {"holdout": 0.3, "holdout_error": 0.2},
        {"holdout": 0.6, "cross_validation_error": 0.1},
    ):
        assert diagnostic_checks.severe_failures(quiet | numbers) == []
    assert (
        diagnostic_checks.severe_failures(QUIET | {"holdout": 0.1}) == []
    )  # a run of an older version knows no errors


def test_numbers_that_are_measured_tell_a_split_that_went_wrong(rows):
    frame, _, y = rows
    turned = y.copy()
    turned[4000:] = 1 - y[4000:]  # what trains says one thing, what judges the other
    assert diagnostic_checks.severe_failures(measured(frame[["a", "b"]], y, LogisticRegression())) == []
    (said,) = diagnostic_checks.severe_failures(measured(frame[["a", "b"]], turned, LogisticRegression()))
    assert said.startswith("Worse than guessing")


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_a_few_rows_that_happen_to_be_wrong_are_no_error_of_method(kind):
    from mlcicd.evaluation import metrics

    metric = metrics.metrics_for(kind, 0.5)[tasks.of(kind).skill.metric]
    rng, fired = np.random.default_rng(0), 0
    for seed in range(300):
        rare = np.arange(20) < 3
        y = (rng.permutation(rare) if kind == "binary" else rng.standard_t(3, size=20)).astype("float64")
        p = rng.random(20) if kind == "binary" else 0.3 * rng.normal(size=20)
        error, score = model_diagnostics._error(metric, y, p, seed), metric.value(y, p)
        folds = {"cross_validation": 0.6 if kind == "binary" else 0.1, "cross_validation_error": 0.05}
        fired += bool(
            diagnostic_checks.severe_failures(
                QUIET | folds | {"metric": metric.name, "holdout": score, "holdout_error": error}
            )
        )
    assert fired <= 1


def test_equal_rows_are_counted_where_nothing_names_them(rows):
    frame, _, y = rows

    def schema(**roles):
        return odcs.SchemaObject(
            name="t",
            properties=[
                {"name": c, "logicalType": "number", "customProperties": [{"property": "role", "value": roles[c]}]}
                if c in roles
                else {"name": c, "logicalType": "number"}
                for c in ("a", "b", "y")
            ],
        )

    def contents(table):
        return pd.Series(row_identity.content_hashes(table))

    obj = schema(y="target")
    table = frame[["a", "b"]].assign(y=y)
    assert data_diagnostics.duplicate_row_warnings(contents(table), obj) == []
    twice = pd.concat([table, table.iloc[:100]], ignore_index=True)
    (said,) = data_diagnostics.duplicate_row_warnings(contents(twice), obj)
    assert said.startswith(f"Equal rows: 200 of {len(twice):,} rows")
    assert data_diagnostics.duplicate_row_warnings(contents(twice), schema(y="target", a="group")) == []


def test_a_planted_leak_is_named(rows):
    frame, _, y = rows
    leaky = frame[["a", "b"]].assign(refund=y + np.random.default_rng(1).normal(0, 0.3, len(y)))
    (said,) = diagnostic_checks.failed_checks(measured(leaky, y, LogisticRegression()))
    assert "'refund' alone nearly reaches the model" in said


def test_a_weak_leak_is_named_against_main(rows):
    frame, _, y = rows
    leaky = frame[["a", "b"]].assign(refund=y + np.random.default_rng(1).normal(0, 0.7, len(y)))
    before, after = (measured(f, y, DecisionTreeClassifier(max_depth=3)) for f in (frame[["a", "b"]], leaky))
    assert not any("Leak" in s for s in diagnostic_checks.failed_checks(after))
    assert any("'refund' alone nearly reaches the model" in s for s in diagnostic_checks.failed_checks(after, before))


def test_overfitting_is_named(rows):
    frame, _, y = rows
    said = diagnostic_checks.failed_checks(measured(frame[["a", "b"]], y, DecisionTreeClassifier(min_samples_leaf=2)))
    assert any(s.startswith("Overfitting: ROC AUC 0.9") for s in said)


def test_worse_than_a_default_is_named(rows):
    frame, _, y = rows
    said = diagnostic_checks.failed_checks(measured(frame[["b", "a"]], y, DecisionTreeClassifier(max_depth=1)))
    assert any(s.startswith("Worse than a default") for s in said)


def test_a_search_that_ends_at_its_edge_is_named(rows):
    frame, _, y = rows
    search = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [3, 5, 7]}, cv=2, scoring="roc_auc")
    said = diagnostic_checks.failed_checks(measured(frame[["a", "b"]], y, search))
    assert any("n_neighbors = 7" in s for s in said)


def test_copies_across_the_split_are_named_and_natural_twins_are_not(rows):
    frame, _, y = rows
    rounded = frame[["a", "b"]].round(0)  # few distinct rows: nearly all have twins
    assert measured(rounded, y, LogisticRegression())["twins"]["share"] > 0.9
    assert diagnostic_checks.failed_checks(measured(rounded, y, LogisticRegression())) == []
    copied, outcome = frame[["a", "b"]].copy(), y.copy()
    copied.iloc[5000:], outcome[5000:] = copied.iloc[:1000].to_numpy(), y[:1000]
    said = diagnostic_checks.failed_checks(measured(copied, outcome, LogisticRegression()))
    assert any("50.0% of the holdout rows match a training row" in s for s in said)


def test_text_dates_and_gaps_are_measured(rows):
    frame, _, y = rows
    frame = frame.assign(
        day=pd.Timestamp("2026-01-01") + pd.to_timedelta(y * 10 + np.arange(len(y)) % 3, unit="D"),
        word=np.where(y == 1, "yes", "no"),
        gap=np.where(y == 1, np.nan, 1.0),
        empty=np.nan,
    )
    cut = 4000
    p = logistic(frame["a"].to_numpy())
    found = model_diagnostics.measure(
        lambda t: np.resize(p, len(t)), None, frame, y, np.arange(cut), np.arange(cut, 6000), [0.5, None], "binary", 7
    )
    assert all(found["alone"][c] > 0.99 for c in ("day", "word", "gap"))
    assert abs(found["alone"]["empty"]) < 1e-9


def test_wide_tables_are_measured_on_their_strongest_columns():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 120)), columns=[f"c{i}" for i in range(120)])
    y = (frame["c7"] > 0).astype(int).to_numpy()
    found = measured(frame, y, LogisticRegression())
    assert len(found["importance"]) == 50 and max(found["alone"], key=found["alone"].get) == "c7"


def test_the_card_is_written_from_the_run(tmp_path, rows):
    frame, z, y = rows
    text = markdown.render(model_card.card(made(tmp_path / "a", frame, y, logistic(z)))).replace("\\", "")
    for said in (
        "Model card",
        "Intended use",
        "Slices with the worst performance",
        "false positive costs $10.00",
        "ROC AUC",
        "0.700 to 0.900",
    ):
        assert said in text
    assert "shop: north" in text and "predicted True" in text


def test_a_baseline_without_these_numbers_is_no_obstacle(tmp_path, rows):
    frame, z, y = rows
    old, new = (made(tmp_path / side, frame, y, logistic(z)) for side in "ab")
    for name in ("rows.parquet", "metrics.json", "manifest.json"):
        path = old.path / name
        if name == "rows.parquet":
            path.unlink()
            continue
        content = {
            k: v for k, v in json.loads(path.read_text()).items() if k not in ("checks", "packages", "code", "head")
        }
        path.write_text(json.dumps(content))
    text, _ = reviewed(tmp_path, run.Run(old.path), new)
    assert "same ✅" in text
