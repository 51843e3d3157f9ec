"""The connector of docs/write-a-connector.md is built, installed, run on the conformance suite, and then in a map."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from tests.consumers.line import eventually

CONNECTOR = Path(__file__).parents[2] / "examples" / "connector"
PAGE = CONNECTOR.parents[1] / "docs" / "write-a-connector.md"
MAP = """
topic_prefix: {prefix}.
systems:
  shop: {{kind: sqlite, connection: {{file: shop.db}}, owner: Sales}}
  books: {{kind: sqlite, connection: {{file: books.db}}, owner: Finance}}
data_types:
  gadget: {{system_of_record: shop, source: {{resource: gadgets}}, partitions: 1}}
flows:
  - {{data_type: gadget, to: books, target: {{resource: stock}}}}
"""
GADGET = {"type": "record", "name": "gadget", "fields": [{"name": "name", "type": "string"}]}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the built package is installed, beside Sorbus."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-index", "--no-deps"]
    run([*pip, "--no-build-isolation", "--target", str(folder), str(CONNECTOR)], folder)
    return folder


def run(command: list[str], folder: Path, **env: str) -> str:
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_example_passes_the_conformance_suite(installed: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        os.devnull,
        "--rootdir",
        str(tmp_path),
        "-p",
        "no:cacheprovider",
    ]
    tests = [str(CONNECTOR / "test_target.py"), str(CONNECTOR / "test_source.py")]
    told = run([*command, *tests], tmp_path, PYTHONPATH=str(installed))
    assert " passed" in told


@pytest.mark.parametrize("file", ["pyproject.toml", "sorbus_sqlite/target.py", "test_target.py"])
def test_the_page_shows_the_example_as_it_is(file: str) -> None:
    assert f"\n{(CONNECTOR / file).read_text('utf-8')}```\n" in PAGE.read_text("utf-8")


@pytest.mark.slow
def test_a_map_may_name_the_installed_kind(installed: Path, tmp_path: Path, stack: Addresses, unique: str) -> None:
    (tmp_path / "map.yaml").write_text(MAP.format(prefix=unique))
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "gadget.avsc").write_text(json.dumps(GADGET))
    env = {**stack.env(), "PYTHONPATH": str(installed), "SORBUS_MAP": str(tmp_path / "map.yaml")}
    sorbus = str(Path(sys.executable).with_name("sorbus"))
    run([sorbus, "apply", "--yes"], tmp_path, **env)
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("insert into records values ('gadgets', '1', 0, '{\"name\": \"Gear\"}')")
    with (tmp_path / "log").open("wb") as log:
        up = subprocess.Popen(
            [sorbus, "up", "--no-watch", "--base-port", "0"],
            cwd=tmp_path,
            env={**os.environ, **env},
            stdout=log,
            stderr=log,
        )
    try:

        def arrived() -> list[tuple[str, str]]:
            return sqlite3.connect(tmp_path / "books.db").execute("select resource, record from records").fetchall()

        found = eventually(arrived, f"the gadget in books; {(tmp_path / 'log').read_text()[-2000:]}")
        assert [(resource, json.loads(record)) for resource, record in found] == [
            ("stock", {"id": "1", "name": "Gear"})
        ]
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(30)
