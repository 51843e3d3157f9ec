"""ARCHITECTURE.md names what is there, and every folder of the core."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
SUFFIXES = (".py", ".sql", ".toml", ".yml", ".yaml", ".md", ".json")
LINKS = ("producers", "consumers", "schemas", "dlq", "ops", "examples", "runbooks")


def quoted(text: str) -> list[str]:
    return [word for word in re.findall(r"`([^`\s]+)`", text) if not word.startswith(("http", "${"))]


def folders(line: str) -> list[Path]:
    return [ROOT / word for word in quoted(line) if word.endswith("/")]


def test_every_path_exists() -> None:
    paths = {word for word in quoted(TEXT) if "/" in word}
    assert len(paths) > 60
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("line", [line for line in TEXT.splitlines() if line.startswith("| `")])
def test_every_file_that_is_named_alone_is_in_a_folder_of_its_row(line: str) -> None:
    alone = [word for word in quoted(line) if "/" not in word and word.endswith(SUFFIXES)]
    assert [name for name in alone if not any((folder / name).exists() for folder in folders(line))] == []


def test_every_folder_of_the_core_is_named() -> None:
    core = {
        f"sorbus/{folder.name}/"
        for folder in (ROOT / "sorbus").iterdir()
        if folder.is_dir() and folder.name not in (*LINKS, "__pycache__")
    }
    assert len(core) > 15
    assert core - set(quoted(TEXT)) == set()


@pytest.mark.parametrize("top", ["producers", "consumers", "ops"])
def test_every_package_around_the_core_is_named(top: str) -> None:
    packages = {f"{top}/{file.parent.name}/" for file in (ROOT / top).glob("*/__init__.py")}
    assert packages - set(quoted(TEXT)) == set()


def test_it_stays_short() -> None:
    assert len(TEXT.split()) <= 2300
