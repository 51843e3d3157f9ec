"""What README shows is true."""

import csv
import re
from pathlib import Path

import pytest

from sorbus.map.checks.check import check
from sorbus.map.load import load_map

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")]


def test_the_example_map_with_its_sheet_has_no_findings(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(re.findall(r"```yaml\n(.*?)```", README, re.S)[0], "utf-8")
    rows = [
        [cell.strip().strip("`").replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in README.splitlines()
        if line.startswith(("| Source System", "| crm", "| canonical"))
    ]
    assert len(rows) == 4
    (tmp_path / "mappings").mkdir()
    with (tmp_path / "mappings" / "sheet.csv").open("w", encoding="utf-8", newline="") as sheet:
        csv.writer(sheet).writerows(rows)
    assert [str(finding) for finding in check(load_map(tmp_path / "map.yaml"))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
    missing = [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]
    assert missing == []


def test_every_place_that_architecture_names_is_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    places = {place for place in re.findall(r"`([\w./-]+/[\w./-]*)`", text) if not place.startswith("http")}
    assert len(places) > 25
    assert sorted(place for place in places if not (ROOT / place).exists()) == []


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = {target for page in PAGES for target in re.findall(r"make ([a-z][a-z-]+)\b", page.read_text("utf-8"))}
    ours = {
        target
        for target in named
        if "-" in target or target in ("demo", "test", "setup", "lint", "lock", "bench", "chaos")
    }
    assert sorted(target for target in ours if not re.search(rf"^{target}:", makefile, re.M)) == []
