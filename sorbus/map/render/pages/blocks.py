"""What a page is made of, whether it becomes HTML or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Link(NamedTuple):
    """A name that leads to another page (its file without the ending), or to a heading of this one (#anchor)."""

    text: str
    page: str


Inline = str | Link
Cell = Sequence[Inline]


class Heading(NamedTuple):
    """`level` 2 or 3; `anchor` for links."""

    text: str
    level: int = 2
    anchor: str = ""


class Paragraph(NamedTuple):
    """Text with links; `is_note`: set apart, for what is easily overlooked."""

    parts: Sequence[Inline]
    is_note: bool = False


class Items(NamedTuple):
    """A list; `numbered` for steps in order."""

    items: Sequence[Cell]
    numbered: bool = False


class PageTable(NamedTuple):
    """Rows under heads; the first cell of a row names it."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]


class Picture(NamedTuple):
    """A drawing in a file beside the pages."""

    file: str
    description: str


Block = Heading | Paragraph | Items | PageTable | Picture


class Page(NamedTuple):
    """`name` is its file without the ending."""

    name: str
    title: str
    blocks: Sequence[Block]
    footer: str
