"""The index of decisions lists each of them once, by its own title."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "docs" / "decisions"


def test_the_index_lists_each_decision_by_its_title() -> None:
    index = (FOLDER / "README.md").read_text("utf-8")
    listed = re.findall(r"^\| (\d+) \| \[(.+)\]\((.+\.md)\) \|", index, re.MULTILINE)
    files = sorted(file.name for file in FOLDER.glob("0*.md"))
    assert [name for _, _, name in listed] == files
    for number, title, name in listed:
        first = (FOLDER / name).read_text("utf-8").partition("\n")[0]
        assert first == f"# {number}. {title}"
        assert name.startswith(f"{int(number):04}-")
