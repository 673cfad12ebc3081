"""The shapes of a data contract: a strict subset of the Open Data Contract Standard (ODCS v3.2).

The standard's own package lets a misspelt key pass in silence; here unknown keys are refused at every level.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from . import patterns
from .date_formats import date_format

LogicalType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
Role = Literal["id", "target", "time", "group"]
NUMERIC = ("integer", "number")
TEMPORAL = ("date", "timestamp")
COMPARISON = re.compile(
    r"^\s*SELECT\s+COUNT\(\*\)\s+FROM\s+\{object\}\s+WHERE\s+NOT\s*\(\s*"
    r"(?P<left>\w+)\s*(?P<op><=|>=|<>|=|<|>)\s*(?P<right>\w+|-?\d+(?:\.\d+)?)\s*\)\s*$",
    re.IGNORECASE,
)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CustomProperty(Strict):
    property: str
    value: Any
    description: str | None = None


class Options(Strict):
    """Limits of one column. Bounds of dates are ISO text; ``format`` is a Java date pattern, as in the standard."""

    minimum: float | date | datetime | str | None = None
    maximum: float | date | datetime | str | None = None
    exclusiveMinimum: float | date | datetime | str | None = None
    exclusiveMaximum: float | date | datetime | str | None = None
    multipleOf: float | None = Field(None, gt=0)
    minLength: int | None = Field(None, ge=0)
    maxLength: int | None = Field(None, ge=0)
    pattern: str | None = None
    format: str | None = None

    @model_validator(mode="after")
    def pattern_compiles(self) -> Options:
        if self.pattern is not None:
            try:
                patterns.translate(self.pattern)
            except ValueError as error:
                raise ValueError(f"pattern {self.pattern[:60]!r} {error}") from None
        return self


class Quality(Strict):
    """A metric with a limit, or one comparison across columns written as SQL in the fixed form of ``COMPARISON``."""

    name: str | None = None
    description: str | None = None
    type: Literal["library", "sql", "text", "custom"] = "library"
    metric: Literal["rowCount", "nullValues", "duplicateValues"] | None = None
    query: str | None = None
    unit: Literal["rows", "percent"] = "rows"
    mustBe: float | None = None
    mustBeLessThan: float | None = None
    mustBeLessOrEqualTo: float | None = None
    mustBeGreaterThan: float | None = None
    mustBeGreaterOrEqualTo: float | None = None
    mustBeBetween: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    dimension: str | None = None
    severity: str | None = None
    engine: str | None = None
    implementation: Any = None

    @model_validator(mode="after")
    def is_enforceable(self) -> Quality:
        if self.type == "library" and self.metric is None:
            raise ValueError("a quality rule needs a metric: rowCount, nullValues or duplicateValues")
        if self.type == "sql" and not COMPARISON.match(self.query or ""):
            raise ValueError("a sql rule reads 'SELECT COUNT(*) FROM {object} WHERE NOT (a <= b)', with mustBe: 0")
        if self.type == "sql" and self.mustBe != 0:
            raise ValueError("a sql rule counts bad rows, so it needs mustBe: 0")
        if self.type == "library" and not self.limits:
            raise ValueError("a quality rule needs a limit, for example mustBeLessThan: 5")
        return self

    @property
    def limits(self) -> dict[str, Any]:
        keys = ("mustBe", "mustBeLessThan", "mustBeLessOrEqualTo", "mustBeGreaterThan", "mustBeGreaterOrEqualTo")
        found: dict[str, Any] = {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
        return found | ({"mustBeBetween": self.mustBeBetween} if self.mustBeBetween else {})


class Allowed(Strict):
    value: str | int | float | bool
    description: str | None = None


class Property(Strict):
    """One column."""

    name: str = Field(min_length=1)
    logicalType: LogicalType
    physicalType: str | None = None
    description: str | None = None
    businessName: str | None = None
    required: bool = False
    unique: bool = False
    primaryKey: bool = False
    primaryKeyPosition: int | None = None
    enum: list[Allowed] | None = None
    logicalTypeOptions: Options = Options()
    quality: list[Quality] = []
    classification: str | None = None
    criticalDataElement: bool = False
    examples: list[Any] = []
    tags: list[str] = []
    customProperties: list[CustomProperty] = []

    @property
    def role(self) -> Role | None:
        """What the column is for: ``id``, ``target``, ``time``, ``group``, or None for a feature."""
        return next((p.value for p in self.customProperties if p.property == "role"), None)

    @property
    def date_format(self) -> str | None:
        """The column's date pattern as ``strftime`` writes it, or None for ISO."""
        return date_format(self.logicalTypeOptions.format).strptime

    @property
    def needed(self) -> bool:
        """Whether no value may be missing."""
        return self.required or self.primaryKey

    @property
    def allowed(self) -> frozenset[Any]:
        """The values of ``enum`` as the column's type has them."""
        values = (a.value for a in self.enum or [])
        return frozenset(date_format(None).parse(str(v)) if self.logicalType in TEMPORAL else v for v in values)

    @property
    def stored(self) -> str | None:
        """``integer`` where a column of text lies in files as whole numbers, too large for the type integer."""
        return next((p.value for p in self.customProperties if p.property == "stored"), None)

    @property
    def latest_year(self) -> int | None:
        """The last of the hundred years that two-digit years stand for, or None for 1969 to 2068 as in POSIX."""
        return next((p.value for p in self.customProperties if p.property == "latestYear"), None)

    @model_validator(mode="after")
    def latest_year_is_a_year(self) -> Property:
        year, pattern = self.latest_year, self.logicalTypeOptions.format or ""
        if year is None:
            return self
        if "yy" not in pattern or "yyyy" in pattern or self.logicalType not in TEMPORAL:
            raise ValueError(f"latestYear of column '{self.name}' is for dates with a year of two digits, yy")
        if type(year) is not int or not 100 <= year <= 9999:
            raise ValueError(f"latestYear {year!r} of column '{self.name}' is no year of four digits")
        return self

    @model_validator(mode="before")
    @classmethod
    def role_implies(cls, document: Any) -> Any:
        """What names or orders rows is in each row, also where the document does not say so; it may not deny it."""
        listed = document.get("customProperties") if isinstance(document, dict) else None
        roles = [p.get("value") for p in listed or [] if isinstance(p, dict) and p.get("property") == "role"]
        implied = ["required"] * bool({"id", "time"} & set(map(str, roles))) + ["unique"] * ("id" in roles)
        for key in implied:
            if document.get(key) is False:
                raise ValueError(
                    f"column '{document.get('name')}' has the role {roles[0]}, so it cannot be '{key}: false'"
                )
        return document | dict.fromkeys(implied, True) if implied else document

    @model_validator(mode="after")
    def makes_sense(self) -> Property:
        for custom in self.customProperties:
            if custom.property == "role" and custom.value not in ("id", "target", "time", "group"):
                raise ValueError(f"role {custom.value!r} of column '{self.name}' is not id, target, time or group")
        options = self.logicalTypeOptions
        if self.logicalType != "string" and (options.pattern or options.minLength or options.maxLength):
            raise ValueError(f"column '{self.name}' is {self.logicalType}: pattern and lengths are for strings")
        if self.logicalType in ("string", "boolean") and (options.minimum is not None or options.maximum is not None):
            raise ValueError(
                f"column '{self.name}' is {self.logicalType}: minimum and maximum are for numbers and dates"
            )
        for key, bound in options.model_dump(exclude_none=True).items():
            if "imum" in key and (self.logicalType in NUMERIC) is not isinstance(bound, int | float):
                raise ValueError(f"{key} {bound!r} of column '{self.name}' does not fit type {self.logicalType}")
        return self


