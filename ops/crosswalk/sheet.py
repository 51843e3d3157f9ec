"""Pairs from a CSV file, with a finding for every line that can't be brought in."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sorbus.errors import Finding, SorbusError
from sorbus.identity.crosswalk import Crosswalk, Owner, place
from sorbus.identity.pairs import Pair
from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import Map
from sorbus.state.database import State

COLUMNS = Pair._fields[:-1]
_AT_ONCE = 5000


class Sheet(NamedTuple):
    """A file as it was read: the pairs that are new, how many are known already, and what has to be fixed first."""

    pairs: list[Pair]
    known: int
    findings: list[Finding]


def read_sheet(file: Path, loaded: LoadedMap, state: State) -> Sheet:
    """Reads a CSV file with the columns system, data_type, id, external_id, and resource where a data type goes into
    several of a system; nothing is written.

    SorbusError when it isn't such a file at all; TransientError when the crosswalk can't be asked.
    """
    findings: list[Finding] = []
    lines: dict[Pair, int] = {}
    sides: dict[tuple[str, ...], int] = {}
    resources = cache(loaded.resources_in)
    for line, read in _rows(file):
        problem = _problem(read, loaded.map)
        pair = read
        if problem is None:
            pair, problem = _placed(read, resources(read.system).get(read.data_type, ()))
        ours, theirs = ("id", *pair[:3], pair.resource), ("external id", *pair[:2], pair.external_id, pair.resource)
        first = min((sides[side] for side in (ours, theirs) if side in sides), default=None)
        if problem is None and pair not in lines and first is not None:
            problem = f"its id or external id is in line {first} too", "keep the line that is right"
        if problem:
            findings.append(Finding(file, line, *problem, "crosswalk"))
            continue
        lines.setdefault(pair, line)
        sides |= {ours: lines[pair], theirs: lines[pair]}
    new, known = [], 0
    for pair, is_known, other in _compared(state, list(lines)):
        if other:
            fix = "see which one is right, then `sorbus crosswalk unlink` or fix the line"
            findings.append(Finding(file, lines[pair], other, fix, "crosswalk"))
        elif is_known:
            known += 1
        else:
            new.append(pair)
    return Sheet(new, known, sorted(findings))


def _rows(file: Path) -> Iterator[tuple[int, Pair]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            found = [(name or "").strip().casefold() for name in reader.fieldnames or ()]
            if missing := [name for name in COLUMNS if name not in found]:
                raise SorbusError(
                    f"{file} has no column {', '.join(missing)}; write {','.join(COLUMNS)} into its first line"
                    " (`sorbus crosswalk export` shows how)"
                )
            reader.fieldnames = found
            for row in reader:
                yield reader.line_num, Pair(*((row.get(name) or "").strip() for name in Pair._fields))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SorbusError(f"{file} can't be read as CSV in UTF-8: {error}") from error


def _problem(pair: Pair, company: Map) -> tuple[str, str] | None:
    """What is wrong with a line by itself, and what to write instead."""
    if empty := [name for name in COLUMNS if not getattr(pair, name)]:
        return f"{', '.join(empty)} is empty", "fill it in, or take the line out"
    if pair.system not in company.systems:
        return f"the map has no system {pair.system!r}", f"write one of: {', '.join(company.systems)}"
    if pair.data_type not in company.data_types:
        return f"the map has no data type {pair.data_type!r}", f"write one of: {', '.join(company.data_types)}"
    if "\0" in "".join(pair):
        return "an id holds a NUL character", "take it out"
    return None


def _placed(pair: Pair, resources: Sequence[str]) -> tuple[Pair, tuple[str, str] | None]:
    """The pair with its resource, and what is wrong with that."""
    if pair.resource in resources or (not pair.resource and not resources):
        return pair, None
    if not pair.resource and len(resources) == 1:
        return pair._replace(resource=resources[0]), None
    names = ", ".join(resources)
    if not pair.resource:
        message = f"resource is empty, and {pair.data_type} goes into {names} of {pair.system}"
        return pair, (message, f"write one of: {names}")
    return pair, (f"no flow brings {pair.data_type} into {pair.resource} of {pair.system}", f"write one of: {names}")


def _compared(state: State, pairs: list[Pair]) -> Iterator[tuple[Pair, bool, str]]:
    """Each pair, whether the crosswalk has it already, and what in the crosswalk speaks against it."""
    groups: defaultdict[tuple[str, str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.system, pair.data_type, pair.resource].append(pair)
    for (system, data_type, resource), group in groups.items():
        crosswalk = Crosswalk(state, system, data_type, resource)
        for start in range(0, len(group), _AT_ONCE):
            part = group[start : start + _AT_ONCE]
            external = crosswalk.external_of([pair.id for pair in part])
            owners = crosswalk.owners_of([pair.external_id for pair in part])
            for pair in part:
                yield pair, external.get(pair.id) == pair.external_id, _against(pair, external, owners)


def _against(pair: Pair, external: Mapping[str, str], owners: Mapping[str, Owner]) -> str:
    if external.get(pair.id, pair.external_id) != pair.external_id:
        where = place(pair.system, pair.resource)
        return f"{pair.data_type} {pair.id} is linked to {external[pair.id]} in {where} already"
    owner = owners.get(pair.external_id)
    if owner is not None and owner != (pair.data_type, pair.id):
        return f"{pair.external_id} in {place(pair.system, pair.resource)} is {owner.data_type} {owner.id} already"
    return ""
