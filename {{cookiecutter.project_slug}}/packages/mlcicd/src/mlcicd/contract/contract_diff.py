"""Compare two contracts field by field, and classify each change for clients and for suppliers of data.

A change is breaking if it rejects requests (or files) that were valid before, and compatible if it only accepts more.
A change that validates nothing, such as one of a description, is neither.
"""

from __future__ import annotations

from typing import Any

from mlcicd.contract.schema import Contract, Property, SchemaObject

BREAKING, COMPATIBLE, NEITHER = "breaking", "compatible", "–"
LOWER = ("minimum", "exclusiveMinimum", "minLength")
UPPER = ("maximum", "exclusiveMaximum", "maxLength")
FLAGS = ("required", "unique", "primaryKey")
ANY_CHANGE = ("pattern", "multipleOf", "format", "role")
TABLE_RULES = ("unique", "primaryKey", "quality")  # they concern many rows, so that no single request breaks them
Change = dict[str, str]


def diff_contracts(old: Contract, new: Contract) -> list[Change]:
    """Return each changed field: ``field``, ``old``, ``new`` and what it means for ``requests`` and ``deliveries``."""
    before, after = {o.name: o for o in old.objects}, {o.name: o for o in new.objects}
    if old.table.name not in after:  # compare the table even if it was renamed
        before[new.table.name] = before.pop(old.table.name)
    changes = []
    for name in dict.fromkeys([*before, *after]):
        left, right = before.get(name), after.get(name)
        if left is None or right is None:
            declared = ["declared" if side else None for side in (left, right)]
            changes.append(_change(name, declared[0], declared[1], "", COMPATIBLE if left else BREAKING))
        else:
            changes += _diff_objects(left, right)
    for key in ("version", "status", "description"):
        if getattr(old, key) != getattr(new, key):
            changes.append(_change(key, getattr(old, key), getattr(new, key)))
    return changes


def _change(field: str, old: Any, new: Any, requests: str = "", deliveries: str = "") -> Change:
    old, new = ("–" if v is None else f"{v:.15g}" if isinstance(v, float) else str(v) for v in (old, new))
    return {
        "field": field,
        "old": old,
        "new": new,
        "requests": requests or NEITHER,
        "deliveries": deliveries or NEITHER,
    }


def _diff_objects(old: SchemaObject, new: SchemaObject) -> list[Change]:
    delivered, is_table = bool(new.physicalName), new.target is not None
    changes = []
    if old.physicalName != new.physicalName:
        changes.append(_change(f"{new.name}.physicalName", old.physicalName, new.physicalName, "", BREAKING))
    for name, left, right in _differences(_custom(old), _custom(new)):
        changes.append(_change(f"{new.name}.{name}", left, right, "", BREAKING if delivered else ""))
    rules = _differences({_rule(q): q for q in old.quality}, {_rule(q): q for q in new.quality})
    for name, left, right in rules:
        verdict = BREAKING if right else COMPATIBLE
        per_row = is_table and (right or left).type == "sql"
        requests = verdict if per_row else ""
        changes.append(_change(f"{new.name}: {name}", left and "declared", right and "declared", requests, verdict))
    before, after = {p.name: p for p in old.properties}, {p.name: p for p in new.properties}
    for name in dict.fromkeys([*before, *after]):
        changes += _diff_properties(f"{new.name}.{name}", before.get(name), after.get(name), is_table, delivered)
    return changes


def _diff_properties(
    where: str, old: Property | None, new: Property | None, is_table: bool, delivered: bool
) -> list[Change]:
    in_requests = is_table and any(p is not None and p.role in (None, "id") for p in (old, new))
    if old is None or new is None:
        # A file must have each declared column, a request each required one, and no request may have an unknown one.
        breaks = old.role is None if old else bool(new and new.role is None and new.required)
        requests = BREAKING if breaks else COMPATIBLE
        deliveries = COMPATIBLE if old else BREAKING
        kinds = [p.logicalType if p else None for p in (old, new)]
        return [_change(where, kinds[0], kinds[1], requests if in_requests else "", deliveries if delivered else "")]
    changes = []
    for name, left, right in _differences(_fields(old), _fields(new)):
        verdict = _classify(name, left, right)
        requests = verdict if in_requests and name not in TABLE_RULES else ""
        changes.append(_change(f"{where}.{name}", left, right, requests, verdict))
    return changes


def _fields(prop: Property) -> dict[str, Any]:
    plain = prop.model_dump(exclude={"name", "logicalTypeOptions", "customProperties", "quality", "enum"})
    enum = {"enum": [a.value for a in prop.enum]} if prop.enum is not None else {}
    quality = {"quality": sorted(_rule(q) for q in prop.quality)} if prop.quality else {}
    options = prop.logicalTypeOptions.model_dump(exclude_none=True)
    return {k: v for k, v in plain.items() if v not in (None, [])} | options | enum | quality | _custom(prop)


def _classify(name: str, old: Any, new: Any) -> str:
    if name == "logicalType":
        return COMPATIBLE if (old, new) == ("integer", "number") else BREAKING
    if name in FLAGS:
        return BREAKING if new else COMPATIBLE
    if name in ("enum", "quality"):
        before, after = set(map(str, old or [])), set(map(str, new or []))
        fewer = new is not None and (old is None or bool(before - after))
        return BREAKING if (after - before if name == "quality" else fewer) else COMPATIBLE
    if name in LOWER + UPPER:
        if isinstance(new, str) is not isinstance(old, str) and None not in (old, new):
            return BREAKING  # the column's type changed, for example from date to number
        tighter = new is not None and (old is None or ((new > old) is (name in LOWER)))
        return BREAKING if tighter else COMPATIBLE
    if name in ANY_CHANGE:
        return COMPATIBLE if new is None and name != "format" else BREAKING
    return ""


def _custom(part: Property | SchemaObject) -> dict[str, Any]:
    return {c.property: c.value for c in part.customProperties}


def _rule(quality: Any) -> str:
    text = quality.query or f"{quality.metric} in {quality.unit}, {quality.limits}"
    return str(text).removeprefix("SELECT COUNT(*) FROM {object} WHERE NOT ")


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the entries that differ as (name, old, new), with None where one is absent."""
    names = dict.fromkeys([*old, *new])
    return [(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]
