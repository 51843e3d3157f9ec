"""A map with ten different mistakes, and the ten findings: each with its line and what to write instead."""

from __future__ import annotations

from pathlib import Path

from sorbus.map.checks.check import check
from sorbus.map.load import load_map

FOLDER = Path(__file__).parent / "ten_mistakes"


def test_ten_mistakes_give_ten_findings_as_the_golden_file_has_them() -> None:
    findings = check(load_map(FOLDER / "map.yaml"))

    text = "".join(f"{finding}\n".replace(f"{FOLDER}/", "") for finding in findings)
    assert text == (FOLDER / "findings.txt").read_text("utf-8")
    assert len({finding.code for finding in findings}) == 10


def test_no_finding_shows_the_secret() -> None:
    assert "not-so-secret" not in "".join(map(str, check(load_map(FOLDER / "map.yaml"))))
