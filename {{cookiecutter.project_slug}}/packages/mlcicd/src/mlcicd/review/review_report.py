"""What a reviewer reads. The first screen decides: the verdict, the gates, and what is odd. The rest is folded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlcicd.core.plain_text import last_lines
from mlcicd.evaluation import metrics
from mlcicd.rendering import curves
from mlcicd.rendering.blocks import Block, Code, Items, Report, Section, Table, Text, interval, money, number
from mlcicd.review import change_report
from mlcicd.review.compare import DECISION
from mlcicd.training import diagnostic_checks
from mlcicd.training.run import Run

SIGNS = {"better": "✅", "same": "✅", "worse": "❌", "unclear": "❔", "not-comparable": "⚪"}
GATES = {"pass": "✅", "fail": "❌"}
OFTEN = 0.3  # missing
METRICS = "lrrll"


def review(comparison: dict[str, Any], baseline: Run, candidate: Run) -> Report:
    """Lay out the comparison of two runs; ``comparison["changes"]`` says what changed between them."""
    changes = comparison["changes"]
    notes = [f"⚠️ {note}" for note in comparison.get("notes", [])]
    if not comparison["metrics"]:
        return alone(candidate, comparison["reason"], comparison["passed"], baseline, changes, notes)
    results, currency = comparison["metrics"], comparison["currency"] or ""
    percent = f"{100 * comparison['confidence']:g} %"
    sides_named = [f"main {_commit(baseline)}", f"this branch {_commit(candidate)}"]
    head = ["metric", *sides_named, f"difference ({percent} CI)", "gate"]
    gated = {name: r for name, r in results.items() if r["gate"]}
    decisive, other = gated or results, {name: r for name, r in results.items() if gated and not r["gate"]}
    blocks: list[Block] = [
        Table("Metrics that decide", METRICS, head, [_row(n, r, currency) for n, r in decisive.items()]),
        Text(f"{comparison['reason'][:1].upper()}{comparison['reason'][1:]}. {_detectable(decisive, currency)}"),
    ]
    odd = [*notes, *warnings_of(candidate, baseline)]
    if odd:
        blocks.append(Items(odd))
    blocks.append(Text(_standing(comparison, candidate, changes)))
    at_once, folded = _slices(comparison["slices"], currency)
    blocks += [*at_once, *([Text(change_report.summary(changes))] if changes else []), *folded]
    if other:
        rows = [_row(name, r, currency) for name, r in other.items()]
        blocks.append(Section("Other metrics", [Table("Other metrics", METRICS, [*head[:4], "verdict"], rows)]))
    blocks += change_report.sections(changes) if changes else []
    blocks.append(_charts({"main": baseline, "this branch": candidate}))
    blocks.append(Section("How this was judged", [Items(_method(comparison, candidate))]))
    verdict = comparison["verdict"]
    # Too good to be true is good by every metric: the first line must not hide what the checks ask.
    asked = (
        _asked(candidate, baseline)
        if verdict == "better"
        else diagnostic_checks.severe_failures(candidate.metrics.get("checks", {}))
    )
    doubt = ", but ⚠️ see below" if asked else ""
    money_words = _costs(results.get("cost"), currency, percent)
    return Report(f"Model review: {verdict} {SIGNS[verdict]}{doubt}{money_words}", blocks)


def alone(
    candidate: Run,
    why: str,
    passed: bool | None = None,
    baseline: Run | None = None,
    changes: dict[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """Lay out a run that nothing was compared with, and why; ``passed`` is None where nobody has to decide anything."""
    found = candidate.metrics
    blocks: list[Block] = [Text(f"{why[:1].upper()}{why[1:].rstrip('.')}."), measured(candidate)]
    if passed is not None:
        blocks.insert(1, Text(DECISION[passed]))
    blocks.append(Text(f"{found['rows']['train']:,} rows to train on, {found['rows']['holdout']:,} to judge."))
    odd = [*notes, *warnings_of(candidate, baseline)]
    if odd:
        blocks.append(Items(odd))
    blocks += change_report.sections(changes) if changes else []
    blocks.append(_charts({"this branch": candidate}))
    doubt = ", and ⚠️ see below" if diagnostic_checks.severe_failures(candidate.metrics.get("checks", {})) else ""
    sign = GATES["fail"] if passed is False else SIGNS["not-comparable"]
    return Report(f"Model review: not-comparable {sign}{doubt}", blocks)


def failed(step: str, log: str) -> Report:
    """Lay out a review that could not be finished: which step failed, and its last useful lines."""
    return Report(f"Model review: failed ❌ in {step}", [Text("The last lines it printed:"), Code(last_lines(log))])


def measured(run: Run) -> Table:
    """Return a run's metrics with their intervals."""
    chosen = run.params
    currency, found = chosen.costs.currency if chosen.costs else "", run.metrics
    head = ["metric", f"this run {_commit(run)}", f"{100 * found['confidence']:g} % CI"]
    labels = metrics.labels(found["task"])
    names = [n for n in labels if n in found["holdout"]] + [n for n in found["holdout"] if n not in labels]
    rows = [
        [str(labels.get(n, n)), _value(n, m["value"], currency), interval(m["low"], m["high"])]
        for n, m in ((name, found["holdout"][name]) for name in names)
    ]
    return Table("Metrics on the holdout", "lrl", head, rows)


def sides(runs: dict[str, Run]) -> list[curves.Side]:
    """Return what each run said of its holdout rows, for charts."""
    return [
        curves.Side(
            name, run.target(run.holdout_predictions), run.scores(run.holdout_predictions), run.metrics["threshold"]
        )
        for name, run in runs.items()
    ]


