"""A company's first map: the files, from people's answers and the discovery of their systems."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from sorbus.connector import consumer_connector, known_kinds, producer_connector
from sorbus.map.authoring.draft_map import Row, guessed_source, rows, sheet, source_options, target_options
from sorbus.map.authoring.matching import Proposal
from sorbus.map.secrets import references
from sorbus.mapfile.model import Manual, Map, Name, Options
from sorbus.schema import RecordSchema
from sorbus.spelling import closest

SCHEMA_FILE = "map.schema.json"
_COMMENTS = {
    "systems": (
        "The tools that the company runs, and the contact for each.",
        "Secrets only as ${NAME}: from the environment, or from .env beside this file.",
    ),
    "data_types": (
        "What is shared. One system owns each; which of its fields is which is in mappings/.",
        "The fields are those of Sorbus's schemas; your own schemas go into schemas/NAME.avsc.",
    ),
    "flows": (
        "What goes where, and when: real-time, every 15m, or cron 0 2 * * * Europe/London.",
        "What is done by hand has `manual:`; what isn't integrated says why in `none:`.",
    ),
}


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SystemAnswer(_Written):
    """A tool. Without a connection, each setting that its kind needs is written as ${SYSTEM_SETTING}."""

    kind: str = "postgres"
    connection: Options | None = None
    owner: str | None = None
    notes: str | None = None
    shadow: bool = False


class FlowAnswer(_Written):
    """Where a data type goes, and how."""

    data_type: Name
    to: Name
    timing: str = "real-time"
    manual: Manual | None = None
    none: str | None = None


class Answers(_Written):
    """The content of `sorbus init --answers FILE`; what is missing is asked, or guessed with --yes."""

    company: str | None = None
    systems: dict[Name, SystemAnswer] | None = None
    data_types: dict[Name, Name] | None = Field(default=None, description="Data type -> the system that owns it.")
    flows: list[FlowAnswer] | None = None


@dataclass(frozen=True, slots=True)
class Beginning:
    """The input of a first map. `found` are guesses by system, for those that were reachable."""

    company: str
    systems: Mapping[str, SystemAnswer]
    data_types: Mapping[str, str]
    flows: Sequence[FlowAnswer]
    schemas: Mapping[str, RecordSchema]
    found: Mapping[str, Sequence[Proposal]] = field(default_factory=dict)

    def proposal(self, system: str, data_type: str) -> Proposal | None:
        """The likely table of `data_type` in `system`."""
        return next((each for each in self.found.get(system, ()) if each.data_type == data_type), None)

    def is_target(self, system: str, data_type: str) -> bool:
        """Whether an automatic flow brings `data_type` to `system`."""
        ways = [each for each in self.flows if (each.to, each.data_type) == (system, data_type)]
        return any(each.manual is None and each.none is None for each in ways)


def connection_of(name: str, answer: SystemAnswer) -> Options:
    """A system's connection: as answered, or its kind's required settings as ${NAME}."""
    if answer.connection is not None:
        return answer.connection
    model = connection_model(answer.kind)
    if model is None:
        return {}
    prefix = name.upper().replace("-", "_")
    needed = [each for each, info in model.model_fields.items() if info.is_required()]
    return {each: f"${{{prefix}_{each.upper()}}}" for each in needed}


def connection_model(kind: str) -> type[BaseModel] | None:
    """The connection settings of a kind of system; None if Sorbus has no connector for it."""
    if kind in known_kinds("sorbus.producers"):
        return producer_connector(kind).Connection
    return consumer_connector(kind).Connection if kind in known_kinds("sorbus.consumers") else None


def contradictions(beginning: Beginning) -> Iterator[str]:
    """Unknown names in the answers; other errors of a map are found by `check`."""
    for name, owner in beginning.data_types.items():
        if owner not in beginning.systems:
            yield f"the owner of {name}: no system is called {owner!r}; {closest(owner, beginning.systems)}"
        if name not in beginning.schemas:
            yield f"no data type is called {name!r}; {closest(name, beginning.schemas)}, or write schemas/{name}.avsc"
    for flow in beginning.flows:
        if flow.to not in beginning.systems:
            yield f"{flow.data_type} to {flow.to}: no such system; {closest(flow.to, beginning.systems)}"
        if flow.data_type not in beginning.data_types:
            yield f"{flow.data_type} to {flow.to}: {flow.data_type} has no owner; name its owner under data_types"


def files(beginning: Beginning) -> dict[Path, str]:
    """The files of the map, by their path in its folder."""
    made = {Path("map.yaml"): _map(beginning), Path(".env.example"): _environment(beginning)}
    for system, proposals in beginning.found.items():
        if lines := _rows(beginning, system, proposals):
            made[Path("mappings", f"{system}.csv")] = sheet(lines)
    return made


def _rows(beginning: Beginning, system: str, proposals: Sequence[Proposal]) -> list[Row]:
    own = [each for each in proposals if beginning.data_types.get(each.data_type) == system]
    taken = [each for each in proposals if each not in own and beginning.is_target(system, each.data_type)]
    return rows(system, own) + rows(system, taken, [each.data_type for each in taken])


def _map(beginning: Beginning) -> str:
    tree = CommentedMap(company=beginning.company)
    tree["systems"] = CommentedMap((name, _system(name, answer)) for name, answer in beginning.systems.items())
    tree["data_types"] = CommentedMap((name, _data_type(beginning, name)) for name in beginning.data_types)
    tree["flows"] = [_flow(beginning, answer) for answer in beginning.flows]
    tree.yaml_set_start_comment(
        f"yaml-language-server: $schema={SCHEMA_FILE}\n{beginning.company}: its map for Sorbus."
    )
    for key, lines in _COMMENTS.items():
        tree.yaml_set_comment_before_after_key(key, before="\n".join(["", *lines]))
    yaml, text = YAML(), io.StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 110
    yaml.dump(tree, text)
    return text.getvalue()


def _system(name: str, answer: SystemAnswer) -> CommentedMap:
    tree = CommentedMap(kind=answer.kind)
    if connection := connection_of(name, answer):
        tree["connection"] = connection
    for key in ("owner", "notes"):
        if value := getattr(answer, key):
            tree[key] = value
    if answer.shadow:
        tree["shadow"] = True
    return tree


def _data_type(beginning: Beginning, name: str) -> CommentedMap:
    owner = beginning.data_types[name]
    tree = CommentedMap(system_of_record=owner)
    kind = beginning.systems[owner].kind
    if kind in known_kinds("sorbus.producers"):
        model = producer_connector(kind).Source
        held = beginning.proposal(owner, name)
        options = source_options(held, model) if held else None
        tree["source"] = options or guessed_source(name, model)
    return tree


def _flow(beginning: Beginning, answer: FlowAnswer) -> CommentedMap:
    tree = CommentedMap(data_type=answer.data_type, to=answer.to)
    if answer.none is not None:
        tree["none"] = answer.none
    elif answer.manual is not None:
        tree["manual"] = answer.manual.model_dump()
    else:
        tree["timing"] = answer.timing
        kind = beginning.systems[answer.to].kind
        if kind in known_kinds("sorbus.consumers"):
            model, held = consumer_connector(kind).Target, beginning.proposal(answer.to, answer.data_type)
            if options := target_options(beginning.schemas[answer.data_type], model, held):
                tree["target"] = options
    return tree


def _environment(beginning: Beginning) -> str:
    return "\n".join(_environment_lines(beginning)) + "\n"


def _environment_lines(beginning: Beginning) -> Iterator[str]:
    from sorbus.settings import Settings

    yield "# Copy to .env and fill in; .env is for secrets and stays out of version control."
    for name, answer in beginning.systems.items():
        connection: JsonValue = connection_of(name, answer)
        for reference in dict.fromkeys(references(connection)):
            yield ""
            yield f"# {name} ({answer.kind})"
            yield f"{reference}={'postgresql://USER:PASSWORD@HOST:5432/DATABASE' if answer.kind == 'postgres' else ''}"
    for name, info in Settings.model_fields.items():
        yield ""
        yield f"# {info.description}"
        default = info.default if isinstance(info.default, str) else ""
        yield f"# SORBUS_{name.upper()}={default}"


def as_map(beginning: Beginning) -> Map:
    """The systems alone as a map, to discover them before there is a file."""
    systems = {
        name: {"kind": answer.kind, "connection": connection_of(name, answer)}
        for name, answer in beginning.systems.items()
    }
    return Map.model_validate({"company": beginning.company, "systems": systems, "data_types": {}})
