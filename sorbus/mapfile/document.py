"""A YAML file as plain data, with the line of every part of it.

Built from the node tree, not by a loader, so that all duplicate keys are found, keys keep their text (`01` in a lookup
table is not a number), and nothing in a document can construct an object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pydantic import JsonValue
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sorbus.errors import Finding

LARGEST = 5_000_000
_MOST_NODES = 200_000
_DEEPEST = 40
_SMALL = 100_000

Path_ = tuple[str | int, ...]


def _compose(text: str) -> Node | None:
    root: Node | None = YAML(typ="safe", pure=True).compose(text)
    return root


_compose_once = lru_cache(maxsize=8)(_compose)
"""Cached: descriptions and maps are read again for every connector, and nodes are never modified."""


@dataclass(slots=True)
class Document:
    """A file's content. `data` is None if it can't be read; `findings` say why, and list duplicate keys."""

    file: Path
    data: JsonValue = None
    lines: dict[Path_, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def line(self, *path: str | int) -> int:
        """The line of a part, such as ("flows", 0, "timing"); of the nearest enclosing part if it isn't written."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def find(self, line: int, code: str, message: str, fix: str) -> None:
        self.findings.append(Finding(self.file, line, message, fix, code))


def read_document(file: Path) -> Document:
    """Reads a YAML file; errors in it, or its absence, become findings, not exceptions."""
    document = Document(file)
    try:
        if file.stat().st_size > LARGEST:
            document.find(1, "too-large", f"the file is larger than {LARGEST // 1_000_000} MB", "split it up")
            return document
        text = file.read_text("utf-8-sig")
    except OSError as error:
        fix = "name the file with --map, or begin one with `sorbus init`"
        document.find(1, "unreadable", f"can't read the file: {error.strerror}", fix)
        return document
    except UnicodeDecodeError as error:
        document.find(1, "unreadable", f"the file is not UTF-8 (byte {error.start})", "save it as UTF-8")
        return document
    try:
        root = _compose(text) if len(text) > _SMALL else _compose_once(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        fix = "fix the YAML there: look at indentation, colons and quotes"
        document.find(mark.line + 1 if mark else 1, "bad-yaml", f"not valid YAML: {what}", fix)
        return document
    except (YAMLError, RecursionError, ValueError) as error:
        fix = "take the character out" if isinstance(error, YAMLError) else "nest it less deeply"
        document.find(1, "bad-yaml", f"not valid YAML: {str(error).splitlines()[0]}", fix)
        return document
    if root is not None:
        _Builder(document).build(root)
    return document


class _Builder:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes = 0

    def build(self, root: Node) -> None:
        try:
            self.document.data = self.value(root, ())
        except _TooMuch as error:
            self.document.data = None
            self.document.find(error.line, "too-large", str(error), "write it out without anchors, or split it up")

    def value(self, node: Node, path: Path_) -> JsonValue:
        line: int = node.start_mark.line + 1
        self.nodes += 1
        if self.nodes > _MOST_NODES or len(path) > _DEEPEST:
            raise _TooMuch(line)
        self.document.lines.setdefault(path, line)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, place)) for place, item in enumerate(node.value)]
        if isinstance(node, MappingNode):
            return self.mapping(node, path)
        assert isinstance(node, ScalarNode)
        return self.scalar(node, line)

    def mapping(self, node: MappingNode, path: Path_) -> dict[str, JsonValue]:
        out: dict[str, JsonValue] = {}
        merged: dict[str, JsonValue] = {}
        for key, inner in node.value:
            line: int = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self.document.find(line, "bad-key", "a key is a list or a mapping", "write a word before the colon")
                continue
            name = str(key.value)
            if key.tag == "tag:yaml.org,2002:merge" or name == "<<":
                for item in inner.value if isinstance(inner, SequenceNode) else [inner]:
                    if isinstance(found := self.value(item, path), dict):
                        merged = {**found, **merged}
                continue
            if name in out:
                first = self.document.lines[(*path, name)]
                self.document.find(
                    line, "double-key", f"{name!r} is written twice, first in line {first}", "delete one"
                )
                continue
            self.document.lines[(*path, name)] = line
            out[name] = self.value(inner, (*path, name))
        return {**merged, **out}

    def scalar(self, node: ScalarNode, line: int) -> JsonValue:
        text, kind = str(node.value), str(node.tag).rpartition(":")[2]
        if not str(node.tag).startswith("tag:yaml.org,2002:"):
            self.document.find(line, "bad-yaml", f"the tag {node.tag} is not allowed", "write the plain value")
            return text
        plain: Mapping[str, JsonValue] = {"null": None, "bool": text.lower() in ("true", "yes", "on")}
        if kind in plain:
            return plain[kind]
        try:
            if kind == "int":
                return int(text.replace("_", ""), 0 if text.lstrip("+-")[:2].lower() in ("0x", "0o", "0b") else 10)
            if kind == "float":
                return float(text.replace("_", ""))
        except ValueError:
            return text
        return text


class _TooMuch(Exception):
    def __init__(self, line: int) -> None:
        self.line = line
        super().__init__("the file unfolds into too many parts, or is nested too deeply")
