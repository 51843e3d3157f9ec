"""A company's map in a folder of the test's own, and the command line run in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest
from typer.testing import Result

from tests.commands import type_command

EXAMPLE = Path(__file__).parents[2] / "examples" / "company"


class Sorbus(Protocol):
    """Runs `sorbus ARGUMENTS`; the result has exit_code, stdout and stderr."""

    def __call__(self, *arguments: str | Path, input: str | None = None) -> Result: ...


@pytest.fixture
def sorbus() -> Sorbus:
    def run(*arguments: str | Path, input: str | None = None) -> Result:
        return type_command(*map(str, arguments), input=input)

    return run


@pytest.fixture
def company(tmp_path: Path) -> Path:
    """The example company's map.yaml, in a folder where a test may change it."""
    folder = tmp_path / "company"
    shutil.copytree(EXAMPLE, folder)
    return folder / "map.yaml"


@pytest.fixture
def change(company: Path) -> Callable[[str, str], Path]:
    """Replaces a text in the company's map; the text must be there."""

    def replace(old: str, new: str) -> Path:
        text = company.read_text("utf-8")
        assert old in text, f"{old!r} is not in the example's map any more"
        company.write_text(text.replace(old, new, 1), "utf-8")
        return company

    return replace