class SchemaObject(Strict):
    """A raw file (``physicalName`` is its path) or the table (one of its columns has the role ``target``)."""

    name: str = Field(min_length=1)
    logicalType: Literal["object"] = "object"
    physicalType: str | None = None
    physicalName: str | None = None
    description: str | None = None
    businessName: str | None = None
    dataGranularityDescription: str | None = None
    properties: list[Property] = Field(min_length=1)
    quality: list[Quality] = []
    tags: list[str] = []
    customProperties: list[CustomProperty] = []

    @model_validator(mode="after")
    def columns_fit_together(self) -> SchemaObject:
        names = [p.name for p in self.properties]
        twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise ValueError(f"column '{twice[0]}' of '{self.name}' is declared twice")
        for role in ("id", "target", "time", "group"):
            if len([p for p in self.properties if p.role == role]) > 1:
                raise ValueError(f"'{self.name}' has more than one column with the role {role}")
        for quality in self.quality:
            match = COMPARISON.match(quality.query or "")
            for side in match.group("left", "right") if match else ():
                if side not in names and not re.fullmatch(r"-?\d+(\.\d+)?", side):
                    raise ValueError(f"the rule on '{side}' names no column of '{self.name}'")
        return self

    def with_role(self, role: Role) -> Property | None:
        return next((p for p in self.properties if p.role == role), None)

    @property
    def target(self) -> Property | None:
        return self.with_role("target")

    @property
    def id(self) -> str | None:
        found = self.with_role("id")
        return found.name if found else None

    @property
    def features(self) -> list[Property]:
        """The columns a request carries: those without a role."""
        return [p for p in self.properties if p.role is None]

    def column(self, name: str) -> Property:
        return next(p for p in self.properties if p.name == name)


class Description(Strict):
    purpose: str | None = None
    usage: str | None = None
    limitations: str | None = None


class Contract(BaseModel):
    """The whole document. Read it with :func:`load`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    apiVersion: Literal["v3.2.0"]
    kind: Literal["DataContract"]
    id: str
    name: str | None = None
    version: str
    status: str
    domain: str | None = None
    dataProduct: str | None = None
    tenant: str | None = None
    tags: list[str] = []
    description: Description = Description()
    servers: list[dict[str, Any]] = []
    objects: list[SchemaObject] = Field(alias="schema", min_length=1)
    customProperties: list[CustomProperty] = []

    @model_validator(mode="after")
    def has_one_table(self) -> Contract:
        if len([o for o in self.objects if o.target]) != 1:
            raise ValueError("exactly one object of the schema needs a column with the role target")
        return self

    @property
    def table(self) -> SchemaObject:
        return next(o for o in self.objects if o.target)

    @property
    def target(self) -> Property:
        target = self.table.target
        assert target is not None  # has_one_table
        return target

    @property
    def raw(self) -> list[SchemaObject]:
        """The objects that lie in files; ``physicalName`` is the path from the project's root."""
        return [o for o in self.objects if o.physicalName]
