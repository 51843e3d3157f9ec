"""A page as HTML: complete by itself, readable on a phone, and on A4 when printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from sorbus.map.render.pages.blocks import Block, Heading, Inline, Items, Link, Page, PageTable, Paragraph, Picture

_STYLE = """
:root { color-scheme: light; --ink: #1c2733; --line: #c9d2dc; --head: #eef2f6; --note: #fff8e5; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.9rem; margin-bottom: .3rem; } h2 { margin-top: 2.2rem; border-bottom: 2px solid var(--line); }
h3 { margin-bottom: .3rem; } a { color: #174ea6; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; }
th, td { border: 1px solid var(--line); padding: .4rem .6rem; text-align: left; vertical-align: top; }
h1, h2, h3, p, li, th, td { overflow-wrap: anywhere; } th { min-width: 6rem; }
thead th { background: var(--head); } tbody th { font-weight: 600; }
.note { background: var(--note); border-left: 4px solid #c98a00; padding: .5rem .8rem; }
img { max-width: 100%; height: auto; } footer { margin-top: 3rem; font-size: .85rem; color: #51606f; }
@page { size: A4; margin: 18mm 16mm; }
@media print {
  body { font-size: 10.5pt; max-width: none; margin: 0; padding: 0; } table { font-size: 9pt; } a { color: inherit; }
  h2, h3 { break-after: avoid; } tr { break-inside: avoid; } thead { display: table-header-group; }
  nav { display: none; }
}
"""


def to_html(page: Page) -> str:
    """The page's text; nothing in it is loaded from elsewhere but a drawing beside it."""
    body = "\n".join(line for block in page.blocks for line in _block(block))
    title = escape(page.title)
    back = '<nav><a href="index.html">Overview</a></nav>\n' if page.name != "index" else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{back}<main>\n<h1>{title}</h1>\n{body}\n</main>\n"
        f"<footer>{escape(page.footer)}</footer>\n</body>\n</html>\n"
    )


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            anchor = f' id="{escape(block.anchor)}"' if block.anchor else ""
            yield f"<h{block.level}{anchor}>{escape(block.text)}</h{block.level}>"
        case Paragraph():
            kind = ' class="note"' if block.is_note else ""
            yield f"<p{kind}>{_inline(block.parts)}</p>"
        case Items():
            tag = "ol" if block.numbered else "ul"
            yield f"<{tag}>"
            yield from (f"<li>{_inline(item)}</li>" for item in block.items)
            yield f"</{tag}>"
        case PageTable():
            yield '<div class="scroll"><table>'
            heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in block.heads)
            yield f"<thead><tr>{heads}</tr></thead>"
            yield "<tbody>"
            for first, *others in block.rows:
                cells = "".join(f"<td>{_inline(cell)}</td>" for cell in others)
                yield f'<tr><th scope="row">{_inline(first)}</th>{cells}</tr>'
            yield "</tbody></table></div>"
        case Picture():
            yield f'<p><img src="{escape(block.file)}" alt="{escape(block.description)}"></p>'


def _inline(parts: Sequence[Inline]) -> str:
    return "".join(_link(part) if isinstance(part, Link) else escape(part) for part in parts)


def _link(link: Link) -> str:
    target = link.page if link.page.startswith("#") else f"{link.page}.html"
    return f'<a href="{escape(target)}">{escape(link.text)}</a>'
