"""Filters of another package, as it is installed: found by its entry point, typed and checked as ours are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "docs" / "rules.md"
COMPANY = Path(__file__).parents[2] / "examples" / "company"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The example of docs/rules.md, where Python finds it: its module, and what an installer would note of it."""
    [code] = re.findall(r"```python\n(.*?)```", REFERENCE.read_text("utf-8"), re.DOTALL)
    [entry] = re.findall(r"```toml\n(.*?)```", REFERENCE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "acme_rules.py").write_text(code, "utf-8")
    noted = tmp_path / "acme-1.0.dist-info"
    noted.mkdir()
    (noted / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n", "utf-8")
    [(name, module)] = re.findall(r'^(\w+) = "(\w+)"', entry, re.MULTILINE)
    (noted / "entry_points.txt").write_text(f"[sorbus.filters]\n{name} = {module}\n", "utf-8")
    return tmp_path


def sorbus(package: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(package), "COLUMNS": "200"}
    command = [Path(sys.executable).parent / "sorbus", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_an_installed_filter_is_in_the_reference_runs_and_is_checked(package: Path) -> None:
    assert "## `plate`\n\nTakes text; gives text.\n\nA number plate" in sorbus(package, "map", "rules").stdout
    company = Path(shutil.copytree(COMPANY, package / "company"))
    sheet = company / "mappings" / "crm.csv"
    text = sheet.read_text("utf-8")
    assert "crm,customers.email,canonical,customer.email,value | trim | lower" in text
    sheet.write_text(
        text.replace("customer.email,value | trim | lower", "customer.email,value | plate | lower"), "utf-8"
    )
    assert sorbus(package, "--map", str(company / "map.yaml"), "map", "check").returncode == 0
    sheet.write_text(
        text.replace("customer.email,value | trim | lower", "customer.email,value | plate | round"), "utf-8"
    )
    found = sorbus(package, "--map", str(company / "map.yaml"), "map", "check")
    assert (found.returncode, "round takes" in found.stdout) == (1, True), found.stdout + found.stderr


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [("def plate", "def trim", "a filter trim already exists"), ("from sorbus", "from sorbos", "No module named")],
)
def test_one_that_cannot_be_loaded_is_named_with_its_package(package: Path, old: str, new: str, words: str) -> None:
    module = package / "acme_rules.py"
    module.write_text(module.read_text("utf-8").replace(old, new, 1), "utf-8")
    found = sorbus(package, "map", "rules")
    assert found.returncode == 1
    assert "the rules' filters of acme can't be loaded" in found.stderr
    assert words in found.stderr
    assert "Traceback" not in found.stderr
