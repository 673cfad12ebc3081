"""The schema of a data contract: a strict subset of the Open Data Contract Standard (ODCS v3.2).

The standard's own package ignores misspelt keys; here unknown keys are refused at every level.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mlcicd.contract.column_checks import FILE_PROPERTIES, NUMERIC, TEMPORAL, check_comparison, check_custom, check_path
from mlcicd.contract.column_schema import COMPARISON, Allowed, CustomProperty, Options, Property, Quality, Role, Strict

__all__ = ["COMPARISON", "NUMERIC", "TEMPORAL", "Contract", "CustomProperty", "Description", "Options", "Property"]
__all__ += ["Allowed", "Quality", "Role", "SchemaObject"]


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
    quality: list[Quality] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    customProperties: list[CustomProperty] = Field(default_factory=list)

    @model_validator(mode="after")
    def is_consistent(self) -> SchemaObject:
        names = [p.name for p in self.properties]
        duplicates = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
        if duplicates:
            raise ValueError(f"column '{duplicates[0]}' of '{self.name}' is declared twice")
        for role in ("id", "target", "time", "group"):
            if len([p for p in self.properties if p.role == role]) > 1:
                raise ValueError(f"'{self.name}' has more than one column with the role {role}")
        for quality in self.quality:
            match = COMPARISON.match(quality.query or "")
            for side in match.group("left", "right") if match else ():
                if side not in names and not re.fullmatch(r"-?\d+(\.\d+)?", side):
                    raise ValueError(f"the rule uses '{side}', which is not a column of '{self.name}'")
            if match:
                kinds = {p.name: p.logicalType for p in self.properties}
                sides = [kinds.get(side) for side in match.group("left", "right")]
                check_comparison(sides[0], sides[1], f"'{quality.name or match[0].partition('NOT ')[2]}'")
        where = f"'{self.name}'"
        check_custom([(c.property, c.value) for c in self.customProperties], FILE_PROPERTIES, where)
        if self.physicalName is not None:
            check_path(self.physicalName, where)
        return self

    def with_role(self, role: Role) -> Property | None:
        return next((p for p in self.properties if p.role == role), None)

    @property
    def target(self) -> Property | None:
        return self.with_role("target")

    @property
    def id(self) -> str | None:
        prop = self.with_role("id")
        return prop.name if prop else None

    @property
    def features(self) -> list[Property]:
        """The columns that a request contains: those without a role."""
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
    tags: list[str] = Field(default_factory=list)
    description: Description = Description()
    servers: list[dict[str, Any]] = []
    objects: list[SchemaObject] = Field(alias="schema", min_length=1)
    customProperties: list[CustomProperty] = Field(default_factory=list)

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
        """The objects that are stored in files; ``physicalName`` is the path from the project's root."""
        return [o for o in self.objects if o.physicalName]
