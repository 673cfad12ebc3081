"""A kind of task is its module and its registrations: a fourth one, made here, works everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from mlcicd import tasks
from mlcicd.core import params
from mlcicd.core.errors import InputError
from mlcicd.data import target
from mlcicd.evaluation import metrics, slices
from mlcicd.lifecycle import model_card
from mlcicd.onboarding import config_drafts, init, role_inference
from mlcicd.onboarding.column_inference import Column
from mlcicd.packaging import export
from mlcicd.rendering import curves
from mlcicd.review import compare, review_report
from mlcicd.scoring import scorer
from mlcicd.tasks.binary import Binary
from mlcicd.tasks.regression import Regression
from mlcicd.tasks.task import TaskError
from mlcicd.training import train
from mlcicd.training.run import Run


class Count(Regression):
    """Whole numbers from 0 on, judged by their deviance."""

    name = "count"
    row_loss = "deviance"
    outcome = "mean count"

    def default_gate(self, _: pd.Series) -> tuple[str, float]:
        return "deviance", 0.05

    def encode(self, target: pd.Series, positive: object = None) -> tuple[np.ndarray, list]:
        if target.min() < 0:
            raise TaskError(f"the target '{target.name}' has counts below 0")
        return super().encode(target, positive)


class Ranked(Binary):
    """Two classes in order of their probability, without a decision."""

    name = "ranked"
    has_threshold = False
    cost_fields = frozenset()
    output_columns = ("rank_score",)
    monitored = "rank_score"

    def answers(self, p: np.ndarray, *_: object) -> dict[str, np.ndarray]:
        return {"rank_score": p}


def deviance(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return 2 * (np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / p), 0) - y + p)


def count_metrics(_: float | None, __: params.Costs | None) -> list[metrics.Metric]:
    return [metrics._mean("deviance", "Poisson deviance", -1, deviance)]


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch):
    for kind, of_kind in ((Count(), count_metrics), (Ranked(), metrics.BY_TASK["binary"])):
        monkeypatch.setitem(tasks.KINDS, kind.name, kind)
        monkeypatch.setitem(metrics.BY_TASK, kind.name, of_kind)


def chosen(**given) -> params.Params:
    return params.Params(seed=7, **given)


def test_params_know_a_kind_by_its_name_and_refuse_another(tmp_path: Path):
    assert chosen(task="count").task == "count"
    (tmp_path / "params.yaml").write_text("seed: 7\ntask: ordinal\n")
    with pytest.raises(InputError, match=r"task: Input should be 'binary', .* or 'ranked', not 'ordinal'"):
        params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("seed: 7\ntask: count\ncosts: {false_positive: 1}\n")
    with pytest.raises(InputError, match="task count takes none"):
        params.load(tmp_path / "params.yaml")


def test_a_kind_encodes_its_target_and_refuses_what_does_not_suit():
    y, classes = target.encode(pd.Series([0, 3, 1], name="visits"), chosen(task="count"))
    assert (y.tolist(), classes) == ([0.0, 3.0, 1.0], [])
    with pytest.raises(InputError, match="'visits' has counts below 0"):
        target.encode(pd.Series([0, -1], name="visits"), chosen(task="count"))


def test_a_kind_brings_its_metrics_loss_of_slices_and_curve():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 4, 500)
    y = rng.poisson(p).astype("float64")
    known = metrics.chosen(chosen(task="count", gates={"deviance": {"margin": 0.1}}), None)
    assert known["deviance"].value(y, p) == pytest.approx(deviance(y, p).mean())
    assert metrics.labels("count")["deviance"] == "Poisson deviance"
    assert slices.losses() == ["cost", "log_loss", "mae", "deviance"]
    (chart,) = curves.draw("count", [curves.Side("main", y, p, None)], None)
    assert chart.y_label == "mean count"


def test_ml_init_takes_a_kind_that_was_named():
    visits = Column("visits", "integer", distinct=4)
    values = pd.DataFrame({"visits": [0, 1, 2, 3] * 100})
    assert role_inference.infer_task(visits, values["visits"], "count") == ("count", "as given")
    with pytest.raises(InputError, match="--task count: the target 'visits' is string, not a number"):
        role_inference.infer_task(Column("visits", "string", distinct=4), values["visits"].astype("str"), "count")
    text = config_drafts.draft_params(visits, values, {"target": "visits"}, "count", "as given")
    assert yaml.safe_load(text)["gates"] == {"deviance": {"margin": 0.05}}


@pytest.mark.slow
def test_a_kind_is_trained_compared_exported_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    table = pd.DataFrame(
        {"x": x, "z": rng.normal(size=300), "bought": np.where(x + rng.normal(size=300) > 0, "yes", "no")}
    )
    table.to_csv("table.csv", index=False)
    init.init(Path("table.csv"), "bought", {}, "ranked", False, Path())
    summary = train.train(Path(), tmp_path / "run")
    assert (summary["task"], summary["threshold"]) == ("ranked", None)
    run = Run(tmp_path / "run")
    found = compare.compare(run, run)
    assert found["verdict"] == "same"
    assert review_report.review(found | {"changes": None}, run, run).title.startswith("Model review: same")
    assert model_card.card(run).blocks
    exported = export.export_run(run, tmp_path / "exported")
    assert json.loads((exported / "serving.json").read_text())["model"]["task"] == "ranked"
    answers = scorer.Scorer(exported).score(run.holdout.drop(columns="row").head())
    assert {name: values.shape for name, values in answers.items()} == {"rank_score": (5,)}
