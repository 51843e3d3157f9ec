"""Finds and reads descriptions: those that come with Sorbus, and a user's own beside the map."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from sorbus.api.description import Description
from sorbus.errors import Finding, MapError
from sorbus.map.document import read_document
from sorbus.map.explain import explain
from sorbus.mapping.failure import closest

_SYSTEMS = Path(str(files("sorbus.api") / "systems"))


def shipped() -> list[str]:
    """The names of the descriptions that come with Sorbus."""
    return sorted(file.stem for file in _SYSTEMS.glob("*.yaml"))


def description_file(name_or_path: str, folder: Path) -> Path:
    """Where a description is: a shipped one by its name, a user's own by a path from `folder` that ends in .yaml."""
    own = name_or_path.endswith((".yaml", ".yml"))
    return folder / name_or_path if own else _SYSTEMS / f"{Path(name_or_path).name}.yaml"


def load_description(name_or_path: str, folder: Path = Path()) -> Description:
    """The description called `name_or_path`; MapError with every fault, each with its line in the file."""
    file = description_file(name_or_path, folder)
    if not file.is_file():
        if file.parent == _SYSTEMS:
            message = f"no description is called {name_or_path!r}"
            cure = f"{closest(name_or_path, shipped())}; or name your own file, such as apis/mine.yaml"
        else:
            message, cure = f"there is no file {file}", "mend the path: it begins at the map's folder"
        raise MapError([Finding(file, 1, message, cure, "unknown-api")])
    return _read(file, file.stat().st_mtime_ns)


@cache
def _read(file: Path, changed: int) -> Description:  # noqa: ARG001 - a changed file is another entry
    document = read_document(file)
    findings = list(document.findings)
    if not findings:
        try:
            return Description.model_validate(document.data if document.data is not None else {})
        except ValidationError as error:
            findings += [
                Finding(file, document.line(*found.path), found.message, found.cure, found.code)
                for found in explain(error, document.data, Description, whole="the description")
            ]
    raise MapError(sorted(findings))
