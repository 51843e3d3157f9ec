"""The arrows between the folders point one way."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OUTER = ("producers", "consumers", "schemas", "dlq", "ops")
MAY_IMPORT = {"producers": (), "consumers": (), "schemas": (), "dlq": (), "ops": ("dlq",)}


@cache
def imported(file: Path) -> frozenset[str]:
    """Every module that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


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


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    found = {}
    for top in ("sorbus", *OUTER):
        for file in (ROOT / top).rglob("*.py"):
            parts = [*file.relative_to(ROOT).with_suffix("").parts]
            if top == "sorbus" and parts[1] in (*OUTER, "examples"):
                continue  # a link to a folder of the top level
            dotted = ".".join([*(["sorbus"] if top != "sorbus" else []), *parts]).removesuffix(".__init__")
            found[dotted] = file
    return found


@cache
def arrows() -> dict[str, set[str]]:
    """Module -> the modules that it imports, also where only types are checked."""
    known = modules()
    found: dict[str, set[str]] = {}
    for name, file in known.items():
        found[name] = set()
        named = imported(file)
        for target in named:
            if any(longer.startswith(f"{target}.") for longer in named):
                continue  # `from package import module` is about the module
            while target and target not in known:
                target = target.rpartition(".")[0]
            if target not in ("", "sorbus", name):
                found[name].add(target)
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """What is left once everything that leads nowhere, and all that nothing leads to, is taken away."""
    left = {name: set(targets) for name, targets in graph.items()}
    while True:
        ends = {name for name, targets in left.items() if not targets & left.keys()}
        used = {target for targets in left.values() for target in targets}
        idle = ends | {name for name in left if name not in used}
        if not idle:
            return [sorted(left)] if left else []
        left = {name: targets - idle for name, targets in left.items() if name not in idle}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = arrows()
    assert len(graph) > 400
    assert circles(graph) == []


def test_no_arrow_inside_the_core_runs_up() -> None:
    """Packages have floors: where one imports another, nothing leads back, however long the way."""
    packages: dict[str, set[str]] = {}
    for name, targets in arrows().items():
        own = ".".join(name.split(".")[:2])
        if own.removeprefix("sorbus.") not in OUTER and own != "sorbus":
            packages.setdefault(own, set()).update(".".join(target.split(".")[:2]) for target in targets)
    assert circles({name: targets - {name} for name, targets in packages.items()}) == []


def folder(module: str) -> str:
    return ".".join(module.split(".")[:3])


def test_who_asks_the_kinds_of_decisions_imports_none_of_them() -> None:
    """So that a new kind is a folder and a line in the registry."""
    kinds = {f"sorbus.ops.{file.parent.name}" for file in (ROOT / "ops").glob("*/kind.py")} - {"sorbus.ops.decisions"}
    assert len(kinds) >= 6
    asking = {f"sorbus.ops.{name}" for name in ("console", "decisions", "digest", "monitoring", "trace")}
    known = {
        name: found
        for name, targets in arrows().items()
        if folder(name) in asking and (found := {target for target in targets if folder(target) in kinds})
    }
    assert known.keys() == {"sorbus.ops.decisions.registry"}
