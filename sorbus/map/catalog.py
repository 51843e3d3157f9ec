"""A system's resources, stored beside the map as catalog/SYSTEM.yaml by `sorbus discover SYSTEM --save`.

From it `sorbus map check` knows the system's tables, columns and types without connecting to the system.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from sorbus.abilities import CatalogField, Resource
from sorbus.errors import Finding, MapError
from sorbus.mapfile.document import read_document
from sorbus.mapfile.validation_messages import explain
from sorbus.schema import Kind

FOLDER = "catalog"
_HEAD = "What {system} holds. Written by `sorbus discover {system} --save`: run it again after a change there."
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_. ]*[A-Za-z0-9_]", re.ASCII)
_REWRITE = "rewrite it: sorbus discover {system} --save"


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Field(_Written):
    kind: Kind
    native: Annotated[str, BeforeValidator(str)] = ""
    required: bool = False
    item: Kind | None = None
    read_only: bool = False


class _Parent(_Written):
    resource: str
    fields: list[str]


class _Resource(_Written):
    key: list[str] = []
    records: int | None = None
    fields: dict[str, _Field]
    parents: list[_Parent] = []


class _Catalog(_Written):
    system: str
    resources: dict[str, _Resource] = Field(default={})


@dataclass(frozen=True, slots=True)
class Catalog:
    """A system's resources by name, and the file they are stored in (None: its connector describes them)."""

    file: Path | None
    resources: Mapping[str, Resource]

    def find(self, name: str) -> Resource | None:
        """The resource called `name`, or by its last parts if unambiguous (`customers` for `public.customers`)."""
        if (exact := self.resources.get(name)) is not None:
            return exact
        near = [found for known, found in self.resources.items() if known.endswith(f".{name}")]
        default = [found for found in near if found.name == f"public.{name}"]
        return (default or near)[0] if default or len(near) == 1 else None


def catalog_file(folder: Path, system: str) -> Path:
    """The catalog file of a system of the map in `folder`."""
    return folder / FOLDER / f"{system}.yaml"


def read_catalog(folder: Path, system: str) -> Catalog | None:
    """A system's catalog; None if there is none. MapError with every error if it can't be read."""
    file = catalog_file(folder, system)
    if not file.is_file():
        return None
    document = read_document(file)
    findings = list(document.findings)
    written: _Catalog | None = None
    try:
        written = None if findings else _Catalog.model_validate(document.data)
    except ValidationError as error:
        fix = _REWRITE.format(system=system)
        findings += [
            Finding(file, document.line(*found.path), found.message, fix, found.code)
            for found in explain(error, document.data, _Catalog)
        ]
    if findings or written is None:
        raise MapError(sorted(findings))
    return Catalog(file, {name: _resource(name, found) for name, found in written.resources.items()})


def write_catalog(folder: Path, system: str, resources: Sequence[Resource]) -> Path:
    """Writes a system's resources, for `read_catalog` and for people; returns the file."""
    file = catalog_file(folder, system)
    file.parent.mkdir(parents=True, exist_ok=True)
    tree = CommentedMap(system=system, resources=CommentedMap())
    tree.yaml_set_start_comment(_HEAD.format(system=system))
    for resource in sorted(resources, key=lambda found: found.name):
        tree["resources"][_name(resource.name)] = _tree(resource)
    yaml = YAML()
    yaml.width = 200
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(tree, stream)
    return file


def _resource(name: str, written: _Resource) -> Resource:
    fields = tuple(
        CatalogField(field, found.kind, found.native, found.required, found.item, found.read_only)
        for field, found in written.fields.items()
    )
    parents = tuple((parent.resource, tuple(parent.fields)) for parent in written.parents)
    return Resource(name, fields, tuple(written.key), written.records, parents)


def _tree(resource: Resource) -> CommentedMap:
    tree = CommentedMap()
    if resource.key:
        tree["key"] = CommentedSeq(map(_name, resource.key))
        tree["key"].fa.set_flow_style()
    if resource.records is not None:
        tree["records"] = resource.records
    tree["fields"] = CommentedMap((_name(field.name), _line(dict(_facts(field)))) for field in resource.fields)
    if resource.parents:
        tree["parents"] = [
            _line({"resource": _name(parent), "fields": list(map(_name, own))}) for parent, own in resource.parents
        ]
    return tree


def _facts(field: CatalogField) -> Iterator[tuple[str, object]]:
    yield "kind", field.kind
    if field.native:
        yield "native", _name(field.native)
    if field.required:
        yield "required", True
    if field.item is not None:
        yield "item", field.item
    if field.read_only:
        yield "read_only", True


def _name(text: str) -> str:
    """Quoted unless it is a plain word: YAML has many other ways to read a column's name."""
    return text if _PLAIN.fullmatch(text) else DoubleQuotedScalarString(text)


def _line(facts: Mapping[str, object]) -> CommentedMap:
    line = CommentedMap(facts)
    line.fa.set_flow_style()
    return line
