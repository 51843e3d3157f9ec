"""A certificate as a file: everything that an independent program needs to check that nothing is left unexplained.

For each flow it holds both sides' sums by segment, and every record whose digests differed when the sums were taken:
those that were on their way and agree now (`moved`), those that differ (`differences`), those that kept changing
(`undecided`), and those whose difference is none (`explained`). The sums of a segment, corrected by its records, must
be equal; so must the totals of number fields. `from_topic`: fields that no sum holds, compared with what the topic had.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue

from sorbus.checksums import FieldTotal
from sorbus.ops.reconcile.by_checksums import PartSums, Suspect
from sorbus.ops.reconcile.finding import RecordDifference

FORMAT = "sorbus-certificate-1"


NumberRows = Sequence[Mapping[str, str | None]]
"""Number fields as text, row by row: a key that isn't unique gives several for a record."""


@dataclass(slots=True)
class TopicPart:
    """The fields that were compared with what the topic held, after the cut, and what came of it."""

    fields: Sequence[str] = ()
    differences: list[RecordDifference] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)


@dataclass(slots=True)
class FlowCertificate:
    """One flow's part. `values`: of each suspect, the number fields on both sides at the cut, row by row."""

    flow: str
    target: str
    algorithm: str
    segments: int
    fields: Mapping[str, Sequence[str]]
    not_compared: Sequence[str]
    parts: Mapping[str, PartSums]
    totals: Mapping[str, tuple[FieldTotal, FieldTotal]]
    suspects: Sequence[Suspect] = ()
    values: Mapping[str, tuple[NumberRows, NumberRows]] = field(default_factory=dict)
    differences: list[RecordDifference] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    explained: dict[str, str] = field(default_factory=dict)
    """Suspects that are no difference, and why."""
    from_topic: TopicPart = field(default_factory=TopicPart)

    @property
    def differing(self) -> list[RecordDifference]:
        """Every record that differs."""
        return [*self.differences, *self.from_topic.differences]

    @property
    def records(self) -> int:
        """How many the owner held."""
        return sum(each.records for each in self.parts[""].owner.values())

    @property
    def moved(self) -> list[str]:
        """Records that were on their way when the sums were taken, and agree now."""
        others = {one.id for one in self.differences} | set(self.undecided) | self.explained.keys()
        return list(dict.fromkeys(one.id for one in self.suspects if one.id not in others))

    @property
    def is_whole(self) -> bool:
        """Whether every field of every record was compared and decided."""
        return not self.not_compared and not self.undecided and not self.from_topic.undecided

    def to_json(self) -> dict[str, JsonValue]:
        """As it is written."""
        return {
            "flow": self.flow,
            "target": self.target,
            "algorithm": self.algorithm,
            "segments": self.segments,
            "fields": {part: list(names) for part, names in self.fields.items()},
            "not_compared": list(self.not_compared),
            "sums": {
                part: {"owner": _sums(sums.owner), "target": _sums(sums.target)} for part, sums in self.parts.items()
            },
            "totals": {
                name: {"owner": list(owner), "target": list(target)} for name, (owner, target) in self.totals.items()
            },
            "suspects": [
                {
                    "part": one.part,
                    "segment": one.segment,
                    "id": one.id,
                    "owner": [list(each) for each in one.owner],
                    "target": [list(each) for each in one.target],
                }
                for one in self.suspects
            ],
            "values": {id: [_plain(owner), _plain(target)] for id, (owner, target) in self.values.items()},
            "moved": list(self.moved),
            "differences": [_difference(one) for one in self.differences],
            "undecided": list(self.undecided),
            "explained": dict(self.explained),
            "from_topic": {
                "fields": list(self.from_topic.fields),
                "differences": [_difference(one) for one in self.from_topic.differences],
                "undecided": list(self.from_topic.undecided),
            },
        }


@dataclass(slots=True)
class Certificate:
    """What all systems held of a data type as of a moment. `not_certified`: flows without a part, and why."""

    company: str
    data_type: str
    owner: str
    as_of: datetime
    made_at: datetime
    flows: list[FlowCertificate] = field(default_factory=list)
    not_certified: dict[str, str] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether every system agreed on every record and field."""
        return not self.not_certified and all(not each.differing and each.is_whole for each in self.flows)

    def write(self, file: Path) -> str:
        """Writes it, and returns the SHA-256 that it carries: that of the file's JSON without it, keys sorted."""
        content: dict[str, JsonValue] = {
            "format": FORMAT,
            "company": self.company,
            "data_type": self.data_type,
            "owner": self.owner,
            "as_of": self.as_of.isoformat(),
            "made_at": self.made_at.isoformat(),
            "flows": [each.to_json() for each in self.flows],
            "not_certified": dict(self.not_certified),
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
        file.write_text(json.dumps({**content, "sha256": digest}), "utf-8")
        return digest


def _difference(one: RecordDifference) -> JsonValue:
    fields: list[JsonValue] = [list(each) for each in one.fields]
    return {"id": one.id, "kind": one.kind, "cause": one.cause, "fields": fields, "why": one.why}


def _sums(found: Mapping[int, tuple[int, int]]) -> list[JsonValue]:
    return [[segment, records, total] for segment, (records, total) in sorted(found.items())]


def _plain(rows: NumberRows) -> JsonValue:
    """None, or the one row, or a list of several."""
    found: list[JsonValue] = [dict(row) for row in rows]
    return found if len(found) > 1 else found[0] if found else None
