"""The overview, and all pages of a map together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sorbus.map.render.pages.blocks import Heading, Link, Page, PageTable, Paragraph, Picture
from sorbus.map.render.pages.data_type_page import asked_in_words, data_type_page, owner_in_words, page_name, title_of
from sorbus.map.render.report import document

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap

DRAWING = "map.svg"
_FOOTER = "Written by Sorbus from the company's map. To correct it, change the map and write this again."


def pages(loaded: LoadedMap) -> list[Page]:
    """The overview first, then a page per data type, in the map's order."""
    loaded = loaded.as_written
    found = [_overview(loaded)]
    flows = document(loaded).flows
    for name in loaded.map.data_types:
        own = [item for item in flows if item.flow.data_type == name]
        found.append(data_type_page(loaded, name, own, _FOOTER))
    return found


def _overview(loaded: LoadedMap) -> Page:
    company = loaded.map
    types = []
    for name in company.data_types:
        targets = [flow.to for flow in company.flows if flow.data_type == name and flow.none is None]
        owner = owner_in_words(company, name)
        types.append(([Link(title_of(name), page_name(name))], [owner], [", ".join(targets) or "no other system"]))
    systems = []
    for name, system in company.systems.items():
        if system.kind != "step":
            notes = " ".join(filter(None, ("unofficial" if system.shadow else "", system.notes or "")))
            systems.append(([name], [asked_in_words(company, name)], [notes]))
    blocks = (
        Paragraph(["Each kind of data has one system that owns it. What is changed there is carried to the others."]),
        Paragraph(
            [
                "Sorbus is the program that carries it. Its console is a page in the browser that shows what is late,"
                " what was set aside and what needs a person's decision."
            ]
        ),
        Heading("Data"),
        PageTable(("Data", "Owned by", "Goes to"), types),
        Heading("Systems"),
        PageTable(("System", "Ask", "Notes"), systems),
        Heading("As a picture"),
        Picture(DRAWING, f"The systems of {company.company} and what goes from which to which"),
    )
    return Page("index", f"Data of {company.company}", blocks, _FOOTER)
