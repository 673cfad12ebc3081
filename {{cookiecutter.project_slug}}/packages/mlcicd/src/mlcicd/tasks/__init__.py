"""What is predicted: binary, multiclass and regression are three implementations of one protocol, :class:`task.Task`.

Belongs here: what a kind answers about targets, scores, columns and words. Metrics and curves register by its name.
Does not: anything that imports another room.
"""

from __future__ import annotations

from mlcicd.tasks.binary import Binary
from mlcicd.tasks.multiclass import Multiclass
from mlcicd.tasks.regression import Regression
from mlcicd.tasks.task import Skill, Task

KINDS: dict[str, Task] = {kind.name: kind for kind in (Binary(), Multiclass(), Regression())}


def of(name: str) -> Task:
    """Return the kind of task that ``params.yaml`` and ``metrics.json`` call so."""
    return KINDS[name]


def skill(metric: str) -> Skill:
    """Return the scale of a primary metric: a run's ``checks`` name the metric and not the task."""
    return next(kind.skill for kind in KINDS.values() if kind.skill.metric == metric)
