"""The rules' reference page."""

from pathlib import Path

from sorbus.mapping.filters import FILTERS
from sorbus.mapping.rules_page import reference

FILE = Path(__file__).parents[2] / "docs" / "rules.md"


def test_the_reference_page_is_what_the_filters_say() -> None:
    assert FILE.read_text("utf-8") == reference(), "run: sorbus map rules -o docs/rules.md"


def test_every_filter_has_an_entry_with_words() -> None:
    assert [name for name, found in FILTERS.items() if len(found.doc) < 20] == []
