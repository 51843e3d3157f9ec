"""Nobody reads a word that the glossary has banned: in help, pages, mails, documents, errors and log lines."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from sorbus.cli.app import application

ROOT = Path(__file__).parent.parent
GLOSSARY = ROOT / "docs" / "glossary.md"
BANNED = dict(
    re.findall(r"^\| `([^`]+)` \| (.+) \|$", GLOSSARY.read_text("utf-8").partition("## Words that we")[2], re.M)
)
WORDS = re.compile("|".join(rf"\b{word}\b" for word in BANNED), re.IGNORECASE)

TEMPLATES = [*(ROOT / "ops").glob("*/templates/*")]
DOCUMENTS = [
    *(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY")),
    *(file for file in (ROOT / "docs").rglob("*.md") if file != GLOSSARY),
]
MODULES = [
    file for folder in ("sorbus", "producers", "consumers", "dlq", "ops") for file in (ROOT / folder).rglob("*.py")
]
CLEAN = [
    *(ROOT / "sorbus").glob("*.py"),
    *(
        file
        for folder in [
            "audit",
            "avro",
            "bus",
            "cli",
            "conflict",
            "conformance",
            "drift",
            "http_api",
            "identity",
            "map",
            "mapfile",
            "mapping",
            "postgres",
            "privacy",
            "state",
            "telemetry",
            "waiting",
        ]
        for file in (ROOT / "sorbus" / folder).rglob("*.py")
    ),
]
"""Modules whose docstrings and comments are free of IDIOMS as well; extend it folder by folder."""
IDIOMS = re.compile(
    r"\b(?:(?:go|goes|went|going) on(?: by (?:itself|themselves)| where)?|somebody|whom|anew|just now|can't be told"
    r"|in vain|for ever|deeds?|mend(?:s|ed|ing)?|in good hands|hears|heard|ears?|taken up|in its own words"
    r"|(?:is|are) gone|as it was|(?<!there )is no (?!longer|more|such)|no such thing)\b",
    re.IGNORECASE,
)


def banned(text: str) -> list[str]:
    """Every banned word of a text, with what stands around it."""
    text = " ".join(text.split())
    return [f"{hit[0]!r} in ...{text[max(0, hit.start() - 30) : hit.end() + 30]}..." for hit in WORDS.finditer(text)]


def prose(markdown: str) -> str:
    """A page without its code, its links' addresses and its pictures' names."""
    return re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", " ", markdown, flags=re.DOTALL)


def shown(template: str) -> str:
    """A page without its expressions and without the attributes that nobody reads."""
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", " ", template, flags=re.DOTALL)
    return re.sub(
        r"\s(?:class|id|name|value|href|action|for|src|data-[a-z-]+|aria-(?:labelledby|describedby))=\"[^\"]*\"",
        " ",
        text,
    )


def strings(module: Path) -> Iterator[tuple[int, str]]:
    """Texts of several words in a module that aren't docstrings, each part of an f-string with its line."""
    tree = ast.parse(module.read_text("utf-8"))
    silent = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in silent
            and " " in node.value
        ):
            yield node.lineno, node.value


def comments(module: Path) -> Iterator[tuple[int, str]]:
    """The docstrings and comments of a module, with their lines."""
    text = module.read_text("utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def commands(command: click.Command, name: str = "sorbus") -> Iterator[tuple[str, str]]:
    """Every command with the text of its --help."""
    with click.Context(command, info_name=name) as context:
        yield name, command.get_help(context) or ""
        for each in command.list_commands(context) if isinstance(command, click.Group) else []:
            inner = command.get_command(context, each)
            assert inner is not None
            yield from commands(inner, f"{name} {each}")


def test_the_glossary_says_what_to_say_instead() -> None:
    assert len(BANNED) > 10
    assert all(BANNED.values())


def test_no_help_has_a_banned_word(capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for name, text in commands(typer.main.get_command(application())):
        if wrong := banned(text + capsys.readouterr().out):
            found[name] = wrong
    assert found == {}


@pytest.mark.parametrize("files", [TEMPLATES, DOCUMENTS], ids=["templates", "documents"])
def test_no_page_has_a_banned_word(files: list[Path]) -> None:
    read = {file.relative_to(ROOT): file.read_text("utf-8") for file in files if file.is_file()}
    assert len(read) > 5
    texts = {file: prose(text) if file.suffix == ".md" else shown(text) for file, text in read.items()}
    assert {str(file): found for file, text in texts.items() if (found := banned(text))} == {}


def test_no_message_of_the_code_has_a_banned_word() -> None:
    found = {
        f"{module.relative_to(ROOT)}:{line}": wrong
        for module in MODULES
        for line, text in strings(module)
        if (wrong := banned(text))
    }
    assert found == {}


def test_no_docstring_or_comment_of_a_clean_folder_has_an_idiom() -> None:
    assert len(CLEAN) > 200
    found = {
        f"{module.relative_to(ROOT)}:{line}": [hit[0] for hit in hits]
        for module in CLEAN
        for line, text in comments(module)
        if (hits := [*WORDS.finditer(joined := " ".join(text.split())), *IDIOMS.finditer(joined)])
    }
    assert found == {}
