"""What a table looks like to drift findings, and what a column is mapped to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import psycopg

from sorbus.drift.compare import Shape
from sorbus.mapping.assign import Assignment
from sorbus.privacy.mask import PERSONAL, masked_text
from sorbus.schema import SchemaField


def shape_of(oids: Mapping[str, int]) -> Shape:
    """A table's columns with their types' names; types of its own by number, since names of those may change."""
    return {name: type_name(oid) for name, oid in oids.items()}


def type_name(oid: int) -> str:
    """PostgreSQL's name of a type, without length or precision."""
    found = psycopg.adapters.types.get(oid)
    if found is None:
        return f"type {oid}"
    return f"{found.regtype}[]" if found.array_oid == oid else found.regtype or found.name


def columns_of(assignment: Assignment) -> set[str]:
    """Every column that an assignment reads."""
    own = {assignment.source} if assignment.source else set()
    return own | (set(assignment.rule.uses) if assignment.rule else set())


def mapped_columns(assignments: Iterable[Assignment], known: Mapping[str, object]) -> dict[str, str]:
    """Column -> what the map makes of it. Same-named fields count where there is, or was, such a column."""
    found: dict[str, str] = {}
    for assignment in assignments:
        for column in columns_of(assignment):
            if assignment.row is not None or column in known:
                rule = assignment.rule.text if assignment.rule else ""
                found[column] = "; ".join(filter(None, (found.get(column), f"{assignment.into} = {rule or column}")))
    return found


def example_of(
    value: bytes | None, column: str, assignments: Iterable[Assignment], fields: Mapping[str, SchemaField]
) -> str:
    """A value as a finding shows it: masked, unless all that is made of it is known not to be personal."""
    text = "" if value is None else value.decode(errors="replace")
    made = [fields.get(assignment.into) for assignment in assignments if column in columns_of(assignment)]
    is_open = made and all(field is not None and PERSONAL not in field.tags for field in made)
    return text if is_open else masked_text(text)
