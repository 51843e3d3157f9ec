"""A target's records, indexed by their comparable features, for systems that can be listed but not searched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from sorbus.identity.match import Candidate, Fields, Matcher

COMMON = 100
"""A feature shared by more records than this distinguishes none: a word, a prefix, a place."""

_WEAK = ("word ", "begins ", "place ", "company ")


class BlockingIndex:
    """All records of a target in memory; `near` returns the few that a record must be compared with."""

    def __init__(self, matcher: Matcher, candidates: Iterable[Candidate] = ()) -> None:
        self._matcher = matcher
        self._records: dict[str, Candidate] = {}
        self._by_sign: defaultdict[str, set[str]] = defaultdict(set)
        for candidate in candidates:
            self.add(candidate)

    def __len__(self) -> int:
        return len(self._records)

    def add(self, candidate: Candidate) -> None:
        """Adds a record, replacing its former state."""
        self.discard(candidate.external_id)
        self._records[candidate.external_id] = candidate
        for sign in self._signs(candidate.fields):
            self._by_sign[sign].add(candidate.external_id)

    def discard(self, external_id: str) -> None:
        """Removes a record, if present."""
        if former := self._records.pop(external_id, None):
            for sign in self._signs(former.fields):
                self._by_sign[sign].discard(external_id)

    def near(self, record: Fields) -> list[Candidate]:
        """The records that share a key or any other feature that `Matcher.judge` compares, ordered by id."""
        found: set[str] = set()
        for sign in self._signs(record):
            there = self._by_sign.get(sign, set[str]())
            if len(there) <= COMMON or not sign.startswith(_WEAK):
                found |= there
        return [self._records[id] for id in sorted(found)]

    def _signs(self, record: Fields) -> Iterator[str]:
        traits = self._matcher.traits(record)
        yield from traits.blocks
        for key in self._matcher.keys:
            if (form := traits.form(key)) is not None:
                yield f"key {key} {form}"
