"""The schema of a contract's columns: type, limits, allowed values, quality rules and role."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mlcicd.contract import patterns
from mlcicd.contract.column_checks import BOUNDS, COLUMN_PROPERTIES, TEMPORAL, check_custom, checked_bounds, typed
from mlcicd.contract.date_formats import BLANKS, date_format

LogicalType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
Role = Literal["id", "target", "time", "group"]
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

    minimum: int | float | date | datetime | str | None = None
    maximum: int | float | date | datetime | str | None = None
    exclusiveMinimum: int | float | date | datetime | str | None = None
    exclusiveMaximum: int | float | date | datetime | str | None = None
    multipleOf: float | None = Field(None, gt=0)
    minLength: int | None = Field(None, ge=0)
    maxLength: int | None = Field(None, ge=0)
    pattern: str | None = None
    format: str | None = None

    @field_validator(*BOUNDS, mode="before")
    @classmethod
    def is_not_boolean(cls, bound: Any) -> Any:
        if isinstance(bound, bool):
            raise ValueError("true and false are not bounds")
        return bound

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
        limits: dict[str, Any] = {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
        return limits | ({"mustBeBetween": self.mustBeBetween} if self.mustBeBetween else {})


class Allowed(Strict):
    value: bool | int | float | date | datetime | str
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
        """The role of the column: ``id``, ``target``, ``time``, ``group``, or None for a feature."""
        return next((p.value for p in self.customProperties if p.property == "role"), None)

    @property
    def date_format(self) -> str | None:
        """The column's date pattern as ``strftime`` writes it, or None for ISO."""
        return date_format(self.logicalTypeOptions.format).strptime

    @property
    def needed(self) -> bool:
        """Whether a value is required in each row."""
        return self.required or self.primaryKey

    @property
    def allowed(self) -> frozenset[Any]:
        """The values of ``enum``, converted to the column's type."""
        values = (a.value for a in self.enum or [])
        if self.logicalType in TEMPORAL:
            return frozenset(date_format(None).parse(str(v)) for v in values)
        return frozenset(v.strip(BLANKS) if isinstance(v, str) else v for v in values)

    @property
    def stored(self) -> str | None:
        """``integer`` if a text column is stored in files as integers that are too large for the type integer."""
        return next((p.value for p in self.customProperties if p.property == "stored"), None)

    @property
    def latest_year(self) -> int | None:
        """The last year of the century of two-digit years; None means 1969 to 2068, as in POSIX."""
        return next((p.value for p in self.customProperties if p.property == "latestYear"), None)

    @model_validator(mode="after")
    def latest_year_is_a_year(self) -> Property:
        year, pattern = self.latest_year, self.logicalTypeOptions.format or ""
        if year is None:
            return self
        if "yy" not in pattern or "yyyy" in pattern or self.logicalType not in TEMPORAL:
            raise ValueError(f"latestYear of column '{self.name}' is for dates with a year of two digits, yy")
        if type(year) is not int or not 100 <= year <= 9999:
            raise ValueError(f"latestYear {year!r} of column '{self.name}' is not a year of four digits")
        return self

    @model_validator(mode="before")
    @classmethod
    def role_implies(cls, document: Any) -> Any:
        """Make id and time columns required, and ids unique; refuse a document that says otherwise."""
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
    def is_consistent(self) -> Property:
        where, kind, options = f"column '{self.name}'", self.logicalType, self.logicalTypeOptions
        check_custom([(c.property, c.value) for c in self.customProperties], COLUMN_PROPERTIES, where)
        if self.stored and kind != "string":
            raise ValueError(f"{where} is {kind}: stored is for columns of text")
        try:
            bounds = checked_bounds(kind, dict(options))
            enum = [a.model_copy(update={"value": typed(a.value, kind, "enum value")}) for a in self.enum or []]
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if self.enum == []:
            raise ValueError(f"{where}: an empty enum allows no value")
        return self.model_copy(
            update={"logicalTypeOptions": options.model_copy(update=bounds), "enum": enum if self.enum else None}
        )
