"""Real tables, each from file to comparison without a line of code. Runs inside a project: see test_init.py.

Prints, as JSON, what came of each table and how the run's metric compares with scikit-learn's gradient boosting as it
comes, behind skrub's default encoding, on the same rows.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from adversarial import call
from mlcicd import cli
from mlcicd.contract import document as contracts
from mlcicd.core import params
from mlcicd.data import load, split
from mlcicd.evaluation import metrics
from mlcicd.training import run as runs
from mlcicd.training import train
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from skrub import TableVectorizer

# Found in packages of PyPI: file, then what `ml init` is told, the split that is right, and the task.
TABLES: dict[str, tuple[str, str, str, str]] = {
    "breast_cancer": ("sklearn", "--target target", "stratified", "binary"),
    "wine": ("sklearn", "--target target", "stratified", "multiclass"),
    "diabetes": ("sklearn", "--target target", "kfold", "regression"),
    "rossi": ("lifelines/datasets/rossi.csv", "--target arrest", "stratified", "binary"),
    "penguins": ("palmerpenguins/data/penguins.csv", "--target species", "stratified", "multiclass"),
    "weather": ("vega_datasets/_data/seattle-weather.csv", "--target weather", "time", "multiclass"),
    "employment": (
        "vega_datasets/_data/us-employment.csv",
        "--target nonfarm_change --time month",
        "time",
        "regression",
    ),
    "modechoice": (
        "statsmodels/datasets/modechoice/modechoice.csv",
        "--target choice --group individual",
        "group",
        "binary",
    ),
    "recur": ("lifelines/datasets/recur.csv", "--target EVENT --group ID", "group", "multiclass"),
    "grunfeld": (
        "statsmodels/datasets/grunfeld/grunfeld.csv",
        "--target invest --time year --group firm",
        "time-group",
        "regression",
    ),
    "fair": ("statsmodels/datasets/fair/fair.csv", "--target affairs", "kfold", "regression"),
}


def main(packages: Path, work: Path, names: list[str]) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for name in names:
        source, arguments, _, _ = TABLES[name]
        root = work / name
        root.mkdir(parents=True)
        path = packages / source
        if source == "sklearn":
            path = work / f"{name}.csv"
            getattr(datasets, f"load_{name}")(as_frame=True).frame.to_csv(path, index=False)
        cli.ROOT = root
        steps = {"init": ("init", str(path), *arguments.split()), "validate": ("validate",)}
        steps |= {"main": ("train", "--out", str(root / "main"))}
        results[name] = {step: call(cli, given) for step, given in steps.items()}
        with (root / "params.yaml").open("a", encoding="utf-8") as file:
            file.write("\nmodel:\n  learning_rate: 0.06\n")
        results[name]["branch"] = call(cli, ("train", "--out", str(root / "branch")))
        compared = ("compare", str(root / "main"), str(root / "branch"), "--out", str(root / "review"))
        results[name]["compare"] = call(cli, compared)
        results[name]["verdict"] = json.loads((root / "review" / "comparison.json").read_text(encoding="utf-8"))[
            "verdict"
        ]
        results[name] |= against_the_default(root)
    return results


def against_the_default(root: Path) -> dict[str, Any]:
    """The first metric of the run and of the default on the same unseen rows, and the error of their difference."""
    contract, chosen = contracts.load(root / "contract.yaml"), params.load(root / "main" / "params.yaml")
    run = runs.Run(root / "main")
    table = load.load(contract, chosen, root).table
    table = table[table[contract.target.name].notna()].reset_index(drop=True)
    y, classes = train.encode(table[contract.target.name], chosen)
    divided = split.make_split(table, contract.table, chosen)
    inputs = table[[p.name for p in contract.table.features]]
    kind = HistGradientBoostingRegressor if chosen.task == "regression" else HistGradientBoostingClassifier
    model = make_pipeline(TableVectorizer(), kind(random_state=chosen.seed))
    rest, held = np.flatnonzero(divided.training), np.flatnonzero(divided.holdout)
    parts = [("holdout", rest, held)]
    parts += [(f"fold-{n}", rest[fit], rest[judge]) for n, (fit, judge) in enumerate(divided.folds, start=1)]
    columns = [f"p_{c}" for c in classes] if chosen.task == "multiclass" else "prediction"
    theirs, mine = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part, fit, judge in parts:  # every row that a model did not see: a holdout alone is few of them
            model.fit(inputs.iloc[fit], y[fit])
            theirs.append(train.score(model, inputs.iloc[judge], chosen.task, len(classes)))
            same = run.predictions["part"].eq(part) & run.predictions["seed"].eq(chosen.seed)
            mine.append(run.predictions.loc[same, columns].to_numpy())
    ours, default = np.concatenate(mine), np.concatenate(theirs)
    metric = next(iter(metrics.metrics_for(chosen.task, 0.5).values()))
    truth = y[np.concatenate([judge for _, _, judge in parts])]
    influence = metric.influence(truth, ours) - metric.influence(truth, default)
    return {
        "task": chosen.task,
        "split": run.metrics["split"]["method"],
        "metric": metric.name,
        "ours": metric.sign * metric.value(truth, ours),
        "default": metric.sign * metric.value(truth, default),
        "error": float(np.sqrt(influence @ influence) / len(truth)),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or list(TABLES))))
