"""Whether an application's search finds a value that is written in another way: in other case, or as keys compare.

It is tried once for each field, with a record that is there. A search that heeds how a value is written proves nothing
by finding nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Lock

from sorbus.errors import AuthError, PermanentError
from sorbus.http_api.description import ApiResource
from sorbus.http_api.interface import Api, Record
from sorbus.http_api.path import read_path
from sorbus.http_api.records import is_deleted
from sorbus.identity.match import Matcher

_SAMPLES = 3
"""So many records are tried in each way: a search may not know the first yet."""
_AGAIN = 60.0
"""Seconds until it is tried again where no record was there to try it with."""


class Spelling:
    """What is known of one resource's searches. Safe for threads."""

    def __init__(
        self, api: Api, name: str, resource: ApiResource, matcher: Matcher, linked: Callable[[int], list[str]]
    ) -> None:
        """`linked`: gives the external ids of so many records, where none can be listed."""
        self._api, self._name, self._resource, self._matcher, self._linked = api, name, resource, matcher, linked
        self._lock = Lock()
        self._known: dict[str, bool] = {}
        self._unknown: dict[str, float] = {}
        self._sample: list[Record] = []
        self._sampled_at: float | None = None

    def is_heeded(self, field: str, into: str) -> bool | None:
        """Whether a search of `into` misses values that compare equal as `field`; None: there is nothing to try."""
        with self._lock:
            if into not in self._known and time.monotonic() >= self._unknown.get(into, 0.0):
                found = self._tried(field, into)
                if found is None:
                    self._unknown[into] = time.monotonic() + _AGAIN
                else:
                    self._known[into] = found
            return self._known.get(into)

    def _tried(self, field: str, into: str) -> bool | None:
        answers = set[bool | None]()
        try:
            records = self._records()
            for respelled in (self._in_other_case, self._in_lower_case, self._as_compared):
                samples = list(self._samples(records, field, into, respelled))[:_SAMPLES]
                finds = (self._finds(into, *sample) for sample in samples)
                answers.add(next((found for found in finds if found is not None), None))
        except (PermanentError, AuthError):
            return None
        return None if answers <= {None} else False in answers

    def _finds(self, into: str, id: str, written: str, respelled: str) -> bool | None:
        """Whether it finds the record; None: not as it is written either, and no list would show it instead."""
        if id in self._ids(into, respelled):
            return True
        return False if self._resource.list is not None or id in self._ids(into, written) else None

    def _ids(self, into: str, value: str) -> set[str]:
        return {self._id(one) for one in self._api.search(self._name, into, value) or ()}

    def _samples(
        self, records: list[Record], field: str, into: str, respell: Callable[[str, str], str | None]
    ) -> Iterator[tuple[str, str, str]]:
        """External id, the value there, and the same value written otherwise."""
        for record in records:
            written = read_path(record, into)
            if isinstance(written, str) and (other := respell(field, written)) is not None:
                yield self._id(record), written, other

    def _in_other_case(self, field: str, written: str) -> str | None:
        other = written.swapcase()
        return other if other != written and self._is_same(field, written, other) else None

    def _in_lower_case(self, field: str, written: str) -> str | None:
        """Some have lower case alone in their index, or look for it alone: a value in lower case shows neither."""
        other = written.lower()
        return other if other != written and self._is_same(field, written, other) else None

    def _as_compared(self, field: str, written: str) -> str | None:
        """Blanks, punctuation and accents as they compare, where people have written them otherwise."""
        form = self._matcher.normalise(field, written)
        return form if form and form.casefold() != written.casefold() else None

    def _is_same(self, field: str, one: str, other: str) -> bool:
        form = self._matcher.normalise(field, one)
        return form is not None and form == self._matcher.normalise(field, other)

    def _records(self) -> list[Record]:
        """Some that are there; read again where they told nothing."""
        if self._sampled_at is None or time.monotonic() - self._sampled_at >= _AGAIN:
            if self._resource.list is not None:
                listed = self._api.page(self._name).records
                self._sample = [one for one in listed if isinstance(one, dict) and not is_deleted(self._resource, one)]
            elif self._resource.get is not None:
                found = [self._api.get(self._name, id) for id in self._linked(_SAMPLES)]
                self._sample = [one.record for one in found if one is not None]
            self._sampled_at = time.monotonic()
        return self._sample

    def _id(self, record: Record) -> str:
        return str(read_path(record, self._resource.id))
