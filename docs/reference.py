"""The reference of `params.yaml` and `contract.yaml`, written from a project's own pydantic models.

What a key takes comes from the models, what it means from the words below; a key without words, or words without a key,
stop it. `make reference` bakes a project, runs this in its environment and writes the pages that each project gets in
`docs/`; a test compares them.
"""

import json
import sys
from pathlib import Path
from typing import Any

PARAMS = {
    "Params": {
        "seed": "Everything random is drawn from it.",
        "task": "What is predicted: one of two, one of several, or a number.",
        "positive": "Binary: the value to find. By default the later of the two in sorted order, so `true`.",
        "prepare": "Arguments of `prepare()` in `prepare.py`.",
        "features": "Arguments of `make_features()` in `features.py`.",
        "model": "Arguments of `make_model()` in `model.py`.",
        "split": "Which rows train and which judge.",
        "search": "A search for the model's arguments; without it none is made.",
        "costs": "What a wrong decision costs. The threshold follows from it, and reports speak in money.",
        "metrics": "What is measured, in the order of reports; by default all that suit the task, and your own.",
        "gates": "By metric: when a pull request fails.",
        "review": "How sure a review wants to be.",
        "drift": "When new data counts as moved.",
        "service": "Limits of the service.",
        "shadow": "When a release that answered copies of requests may have the traffic.",
        "compute": "Where fits run; without it on this machine. The variable `DASK_SCHEDULER_ADDRESS` wins.",
        "tracking": "Where runs, reviews and releases are sent; without it nowhere.",
    },
    "Split": {
        "method": "`auto` decides by the data and says why.",
        "folds": "Folds of the training rows.",
        "holdout": "Share of rows held out. With time and a `cutoff`, the cutoff decides.",
        "salt": "Another number draws another holdout.",
        "cutoff": "The holdout is what came later: a date, or a number where the time column holds numbers.",
    },
    "Search": {
        "method": "`random`, or `halving`: many candidates on few rows, the best on more.",
        "fits": "Budget of one search, in fits.",
        "minutes": "Ends it early; how far it comes then depends on the machine.",
        "folds": "Folds within the training rows.",
        "jobs": "Threads of this machine that fit at a time, -1 all; by default processes, where that is faster.",
    },
    "Costs": {
        "currency": "The sign in reports.",
        "false_positive": "Binary: of a yes that should have been a no.",
        "false_negative": "Binary: of a no that should have been a yes.",
        "matrix": "Multiclass: by true, then by predicted class; right answers may be left out.",
    },
    "Gate": {
        "margin": "The largest loss that nobody would mind, in the metric's unit.",
        "kind": "What fails: the surely worse, what may have lost more than the margin, what is not surely better.",
    },
    "Review": {
        "seeds": "Trainings a side: their mean is compared, and their noise counted.",
        "confidence": "Of the intervals.",
        "not_comparable": "What becomes of a branch that cannot be compared: a person decides, or it passes.",
    },
    "Drift": {
        "distance": "From here on a difference matters; 0 is alike, 1 has nothing in common.",
        "significance": "Chance of a false alarm, for all columns together.",
    },
    "Service": {
        "max_records": "Records a request.",
        "max_bytes": "Bytes a request.",
    },
    "Shadow": {
        "requests": "Copies that are to be answered.",
        "minutes": "That long they are waited for.",
        "agreement": "At least this share of the rows leads to the same: decision, class, or a number in the interval.",
        "distance": "The predictions drift by less, as in `drift`.",
        "latency": "The p50 and p99 of an answer are at most so many times the running version's.",
        "errors": "At most this share of the copies gets no prediction.",
    },
    "Compute": {
        "scheduler": "A Dask scheduler such as `tcp://10.0.0.5:8786`, or `local`: processes of this machine.",
        "workers": "Of `local`: how many; by default one for each core.",
        "memory": "Of `local`: how much one of them may use, such as `4GB`.",
    },
    "Tracking": {
        "to": "The tracker. Its address and tokens come from the environment, its client from the group of this name.",
        "experiment": "Of MLflow; the project of Weights & Biases. By default the name of the project's folder.",
        "required": "Whether a command fails when its run could not be sent; by default that is a warning.",
    },
}
TEXT = "Text for people."
CONTRACT = {
    "Contract": {
        "apiVersion": "Of the standard.",
        "kind": "As the standard wants it.",
        "id": "Names the contract.",
        "name": TEXT,
        "version": "Of the contract. Raise it when you like: a review classifies changes by itself.",
        "status": "For example `active`.",
        "domain": TEXT,
        "dataProduct": TEXT,
        "tenant": TEXT,
        "tags": TEXT,
        "description": "What the data is for.",
        "servers": "Where the data lies, for other tools.",
        "schema": "Raw files, and the table. Exactly one of them has a column with the role `target`: the table.",
        "customProperties": "For other tools.",
    },
    "SchemaObject": {
        "name": "Under this name `prepare()` gets a raw file.",
        "logicalType": "As the standard wants it.",
        "physicalType": TEXT,
        "physicalName": (
            "A raw file, or a folder of such files, from the project's root and in the project: CSV (also gz) or "
            "Parquet."
        ),
        "description": TEXT,
        "businessName": TEXT,
        "dataGranularityDescription": TEXT,
        "properties": "The columns. Columns of a file that are not named are left out.",
        "quality": "Rules on all rows, or across columns.",
        "tags": TEXT,
        "customProperties": (
            "How a CSV is written: `delimiter`, `decimal`, `thousands`, `quote`, `escape`, `encoding`, and "
            "`missing`, a list of what stands for no value. Others are for other tools."
        ),
    },
    "Property": {
        "name": "As the file has it.",
        "logicalType": "Decides how a file is read, and what a request may send.",
        "physicalType": TEXT,
        "description": "Shown in the service's description too.",
        "businessName": TEXT,
        "required": "No value may be missing; a request must bring it.",
        "unique": "No value twice.",
        "primaryKey": "Required and unique.",
        "primaryKeyPosition": "For other tools.",
        "enum": "The only values allowed.",
        "logicalTypeOptions": "Limits; see below.",
        "quality": "Limits on missing and repeated values.",
        "classification": "Other than `public`, or none: the column's values are repeated in no message or log.",
        "criticalDataElement": "For people: look twice.",
        "examples": "The first is the example in the service's description.",
        "tags": TEXT,
        "customProperties": (
            "`{property: role, value: …}` makes it `id`, `target`, `time` or `group`: no feature. An id is required "
            "and unique, a time required. `missing` lists what a text column holds for no value; `decimal` and "
            "`thousands` are of a column written unlike its file; `latestYear` is the last year that two digits "
            "stand for; `stored: integer` is text that files hold as whole numbers too large for `integer`."
        ),
    },
    "Options": {
        "minimum": "Of numbers and dates; dates as ISO text.",
        "maximum": "Likewise.",
        "exclusiveMinimum": "The bound itself is not allowed.",
        "exclusiveMaximum": "Likewise.",
        "multipleOf": "Of numbers.",
        "minLength": "Of strings, in characters.",
        "maxLength": "Likewise.",
        "pattern": (
            "Of strings: a regular expression that takes linear time, so without looking ahead or behind and "
            "without references back. It may match anywhere; `^` and `$` are the very start and end. `\\d`, `\\w`, "
            "`\\s` and `\\b` are of ASCII."
        ),
        "format": (
            "Of dates, in Java's letters (`dd.MM.yyyy`); by default ISO: `2026-01-31`, for timestamps also with a "
            "time (`T12:00`, ` 12:00:59.5`) and a zone, which becomes UTC. Digits beyond microseconds are cut."
        ),
    },
    "Allowed": {
        "value": "A value.",
        "description": TEXT,
    },
    "Quality": {
        "name": "Shown where the rule is broken.",
        "description": TEXT,
        "type": "`library`: a metric. `sql`: two columns compared. `text`, `custom`: not checked, as a warning says.",
        "metric": "What a `library` rule measures.",
        "query": "`SELECT COUNT(*) FROM {object} WHERE NOT (a <= b)`; the second may be a number. Missing values pass.",
        "unit": "Of the metric.",
        "mustBe": "0 for a `sql` rule.",
        "mustBeLessThan": "A limit.",
        "mustBeLessOrEqualTo": "A limit.",
        "mustBeGreaterThan": "A limit.",
        "mustBeGreaterOrEqualTo": "A limit.",
        "mustBeBetween": "Two limits, both allowed.",
        "dimension": TEXT,
        "severity": TEXT,
        "engine": "Of a `custom` rule.",
        "implementation": "Of a `custom` rule.",
    },
    "CustomProperty": {
        "property": "For example `role`.",
        "value": "For example `target`.",
        "description": TEXT,
    },
    "Description": {
        "purpose": "What the table is for; the model card begins with it.",
        "usage": TEXT,
        "limitations": "What it is not for.",
    },
}
HEAD = "<!-- Written by the template from the models in packages/mlcicd. -->\n\n# `{file}`\n\n{intro}\n"
PARAMS_INTRO = """\
All settings of the project. Unknown keys are refused, with the key that was probably meant. What stands under
`prepare`, `features` and `model` are keyword arguments of functions of yours: a new one there is a new key here."""
CONTRACT_INTRO = """\
What the data must look like: a strict subset of the [Open Data Contract Standard](https://bitol.io) 3.2. What the
standard has beyond it is refused as unknown, but for these, which are taken and named in a warning, since nobody here
enforces them: {unenforced}."""


