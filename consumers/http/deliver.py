"""Delivering one record: deciding and doing, step by step, until the application has it and the crosswalk says so."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Lock

from sorbus.conflict.store import Conflicts
from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.http.actions import (
    Action,
    Again,
    Ask,
    Create,
    Forget,
    Hold,
    LinkTo,
    Note,
    Remove,
    UpdateRecord,
    Wait,
)
from sorbus.consumers.http.compare import Fields, body, same
from sorbus.consumers.http.decide import MOST_LOOKING, Decider
from sorbus.consumers.http.finder import Finder
from sorbus.consumers.http.options import HttpTarget
from sorbus.consumers.http.presence import Presence
from sorbus.consumers.http.shape import Shape, Wanted
from sorbus.consumers.http.two_way import REDIRECTS, UNCERTAIN, TwoWayWrites
from sorbus.errors import AuthError, GatewayAnswer, MustWait, PermanentError, SorbusError, Unfinished
from sorbus.http_api.interface import Accepted, Api, FoundRecord, Json, Record
from sorbus.http_api.path import read_path
from sorbus.http_api.silence import silently
from sorbus.identity.candidates import Candidates
from sorbus.identity.crosswalk import Crosswalk, Link
from sorbus.identity.match import Matcher, Verdict
from sorbus.state.storable import storable

_STEPS = 10
_UNHEARD = 20
"""Most values of a field that may be under way at the same time."""
_SHORT = 2.5
"""Seconds that a record waits where it is; more than that the whole batch waits for, with health and group at ease."""

_MAY_BE_OTHERS = 600.0
"""How long a record of an initial snapshot waits for what is alike there to be linked to others."""
_SEE_OTHER = 303

_OUTCOMES = {
    "Create": "created",
    "Again": "created",
    "LinkTo": "linked",
    "UpdateRecord": "updated",
    "Remove": "deleted",
    "Note": "skipped",
    "Forget": "skipped",
}


class Deliverer:
    """Delivers the records of one flow, one at a time per record; the caller has claimed it."""

    def __init__(
        self,
        flow: BoundFlow,
        api: Api,
        presence: Presence,
        shape: Shape,
        make: Callable[[Delivery], Wanted],
        finder: Finder,
        decider: Decider,
        matcher: Matcher,
        crosswalk: Crosswalk,
        candidates: Candidates,
        conflicts: Conflicts,
        two_way: TwoWayWrites | None = None,
    ) -> None:
        assert isinstance(flow.options, HttpTarget)
        self._two_way = two_way
        self._flow, self._resource, self._system = flow, flow.options.resource, flow.system.name
        self._api, self._presence, self._shape, self._make = api, presence, shape, make
        self._finder, self._decider = finder, decider
        self._matcher, self._crosswalk, self._candidates, self._conflicts = matcher, crosswalk, candidates, conflicts
        self._outcomes: Counter[str] = Counter()
        self._counting = Lock()

    def _took(self, action: Action) -> None:
        """Notes an action that was carried out."""
        if (name := _OUTCOMES.get(type(action).__name__)) is not None:
            with self._counting:
                self._outcomes[name] += 1

    def take_outcomes(self) -> Counter[str]:
        """What was carried out since the last call."""
        with self._counting:
            found, self._outcomes = self._outcomes, Counter()
        return found

    def keys(self, delivery: Delivery) -> frozenset[str]:
        """What no other process may be looking for while this record is made: its match keys' values."""
        try:
            wanted = None if delivery.deleted else self._make(delivery)
        except SorbusError:
            return frozenset()  # delivering it says why
        forms = self._finder.forms(wanted) if wanted else ()
        return frozenset(storable(f"match {key} {form}") for key, form in forms)

    def deliver(self, delivery: Delivery, *, again: bool = False) -> None:
        """Brings the record up to date there. All errors of the interface; what was done so far is noted."""
        with silently(delivery.historical and self._flow.flow.notify == "changes"):
            self._deliver(delivery, again=again or delivery.reread)

    def _deliver(self, delivery: Delivery, *, again: bool) -> None:
        wanted = None if delivery.deleted else self._make(delivery)
        id = delivery.id.decode(errors="replace")
        if self._two_way is not None and self._two_way.is_superseded(id, delivery.version):
            self._took(Note("a newer version follows"))
            return
        link = self._crosswalk.find([id]).get(id)
        is_new = wanted is not None and (link is None or link.state != "linked")
        alone: AbstractContextManager[None] = self._finder.alone(wanted) if is_new and wanted else nullcontext()
        with alone:
            for _ in range(_STEPS):
                if self._two_way is not None and link is not None and link.state == "linked":
                    assert link.external_id is not None
                    self._settle(self._two_way, id, link.external_id)
                action = self._decider.decide(delivery, wanted, link, again=again)
                if isinstance(action, Ask):
                    raise self._asked(action, id, delivery, wanted)
                is_done = self._do(action, id, delivery.version, wanted, link)
                self._took(action)
                if is_done:
                    return
                link = self._crosswalk.find([id]).get(id)
        said = f"{self._said(id)} in {self._system}: {action.why}, and each time it is read it is otherwise"
        fix = "see what else changes it there, then `sorbus dlq requeue`"
        refused = PermanentError(f"{said}; {fix}", reason="refused", value=id)
        later = f"{said}; it will be retried while other records continue"
        raise MustWait(later, why="reference", limit=MOST_LOOKING, refused=refused)

    def _settle(self, two_way: TwoWayWrites, id: str, external_id: str) -> None:
        try:
            two_way.settle(id, external_id)
        except GatewayAnswer:
            self._presence.get(external_id)  # says whether others have to wait for it, too
            raise

    def _do(self, action: Action, id: str, version: int, wanted: Wanted | None, link: Link | None) -> bool:
        """Carries it out; False: there is more to decide."""
        match action:
            case Note(fields=fields, current=current):
                if fields is not None:
                    if self._two_way is not None and current is not None and link is not None and link.external_id:
                        self._two_way.note(id, link.external_id, version, current.record)
                    self._agreed(id, fields, wanted)
                    self._crosswalk.applied(id, version, fields)
            case Forget():
                self._crosswalk.gone(id, version)
                if self._two_way is not None:
                    self._two_way.gone(id)
            case Wait(aside=True):
                raise self._looked_for(id, action.why, action.seconds)
            case Wait(seconds=seconds):
                if seconds > _SHORT:
                    raise Unfinished(f"{self._said(id)}: {action.why}", retry_after=seconds)
                time.sleep(seconds)
                return False
            case LinkTo(external_id=external_id):
                # In one statement, or a crash would forget the intent; not this version yet: it is still to be sent.
                if link is not None and link.state == "linked":
                    self._crosswalk.rename(id, external_id)
                else:
                    self._crosswalk.link(id, external_id, version - 1, None)
                return False
            case Create(fields=fields):
                return self._create(id, version, fields, wanted, link)
            case Again(fields=fields, key=key):
                try:
                    made = str(read_path(self._post(id, fields, key), self._shape.resource.id))
                    self._crosswalk.link(id, made, version - 1, fields)
                except Accepted as error:
                    self._crosswalk.accepted(id, error.named)
                    if link is not None and link.accepted_at is not None:
                        raise self._looked_for(id, action.why, MOST_LOOKING) from error
                except PermanentError as error:
                    if error.reason in UNCERTAIN:
                        raise
                    self._crosswalk.withdraw(id)  # what it says of itself now decides
                return False
            case UpdateRecord():
                return self._update(action, id, version, wanted, link)
            case Hold():
                self._hold(action, id, version)
            case Remove():
                self._remove(action)
                self._crosswalk.gone(id, version)
                if self._two_way is not None:
                    self._two_way.gone(id)
        return True

    def _clear(self, id: str, link: Link | None) -> None:
        """What the crosswalk said of it is void."""
        if link is not None and link.state == "linked":
            self._crosswalk.unlink(id)
        elif link is not None and link.state == "intended":
            self._crosswalk.withdraw(id)

    def _looked_for(self, id: str, why: str, seconds: float) -> MustWait:
        """A creation that was accepted, and can't be seen yet: it is looked for again by and by, and others go on."""
        said = f"{self._said(id)} in {self._system}: {why}"
        fix = f"see whether {self._system} has it, then `sorbus dlq requeue`: it is looked for, not made again"
        refused = PermanentError(f"{said}; {fix}", reason="uncertain", value=id)
        return MustWait(said, why="reference", limit=2 * seconds + 60, refused=refused)

    def _create(self, id: str, version: int, fields: Fields, wanted: Wanted | None, link: Link | None) -> bool:
        """Makes it; False: it was accepted, and has to be found."""
        self._clear(id, link)
        key = self._crosswalk.intend(id, version, fields)
        if self._two_way is not None:
            self._two_way.making(id, version, fields)
        try:
            answer = self._post(id, fields, key)
            made = str(read_path(answer, self._shape.resource.id))
        except Accepted as error:
            self._crosswalk.accepted(id, error.named)
            return False
        except (PermanentError, AuthError, Unfinished) as error:
            if not (isinstance(error, PermanentError) and error.reason in UNCERTAIN):
                self._crosswalk.withdraw(id)  # refused, or not even sent: nothing was made
                if self._two_way is not None:
                    self._two_way.cancel(id)
            raise
        if self._two_way is not None:
            self._two_way.made(id, answer)
        try:
            self._crosswalk.link(id, made, version if self._two_way is None else version - 1, fields)
        except PermanentError:
            self._crosswalk.withdraw(id)  # the application gave us what belongs to another record
            raise
        if wanted is not None:
            self._finder.made(made, wanted)
        return self._two_way is None  # otherwise what the application made of it is read and noted

    def _post(self, id: str, fields: Fields, key: str) -> Record:
        """Makes it, its intent noted before; the answer, which has the new external id."""
        try:
            made = self._api.create(self._resource, creation(self._shape, id, fields), key=key)
        except PermanentError as error:
            if error.status not in REDIRECTS:
                raise
            if error.status == _SEE_OTHER:
                raise Accepted(f"{error}; it is looked for, and not sent again") from error
            raise PermanentError(
                f"{error}; whether it was made there can't be read from that: write the address that it redirects to as"
                " base_url, then `sorbus dlq requeue`: it is looked for before it is made",
                reason="uncertain",
                value=id,
                status=error.status,
            ) from error
        external_id = read_path(made, self._shape.resource.id)
        if external_id is None or external_id == "":
            raise Accepted(
                f"{self._system} made {self._said(id)} without saying as what: its answer holds no"
                f" {self._shape.resource.id}; it is looked for"
            )
        return made

    def _update(self, action: UpdateRecord, id: str, version: int, wanted: Wanted | None, link: Link | None) -> bool:
        current, contests = action.current, action.contests
        if self._two_way is not None and current is not None:
            return self._update_two_way(self._two_way, action, id, version, current)
        numbers = self._conflicts.put(id, version, self._flow.flow.id, action.external_id, contests, asks=False)
        changes = body(action.changes, current.record if current else None)
        if changes and link is not None and link.sent is not None:
            self._crosswalk.sending(id, _under_way(link, action.changes))
        if changes and not self._unless_gone(
            action.external_id,
            lambda: self._api.update(self._resource, action.external_id, changes, current=current),
            "updated",
        ):
            return False
        self._crosswalk.applied(id, version, action.fields)
        if contests:
            self._conflicts.overwritten(numbers)
        self._agreed(id, action.fields, wanted)
        if contests:
            self._look_again(action, numbers)
        return True

    def _update_two_way(
        self, two_way: TwoWayWrites, action: UpdateRecord, id: str, version: int, current: FoundRecord
    ) -> bool:
        is_noted = False

        def write() -> None:
            nonlocal is_noted
            is_noted = two_way.update(id, action.external_id, version, action.changes, current)

        if self._unless_gone(action.external_id, write, "updated") and is_noted:
            self._crosswalk.applied(id, version, action.fields)
            return True
        return False

    def _look_again(self, action: UpdateRecord, numbers: Sequence[int]) -> None:
        """Tells people's changes from an application's own way to write a value: only that is there again at once."""
        now = self._api.get(self._resource, action.external_id)
        now = None if now is None or now.other_id is not None else now
        fields, items = self._shape.resource.fields, self._shape.items
        by_itself = [
            number
            for number, one in zip(numbers, action.contests, strict=True)
            if now is not None
            and not same(one.ours, read_path(now.record, one.field), fields.get(one.field), items.get(one.field))
        ]
        if by_itself:
            self._conflicts.rewritten(by_itself)

    def _agreed(self, id: str, fields: Fields, wanted: Wanted | None) -> None:
        """Its owner and the application agree: what a person was asked is over; what they keep isn't."""
        if self._flow.flow.on_conflict == "ask" and wanted is not None:
            kept = [path for path, value in fields.items() if value != wanted.fields.get(path)]
            self._conflicts.settle(id, but=kept)

    def _hold(self, action: Hold, id: str, version: int) -> None:
        contests = action.contests
        self._conflicts.put(id, version, self._flow.flow.id, action.external_id, contests, asks=True)
        names = ", ".join(one.field for one in contests)
        raise PermanentError(
            f"{self._said(id)} is {action.external_id} in {self._system}, where {names} was changed by hand, though its"
            " owner is another system; see `sorbus conflicts list` and say whose value stays",
            reason="conflict",
            field=contests[0].field,
        )

    def _remove(self, action: Remove) -> None:
        current, changes = action.current, action.changes
        if changes is None:
            self._unless_gone(
                action.external_id,
                lambda: self._api.delete(self._resource, action.external_id, current=current),
                "deleted",
            )
        elif changes:
            fields = body(changes, current.record if current else None)
            self._unless_gone(
                action.external_id,
                lambda: self._api.update(self._resource, action.external_id, fields, current=current),
                "updated",
            )

    def _unless_gone(self, external_id: str, write: Callable[[], object], verb: str) -> bool:
        try:
            write()
        except (PermanentError, AuthError) as error:
            if not self._presence.is_gone(external_id, error, verb):
                raise
            return False
        return True

    def _asked(self, action: Ask, id: str, delivery: Delivery, wanted: Wanted | None) -> PermanentError:
        """Asks a person; the record's dead letter, or why it waits.

        While an owner's known states come for the first time, what is alike may be linked to a record that comes later.
        """
        record = self._finder.wanted_view(wanted) if wanted else {}
        verdict = Verdict("ask", action.why, candidates=action.candidates)
        self._candidates.put(id, delivery.version, verdict, self._matcher, record, action.there)
        said = f"{self._said(id)} may be in {self._system} already: {action.why}"
        refused = PermanentError(f"{said}; see `sorbus duplicates list` and decide", reason=action.reason, value=id)
        if not (action.is_by_likeness and delivery.historical):
            return refused
        later = f"{said}; it waits for the others of the initial snapshot, which may be these"
        return MustWait(later, why="reference", limit=_MAY_BE_OTHERS, refused=refused)

    def _said(self, id: str) -> str:
        return f"{self._flow.flow.data_type} {id}"


def _under_way(link: Link, changes: Fields) -> dict[str, list[Json]]:
    """What may be there of ours when this update has been sent, whether or not we hear of it."""
    found = {path: [*link.sending.get(path, ()), value] for path, value in changes.items()}
    return {**link.sending, **{path: values[-_UNHEARD:] for path, values in found.items()}}


def creation(shape: Shape, id: str, fields: Fields) -> Record:
    """The record to make: what has a value, and our mark."""
    given = {path: value for path, value in fields.items() if value is not None}
    if shape.marker and shape.marker not in given:
        given[shape.marker] = id
    return body(given)
