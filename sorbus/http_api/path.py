"""Paths into JSON, as descriptions write them: `properties.email`, `Contacts[0].Name`, `Phones[Type=MOBILE].Number`.

A name with dots or brackets in it is quoted: `["@odata.nextLink"]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json, Record
from sorbus.http_api.invalid_value import InvalidValue

_LONGEST_LIST = 1000
_STEP = re.compile(
    r"\.?(?P<name>[^.\[\]]+)"
    r"|\[\"(?P<quoted>[^\"]+)\"\]"
    r"|\[(?P<place>\d+)\]"
    r"|\[(?P<key>[^=\[\]]+)=(?P<value>[^\]]*)\]"
)


class Item(NamedTuple):
    """The first object of a list that holds `value` under `key`."""

    key: str
    value: str

    def is_at(self, item: Json) -> bool:
        """Whether this is the item. Numbers and booleans are compared in their text form."""
        return isinstance(item, Mapping) and self.key in item and _written(item[self.key]) == self.value


Step = str | int | Item


@lru_cache(4096)
def parse_path(path: str) -> tuple[Step, ...]:
    """The steps of a path; none for the empty one, which is the record itself. ValueError if it is malformed."""
    steps: list[Step] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None or (match["name"] is not None and (path[at] == ".") is (at == 0)):
            raise ValueError(
                f"{path!r} is not a valid path: at {path[at:]!r}; write names with dots, [0] or [key=value]"
            )
        if (name := match["name"] or match["quoted"]) is not None:
            steps.append(name)
        elif match["place"] is not None:
            steps.append(int(match["place"]))
        else:
            steps.append(Item(match["key"], match["value"]))
        at = match.end()
    if any(isinstance(step, int) and step >= _LONGEST_LIST for step in steps):
        raise ValueError(f"{path!r}: an index must be below {_LONGEST_LIST}")
    return tuple(steps)


def read_path(record: Json, path: str) -> Json | None:
    """The value at a path; None if there is none. Inside an `InvalidValue` it is that one."""
    found = record
    for step in parse_path(path):
        if isinstance(found, InvalidValue):
            return found
        found = _step_into(found, step)
    return found


def is_null(record: Json, path: str) -> bool:
    """Whether null is at a path, in place of a value; False where the path leads nowhere."""
    return _is_there(record, path) and read_path(record, path) is None


def path_ending(record: Record, path: str, depth: int = 2) -> str | None:
    """Where an object inside the record has what ends as `path`: attributes.name for name; None without any."""
    for name, inner in record.items():
        if not isinstance(inner, dict) or re.search(r'[.\[\]"]', name):
            continue
        if read_path(inner, path) is not None:
            return f"{name}.{path}"
        if depth > 1 and (deeper := path_ending(inner, path, depth - 1)) is not None:
            return f"{name}.{deeper}"
    return None


def write_path(record: Record | list[Json], path: str, value: Json) -> None:
    """Sets `value` at a path, creating objects and lists on the way. PermanentError if something else is there."""
    steps = parse_path(path)
    if not steps:
        raise ValueError("the empty path is the record itself and can't be written")
    holder: Json = record
    for step, following in pairwise(steps):
        key = _make_place(holder, step, path)
        if holder[key] is None:
            holder[key] = {} if isinstance(following, str) else []
        holder = holder[key]
    holder[_make_place(holder, steps[-1], path)] = value


def take_paths(record: Json, paths: Iterable[str]) -> dict[str, Json]:
    """Removes paths and what was made around them alone; the values of those that were there, by path."""
    there = [path for path in paths if _is_there(record, path)]
    taken = {path: read_path(record, path) for path in there}
    for path in last_first(there):
        *way, last = parse_path(path)
        holders: list[tuple[Json, Step]] = []
        holder = record
        for step in way:
            holders.append((holder, step))
            holder = _step_into(holder, step)
        _drop(holder, last)
        for around, step in reversed(holders):
            inside = _step_into(around, step)
            if inside and not (isinstance(step, Item) and isinstance(inside, Mapping) and list(inside) == [step.key]):
                break
            _drop(around, step)
    return taken


def last_first(paths: Iterable[str]) -> list[str]:
    """Paths in an order in which removing one moves none of the others: a list's last place before those before it."""
    return sorted(paths, key=lambda path: [step if isinstance(step, int) else -1 for step in parse_path(path)])[::-1]


def drop_path(record: Json, path: str) -> None:
    """Removes the value at a path, if any; a list becomes shorter."""
    *way, last = parse_path(path)
    holder = record
    for step in way:
        holder = _step_into(holder, step)
    _drop(holder, last)


def _is_there(record: Json, path: str) -> bool:
    *way, last = parse_path(path) or ("",)
    for step in way:
        record = _step_into(record, step)
    return _has(record, last)


def _has(holder: Json, step: Step) -> bool:
    if isinstance(step, str):
        return isinstance(holder, Mapping) and step in holder
    if isinstance(step, int):
        return isinstance(holder, list) and step < len(holder)
    return _step_into(holder, step) is not None


def _drop(holder: Json, step: Step) -> None:
    if isinstance(step, str) and isinstance(holder, dict):
        holder.pop(step, None)
    elif isinstance(holder, list) and not isinstance(step, str):
        place = step if isinstance(step, int) else next((n for n, item in enumerate(holder) if step.is_at(item)), -1)
        if 0 <= place < len(holder):
            del holder[place]


def _make_place(holder: Json, step: Step, path: str) -> Json:
    """Creates a step's key or index if it is missing, and returns its value."""
    if isinstance(step, str) and isinstance(holder, dict):
        holder.setdefault(step, None)
        return step
    if isinstance(step, str) or not isinstance(holder, list):
        raise PermanentError(
            f"{path} can't be written: the record holds {type(holder).__name__} in the middle of the path;"
            " fix the path in the API's description",
            reason="shape",
            field=path,
        )
    if isinstance(step, int):
        holder.extend([None] * (step + 1 - len(holder)))
        return step
    place = next((n for n, item in enumerate(holder) if step.is_at(item)), len(holder))
    if place == len(holder):
        holder.append({step.key: _literal(step.value)})
    return place


def _step_into(holder: Json, step: Step) -> Json | None:
    if isinstance(step, str):
        return holder.get(step) if isinstance(holder, Mapping) else None
    if not isinstance(holder, list):
        return None
    if isinstance(step, int):
        return holder[step] if step < len(holder) else None
    return next((item for item in holder if step.is_at(item)), None)


def _written(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _literal(text: str) -> Json:
    """A selector's value as JSON: integers and true, false are parsed."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"0|[1-9]\d{0,17}", text) else text
