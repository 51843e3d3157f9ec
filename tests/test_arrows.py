"""The arrows between the folders point one way."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OUTER = ("producers", "consumers", "schemas", "dlq", "ops")
MAY_IMPORT = {"producers": (), "consumers": (), "schemas": (), "dlq": (), "ops": ("dlq",)}


def imported(file: Path) -> set[str]:
    """Every module that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def reaches(file: Path, folders: tuple[str, ...]) -> set[str]:
    return {name for name in imported(file) if name.startswith(tuple(f"sorbus.{folder}" for folder in folders))}


def test_the_core_imports_none_of_the_folders_around_it() -> None:
    core = [file for file in (ROOT / "sorbus").rglob("*.py") if file.relative_to(ROOT / "sorbus").parts[0] not in OUTER]
    assert len(core) > 30
    assert {str(file): found for file in core if (found := reaches(file, OUTER))} == {}


@pytest.mark.parametrize("folder", OUTER)
def test_the_folders_around_the_core_know_only_the_core(folder: str) -> None:
    others = tuple(other for other in OUTER if other != folder and other not in MAY_IMPORT[folder])
    wrong = {str(file): found for file in (ROOT / folder).rglob("*.py") if (found := reaches(file, others))}
    assert wrong == {}
