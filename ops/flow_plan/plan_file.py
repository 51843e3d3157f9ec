"""A plan as a file, and the comparison of what it said with what is there later."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from sorbus.errors import UsageError
from sorbus.ops.flow_plan.plan import PlannedRecord

_COLUMNS = ("id", "action", "version", "fields", "why", "changes")
_DONE = frozenset({"create", "link", "update", "delete"})


class _Write(Protocol):
    def __call__(self, record: PlannedRecord) -> None: ...


@contextmanager
def plan_writer(path: Path) -> Iterator[_Write]:
    """Writes records to `path`: CSV if it ends in .csv, else JSON lines."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            rows = csv.writer(file)
            rows.writerow(_COLUMNS)
            yield lambda record: rows.writerow(_row(record))
        else:
            yield lambda record: print(json.dumps(record._asdict(), ensure_ascii=False), file=file)


class SaidRecord(NamedTuple):
    """What a plan said of a record."""

    action: str
    version: int | None


def read_plan(path: Path) -> dict[str, SaidRecord]:
    """By id. UsageError where the file isn't one of `plan_writer`."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file)
            return {
                str(row["id"]): SaidRecord(str(row["action"]), int(row["version"]) if row["version"] else None)
                for row in rows
            }
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{path} is no plan: {error}; write one with `sorbus plan FLOW --out {path}`") from error


class PlanDifference(NamedTuple):
    """A record that isn't as the plan said; `now`: what its delivery would do now, "" if it isn't there any more."""

    id: str
    said: str
    now: str
    why: str


@dataclass(slots=True)
class PlanComparison:
    """What became of a plan: how many records are as it said, by action, and the others."""

    as_said: Counter[str] = field(default_factory=Counter)
    differences: list[PlanDifference] = field(default_factory=list)


def compare_plan(
    said: dict[str, SaidRecord], now: Iterable[PlannedRecord], cut_short: Callable[[], str] = str
) -> PlanComparison:
    """Compares a plan with one made afterwards: what was carried out needs nothing more.

    `cut_short`, asked after the last record: why `now` lacks records that are there, "" if it doesn't.
    """
    found, left = PlanComparison(), dict(said)
    for record in now:
        one = left.pop(record.id, None)
        wanted = "nothing" if one is not None and one.action in _DONE else one.action if one else ""
        if one is not None and wanted == record.action:
            found.as_said[one.action] += 1
        else:
            found.differences.append(
                PlanDifference(record.id, one.action if one else "", record.action, _why(one, record))
            )
    short = cut_short()
    why = (
        f"whether it is there isn't known: {short}" if short else "it is neither on the topic nor at its owner any more"
    )
    found.differences += [PlanDifference(id, one.action, "", why) for id, one in left.items()]
    return found


def _why(said: SaidRecord | None, now: PlannedRecord) -> str:
    if said is None:
        return "it is new since the plan"
    if now.version is not None and said.version is not None and now.version > said.version:
        return f"its owner has changed it since the plan; now: {now.why}"
    if now.action == "nothing":
        return "it has been delivered meanwhile: what kept it out is settled"
    return now.why


def _row(record: PlannedRecord) -> tuple[object, ...]:
    fields = " ".join(record.changes)
    changes = json.dumps(record.changes, ensure_ascii=False) if record.changes else ""
    return record.id, record.action, record.version, fields, record.why, changes
