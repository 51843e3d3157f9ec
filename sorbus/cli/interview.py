"""The questions of `sorbus init`, in order: which tools, which data, who owns it, where it goes and when."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape

from sorbus.abilities import Resource
from sorbus.cli.questions import Questions, as_name
from sorbus.connector import known_kinds
from sorbus.errors import MapError, SorbusError
from sorbus.map.authoring.discovery import all_schemas, discover
from sorbus.map.authoring.draft_map import propose_owners
from sorbus.map.authoring.matching import Proposal, propose
from sorbus.map.authoring.scaffold import (
    Answers,
    Beginning,
    FlowAnswer,
    SystemAnswer,
    as_map,
    connection_model,
    connection_of,
    contradictions,
)
from sorbus.map.loaded import LoadedMap
from sorbus.map.secrets import Secrets, UnknownSecret, references
from sorbus.mapfile.document import Document
from sorbus.mapfile.model import STEP, Manual
from sorbus.timing.schedule import parse_schedule, parse_timing

BY_HAND, NOT = "by hand", "not at all"
_DSN = re.compile(r"([A-Z][A-Z0-9_]*)_DSN")

Found = Mapping[str, Sequence[Proposal]]


class Told(NamedTuple):
    """Result of an interview: the map's first version, the systems' resources, and the secrets entered."""

    beginning: Beginning
    resources: dict[str, Sequence[Resource]]
    secrets: dict[str, str]


def interview(ask: Questions, given: Answers, folder: Path) -> Told:
    """Asks for what isn't given, and discovers the systems that can be reached."""
    company = given.company or ask.text("What is the company called?", folder.resolve().name)
    systems = ask_systems(ask, given)
    if not systems:
        raise SorbusError("a map needs at least one system; name one, or set its NAME_DSN, such as CRM_DSN")
    beginning = Beginning(company, systems, {}, [], {})
    file = folder / "map.yaml"
    secrets = _ask_secrets(ask, systems, Secrets(folder)) if given.systems is None else {}
    known = Secrets(folder, {**os.environ, **secrets})
    loaded = LoadedMap(as_map(beginning), file, Document(file), (), known)
    resources = _look_into(ask.console, loaded)
    schemas = all_schemas(loaded)
    found = {name: propose(each, schemas) for name, each in resources.items()}
    data_types = ask_data_types(ask, given, list(systems), found, list(schemas))
    flows = ask_flows(ask, given, systems, data_types, found)
    whole = replace(beginning, data_types=data_types, flows=flows, schemas=schemas, found=found)
    if wrong := list(contradictions(whole)):
        raise SorbusError("the answers don't fit together: " + "\n    ".join(["", *wrong]))
    return Told(whole, resources, secrets)


def _ask_secrets(ask: Questions, systems: Mapping[str, SystemAnswer], known: Secrets) -> dict[str, str]:
    """The connections' ${NAME}s that have no value yet."""
    typed: dict[str, str] = {}
    for name, answer in systems.items():
        for variable in references(connection_of(name, answer)):
            try:
                known.value(variable)
            except UnknownSecret:
                like = " (postgresql://USER:PASSWORD@HOST/DATABASE)" if answer.kind == "postgres" else ""
                question = f"  {variable}{like}, kept in .env; Enter for later"
                if value := ask.secret(question):
                    typed[variable] = value
    return typed


def _look_into(console: Console, loaded: LoadedMap) -> dict[str, Sequence[Resource]]:
    found: dict[str, Sequence[Resource]] = {}
    for name, system in loaded.map.systems.items():
        if connection_model(system.kind) is None:
            continue
        try:
            with console.status(f"discovering {name}"):
                found[name] = discover(loaded, name)
        except SorbusError as error:
            why = error.findings[0].message if isinstance(error, MapError) else str(error)
            text = f"{name} can't be reached now, so its tables are guessed: {escape(why)}"
            console.print(text, highlight=False, soft_wrap=True)
    return found


