"""What is to be done about one record: from what we know of it, what the application has, and what a person said.

It only reads, so that a preview is the same decision, not carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sorbus.conflict.store import Conflicts
from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.http.actions import (
    Action,
    Again,
    Ask,
    Create,
    Forget,
    LinkTo,
    Note,
    Remove,
    UpdateRecord,
    Wait,
)
from sorbus.consumers.http.compare import Fields, differing
from sorbus.consumers.http.differences import Differences
from sorbus.consumers.http.finder import Finder
from sorbus.consumers.http.options import HttpTarget
from sorbus.consumers.http.presence import FORBIDDEN, Presence
from sorbus.consumers.http.shape import Shape, Wanted
from sorbus.errors import AuthError, PermanentError
from sorbus.http_api.description import Description
from sorbus.http_api.interface import FoundRecord, Json
from sorbus.http_api.path import read_path
from sorbus.identity.candidates import Candidates, Decision
from sorbus.identity.crosswalk import Crosswalk, Link
from sorbus.identity.match import Alike, Candidate, Matcher, Verdict

_GRACE = timedelta(seconds=2)
"""How long a request of which nothing more is heard may still be on its way to being carried out."""
_PATIENCE = timedelta(minutes=2)
"""How long a creation is repeated with its key before we look for what it made."""

MOST_LOOKING = 300.0
"""Seconds that a creation which was accepted is looked for, before a person is asked; more where `settle` is more."""


class Decider:
    """Decides for the records of one flow."""

    def __init__(
        self,
        flow: BoundFlow,
        description: Description,
        presence: Presence,
        shape: Shape,
        finder: Finder,
        matcher: Matcher,
        crosswalk: Crosswalk,
        candidates: Candidates,
        conflicts: Conflicts,
        *,
        reads: bool,
        two_way: bool = False,
        kept: Callable[[str, str], Mapping[str, tuple[Json, Json]]] | None = None,
    ) -> None:
        """`reads`: whether what the application has of a record can be read.

        `two_way`: the application changes the records, too, and what it did was merged: nothing there is a conflict.
        `kept`: see `OwnWrites.kept`.
        """
        assert isinstance(flow.options, HttpTarget)
        self._flow, self._options, self._description = flow.flow, flow.options, description
        self._presence, self._shape, self._finder, self._matcher = presence, shape, finder, matcher
        self._crosswalk, self._candidates = crosswalk, candidates
        self._differences = Differences(flow.flow.to, shape, conflicts, asks=flow.flow.on_conflict == "ask")
        self._reads, self._two_way, self._kept = reads, two_way, kept

    def decide(self, delivery: Delivery, wanted: Wanted | None, link: Link | None, *, again: bool = False) -> Action:
        """The next step. `wanted` None: the record was deleted. PermanentError when it can't be made or found."""
        id = delivery.id.decode(errors="replace")
        if is_settled(delivery, link, again=again):
            return Note("the application has this state of it already, or a newer one")
        if wanted is None:
            return self._delete(id, link)
        if not self._options.creates and (link is None or link.state != "linked"):
            return LinkTo("it has its id from there", id)
        if link is None:
            return self._unlinked(id, wanted)
        if link.state == "intended":
            return self._intended(id, wanted, link)
        if link.state == "gone":
            return self._returned(id, wanted, link)
        return self._linked(id, wanted, link, again=again or self._two_way)

    def linked_to(self, id: str, wanted: Wanted, external_id: str) -> Action:
        """What is to be done when the record is linked to an external one that was found."""
        return self._linked(id, wanted, Link(external_id, 0, "linked", "", None, None), again=True)

    def _missing(self, id: str, wanted: Wanted, external_id: str) -> Action:
        """What is to be done about a record that was deleted there by hand."""
        if self._options.on_missing == "refuse":
            raise PermanentError(
                f"{self._options.resource} {external_id} was deleted in {self._flow.to}, and the flow's target"
                " says on_missing: refuse; delete the record at its owner, or `sorbus crosswalk unlink` it to have"
                " it made again",
                reason="missing",
                value=external_id,
            )
        found = self._unlinked(id, wanted)
        if isinstance(found, LinkTo) and found.external_id == external_id:
            raise PermanentError(
                f"{self._options.resource} {external_id} can't be read in {self._flow.to}, as if it had been deleted,"
                " but a search finds it; see what the connection's user may read there, then requeue the record",
                reason="refused",
                value=external_id,
            )
        return found._replace(why=f"{external_id} was deleted there by hand; {found.why}")

    def _linked(self, id: str, wanted: Wanted, link: Link, *, again: bool) -> Action:
        assert link.external_id is not None
        if not again and link.sent == wanted.fields:
            return Note("its fields are what was sent last", wanted.fields)
        if not self._reads:
            was = link.sent if isinstance(link.sent, dict) else {}
            changes = {path: value for path, value in wanted.fields.items() if path not in was or was[path] != value}
            return UpdateRecord(
                "the application can't be asked what it has", link.external_id, changes, wanted.fields, None
            )
        current = self._presence.get(link.external_id)
        if current is None and not self._options.creates:
            return Forget("the application decides which records there are, and has it no more")
        if current is None:
            return self._missing(id, wanted, link.external_id)
        if current.other_id is not None:
            return self._merged(id, wanted, link.external_id, current.other_id, current)
        changes = self._differences.changes(id, wanted.fields, current, link.sent)
        if self._two_way:
            made = self._kept(id, link.external_id) if self._kept is not None else {}
            changes = {
                path: one for path, one in changes.items() if (one, read_path(current.record, path)) != made.get(path)
            }
        if not changes:
            return Note("the application has these values already", wanted.fields, current)
        if self._two_way:
            return UpdateRecord("the merge has other values", link.external_id, changes, wanted.fields, current)
        return self._differences.decide(id, link, changes, wanted.fields, current)

    def _merged(self, id: str, wanted: Wanted, external_id: str, other_id: str, current: FoundRecord) -> Action:
        """The record's address shows another one, `other_id`: what is written there would be written over that one."""
        decision = self._candidates.decision_for([id]).get(id)
        if decision is not None and decision.external_id != external_id:
            return self._decided(decision, wanted)
        survivor = Candidate(other_id, self._finder.view(current.record))
        merged = _merged_words(external_id, other_id)
        taken = self._finder.taken([survivor], id)
        if not taken and self._flow.on_duplicate != "create" and self._finder.keys:
            verdict = self._judge(id, wanted, [survivor]).under(self._flow.on_duplicate)
            if verdict.action == "link" and verdict.external_id == other_id:
                return LinkTo(f"{merged}; {verdict.why}", other_id)
        owner = taken.get(other_id)
        why = merged if owner is None else f"{merged}; that is {owner}: merge the two at their owner, or make it again"
        note = () if owner is None else (f"is {owner} already",)
        return Ask(why, "duplicate", (Alike(other_id, 99, (merged, *note)),), [survivor])

    def _unlinked(self, id: str, wanted: Wanted) -> Action:
        decision = self._candidates.decision_for([id]).get(id)
        if decision is not None and decision.external_id is not None:
            return self._decided(decision, wanted)
        marked = self._finder.marked(id) or []
        left = self._still_candidates(id, [one.external_id for one in marked])
        if marked := [one for one in marked if one.external_id in left]:
            ours = [one.external_id for one in marked if self._finder.is_borne_out(one, wanted.fields)]
            return (
                self._one_of(ours, "it carries our id", "duplicate") if ours else self._strangers(marked, "duplicate")
            )
        if decision is not None:
            return self._decided(decision, wanted)
        if self._flow.on_duplicate == "create" or not self._finder.keys:
            return Create("it is not linked yet, and the flow matches by nothing", wanted.fields)
        return self._matched(id, wanted)

    def _strangers(self, marked: Sequence[Candidate], reason: str) -> Ask:
        """They carry our id, but the mark may be another's: they must not be overwritten."""
        shown = marked[:10]
        why = f"{', '.join(one.external_id for one in shown)} carries our id in {self._shape.marker}, but other values"
        return Ask(why, reason, tuple(Alike(one.external_id, 50, ("carries our id",)) for one in shown), list(shown))

    def _decided(self, decision: Decision, wanted: Wanted) -> Action:
        if decision.external_id is None:
            return Create("a person decided that it is a new one", wanted.fields)
        if self._reads and self._presence.own(decision.external_id) is None:
            return Ask(f"{decision.external_id}, which a person chose, is not there any more", "duplicate")
        return LinkTo("a person decided so", decision.external_id)

    def _matched(self, id: str, wanted: Wanted) -> Action:
        found = self._finder.candidates(wanted)
        if found is None:
            raise PermanentError(
                f"nothing proves that {self._flow.to} hasn't got the record: it can't be searched by"
                f" {', '.join(self._finder.keys)} (or heeds how it is written, or shows only some of what it finds),"
                f" nor listed{self._finder.why_unlisted}; describe a search by one of them, or a list of all, or write"
                " on_duplicate: create to make the record all the same",
                reason="unmatched",
            )
        verdict = self._judge(id, wanted, found).under(self._flow.on_duplicate)
        if verdict.action == "create":
            for into, elsewhere in self._finder.misplaced():
                raise PermanentError(
                    f"no record of {self._options.resource} shows {into}, by which the flow matches, but {elsewhere}:"
                    f" whether this one is there can't be told. Write {elsewhere}: {{sent_as: {into}}} in the"
                    " description and map that, or write on_duplicate: create",
                    reason="unmatched",
                    field=into,
                )
            return Create(verdict.why, wanted.fields)
        if verdict.external_id is None or verdict.action == "ask":
            return Ask(verdict.why, "duplicate", verdict.candidates, found, verdict.is_by_likeness)
        return LinkTo(verdict.why, verdict.external_id)

    def _judge(self, id: str, wanted: Wanted, found: Sequence[Candidate]) -> Verdict:
        """The matcher's verdict; what we only remember must still be there to count."""
        ours = self._finder.wanted_view(wanted)
        left = self._still_candidates(id, [one.external_id for one in found])
        found = [one for one in found if one.external_id in left]
        taken = self._finder.taken(found, id)
        while True:
            verdict = self._matcher.judge(ours, found, taken)
            named = [one.external_id for one in verdict.candidates] + [verdict.external_id or ""]
            lost = {external_id for external_id in named if self._reads and self._finder.is_lost(external_id)}
            if not lost:
                return verdict
            found = [one for one in found if one.external_id not in lost]

    def _still_candidates(self, id: str, external_ids: Sequence[str]) -> list[str]:
        """Without those that a person has said are not it, or has merged into another."""
        excluded = self._candidates.excluded(id, external_ids)
        return [external_id for external_id in external_ids if external_id not in excluded]

    def _one_of(self, external_ids: list[str], why: str, reason: str) -> Action:
        if len(external_ids) == 1:
            return LinkTo(why, external_ids[0])
        found = tuple(Alike(external_id, 99, (why,)) for external_id in external_ids[:10])
        return Ask(f"{len(external_ids)} records could be it: {', '.join(external_ids[:10])}", reason, found)

    def _intended(self, id: str, wanted: Wanted | None, link: Link) -> Action:
        """It was being made when we heard no more of it: never a second time without knowing."""
        assert link.intended_at is not None
        decision = self._candidates.decision_for([id]).get(id)
        if decision is not None and decision.external_id is not None and wanted is not None:
            return self._decided(decision, wanted)
        age = datetime.now(UTC) - link.intended_at
        description = self._description
        has_key = bool(description.idempotency_header or description.idempotency_parameter)
        has_key = has_key and age < description.idempotency_lasts * 0.9 and link.sent is not None
        fields: Fields = link.sent if isinstance(link.sent, dict) else wanted.fields if wanted else {}
        again = Again("it was being made: the same request with its key says what came of it", fields, link.key)
        if link.accepted_at is not None and decision is None:
            return self._accepted(id, wanted, link, link.accepted_at, fields, again if has_key else None)
        if has_key and age < _PATIENCE:
            return again
        found = self._made_before(id, wanted, fields, is_decided=decision is not None)
        if isinstance(found, Ask):
            return found
        if found:
            return self._one_of(found, "it was being made, and is there", "uncertain")
        if found is None and has_key:
            return again
        if found is None and decision is None:
            return Ask("it was being made, and whether it was can't be asked", "uncertain")
        left = link.intended_at + self._shape.resource.settle + _GRACE - datetime.now(UTC)
        if left > timedelta(0):
            return Wait("it was being made, and may still appear", left.total_seconds())
        if wanted is None:
            return Forget("it was being made, and is not there")
        return Create("it was being made, and is not there", wanted.fields)

    def _accepted(
        self, id: str, wanted: Wanted | None, link: Link, at: datetime, sent: Fields, again: Again | None
    ) -> Action:
        """The application has said that it makes it: found, looked for with patience, or asked about; not sent again.

        `again`: the request with its key, for an application that can't be searched at all.
        """
        most = max(MOST_LOOKING, (self._shape.resource.settle + _GRACE).total_seconds())
        left = most - (datetime.now(UTC) - at).total_seconds()
        if link.accepted_as and self._is_made(id, wanted, link.accepted_as, sent):
            return LinkTo("it was accepted, and is there as its answer said", link.accepted_as)
        found = self._made_before(id, wanted, sent, is_decided=False)
        if isinstance(found, list) and found:
            return self._one_of(found, "it was accepted, and is there", "uncertain")
        if found is None and again is not None and left > 0:
            return again
        if left > 0 and (found is not None or link.accepted_as):
            return Wait(f"{self._flow.to} has accepted it, and doesn't show it yet", most, aside=True)
        if isinstance(found, Ask):
            return found
        if found is not None and wanted is None:
            return Forget("it was accepted, and never seen")
        why = f"{self._flow.to} accepted it at {at:%Y-%m-%d %H:%M:%S} UTC without saying as which record, and "
        why += "can't be asked whether it is there" if found is None else f"hasn't shown it within {most:,.0f} s"
        doubt = (Alike(link.accepted_as, 50, ("its answer named it",)),) if link.accepted_as else ()
        return Ask(why, "uncertain", doubt)

    def _is_made(self, id: str, wanted: Wanted | None, external_id: str, sent: Fields) -> bool:
        """Whether what an answer named is a record that holds what was sent, and nobody else's."""
        current = self._presence.own(external_id) if self._reads else None
        if current is None or not self._is_free(id, external_id):
            return False
        one = Candidate(external_id, self._finder.view(current.record))
        if self._finder.as_sent([one], sent):
            return True
        ours = self._finder.wanted_view(wanted) if wanted is not None and self._finder.keys else None
        return ours is not None and self._matcher.judge(ours, [one], {}).external_id == external_id

    def _made_before(self, id: str, wanted: Wanted | None, sent: Fields, *, is_decided: bool) -> list[str] | Ask | None:
        """What the creation under way may have made; None if that can't be told.

        `is_decided`: a person has looked at those that are only alike, and wants a new one.
        """
        marked = self._finder.marked(id)
        if marked is not None:
            states = (sent, wanted.fields) if wanted is not None else (sent,)
            ours = [one.external_id for one in marked if self._finder.is_borne_out(one, *states)]
            return ours if ours or not marked or is_decided else self._strangers(marked, "uncertain")
        if self._flow.on_duplicate != "create" and wanted is not None and self._finder.keys:
            found = self._sent_or_wanted(wanted, sent)
            if found is not None:
                taken = self._finder.taken(found, id)
                left = self._still_candidates(id, [one.external_id for one in found])
                free = [one for one in found if one.external_id in left and one.external_id not in taken]
                verdict = self._judge(id, wanted, free)
                if verdict.external_id is not None:
                    return [verdict.external_id]
                made = self._finder.as_sent(free, sent)
                if made or is_decided:
                    return made
                if verdict.action != "ask":  # without a key, only what is alike was looked at
                    return made if self._finder.forms(Wanted(wanted.record, sent)) else self._finder.alike(sent)
                return Ask(verdict.why, "uncertain", verdict.candidates, free)
        return self._finder.alike(sent)

    def _sent_or_wanted(self, wanted: Wanted, sent: Fields) -> list[Candidate] | None:
        """What may be the record as it is now or as it was sent, if that can be told: its keys may have changed."""
        found: dict[str, Candidate] = {}
        for fields in [wanted.fields] if sent == wanted.fields else [sent, wanted.fields]:
            candidates = self._finder.candidates(Wanted(wanted.record, fields), now=True)
            if candidates is None:
                return None
            found |= {one.external_id: one for one in candidates}
        return list(found.values())

    def _returned(self, id: str, wanted: Wanted, link: Link) -> Action:
        """Its owner has it again; the application may have it still (a soft delete, or deletes that are ignored)."""
        if link.external_id is not None and self._reads and self._is_free(id, link.external_id):
            current = self._presence.own(link.external_id)
            if current is not None:
                return LinkTo("its owner has it again", link.external_id)
        return self._unlinked(id, wanted)

    def is_back(self, id: str, link: Link) -> bool:
        """Whether a record that was deleted there is there again, and nobody else's."""
        if link.external_id is None or not self._reads or not self._is_free(id, link.external_id):
            return False
        return self._presence.own(link.external_id) is not None

    def _is_free(self, id: str, external_id: str) -> bool:
        ours = self._crosswalk.data_type, id
        return self._crosswalk.owners_of([external_id]).get(external_id, ours) == ours

    def _delete(self, id: str, link: Link | None) -> Action:
        if self._flow.deletes == "ignore":
            return Forget("the flow says deletes: ignore")
        if link is None or (link.state == "gone" and not self.is_back(id, link)):
            return Forget("the application has no record of it")
        if link.state == "intended":
            return self._intended(id, None, link)
        assert link.external_id is not None
        needs = bool(self._flow.deletes == "soft" or self._shape.resource.revision or self._shape.resource.etag)
        try:
            current = self._presence.get(link.external_id, proves=needs) if self._reads else None
        except (PermanentError, AuthError) as error:
            if needs or error.status != FORBIDDEN:
                raise
            return Remove("its owner has deleted it", link.external_id, None)  # that tells whether it is there
        if self._reads and current is None:
            return Forget("it is gone there already")
        if current is not None and current.other_id is not None:
            return self._merged_away(id, link.external_id, current.other_id)
        if self._flow.deletes == "soft":
            changes: Fields = dict(self._options.deleted)
            left = (
                differing(dict(changes), current.record, self._shape.resource.fields, {}) if current else dict(changes)
            )
            return Remove("its owner has deleted it", link.external_id, current, left)
        return Remove("its owner has deleted it", link.external_id, current)

    def _merged_away(self, id: str, external_id: str, other_id: str) -> Action:
        """Its owner has deleted what people have merged into another record there: that one is never deleted for it."""
        merged = _merged_words(external_id, other_id)
        if not self._is_free(id, other_id):
            return Forget(f"{merged}; that is another record's")
        raise PermanentError(
            f"{merged}; whether {other_id} holds another record, too, isn't known, so it isn't deleted: if it doesn't,"
            f" delete it in {self._flow.to}, `sorbus crosswalk unlink` {id}, and requeue this",
            reason="duplicate",
            value=other_id,
        )


def _merged_words(external_id: str, other_id: str) -> str:
    return f"{external_id} is {other_id} there, merged into it or another name of it"


def is_settled(delivery: Delivery, link: Link | None, *, again: bool) -> bool:
    """Whether the application has this version or a newer one; an intent has only been begun."""
    if link is None or link.version < delivery.version:
        return False
    if link.version > delivery.version:
        return True
    return link.state != "intended" and not again
