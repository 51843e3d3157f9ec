"""What producers and consumers see of an application behind HTTP, whether it is described or has a hook of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

from sorbus.errors import TransientError
from sorbus.http_api.description import Description

Json = Any
"""A JSON value; numbers with a point are Decimal."""
Record = dict[str, Json]


class Page(NamedTuple):
    """A part of a list. `after` goes into the next call; None: this was all."""

    records: Sequence[Record]
    after: str | None
    total: int | None = None


class FoundRecord(NamedTuple):
    """A record with what an update has to name to be sure that it changes just this state of it."""

    record: Record
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request before it has credentials: what `preview` shows and what is sent."""

    method: str
    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Json = None
    form: Mapping[str, str] | None = None
    endpoint: str = field(default="", compare=False)
    """What of the description it was made by, the same for every record: its faults are told from other endpoints'."""


class Answer(NamedTuple):
    """A good answer. `body` is the JSON, None where there was none (304, 204)."""

    status: int
    headers: Mapping[str, str]
    body: Json


class Accepted(TransientError):
    """A creation was accepted, and the answer doesn't say as which record: look for it, don't send it again.

    `named`: an id in the answer that may be the record's, or that of a job.
    """

    def __init__(self, message: str, *, named: str | None = None) -> None:
        self.named = named
        super().__init__(message)


class CutShort(list[Record]):
    """What a search has found, and there is more that it doesn't show."""


class Transport(Protocol):
    """One application's connection: credentials, rate limits, circuit breaker and the meaning of errors."""

    description: Description
    base_url: str
    settings: Mapping[str, str]
    """What the placeholders in the description's texts stand for."""

    def send(self, call: Call, *, doing: str) -> Answer:
        """The answer. `doing` begins every error's message: "creating contact 4711 in accounting".

        TransientError: it may or may not have been carried out; carries retry_after where one was named.
        PermanentError: refused, reason "refused", "gone" (404, 410) or "duplicate", with the application's own words
        and its field. AuthError: a person has to act.
        """

    def close(self) -> None: ...


class Api(Protocol):
    """The records of one application, by resource name. Errors are those of `Transport.send`."""

    def page(self, resource: str, *, since: datetime | None = None, after: str | None = None) -> Page:
        """Records changed at or after `since` (None: all), from the beginning or `after` an earlier page."""

    def get(self, resource: str, id: str) -> FoundRecord | None:
        """A record; None if there is none of this id, or it counts as deleted."""

    def search(self, resource: str, field: str, value: str) -> Sequence[Record] | None:
        """The live records that have `value` in `field`; None where the application can't search by it.

        CutShort where it has found more than it shows.
        """

    def create(self, resource: str, fields: Record, *, key: str) -> Record:
        """Makes a record and returns it, at least its id. `key` is the idempotency key, the same at every try.

        Accepted, too.
        """

    def update(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> None:
        """Changes these fields of a record. `current` is needed where the resource has a revision or ETag."""

    def delete(self, resource: str, id: str, *, current: FoundRecord | None = None) -> None:
        """Makes it gone, or what the application has instead. PermanentError "gone" if it is already."""

    def creating(self, resource: str, fields: Record, *, key: str) -> Call:
        """The call that `create` would send."""

    def updating(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> Call:
        """The call that `update` would send."""

    def deleting(self, resource: str, id: str, *, current: FoundRecord | None = None) -> Call:
        """The call that `delete` would send."""


@runtime_checkable
class Merges(Protocol):
    """An application that can make one record of two."""

    def can_merge(self, resource: str) -> bool:
        """Whether it can for records of this kind."""

    def merge(self, resource: str, id: str, survivor: str) -> str:
        """Makes `id` a part of `survivor`; the id of what is left, which may be a new one.

        PermanentError "gone" if one of them isn't there.
        """


@runtime_checkable
class Shows(Protocol):
    """An application that shows records which count as deleted, too: archived ones, those in a bin."""

    def look(self, resource: str, id: str) -> FoundRecord | None:
        """As `Api.get`, but a record that counts as deleted is shown."""


MakeApi = Callable[[Transport], Api]
"""What a description's `hook` names: a class made with the transport."""