def ask_systems(ask: Questions, answers: Answers) -> dict[str, SystemAnswer]:
    """The tools; those with a NAME_DSN in the environment are offered first."""
    if answers.systems is not None:
        return dict(answers.systems)
    systems: dict[str, SystemAnswer] = {}
    for variable in sorted(os.environ):
        matched = _DSN.fullmatch(variable)
        if matched and not variable.startswith("SORBUS_"):
            name = as_name(matched[1])
            if ask.yes(f"{variable} is set. Is [bold]{name}[/] one of the tools?", True):
                systems[name] = _system(ask, name, SystemAnswer())
    ask.say("\nWhich tools does the company run? One at a time; Enter to finish. Spreadsheets count.")
    while name := as_name(ask.text("Tool")):
        systems[name] = _system(ask, name, SystemAnswer())
    return systems


def _system(ask: Questions, name: str, offered: SystemAnswer) -> SystemAnswer:
    kinds = sorted({*known_kinds("sorbus.producers"), *known_kinds("sorbus.consumers"), "other"} - {STEP})
    kind = ask.one("  What is it?", offered.kind, kinds)
    owner = ask.text(f"  Who knows about {name}? A person or a team") or None
    shadow = kind == "spreadsheet" and ask.yes("  Is it an unofficial one?", False)
    return SystemAnswer(kind=kind, owner=owner, shadow=shadow)


def ask_data_types(
    ask: Questions, answers: Answers, systems: Sequence[str], found: Found, known: Sequence[str]
) -> dict[str, str]:
    """The data types with their owners; offers those found in the systems, and the system with the most fields."""
    if answers.data_types is not None:
        return dict(answers.data_types)
    owners = propose_owners(found)
    ask.say(f"\nWhich data do they share? Sorbus knows {', '.join(known)}.")
    chosen = ask.several("Data", [name for name in known if name in owners], known)
    data_types = {}
    for name in chosen:
        offered = owners.get(name)
        if offered:
            ask.say(f"  [dim]{name}: {offered.system} ({offered.why})[/]")
        owner = offered.system if offered else systems[0]
        data_types[name] = ask.one(f"  Who owns [bold]{name}[/]?", owner, systems)
    return data_types


def ask_flows(
    ask: Questions, answers: Answers, systems: Mapping[str, SystemAnswer], data_types: Mapping[str, str], found: Found
) -> list[FlowAnswer]:
    """Where each data type goes, and when; offers systems that have it too, and empty ones."""
    if answers.flows is not None:
        return list(answers.flows)
    flows: list[FlowAnswer] = []
    ask.say("\nWhere does it go, and when?")
    for name, owner in data_types.items():
        others = [system for system in systems if system != owner]
        offered = [system for system in others if _wants(system, name, systems, found)]
        targets = ask.several(f"[bold]{name}[/] goes from {owner} to", offered, others) if others else []
        flows += [_flow(ask, name, target, systems[target].kind) for target in targets]
    return flows


def _wants(system: str, data_type: str, systems: Mapping[str, SystemAnswer], found: Found) -> bool:
    if systems[system].kind not in known_kinds("sorbus.consumers") or system not in found:
        return False
    return not found[system] or any(each.data_type == data_type for each in found[system])


def _flow(ask: Questions, data_type: str, target: str, kind: str) -> FlowAnswer:
    offered = "real-time" if kind in known_kinds("sorbus.consumers") else BY_HAND
    question = f"  When to {target}? real-time, every 15m, cron 0 2 * * *, {BY_HAND}, or {NOT}"
    timing = ask.text(question, offered, check=_wrong_timing)
    if timing == NOT:
        return FlowAnswer(data_type=data_type, to=target, none=ask.text("    Why not?", "not decided yet"))
    if timing != BY_HAND:
        return FlowAnswer(data_type=data_type, to=target, timing=timing)
    manual = Manual(
        checklist=list(_steps(ask)) or [f"Bring the changes of {data_type} into {target}."],
        schedule=ask.text("    When is it done?", "weekly", check=_wrong_schedule),
        responsible=ask.text("    Who does it?", "nobody yet"),
        verification=ask.text("    How is the result verified?", "ten records picked at random are equal"),
    )
    return FlowAnswer(data_type=data_type, to=target, manual=manual)


def _steps(ask: Questions) -> Iterator[str]:
    while step := ask.text("    What are the steps? One at a time; Enter to finish"):
        yield step


def _wrong_schedule(answer: str) -> str | None:
    try:
        parse_schedule(answer)
    except ValueError as error:
        return str(error)
    return None


def _wrong_timing(answer: str) -> str | None:
    if answer in (BY_HAND, NOT):
        return None
    try:
        parse_timing(answer)
    except ValueError as error:
        return str(error)
    return None
