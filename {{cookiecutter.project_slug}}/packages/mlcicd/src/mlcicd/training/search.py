"""A search for the model's arguments: drawn from ``search_space`` in model.py, judged on folds of the training rows."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import ParameterSampler

from mlcicd.core.errors import InputError
from mlcicd.core.params import HALVING, Params, Search
from mlcicd.data.split import Fold
from mlcicd.system import signals

EDGE, NEAR = 0.1, 0.25  # shares of a space, from either end
LEADERS = 3  # candidates that must agree before a space is called too narrow: one may lie at an edge by chance
Trial = tuple[Params, np.ndarray, np.ndarray]
Evaluate = Callable[[Sequence[Trial]], Generator[float, None, None]]


class Found(NamedTuple):
    """The params with the best arguments for the model, what it took, and arguments at the edge of their space."""

    params: Params
    fits: int
    edges: dict[str, float]


def search_hyperparameters(
    chosen: Params, space: dict[str, Any], folds: list[Fold], evaluate: Evaluate, say: Callable[[str], None]
) -> Found:
    """Find the arguments of the model that do best on the folds, within the budget.

    Parameters
    ----------
    space : by argument of ``make_model``, a list of values or a distribution of scipy
    folds : (train, test) positions; the rows that judge the whole are in none of them
    evaluate : fits each trial's params on some positions, and yields in order how it does on others; higher is better

    Raises
    ------
    InputError
        The search was interrupted; the line says what is lost.
    """
    budget = chosen.search
    assert budget is not None
    shares, count = _rounds(budget, len(folds))
    names = {name: space[name] for name in sorted(space)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The total space of parameters")  # smaller than the budget: all of it, then
        sampled = [_plain(c) for c in ParameterSampler(names, count - 1, random_state=chosen.seed)]
    candidates: list[dict[str, Any]] = [chosen.model, *sampled]  # what is there already is the first candidate
    ranking: list[dict[str, Any]] = []  # the best first: those of the last round before those that did not reach it
    began, fits = time.monotonic(), 0
    with _interruptible() as interrupted:
        for number, share in enumerate(shares, start=1):
            scores: list[float] = []
            with closing(evaluate(_trials(chosen, candidates, folds, share))) as results:
                for _ in candidates:
                    scores.append(_mean([next(results) for _ in folds]))
                    fits += len(folds)
                    best = candidates[int(np.argmax(scores))]
                    say(f"search: {fits} fits, round {number} of {len(shares)}; best {max(scores):.4f} with {best}")
                    if interrupted.is_set():
                        raise InputError(f"search stopped after {fits} fits; no run was written; best so far: {best}")
                    late = budget.minutes is not None and time.monotonic() - began > 60 * budget.minutes
                    if late:
                        break
            # Stable: of candidates that score alike the earliest leads, first of all the settings at hand.
            ranked = [candidates[i] for i in np.argsort(np.negative(scores), kind="stable")]
            ranking = [*ranked, *(c for c in ranking if c not in ranked)]
            candidates = ranked[: max(1, len(ranked) // HALVING)]
            if late:
                break
    return Found(_with(chosen, ranking[0]), fits, _edges(space, ranking[:LEADERS]))


def _edges(space: dict[str, Any], leaders: list[dict[str, Any]]) -> dict[str, float]:
    """Numbers of the best candidate at an end of their space, if the next best lie near the same end."""
    found = {}
    for name, tried in space.items():
        places = [_place(tried, candidate[name]) for candidate in leaders if name in candidate]
        known = [place for place in places if place is not None]
        if len(known) < LEADERS:
            continue
        low = known[0] <= EDGE and max(known) <= NEAR
        if low or (known[0] >= 1 - EDGE and min(known) >= 1 - NEAR):
            found[name] = float(leaders[0][name])
    return found


def _place(tried: Any, value: Any) -> float | None:
    """Where a value lies in a list or a distribution, from 0 to 1; None where there is no order."""
    values = [value] if hasattr(tried, "cdf") else [value, *tried]
    if not all(isinstance(other, int | float) and not isinstance(other, bool) for other in values):
        return None
    if hasattr(tried, "cdf"):
        return float(tried.cdf(value))
    return bisect_left(sorted(tried), value) / (len(tried) - 1) if len(tried) > 2 else None


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Note the first Ctrl-C, for after the present fit; the second one stops at once, as ever."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    signals.noted.add(signal.SIGINT)  # a fit may take longer than the time to clean up
    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
        signals.noted.discard(signal.SIGINT)


def _rounds(budget: Search, folds: int) -> tuple[list[float], int]:
    """The share of rows in each round, and how many candidates begin, so that the fits stay within the budget."""
    if budget.method == "random":
        return [1.0], budget.fits // folds
    count = HALVING**2
    while (count + 1) + (count + 1) // HALVING + (count + 1) // HALVING**2 <= budget.fits // folds:
        count += 1
    return [1 / HALVING**2, 1 / HALVING, 1.0], count


def _trials(chosen: Params, candidates: list[dict[str, Any]], folds: list[Fold], share: float) -> list[Trial]:
    """Each candidate with each fold; every candidate sees the same share of the rows."""
    rng = np.random.default_rng(chosen.seed)
    parts = [(np.sort(rng.permutation(fit)[: max(2, int(share * len(fit)))]), judge) for fit, judge in folds]
    return [(own, *part) for own in (_with(chosen, candidate) for candidate in candidates) for part in parts]


def _mean(scores: list[float]) -> float:
    known = [score for score in scores if np.isfinite(score)]  # a fold may have one class only to judge
    return float(np.mean(known)) if known else float("-inf")


def _with(chosen: Params, model: dict[str, Any]) -> Params:
    return chosen.model_copy(update={"model": {**chosen.model, **model}})


def _plain(candidate: dict[str, Any]) -> dict[str, Any]:
    """Numbers as Python's own, for the run's files."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in candidate.items()}
