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
    yield f"# Data flows of {_plain(doc.company.company)}"
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
    yield f"{_plain(arrow.data_type)}: {_plain(arrow.source)} → {_plain(arrow.target)}, {_plain(arrow.text)}"
    if item.flow.manual:
        yield from _manual(item.flow.manual)
    if item.paths:
        yield ""
        rows = []
        for path in item.paths:
            before, canonical, after = path.steps
            rule = " → ".join(filter(None, (_code(before), canonical, _code(after))))
            rows.append((*(_cell(cell) for cell in path[:4]), rule, _cell(path.notes)))
        yield from _rows(COLUMNS, rows)


def _manual(manual: Manual) -> Iterator[str]:
    yield ""
    for number, step in enumerate(manual.checklist, 1):
        yield f"{number}. {_plain(step)}"
    yield ""
    yield f"Done by {_plain(manual.responsible)}, {_plain(manual.schedule)}."
    yield f"Verified by: {_plain(manual.verification)}"


def _section(title: str) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""


def _rows(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _plain(text: str) -> str:
    """Escapes what Markdown or HTML would interpret."""
    return "".join(f"\\{sign}" if sign in "\\`*[]<|" else sign for sign in " ".join(text.split()))


def _cell(text: str) -> str:
    return "<br>".join(_plain(line) for line in text.splitlines())


def _code(rule: str) -> str:
    """A rule in a code span inside a table, where only the bar must be escaped (GitHub Flavored Markdown, 4.10)."""
    fence = "``" if "`" in rule else "`"
    return f"{fence}{' '.join(rule.split())}{fence}".replace("|", "\\|") if rule else ""
