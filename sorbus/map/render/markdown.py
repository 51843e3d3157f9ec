"""The data-flow document as Markdown, for a wiki or a repository that renders tables and Mermaid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sorbus.map.render.diagram import Way, mermaid
from sorbus.map.render.report import BY_HAND, COLUMNS, FlowPaths, Report
from sorbus.mapfile.model import Manual


def to_markdown(doc: Report) -> str:
    """The whole document; ends with a new line."""
    return "\n".join(_lines(doc)) + "\n"


def _lines(doc: Report) -> Iterator[str]:
    yield f"# Data flows of {plain(doc.company.company)}"
    yield ""
    yield f"Written by `sorbus map doc` from `{doc.file.name}`; change the map, then write this again."
    yield ""
    yield "```mermaid"
    yield mermaid(doc.company).rstrip("\n")
    yield "```"
    for table in doc.tables():
        if table.rows and table.title != BY_HAND:
            yield from _section(table.title)
            yield from _rows(table.heads, [[_cell(cell) for cell in row] for row in table.rows])
    yield ""
    yield "## Fields"
    for item in doc.flows:
        if item.paths or item.arrow.way is not Way.LIVE:
            yield from _flow(item)


def _flow(item: FlowPaths) -> Iterator[str]:
    arrow = item.arrow
    yield ""
    yield f"### {item.flow.id}"
    yield ""
    yield f"{plain(arrow.data_type)}: {plain(arrow.source)} → {plain(arrow.target)}, {plain(arrow.text)}"
    if item.flow.manual:
        yield from _manual(item.flow.manual)
    if item.paths:
        yield ""
        rows = []
        for path in (*item.paths, *item.back):
            before, canonical, after = path.steps
            rule = " → ".join(filter(None, (_code(before), canonical, _code(after))))
            rows.append((*(_cell(cell) for cell in path[:4]), rule, _cell(path.notes)))
        yield from _rows(COLUMNS, rows)


def _manual(manual: Manual) -> Iterator[str]:
    yield ""
    for number, step in enumerate(manual.checklist, 1):
        yield f"{number}. {plain(step)}"
    yield ""
    yield f"Done by {plain(manual.responsible)}, {plain(manual.schedule)}."
    yield f"Verified by: {plain(manual.verification)}"


def _section(title: str) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""


def _rows(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def plain(text: str, *, edges: bool = False) -> str:
    """Escapes what Markdown or HTML would interpret; `edges`: blanks at both ends stay, for a part of a line."""
    inner = "".join(f"\\{sign}" if sign in "\\`*[]<|" else sign for sign in " ".join(text.split()))
    return f"{' ' * text[:1].isspace()}{inner}{' ' * text[-1:].isspace()}" if edges and inner else inner


def _cell(text: str) -> str:
    return "<br>".join(plain(line) for line in text.splitlines())


def _code(rule: str) -> str:
    """A rule in a code span inside a table, where only the bar must be escaped (GitHub Flavored Markdown, 4.10)."""
    fence = "``" if "`" in rule else "`"
    return f"{fence}{' '.join(rule.split())}{fence}".replace("|", "\\|") if rule else ""
