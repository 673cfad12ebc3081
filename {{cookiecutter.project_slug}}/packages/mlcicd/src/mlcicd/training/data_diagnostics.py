"""Diagnostics of the table before any model is fitted: informative missing values, duplicate rows, late dates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from mlcicd import tasks
from mlcicd.contract.schema import TEMPORAL, SchemaObject
from mlcicd.data import row_identity
from mlcicd.data.sampling import ROWS, Sample

SIGNIFICANCE = 0.01  # for all columns together (Bonferroni)
MIN_ASSOCIATION = 0.1  # weaker associations are not reported, however significant
MAX_WARNINGS = 20


def missingness(inputs: pd.DataFrame, y: np.ndarray, task: str, sample: Sample = ROWS) -> dict[str, dict[str, Any]]:
    """Test whether missing values are informative about the target, for each column that has any.

    Returns
    -------
    By column: ``share`` of missing values; ``association`` with the target, from 0 to 1 (Cramér's V for classes, the
    rank correlation for a number); its p-value ``p``, which accounts for groups and time; and ``predicts``, whether it
    is significant and strong enough to report.
    """
    measure = _class_association if tasks.of(task).predicts_classes else _rank_association
    result: dict[str, dict[str, Any]] = {}
    for name, share in inputs.isna().mean().items():
        if share > 0:
            is_missing = inputs[name].isna().to_numpy()
            association, p = measure(is_missing, y, sample) if share < 1 else (0.0, 1.0)
            result[str(name)] = {
                "share": round(share, 4),
                "association": round(association, 4),
                "p": float(f"{p:.3g}"),
            }
    for entry in result.values():
        entry["predicts"] = entry["p"] < SIGNIFICANCE / len(result) and entry["association"] >= MIN_ASSOCIATION
    return result


def duplicate_row_warnings(content: pd.Series, obj: SchemaObject) -> list[str]:
    """Warn about many equal hashes of rows, if neither an id nor a group says whether they are the same thing."""
    if obj.id or obj.with_role("group"):
        return []
    rows = int(content.duplicated(keep=False).sum())
    if rows < row_identity.MANY_EQUAL * len(content):
        return []
    return [
        f"Equal rows: {rows:,} of {len(content):,} rows equal another one in every column. The same thing twice? Then "
        "name an id or a group, else it may stand on both sides of the split."
    ]


def _rank_association(is_missing: np.ndarray, y: np.ndarray, sample: Sample) -> tuple[float, float]:
    result = stats.spearmanr(is_missing, y)
    strength = abs(float(result.statistic))
    if sample.alone or not 0 < strength < 1:
        return strength, float(result.pvalue)
    dof = len(y) / sample.effect(_covariance_terms(is_missing, stats.rankdata(y))) - 2
    return strength, float(2 * special.stdtr(max(dof, 1), -strength * (max(dof, 1) / (1 - strength**2)) ** 0.5))


def _class_association(is_missing: np.ndarray, y: np.ndarray, sample: Sample) -> tuple[float, float]:
    table = pd.crosstab(is_missing, y).to_numpy()
    chi2, p, dof, _ = stats.chi2_contingency(table, correction=False)
    if not sample.alone:  # Rao and Scott 1984
        effects = [sample.effect(_covariance_terms(is_missing, y == k)) for k in np.unique(y)]
        p = special.chdtrc(dof, chi2 / float(np.mean(effects)))
    return float(np.sqrt(chi2 / len(y))), float(p)


def _covariance_terms(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return each row's contribution to the covariance of a and b."""
    return (a - a.mean()) * (b - b.mean())


def warnings(
    table: pd.DataFrame, content: pd.Series, obj: SchemaObject, missing: dict[str, dict[str, Any]]
) -> list[str]:
    """Return one sentence per finding: informative missing values, duplicate rows, dates after the row's own time."""
    sentences = [
        f"Informative missing values: whether '{name}' is missing ({gap['share']:.0%} of the rows) is associated with "
        "the target."
        for name, gap in missing.items()
        if gap["predicts"]
    ]
    sentences += duplicate_row_warnings(content, obj)
    time = obj.with_role("time")
    if time and time.logicalType in TEMPORAL:
        for prop in (p for p in obj.features if p.logicalType in TEMPORAL):
            share_later = float((table[prop.name] > table[time.name]).mean())
            if share_later > 0:
                sentences.append(
                    f"Leak? '{prop.name}' is later than '{time.name}' in {share_later:.1%} of the rows. "
                    "Is it known before the outcome?"
                )
    return sentences[:MAX_WARNINGS] + [f"and {len(sentences) - MAX_WARNINGS} more"] * (len(sentences) > MAX_WARNINGS)
