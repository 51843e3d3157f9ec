"""Pages for people who read no code: complete, linked, and in the office's words."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sorbus.map.load import load_map
from sorbus.map.render.pages.flow_words import timing_in_words
from sorbus.map.render.pages.html_page import to_html
from sorbus.map.render.pages.markdown_page import to_markdown_page
from sorbus.map.render.pages.overview import pages
from sorbus.map.render.report import document
from tests.commands import type_command

Golden = Callable[[str, str], None]
LARKSPUR = Path(__file__).parent / "larkspur" / "map.yaml"
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/map.yaml"))
FOREIGN = re.compile(
    r"\b(kafka|topic|partition|offset|consumer|producer|payload|schema registry|avro|json|sql|replication|slot|commit|"
    r"idempotent|canonical|null|boolean|string|regex|jinja|yaml)\b",
    re.IGNORECASE,
)
"""Words that a bookkeeper doesn't use; names and notes of the map itself may."""


class Shape(HTMLParser):
    """Links, anchors and open tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [str(found["href"])] if tag == "a" else []
        self.anchors |= {f"#{found['id']}"} if found.get("id") else set()
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["index", "customer", "price"])
def test_the_pages_of_a_company(golden: Golden, name: str) -> None:
    found = {page.name: page for page in pages(load_map(LARKSPUR))}
    golden(f"pages-{name}.md", to_markdown_page(found[name]))
    golden(f"pages-{name}.html", to_html(found[name]))


@pytest.mark.parametrize("file", [LARKSPUR, *EXAMPLES], ids=lambda file: file.parent.name)
def test_every_flow_and_field_is_told_and_every_link_leads_somewhere(file: Path) -> None:
    loaded = load_map(file)
    found = {page.name: to_html(page) for page in pages(loaded)}
    shapes = {name: Shape(text) for name, text in found.items()}

    assert set(found) == {"index", *loaded.map.data_types}
    for name, shape in shapes.items():
        assert shape.open == []
        for link in shape.links:
            assert link in shape.anchors if link.startswith("#") else link.removesuffix(".html") in found, (name, link)
    for item in document(loaded).flows:
        text = found[item.flow.data_type]
        assert f'id="{item.flow.id}"' in text
        if item.flow.none is None:
            for path in item.paths:
                assert path.target_field.rpartition(".")[2] in text, f"{item.flow.id}: {path.target_field}"


def test_the_words_are_those_of_an_office() -> None:
    loaded = load_map(LARKSPUR)
    own = " ".join([LARKSPUR.read_text(), *(row.notes + row.rule for row in loaded.mappings)]).casefold()
    for page in pages(loaded):
        foreign = {word for word in FOREIGN.findall(to_markdown_page(page)) if word.casefold() not in own}
        assert foreign == set(), page.name


def test_what_a_map_says_is_text_in_a_page(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> | [x](javascript:1) `a` **b**"
    (tmp_path / "map.yaml").write_text(
        "systems:\n"
        f"  crm: {{kind: postgres, owner: Sales, notes: {evil!r}}}\n"
        "  book: {kind: postgres}\n"
        f"data_types:\n  product: {{system_of_record: crm, source: {{table: t}}, notes: {evil!r}}}\n"
        f"flows:\n  - {{data_type: product, to: book, none: {evil!r}}}\n"
    )
    for page in pages(load_map(tmp_path / "map.yaml")):
        assert "<script" not in to_html(page)
        assert not re.search(r"(?<!\\)<script", to_markdown_page(page))
        assert not re.search(r"(?<!\\)\]\(javascript", to_markdown_page(page))


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        ("real-time", "at once, usually within seconds"),
        ("every 15m", "every 15 minutes"),
        ("every 1h", "every hour"),
        ("cron 0 2 * * *", "every day at 02:00 (UTC)"),
        ("cron 30 18 * * 1-5 Europe/London", "Monday to Friday at 18:30 (Europe/London)"),
        ("cron 0 9 * * 1", "every Monday at 09:00 (UTC)"),
        ("cron */7 * 1,15 * *", "cron */7 * 1,15 * *"),
        ("working days at 18:00 Europe/London", "working days at 18:00 Europe/London"),
    ],
)
def test_a_timing_is_said_in_words_or_shown_as_written(timing: str, words: str) -> None:
    assert timing_in_words(timing) == words


def test_the_command_writes_a_folder(tmp_path: Path) -> None:
    def typed(*more: str, status: int = 0) -> str:
        done = type_command("--map", str(LARKSPUR), "map", "doc", "--pages", str(tmp_path / "out"), *more)
        assert done.exit_code == status, done.output
        return done.output

    assert "an overview and" in typed()
    assert {"index.html", "map.svg"} <= {file.name for file in (tmp_path / "out").iterdir()}
    typed("--format", "md")
    assert (tmp_path / "out" / "index.md").is_file()
    assert "--pages writes HTML" in typed("--rows", status=2)


def test_what_a_process_step_makes_is_corrected_where_it_is_made_from() -> None:
    (file,) = [file for file in EXAMPLES if file.parent.name == "steps"]
    told = {page.name: to_markdown_page(page) for page in pages(load_map(file))}["delivery"]

    assert "Correct the order that it is made from." in told
    assert "Correct it in" not in told
