"""Fields that several systems change, in words: whose change counts, and what happens to the other one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sorbus.errors import SchemaError
from sorbus.map.render.pages.blocks import Block, Cell, Heading, PageTable, Paragraph
from sorbus.map.render.pages.flow_words import duration_in_words
from sorbus.mapping.plain_words import field_in_words
from sorbus.two_way.expand import TwoWay, two_way_types

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap


def shared_fields(loaded: LoadedMap, data_type: str) -> Iterator[Block]:
    """The section of a data type's page; nothing where one system owns all fields. `loaded`: as people wrote it."""
    two_way = two_way_types(loaded.map, loaded.mappings).get(data_type)
    if two_way is None:
        return
    try:
        names = [field.name for field in loaded.schema(data_type).fields]
    except SchemaError:
        return  # `map check` reports it
    told = [(name, words) for name in names if (words := whose_change_counts(two_way, name))]
    first = two_way.system_of_record
    yield Heading("Whose change counts")
    rows: list[tuple[Cell, ...]] = [([field_in_words(name)], [words]) for name, words in told]
    if rows:
        yield PageTable(("Field", "Whose change counts"), rows)
    if len(told) < len(names):
        yield Paragraph(
            [
                f"{'All other fields belong' if rows else 'All fields belong'} to {first}: what is changed elsewhere is"
                f" replaced by the value of {first}."
            ]
        )
    if two_way.written.merge:
        yield Paragraph(
            [
                "“At a time” means that the second person had not yet seen the first one's change. Who changes what has"
                " arrived is always the later one."
                f" Two changes less than {duration_in_words(two_way.written.clock_tolerance)} apart can't be told which"
                f" was later; then {first} counts."
            ]
        )


def whose_change_counts(two_way: TwoWay, name: str) -> str:
    """One field's rule in words; "" if it is the system of record's alone, as fields are unless the map says more."""
    if owner := two_way.written.field_owners.get(name):
        return f"{owner} decides; what is changed elsewhere is replaced by the value of {owner}"
    if not (rule := two_way.written.merge.get(name)):
        return ""
    systems = [two_way.system_of_record, *(one for one in two_way.flows if name in two_way.proposed[one])]
    where = f"may be changed in {', '.join(systems[:-1])} and {systems[-1]}" if len(systems) > 1 else "may be changed"
    return {
        "latest": f"{where}; of two changes at a time the later one counts",
        "union": f"{where}; what one adds or takes out is added or taken out everywhere",
        "ask": f"{where}; if two change it at a time, a person decides, and until then the record stays everywhere as"
        " it is",
    }[rule]