def takes(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a key may hold, in a few words."""
    if "$ref" in schema:
        return takes(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(takes(s, definitions) for s in schema["anyOf"] if s.get("type") != "null"))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("title") in PARAMS | CONTRACT and schema.get("type") == "object":
        return f"[{schema['title']}](#{schema['title'].lower()})"
    if schema.get("type") == "array":
        return f"list of {takes(schema['items'], definitions)}" if schema.get("items") else "list"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return f"by name: {takes(inner, definitions)}" if isinstance(inner, dict) and inner else "mapping"
    kinds = {"integer": "whole number", "boolean": "true or false", "string": "text"}
    kind = kinds.get(schema.get("type", ""), schema.get("type", "anything"))
    kind = {"date": "date", "date-time": "date and time"}.get(schema.get("format", ""), kind)
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:,}" for key, sign in signs.items() if key in schema]
    return " ".join([kind, ", ".join(limits)]).strip()


def section(model: Any, words: dict[str, str]) -> str:
    """One model as a table of its keys."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    keys = schema["properties"]
    if keys.keys() != words.keys():
        differing = sorted(keys.keys() ^ words.keys())
        sys.exit(f"docs/reference.py: {model.__name__}: {differing}: words without a key, or a key without words")
    rows = []
    for key, about in keys.items():
        default = about.get("default")
        plain = default is not None and not isinstance(default, dict | list)
        shown = f"`{json.dumps(default)}`".replace('"', "") if plain else ""
        shown = "**needed**" if key in schema.get("required", []) else shown
        rows.append(f"| `{key}` | {takes(about, definitions)} | {shown} | {words[key]} |".replace("  ", " "))
    head = [f"## {model.__name__}\n", "| key | takes | default | what it is |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def pages() -> dict[str, str]:
    """The text of each page by its name."""
    from mlcicd.contract import date_formats, document, schema
    from mlcicd.core import params

    unenforced = ", ".join(f"`{name}`" for name in sorted([*document.UNENFORCED, *document.UNENFORCED_QUALITY]))
    about = {"params.yaml": PARAMS_INTRO, "contract.yaml": CONTRACT_INTRO.format(unenforced=unenforced)}
    letters = ", ".join(f"`{java}`" for java in [*date_formats.LETTERS, "SSS"])
    ends = {
        "params.yaml": "",
        "contract.yaml": (
            f"\nLetters of a date's `format`: {letters}; anything else stands in single quotes. Leading zeros may "
            f"be missing from the text, unless digits follow at once.\n"
        ),
    }
    found = {}
    for file, module, models in (("params.yaml", params, PARAMS), ("contract.yaml", schema, CONTRACT)):
        head = HEAD.format(file=file, intro=about[file])
        sections = [section(getattr(module, name), words) for name, words in models.items()]
        found[file.replace("yaml", "md")] = "\n".join([head, *sections]) + ends[file]
    return found


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (out / name).write_text(text, encoding="utf-8", newline="\n")
