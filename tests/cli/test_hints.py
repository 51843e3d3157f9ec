"""Every command that a message, a page or a runbook names is there: a hint that leads nowhere is worse than none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from sorbus.cli.app import application

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(?:[A-Z_]+=\S+ )*sorbus ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)(?![\w=])[^`\n]*`")
FOLDERS = ("sorbus", "producers", "consumers", "dlq", "ops", "docs", "examples")
KINDS = {".py", ".md", ".html", ".yml", ".yaml", ".toml", ".tmpl"}
FILES = [
    *(file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*")) if file.suffix in KINDS),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")),
]


def named(text: str) -> Iterator[str]:
    for found in NAMED.finditer(" ".join(text.split("\n"))):
        yield found[1]


def test_every_command_that_is_named_is_there() -> None:
    root = typer.main.get_command(application())
    commands = getattr(root, "commands")  # noqa: B009  # a group's, which typer's types don't say
    lost: dict[str, set[str]] = {}
    for file in FILES:
        for hint in named(file.read_text("utf-8")):
            first, _, second = hint.partition(" ")
            inner = getattr(commands.get(first), "commands", None)
            if first not in commands or (inner is not None and second and second not in inner):
                lost.setdefault(hint, set()).add(str(file.relative_to(ROOT)))

    assert lost == {}


def test_hundreds_of_hints_are_looked_at() -> None:
    assert sum(len([*named(file.read_text("utf-8"))]) for file in FILES) > 300


@pytest.mark.parametrize(
    ("text", "hints"), [("run `sorbus apply`", ["apply"]), ("`sorbus dlq list --json`", ["dlq list"])]
)
def test_a_hint_is_read_as_a_person_reads_it(text: str, hints: list[str]) -> None:
    assert list(named(text)) == hints
