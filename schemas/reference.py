"""The reference of the canonical data types (docs/data-types.md), written from the schemas themselves.

python -m sorbus.schemas.reference > docs/data-types.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from sorbus.schema import FieldType, RecordSchema, SchemaField, read_schema
from sorbus.schemas import schema_files

_PREFACE = """\
# Data types

What Sorbus's canonical records look like: one Avro schema per data type, in `schemas/`. A data type's topic carries
them in an envelope with the record's id, its version, its source and its times, so none of those is a field here. This
page is written from the schemas by `python -m sorbus.schemas.reference`; change those, not this.

A company's own data types, or its own form of these, go into a folder `schemas` beside its map; a schema there comes
before the packaged one of the same name.

## What holds for all of them

- **Required** is only what no such record can be without. Everything else may be null, or has a default, so that a
  small tool can own a data type as well as a large one; a map asks for more with `required:`.
- **References** to other records (`customer_id`, `product_id`) are their ids in the system that owns them, as text.
- **Money** is decimal(19,4), exact, and never without `currency` (ISO 4217). Amounts are positive; a kind or a
  direction says which way they go. **Quantities** are decimal(19,6), **rates** decimal(9,6): 0.19 is 19 per cent.
- **Moments** (`ordered_at`) are UTC to the microsecond; **days** (`ordered_on`) belong to the owner's calendar. A
  record has the one that its owner knows: midnight is never made up. What an application, a sheet or a directory says
  below a microsecond is cut; of Debezium's topics and Singer taps it is a dead letter.
- **Countries** are ISO 3166-1 alpha-2, **languages** BCP 47, telephone numbers E.164 where they can be read as such.
- **Enums** begin with `UNKNOWN`, which is what an older reader sees in place of a symbol that it doesn't know.
- **One owner.** Two systems can't own one data type. Where two hold records of the same form (customers of a shop
  and of a wholesale system), each owns a data type of its own with the same schema: `wholesale_customer: {schema:
  customer, system_of_record: ...}`.
- **Personal** fields may identify a person: they carry the tag `personal` in the schema.
"""
_HEAD = ("Field", "Type", "Required", "Personal", "Meaning")


def reference(schemas: Sequence[RecordSchema]) -> str:
    """The whole document, in Markdown."""
    return "\n".join([_PREFACE, *(line for schema in schemas for line in _section(schema))])


def _section(schema: RecordSchema) -> Iterator[str]:
    yield f"## {schema.name}\n"
    yield f"{schema.doc}\n"
    yield from _table(schema.fields)
    for field in schema.fields:
        item = field.type.item
        if item is not None and item.kind == "record":
            yield f"\nEach of `{field.name}`:\n"
            yield from _table(item.fields)
    yield ""


def _table(fields: Sequence[SchemaField]) -> Iterator[str]:
    yield f"| {' | '.join(_HEAD)} |"
    yield f"| {' | '.join('---' for _ in _HEAD)} |"
    for field in fields:
        marks = ("yes" if field.required else "", "yes" if "personal" in field.tags else "")
        yield f"| `{field.name}` | {_type(field.type)} | {' | '.join(marks)} | {field.doc} |"


def _type(kind: FieldType) -> str:
    if kind.kind == "enum":
        return ", ".join(f"`{symbol}`" for symbol in kind.symbols)
    if kind.kind == "array" and kind.item is not None:
        return "list" if kind.item.kind == "record" else f"list of {kind.item.kind}"
    if kind.kind == "map" and kind.item is not None:
        return f"map of {kind.item.kind}"
    return f"decimal({kind.precision},{kind.scale})" if kind.kind == "decimal" else kind.kind


if __name__ == "__main__":
    sys.stdout.write(reference([read_schema(file) for file in schema_files()]))
