"""Ids that a target's key column spells in its own way: 1.0 in numeric(10,2) is 1.00, 007 in integer is 7.

Checksums take those for two records, one on each side. Here they are found to be one, or, where the owner has both
ids, to be two that the target can't hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sorbus.checksums import RecordTexts, TargetChecksumReader
from sorbus.ops.reconcile.by_checksums import RecordReader, RecordSides
from sorbus.ops.reconcile.finding import RecordDifference

_CHUNK = 1000


class KeySpelling(NamedTuple):
    """Owner's id -> the target's, where they differ: `same` is one record; of `clashing` ones the owner has both."""

    same: Mapping[str, str]
    clashing: Mapping[str, str]

    def explained(self, found: RecordDifference) -> RecordDifference:
        """With the record that it clashes with, if it does."""
        other = self.clashing.get(found.id)
        if other is None:
            return found
        why = f"the target's key column takes {found.id} and {other} for the same: it can hold one of them"
        return found._replace(why=why, cause="same_key")


class RespelledTarget:
    """A target that is asked by the owner's ids."""

    def __init__(self, target: RecordReader, same: Mapping[str, str]) -> None:
        self._target, self._same = target, same

    def snapshot(self) -> None:
        """As the target's."""
        self._target.snapshot()

    def records(self, ids: Sequence[str]) -> dict[str, RecordTexts]:
        """See `sorbus.checksums.ChecksumReader`."""
        there = self._target.records([self._same.get(id, id) for id in ids])
        spelled = {id: there.get(self._same.get(id, id)) for id in ids}
        return {id: found for id, found in spelled.items() if found is not None}


class RespelledSides(NamedTuple):
    """Two sides, the target asked by the owner's ids."""

    owner: RecordReader
    target: RecordReader


def key_spelling(sides: RecordSides, target: TargetChecksumReader, ids: Sequence[str]) -> KeySpelling:
    """How the target spells these ids. TransientError, AuthError."""
    spelled: dict[str, str] = {}
    taken: set[str] = set()
    target.snapshot()
    for chunk in _chunks(ids):
        spelled |= target.spelled(chunk)
    if spelled:
        sides.owner.snapshot()
        for chunk in _chunks(list(dict.fromkeys(spelled.values()))):
            taken |= sides.owner.records(chunk).keys()
    # Two of the owner's ids with the same spelling clash too, whichever it is.
    first: dict[str, str] = {}
    clashing: dict[str, str] = {}
    for id, other in spelled.items():
        rival = other if other in taken else first.setdefault(other, id)
        if rival != id:
            clashing |= {id: rival, rival: id}
    return KeySpelling({id: other for id, other in spelled.items() if id not in clashing}, clashing)


def respelled(sides: RecordSides, ids: Sequence[str], same: Mapping[str, str]) -> tuple[RespelledSides, list[str]]:
    """The sides asked by the owner's ids, and those of `ids` that aren't only spelled in another way."""
    asked = RespelledSides(sides.owner, RespelledTarget(sides.target, same))
    equal = set(same.values())
    for chunk in _chunks(list(same)):
        asked.owner.snapshot()
        asked.target.snapshot()
        owner, target = asked.owner.records(chunk), asked.target.records(chunk)
        equal |= {id for id in chunk if owner.get(id) == target.get(id)}
    return asked, [id for id in ids if id not in equal]


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + _CHUNK] for at in range(0, len(ids), _CHUNK))
