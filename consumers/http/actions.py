"""What can be done about one record in the application: decided first, then carried out, or only shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sorbus.conflict.store import Contest
from sorbus.consumers.http.compare import Fields
from sorbus.http_api.interface import FoundRecord
from sorbus.identity.match import Alike, Candidate


class Note(NamedTuple):
    """Nothing to send; `fields` is what the application has of ours (None: the version needs no noting).

    `current`: the record there, if it was read.
    """

    why: str
    fields: Fields | None = None
    current: FoundRecord | None = None


class Forget(NamedTuple):
    """Nothing to send, and the record is gone."""

    why: str


class Create(NamedTuple):
    """Make it: whatever the crosswalk says of it, it isn't there."""

    why: str
    fields: Fields


class Again(NamedTuple):
    """Send once more the very request that may have made it, so that the application says which one it made."""

    why: str
    fields: Fields
    key: str


class LinkTo(NamedTuple):
    """It is there already; what differs is decided once it is linked."""

    why: str
    external_id: str


class UpdateRecord(NamedTuple):
    """Send `changes`, and note that the application has `fields`. `current` None: it can't be read.

    `contests`: those of the changes that go over what people did there.
    """

    why: str
    external_id: str
    changes: Fields
    fields: Fields
    current: FoundRecord | None
    contests: tuple[Contest, ...] = ()


class Hold(NamedTuple):
    """A person has to say whose values stay: people have changed these fields there, and their owner has others."""

    why: str
    external_id: str
    contests: tuple[Contest, ...]


class Remove(NamedTuple):
    """Delete it, or set `changes` where deletes are soft."""

    why: str
    external_id: str
    current: FoundRecord | None
    changes: Fields | None = None


class Ask(NamedTuple):
    """A person has to say which of `candidates` it is, or that it is none; `there` are those records as they are.

    `reason`: duplicate, or uncertain of one that may have been made by us. `is_by_likeness`: see `Verdict`.
    """

    why: str
    reason: str
    candidates: tuple[Alike, ...] = ()
    there: Sequence[Candidate] = ()
    is_by_likeness: bool = False


class Wait(NamedTuple):
    """It can be told only in so many seconds. `aside`: in the waiting room, while others go on."""

    why: str
    seconds: float
    aside: bool = False


Action = Note | Forget | Create | Again | LinkTo | UpdateRecord | Hold | Remove | Ask | Wait
