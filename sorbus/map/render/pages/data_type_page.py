"""One data type's page: who owns it, who gets it and when, what is changed on the way, what happens when it fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sorbus.errors import SchemaError
from sorbus.map.contact import contact
from sorbus.map.render.pages.blocks import Block, Cell, Heading, Items, Link, Page, PageTable, Paragraph
from sorbus.map.render.pages.field_words import FieldWords, fields_in_words
from sorbus.map.render.pages.flow_words import deletes_in_words, failures, when_in_words, which_in_words
from sorbus.map.render.pages.shared_fields import shared_fields
from sorbus.map.render.report import FlowPaths
from sorbus.mapfile.model import STEP, Map
from sorbus.mapping.plain_words import condition_in_words, field_in_words
from sorbus.privacy.mask import PERSONAL
from sorbus.two_way.expand import two_way_types

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap


def data_type_page(loaded: LoadedMap, name: str, flows: Sequence[FlowPaths], footer: str) -> Page:
    """The page; `flows` are those of this data type."""
    blocks = [*_ownership(loaded, name), *shared_fields(loaded, name), *_receivers(loaded.map, flows)]
    for item in flows:
        blocks += _flow(loaded, item)
    blocks += _personal(loaded, name)
    blocks.append(Paragraph(["All data types: ", Link("overview", "index"), "."]))
    return Page(page_name(name), title_of(name), blocks, footer)


def title_of(data_type: str) -> str:
    """`sales_order` is Sales order."""
    return field_in_words(data_type).replace("-", " ").capitalize()


def page_name(data_type: str) -> str:
    """The page's file, without its ending; `index` is the overview's."""
    return f"{data_type}-page" if data_type == "index" else data_type


def owner_in_words(company: Map, data_type: str) -> str:
    """The system that owns it, or the data type that it is made from."""
    if (step := next((one for one in company.steps if one.makes == data_type), None)) is not None:
        return f"made from {field_in_words(step.source)}"
    return str(company.data_types[data_type].system_of_record or "nobody yet")


def asked_in_words(company: Map, system: str) -> str:
    """Who to ask about a system; "" if the map names nobody."""
    found = company.systems.get(system)
    if found is None or not found.owner:
        return ""
    person = contact(found.owner)
    return f"{person.name} ({person.address})" if person.address else person.name


def _ownership(loaded: LoadedMap, name: str) -> Iterator[Block]:
    company, plain = loaded.map, field_in_words(name)
    data_type = company.data_types[name]
    owner = str(data_type.system_of_record or "")
    yield Heading("Who owns it")
    step = next((one for one in company.steps if one.makes == name), None)
    if step is not None and company.systems[owner].kind == STEP:
        where = f", if {condition_in_words(step.where, company.lookups)}" if step.where else ""
        per = f" One is made for all that have the same {', '.join(map(field_in_words, step.per))}." if step.per else ""
        yield Paragraph(
            [
                f"Nobody enters a {plain}: it is made automatically from each ",
                Link(field_in_words(step.source), page_name(step.source)),
                f"{where}.{per} To change one, change what it is made from.",
            ]
        )
    elif owner:
        yield Paragraph(
            [
                f"Each {plain} is entered, changed and deleted in {owner}, and only there. Whatever is changed in"
                " another system is not carried back."
                if name not in two_way_types(company, loaded.mappings)
                else f"Each {plain} is entered and deleted in {owner}, and only there. Some of its fields may be"
                " changed in other systems too, those marked “both ways” below."
            ]
        )
    else:
        yield Paragraph([f"No system owns the {plain} yet. Until one does, it is not transferred."], is_note=True)
    if asked := asked_in_words(company, owner):
        yield Paragraph([f"Ask {asked}."])
    if data_type.required:
        named = ", ".join(map(field_in_words, data_type.required))
        yield Paragraph([f"Must be filled in: {named}."])
    if data_type.notes:
        yield Paragraph([data_type.notes], is_note=True)


def _receivers(company: Map, flows: Sequence[FlowPaths]) -> Iterator[Block]:
    yield Heading("Who gets it, and when")
    if not flows:
        yield Paragraph(["No other system gets it."])
        return
    rows = []
    for item in flows:
        flow = item.flow
        ways = " (both ways)" if flow.direction == "two-way" and flow.none is None else ""
        rows.append(
            (
                [Link(f"{flow.to}{ways}", f"#{flow.id}")],
                [when_in_words(company, flow)],
                ["none" if flow.none is not None else which_in_words(company, flow)],
                [deletes_in_words(company, flow)],
                [asked_in_words(company, flow.to)],
            )
        )
    yield PageTable(("System", "When", "Which records", "A record deleted at the owner", "Ask"), rows)
    if any(item.flow.runs for item in flows):
        yield Paragraph(
            ["A person can pause a transfer, with a reason: changes wait, nothing is lost, and the console shows it."]
        )


def _personal(loaded: LoadedMap, name: str) -> Iterator[Block]:
    try:
        schema = loaded.schema(name)
    except SchemaError:
        return  # `map check` reports it
    fields = sorted({path.rpartition(".")[2] for path, one in schema.leaves() if PERSONAL in one.tags})
    if fields:
        named = ", ".join(map(field_in_words, fields))
        yield Heading("Personal data")
        yield Paragraph(
            [
                f"About people: {named}. Sorbus shows these masked, and who looks at them in full is recorded. To erase"
                " a person's record, delete it at its owner, then ask whoever runs Sorbus (sorbus forget)."
            ]
        )


def _flow(loaded: LoadedMap, item: FlowPaths) -> Iterator[Block]:
    company, flow = loaded.map, item.flow
    yield Heading(f"To {flow.to}{' and back' if item.back else ''}", anchor=flow.id)
    if flow.none is not None:
        yield Paragraph([f"Not transferred: {flow.none}"])
        return
    if flow.notes:
        yield Paragraph([flow.notes], is_note=True)
    if flow.manual is not None:
        yield Heading("What is done by hand", 3)
        yield Items([[step] for step in flow.manual.checklist], numbered=True)
        person = contact(flow.manual.responsible)
        yield Paragraph([f"{person}: {flow.manual.schedule}. Afterwards: {flow.manual.verification}"])
    yield Heading(f"What is changed on the way{f' to {flow.to}' if item.back else ''}", 3)
    yield from _fields(list(fields_in_words(item.paths, company)), flow.to, item.arrow.source)
    if not item.paths:
        yield Paragraph(["Nothing: every field that both systems have goes over under its own name."])
    if item.back:
        yield Heading(f"What comes back from {flow.to}", 3)
        yield from _fields(list(fields_in_words(item.back, company)), item.arrow.source, flow.to)
    yield Heading("What happens when something fails", 3)
    yield Items([[sentence] for sentence in failures(company, flow)])


def _fields(fields: Sequence[FieldWords], target: str, source: str) -> Iterator[Block]:
    if rows := [_cells(field) for field in fields if field.is_notable]:
        yield PageTable((f"Field in {target}", f"Comes from ({source})", "What is changed"), rows)
    if same := [field.alone for field in fields if not field.is_notable]:
        yield Paragraph([f"{'All else is c' if rows else 'C'}arried over unchanged: {', '.join(same)}."])


def _cells(field: FieldWords) -> tuple[Cell, Cell, Cell]:
    return [field.target], [field.source], [f"{field.words}{f' ({field.notes})' if field.notes else ''}"]
