"""A page as Markdown, for a wiki or a repository."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sorbus.map.render.markdown import plain
from sorbus.map.render.pages.blocks import Block, Heading, Inline, Items, Link, Page, PageTable, Paragraph, Picture


def to_markdown_page(page: Page) -> str:
    """The page's text; ends with a new line."""
    lines = [f"# {plain(page.title)}", ""]
    for block in page.blocks:
        lines += [*_block(block), ""]
    return "\n".join([*lines, "---", "", plain(page.footer)]) + "\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            anchor = f'<a id="{block.anchor}"></a>' if block.anchor else ""
            yield f"{'#' * block.level} {anchor}{plain(block.text)}"
        case Paragraph():
            yield f"{'> ' if block.is_note else ''}{_inline(block.parts)}"
        case Items():
            for number, item in enumerate(block.items, 1):
                yield f"{f'{number}.' if block.numbered else '-'} {_inline(item)}"
        case PageTable():
            yield f"| {' | '.join(plain(head) for head in block.heads)} |"
            yield f"|{' --- |' * len(block.heads)}"
            for row in block.rows:
                yield f"| {' | '.join(_inline(cell) for cell in row)} |"
        case Picture():
            yield f"![{plain(block.description)}]({block.file})"


def _inline(parts: Sequence[Inline]) -> str:
    return "".join(_link(part) if isinstance(part, Link) else plain(part, edges=True) for part in parts)


def _link(link: Link) -> str:
    return f"[{plain(link.text)}]({link.page if link.page.startswith('#') else f'{link.page}.md'})"
