"""Check for methodological mistakes, by the numbers that :mod:`mlcicd.training.model_diagnostics` computes."""

from __future__ import annotations

from typing import Any

from mlcicd import tasks

ROWS = 5_000  # rows that a check uses
# A loss of skill that chance in drawing the holdout does not explain: its size, and its number of standard errors.
LARGE_LOSS, SURE = 0.1, 4.0


def failed_checks(diagnostics: dict[str, Any], baseline: dict[str, Any] | None = None) -> list[str]:
    """Return one sentence per failed check; ``baseline`` has the diagnostics of main's run."""
    scale = tasks.skill(diagnostics["metric"])
    score, skill = diagnostics["holdout"], scale.of(diagnostics["holdout"])
    sentences = severe_failures(diagnostics)
    for column, column_skill in sorted(diagnostics["alone"].items(), key=lambda item: -item[1])[:3]:
        baseline_skill = (baseline or {}).get("alone", {}).get(column, 0.0) if baseline else None
        grew = baseline_skill is not None and column_skill - baseline_skill > 0.1
        if column_skill >= 0.9 * skill > 0 and (column_skill >= 0.8 or grew):
            share = f"{column_skill / skill:.0%} of its skill" + (" (main: much less)" if grew else "")
            sentences.append(
                f"Leak? The column '{column}' alone nearly reaches the model: {share}. Is it known before the outcome?"
            )
    cv = diagnostics["cross_validation"]
    if cv is not None and diagnostics["train"] - cv > 0.1:
        sentences.append(
            f"Overfitting: {scale.label} {diagnostics['train']:.3f} on training rows, {cv:.3f} in cross-validation."
        )
    if diagnostics["small_boosting_gain_low"] > 0.005:
        sentences.append(
            f"Worse than a default: a small gradient boosting on {ROWS:,} rows of the plain columns reaches "
            f"{scale.label} {diagnostics['small_boosting']:.3f}, the model {score:.3f}."
        )
    boundaries = diagnostics["edges"].items()
    sentences += [
        f"The best argument is at the boundary of the search space: {name} = {value:g}; widen it."
        for name, value in boundaries
    ]
    duplicates = diagnostics["twins"]
    overlap = duplicates["share"] >= 0.01 and (
        duplicates["loss"] < 0.9 * duplicates["model_loss"]
        or duplicates["loss"] < 0.1 * (duplicates["other_loss"] or 0)
    )
    if overlap:
        sentences.append(
            f"Train and test overlap: {duplicates['share']:.1%} of the holdout rows match a training row "
            "whose target predicts better than the model; are they duplicates?"
        )
    return sentences


def severe_failures(diagnostics: dict[str, Any]) -> list[str]:
    """Return a sentence if the model is far worse than guessing or than its own folds, which suggests a mistake."""
    if "holdout_error" not in diagnostics:  # a run of an older version
        return []
    scale = tasks.skill(diagnostics["metric"])
    score, cv = diagnostics["holdout"], diagnostics["cross_validation"]
    skill, error = scale.of(score), scale.unit * diagnostics["holdout_error"]
    remedy = "Do duplicate rows, groups or time connect both sides of the split? Fix that before trusting this."
    if error and skill < -LARGE_LOSS and skill + SURE * error < 0:
        reached = f"{scale.label} {score:.3f} on the held-out rows; a guess reaches {scale.guess:g}"
        return [f"Worse than guessing: {reached}. {remedy}"]
    fold_error = diagnostics.get("cross_validation_error")
    if error and fold_error is not None:
        loss = scale.of(cv) - skill
        if loss > 2 * LARGE_LOSS and loss > SURE * (error**2 + (scale.unit * fold_error) ** 2) ** 0.5:
            reached = f"{scale.label} {score:.3f} on held-out rows, {cv:.3f} in folds"
            return [f"Far worse than its own folds: {reached}. {remedy}"]
    return []
