"""Mistakes of method: measured in every training (:mod:`measures`), named in a report only when one fires."""

from __future__ import annotations

from typing import Any

ROWS = 5_000  # that a check looks at
FAR, SURE = 0.1, 4.0  # on the scale of skill, and in standard errors: what no draw of the holdout explains


def fired(found: dict[str, Any], before: dict[str, Any] | None = None) -> list[str]:
    """Say in a sentence each what a careful colleague would ask about; ``before`` are main's numbers."""
    task_skill = "R²" if found["metric"] == "r2" else "ROC AUC"
    score, skill = found["holdout"], skill_of(found["holdout"], found["metric"])
    said = broken(found)
    for column, own in sorted(found["alone"].items(), key=lambda item: -item[1])[:3]:
        old = (before or {}).get("alone", {}).get(column, 0.0) if before else None
        near, suspicious = own >= 0.9 * skill > 0, own >= 0.8 or (old is not None and own - old > 0.1)
        if near and suspicious:
            new = " (main: much less)" if old is not None and own - old > 0.1 else ""
            said.append(
                f"Leak? The column '{column}' alone nearly reaches the model: {own / skill:.0%} of its skill{new}. "
                "Is it known before the outcome?"
            )
    cv = found["cross_validation"]
    if cv is not None and found["train"] - cv > 0.1:
        said.append(f"Overfitting: {task_skill} {found['train']:.3f} on rows it saw, {cv:.3f} in cross-validation.")
    if found["small_boosting_gain_low"] > 0.005:
        said.append(
            f"Worse than a default: a small gradient boosting on {ROWS:,} rows of the plain columns reaches "
            f"{task_skill} {found['small_boosting']:.3f}, the model {score:.3f}."
        )
    edges = found["edges"].items()
    said += [f"The search ended at the edge of its space: {name} = {value:g}; widen it." for name, value in edges]
    twins = found["twins"]
    copied = twins["share"] >= 0.01 and (
        twins["loss"] < 0.9 * twins["model_loss"] or twins["loss"] < 0.1 * (twins["other_loss"] or 0)
    )
    if copied:
        said.append(
            f"Train and test overlap: {twins['share']:.1%} of the holdout rows have a twin among the training rows "
            "whose answer beats the model's; are they copies?"
        )
    return said


def broken(found: dict[str, Any]) -> list[str]:
    """Say what can hardly be but an error of method: a model far worse than guessing, or than its own folds."""
    if "holdout_error" not in found:  # a run of an older version
        return []
    name, scale = ("R²", 1) if found["metric"] == "r2" else ("ROC AUC", 2)
    score, cv = found["holdout"], found["cross_validation"]
    skill, error = skill_of(score, found["metric"]), scale * found["holdout_error"]
    remedy = "Do equal rows, a group or the time tie both sides of the split together? Mend it before trusting this."
    if error and skill < -FAR and skill + SURE * error < 0:
        guess = "0" if scale == 1 else "0.5"
        return [f"Worse than guessing: {name} {score:.3f} on the held-out rows; a guess reaches {guess}. {remedy}"]
    scatter = found.get("cross_validation_error")
    if error and scatter is not None:
        lost = skill_of(cv, found["metric"]) - skill
        if lost > 2 * FAR and lost > SURE * (error**2 + (scale * scatter) ** 2) ** 0.5:
            return [f"Far worse than its own folds: {name} {score:.3f} on held-out rows, {cv:.3f} in folds. {remedy}"]
    return []


def skill_of(value: float, task: str) -> float:
    """Put a metric on a scale where 0 is chance and 1 is perfect; ``task`` may be the metric's name."""
    return value if task in ("regression", "r2") else 2 * value - 1
