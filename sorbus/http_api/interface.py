"""The interface of an HTTP application to producers and consumers, whether described or implemented by a hook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

from sorbus.errors import TransientError
from sorbus.http_api.description import Description

Json = Any
"""A JSON value; numbers with a decimal point are Decimal."""
Record = dict[str, Json]


class Page(NamedTuple):
    """A page of a list. `after` is passed to the next call; None: this was the last.

    `has_more`: the application says that there are more, but not where. `refused`: what it said in place of this
    page, where that passes for the end; `may_be_cut`: unless it is a maximum, since all pages before were full.
    """

    records: Sequence[Record]
    after: str | None
    total: int | None = None
    has_more: bool = False
    refused: str = ""
    may_be_cut: bool = False


class FoundRecord(NamedTuple):
    """A record with what an update must name to change exactly this state of it.

    `other_id`: the id that it shows, where that isn't the one that was asked for: a merged record's address may show
    the survivor.
    """

    record: Record
    etag: str | None = None
    other_id: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request without credentials: what `preview` shows and `send` sends."""

    method: str
    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Json = None
    form: Mapping[str, str] | None = None
    endpoint: str = field(default="", compare=False)
    """What in the description it was made from, the same for all records: failures are counted per endpoint."""


class Answer(NamedTuple):
    """A success answer. `body` is the JSON, None if there was none (304, 204)."""

    status: int
    headers: Mapping[str, str]
    body: Json


class Accepted(TransientError):
    """A creation was accepted, but the answer doesn't name the record: search for it, don't send it again.

    `named`: an id in the answer that may be the record's, or a job's.
    """

    def __init__(self, message: str, *, named: str | None = None) -> None:
        self.named = named
        super().__init__(message)


class CutShort(list[Record]):
    """The results of a search that found more than it returned."""


class Transport(Protocol):
    """One application's connection: credentials, rate limits, circuit breaker and error mapping."""

    description: Description
    base_url: str
    settings: Mapping[str, str]
    """The values of the placeholders in the description's texts."""

    def send(self, call: Call, *, doing: str) -> Answer:
        """Sends a call. `doing` begins every error's message: "creating contact 4711 in accounting".

        TransientError: it may or may not have been carried out; carries retry_after if one was named.
        PermanentError: rejected, reason "refused", "gone" (404, 410) or "duplicate", with the application's own message
        and its field. AuthError: a person has to act.
        """

    def close(self) -> None: ...


class Api(Protocol):
    """The records of one application, by resource name. Errors are those of `Transport.send`."""

    def page(self, resource: str, *, since: datetime | None = None, after: str | None = None) -> Page:
        """Records changed at or after `since` (None: all), from the beginning or `after` an earlier page."""

    def get(self, resource: str, id: str) -> FoundRecord | None:
        """A record; None if there is none with this id, or it counts as deleted."""

    def search(self, resource: str, field: str, value: str) -> Sequence[Record] | None:
        """The live records that have `value` in `field`; None if the application can't search by it.

        CutShort if it found more than it returned.
        """

    def create(self, resource: str, fields: Record, *, key: str) -> Record:
        """Creates a record and returns it, or at least its id. `key` is the idempotency key, the same for every retry.

        Also raises Accepted.
        """

    def update(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> Record | None:
        """Changes these fields of a record. `current` is needed if the resource has a revision or ETag.

        Returns the record as it is then, where the answer shows it.
        """

    def delete(self, resource: str, id: str, *, current: FoundRecord | None = None) -> None:
        """Deletes a record, or does the application's equivalent. PermanentError "gone" if it is already deleted."""

    def creating(self, resource: str, fields: Record, *, key: str) -> Call:
        """The call that `create` would send."""

    def updating(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> Call:
        """The call that `update` would send."""

    def deleting(self, resource: str, id: str, *, current: FoundRecord | None = None) -> Call:
        """The call that `delete` would send."""


@runtime_checkable
class Merges(Protocol):
    """An application that can merge two records."""

    def can_merge(self, resource: str) -> bool:
        """Whether it can merge records of this resource."""

    def merge(self, resource: str, id: str, survivor: str) -> str:
        """Merges `id` into `survivor`; returns the id of the surviving record, which may be new.

        PermanentError "gone" if one of them isn't there.
        """


@runtime_checkable
class Shows(Protocol):
    """An application that also returns records that count as deleted: archived or in a bin."""

    def look(self, resource: str, id: str) -> FoundRecord | None:
        """Like `Api.get`, but also returns a record that counts as deleted."""


MakeApi = Callable[[Transport], Api]
"""The class that a description's `hook` names, constructed with the transport."""