def _costs(cost: dict[str, Any] | None, currency: str, percent: str) -> str:
    if cost is None or cost["verdict"] not in ("worse", "better"):
        return ""
    low, high = sorted((abs(cost["low"]), abs(cost["high"])))
    more = "costs" if cost["difference"] > 0 else "saves"
    shown = [money(abs(v), currency) for v in (cost["difference"], low, high)]
    return f", {more} {shown[0]}{' more' if more == 'costs' else ''} per case ({percent} CI {shown[1]} to {shown[2]})"


def _value(name: str, value: float, currency: str, signed: bool = False) -> str:
    return money(value, currency, signed) if name == "cost" else number(value, signed)


def _row(name: str, result: dict[str, Any], currency: str) -> list[str]:
    moved = [_value(name, result[key], currency, signed=True) for key in ("difference", "low", "high")]
    gate = result["verdict"]
    if result["gate"]:
        allowed = "≥ −" if result["sign"] > 0 else "≤ +"
        gate = f"{GATES[result['gate']]} {result['verdict']}, {allowed}{_value(name, result['margin'], currency)}"
    values = [_value(name, result[key], currency) for key in ("baseline", "candidate")]
    return [f"{result['label']} {result['arrow']}", *values, f"{moved[0]} ({moved[1]} to {moved[2]})", gate]


def _detectable(results: dict[str, dict[str, Any]], currency: str) -> str:
    seen = [f"{_value(name, r['detectable'], currency)} in {r['label']}" for name, r in results.items()]
    return f"These rows can see a change of {', '.join(seen)}."


def _commit(run: Run) -> str:
    edited = "+" if run.manifest["uncommitted_changes"] else ""
    return str(run.manifest.get("head") or run.manifest["commit"] or "")[:7] + edited


def _standing(comparison: dict[str, Any], candidate: Run, changes: dict[str, Any] | None) -> str:
    rows, trained = comparison["rows"], candidate.metrics["rows"]
    columns = len(candidate.holdout.columns) - 1
    text = f"Data contract ✅ {sum(trained.values()):,} rows, {columns} feature columns"
    text += f"; contract.yaml: {change_report.contract_summary(changes['contract'])}" if changes else ""
    text += f". Compared on {rows['compared']:,} rows that both kept from training."
    moved = {
        "only_baseline": "only main has",
        "only_candidate": "only this branch has",
        "target_changed": "whose target changed",
    }
    left = [f"{rows[key]:,} {words}" for key, words in moved.items() if rows[key]]
    return text + (f" Left out: {', '.join(left)}." if left else "")


def warnings_of(run: Run, baseline: Run | None = None) -> list[str]:
    """What a careful colleague would ask about."""
    found, said = run.metrics, _asked(run, baseline)
    high = sorted(((share, name) for name, share in found["missing"].items() if share > OFTEN), reverse=True)
    if high:
        more = f" and {len(high) - 5} more columns" if len(high) > 5 else ""
        said.append("Often missing: " + ", ".join(f"{n[:60]} {s:.0%}" for s, n in high[:5]) + more + ".")
    return [f"⚠️ {sentence}" for sentence in [*said, *found.get("warnings", [])]]


def _asked(run: Run, baseline: Run | None) -> list[str]:
    found = run.metrics.get("checks")
    return diagnostic_checks.failed_checks(found, baseline.metrics.get("checks") if baseline else None) if found else []


def _slices(found: dict[str, Any], currency: str) -> tuple[list[Block], list[Block]]:
    """The slices whose difference survives the correction: the worst three at once, the others folded."""
    if not found["shown"]:
        judged = (
            f"of {found['judged']:,} none differs beyond chance" if found["judged"] else "none has rows enough to tell"
        )
        return [Text(f"Slices: {judged}.")], []
    head = ["slice", "metric", "rows", "main", "this branch", ""]
    rows = [
        [
            f"{s['column']}: {s['slice']}",
            s["label"],
            s["rows"],
            *(_value(s["metric"], s[key], currency) for key in ("baseline", "candidate")),
            f"{'❌' if s['verdict'] == 'worse' else '✅'} {s['verdict']}",
        ]
        for s in sorted(found["shown"], key=lambda s: s["verdict"] != "worse")
    ]
    title = f"Slices: {found['sure']:,} of {found['judged']:,} changed beyond chance, corrected for their number"
    first = min(3, sum(s["verdict"] == "worse" for s in found["shown"]))
    at_once: Block = Table(title, "llrrrl", head, rows[:first]) if first else Text(f"{title}; none got worse.")
    rest = "Other slices" if first else "Changed slices"
    return [at_once], [Section(rest, [Table(rest, "llrrrl", head, rows[first:])])] if rows[first:] else []


def _charts(runs: dict[str, Run]) -> Section:
    task, costs = [(r.metrics["task"], r.params.costs) for r in runs.values()][-1]
    return Section("Curves", list(curves.draw(task, sides(runs), costs)))


def _method(comparison: dict[str, Any], candidate: Run) -> list[str]:
    seeds = comparison["seeds"]
    said = [
        f"Method: {comparison['method']}.",
        f"Trainings: {seeds['baseline']} of main, {seeds['candidate']} of this branch.",
        f"Split: {candidate.metrics['split']['reason']}.",
    ]
    if comparison["thresholds"]["baseline"] is not None:
        said.append("Thresholds: main {baseline:.3f}, this branch {candidate:.3f}.".format(**comparison["thresholds"]))
    return said
