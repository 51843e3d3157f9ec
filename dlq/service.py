"""Where people deal with dead letters: send them back, fix them, discard them, give them to somebody.

A deed is written down before it is done: the letters' state and the audit trail change in one transaction, then Kafka
is told. Killed in between, letters stay `requeueing`, and the next requeue sends them again; that is harmless, since a
state that the target has already, or a newer one, changes nothing there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from itertools import chain

from pydantic import JsonValue

from sorbus.audit import AuditFilter, AuditPart, AuditTrail
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.cli.show_personal import note_shown
from sorbus.dlq.dry_run import Difference, DryRunResult, differences, simulate
from sorbus.dlq.edit import edited_frame, form_of
from sorbus.dlq.form import FieldError, Form
from sorbus.dlq.index import LetterIndex
from sorbus.dlq.letter_mask import LetterMask
from sorbus.dlq.outcomes import Discarded, OpenedLetter, Requeued, changed_meanwhile, closed_or_unknown
from sorbus.dlq.reader import Decoded, decode
from sorbus.dlq.requeue import Sender, mark, send_marked
from sorbus.dlq.serialize import masked_letter
from sorbus.dlq.statements import statement
from sorbus.dlq.store import (
    UNSETTLED,
    Group,
    Letter,
    LetterFilter,
    LetterState,
    LetterStore,
    Spot,
    select,
    select_named,
)
from sorbus.errors import SorbusError
from sorbus.event import EDITED
from sorbus.map.loaded import LoadedMap
from sorbus.postgres.connection import Connection
from sorbus.privacy.mask import personal_names
from sorbus.settings import Settings
from sorbus.state.database import State

CHUNK = 1_000
"""Letters in one transaction, and in one flush to Kafka."""
Chosen = LetterFilter | Sequence[str]
"""Letters by what they have in common, or by their ids."""
Progress = Callable[[int], None]
Step = Callable[[Connection, Sequence[Letter]], None]


class DeadLetterService:
    """The letters of one map. TransientError and AuthError, of Kafka and of the state, from all of it."""

    def __init__(self, loaded: LoadedMap, settings: Settings, state: State) -> None:
        self.loaded, self._settings, self._state = loaded, settings, state
        self._names = Names(loaded.map.topic_prefix)
        self.letters = LetterStore(state)
        self.index = LetterIndex(state, settings, self._names, loaded.map.data_types)
        self._audit = AuditTrail(state)
        self._sender = Sender(settings, self._names)

    @cached_property
    def book(self) -> SchemaResolver:
        """The schemas of the map's data types, and those of the registry."""
        schemas = [self.loaded.schema(name) for name in self.loaded.map.data_types]
        return SchemaResolver(self._settings, self._names, schemas)

    @cached_property
    def mask(self) -> LetterMask:
        """Masks what letters say of their records."""
        return LetterMask(self.loaded, self.book)

    def groups(self, filter: LetterFilter) -> list[Group]:
        """By cause, the largest group first; what is said of the example is masked."""
        found = self.letters.groups(filter)
        examples = {each.id: each for each in self.letters.named([group.example for group in found])}
        shown = []
        for group in found:
            example = examples.get(group.example)
            dead = self.mask.letter(example.dead) if example else None
            shown.append(replace(group, message=dead.message, words=dead.words) if dead else group)
        return shown

    def count(self, chosen: Chosen, *, stranded: bool = False) -> int:
        """How many letters a requeue would send, or those named; `stranded`: also those that it would leave."""
        if not isinstance(chosen, LetterFilter):
            return len(set(chosen))
        self.index.catch_up()
        return self.letters.count(chosen.unsent() if stranded else self._sendable(chosen))

    def find(self, id: str) -> Letter | None:
        """The letter with this id, also one that was written a moment ago."""
        self.index.catch_up()
        return self.letters.get(id)

    def look_at(self, letter: Letter, who: str, *, show_personal: bool) -> OpenedLetter:
        """All there is to say of a letter; its personal values masked, or, if they are shown, that written down."""
        decoded = decode(letter.dead, self.book) if letter.is_unsettled else Decoded(None, letter.version, None)
        known = letter.dead.data_type in self.loaded.map.data_types
        hide = not known or bool(personal_names(self.loaded.schema(letter.dead.data_type).fields))
        shown = letter
        if show_personal:
            self.note_shown(letter, who)
            hide = False
        elif known:
            shown, decoded = masked_letter(self.mask, letter), self.mask.content(letter.dead, decoded)
        else:
            decoded = replace(decoded, record=None)
        history = self._audit.page(filter=AuditFilter(subject_kind="letter", subject=letter.id))
        raw = None if hide else letter.dead.value
        return OpenedLetter(shown, decoded, raw, hide, tuple(reversed(history)))

    def note_shown(self, letter: Letter, who: str) -> None:
        """Writes down that somebody sees a letter's personal values: in the log, and in the audit trail."""
        note_shown("dlq", letter=letter.id)
        with self._state.connection() as connection:
            self._note(connection, "show personal values", letter, who)

    def requeue(
        self, chosen: Chosen, who: str, *, rate: float | None = None, progress: Progress | None = None
    ) -> Requeued:
        """Sends letters back to the flows that refused them, at most `rate` a second; sources read theirs again.

        By a filter: those that aren't on their way already. What comes later than the call isn't sent. Those of a flow
        that the map doesn't run any more are left, since nobody would read them; SorbusError where they are named.
        """
        self.index.catch_up()
        stranded = 0
        if isinstance(chosen, LetterFilter):
            stranded = self.letters.count(chosen.unsent())
            chosen = self._sendable(chosen)
            stranded -= self.letters.count(chosen)
        else:
            for one in self.letters.named(list(chosen)):
                if one.is_unsettled and one.dead.flow not in self._running:
                    raise SorbusError(
                        f"{one.id} can't be sent back: the map doesn't run flow {one.dead.flow} any more. Discard it;"
                        " `sorbus replay` delivers its record to a flow that the map has"
                    )
        size = CHUNK if rate is None else max(1, min(CHUNK, int(rate)))
        ids, reread, began = list[str](), dict[str, int](), time.monotonic()

        def step(connection: Connection, letters: Sequence[Letter]) -> None:
            mark(connection, [letter.dead for letter in letters])

        for letters in self._deed("requeue", chosen, who, "", step, size):
            self._send(letters, progress)
            ids += [letter.id for letter in letters]
            for letter in letters:
                if not letter.dead.flow:
                    reread[letter.dead.system] = reread.get(letter.dead.system, 0) + 1
            if rate is not None:
                time.sleep(max(0.0, began + len(ids) / rate - time.monotonic()))
        return Requeued(tuple(ids), reread, stranded)

    @property
    def _running(self) -> tuple[str, ...]:
        """The flows whose letters somebody reads; "" for sources."""
        return "", *(flow.id for flow in self.loaded.map.flows if flow.runs)

    def _sendable(self, filter: LetterFilter) -> LetterFilter:
        return replace(filter.unsent(), flows=self._running)

    def form(self, id: str, *, hide: bool) -> Form:
        """The edit form of an open letter's record; `hide`: personal values masked. SorbusError if it has none."""
        return self.form_seen(id, hide=hide)[0]

    def form_seen(self, id: str, *, hide: bool) -> tuple[Form, datetime]:
        """Likewise, with the letter's `state_at`, by which `edit` knows whether somebody has changed it since."""
        letter = self._editable(id)
        return form_of(letter, self.loaded, self.book, hide=hide), letter.state_at

    def edit(
        self, id: str, texts: Mapping[str, str], who: str, *, hide: bool = False, seen: datetime | None = None
    ) -> list[FieldError]:
        """Changes a letter's record and sends it back; what is wrong with the texts, and then nothing has happened.

        `texts` by path as `Form` has them; `hide`: they come from a form that masked personal values; `seen`: the
        letter's `state_at` when the form was made, so that what somebody else did since isn't undone. The owner's
        record is as it was, and overwrites this with its next change.
        """
        letter = self._editable(id)
        if seen is not None and seen != letter.state_at:
            raise changed_meanwhile(id)
        parsed = form_of(letter, self.loaded, self.book, hide=hide).parse(texts)
        if parsed.errors:
            return list(parsed.errors)
        if not parsed.changed:
            return [FieldError("", "nothing was changed; to send it back as it is, requeue it")]
        frame = edited_frame(letter, parsed.record, self.loaded, self.book)
        if isinstance(frame, FieldError):
            return [frame]
        headers = (*(each for each in letter.dead.headers if each[0] != EDITED), (EDITED, b"1"))
        with self._state.connection() as connection:
            values = {
                "id": id,
                "who": who,
                "fields": list(parsed.changed),
                "frame": frame,
                "names": [name for name, _ in headers],
                "values": [content for _, content in headers],
                "before": letter.dead.value,
            }
            if not connection.execute(statement("edit").encode(), values).rowcount:
                raise changed_meanwhile(id)
            self._note(connection, "edit", letter, who, details={"fields": list(parsed.changed)})
        self._send([replace(letter, dead=replace(letter.dead, value=frame, headers=headers))], None)
        return []

    def discard(self, chosen: Chosen, who: str, reason: str, *, progress: Progress | None = None) -> Discarded:
        """Closes letters whose records need not arrive; the record's next change is delivered all the same.

        What is on its way back is left: its copy is delivered whatever the letter says. Not so where it is named, and
        the map has its flow no more: nobody reads the copy.
        """
        if not reason.strip():
            raise SorbusError("say why the letters may be discarded; the reason is kept in the audit trail")
        self.index.catch_up()
        if isinstance(chosen, LetterFilter):
            chosen = chosen.unclosed()
        whole = self.letters.count(chosen) if isinstance(chosen, LetterFilter) else len(set(chosen))
        waiting, count = self._waiting(chosen), 0
        deeds = [self._deed("discard", waiting, who, reason, _nothing, CHUNK, states=("open",))]
        if stranded := self._stranded(chosen):
            deeds.append(self._deed("discard", stranded, who, reason, _nothing, CHUNK))
        for letters in chain.from_iterable(deeds):
            for data_type in {letter.dead.data_type for letter in letters}:
                keys = [letter.key for letter in letters if letter.dead.data_type == data_type]
                self._sender.close(self._names.dead_letters(data_type), keys, "discarded")
            count += len(letters)
            if progress is not None:
                progress(len(letters))
        self.index.catch_up()
        return Discarded(count, max(0, whole - count))

    def _waiting(self, chosen: Chosen) -> Chosen:
        """Those that wait for a person. SorbusError if one that is named is closed or unknown."""
        if isinstance(chosen, LetterFilter):
            if chosen.state in ("requeueing", "requeued"):
                return ()
            return replace(chosen, state="open") if chosen.state in ("unsettled", "unsent") else chosen
        found = {letter.id: letter for letter in self.letters.named(list(chosen))}
        for id in chosen:
            if id not in found or not found[id].is_unsettled:
                raise closed_or_unknown(id, found.get(id))
        return [id for id, letter in found.items() if letter.state == "open"]

    def _stranded(self, chosen: Chosen) -> list[str]:
        """Those of named letters that were sent back to a flow which the map doesn't have any more."""
        if isinstance(chosen, LetterFilter):
            return []
        found = self.letters.named(list(chosen))
        return [
            one.id for one in found if one.is_unsettled and one.state != "open" and one.dead.flow not in self._running
        ]

    def assign(self, chosen: Chosen, person: str, who: str) -> int:
        """Gives letters to somebody; to nobody if `person` is empty."""

        def give(connection: Connection, letters: Sequence[Letter]) -> None:
            ids = [letter.id for letter in letters]
            name = "assign" if person else "unassign"
            connection.execute(statement(name).encode(), {"ids": ids, "person": person, "who": who})

        return sum(len(letters) for letters in self._deed("assign", chosen, who, "", give, CHUNK, {"to": person}))

    def dry_run(self, chosen: Chosen, *, most: int = 100, hide: bool = True) -> list[DryRunResult]:
        """What sending them back would do just now, of the `most` oldest; nothing is changed."""
        self.index.catch_up()
        if isinstance(chosen, LetterFilter):
            letters = self.letters.page(chosen.unsent(), most=most)
        else:
            letters = [self._open(id) for id in list(chosen)[:most]]
        return list(simulate(self.loaded, self.book, letters, hide=hide))

    def difference(self, id: str, *, hide: bool = True) -> list[Difference] | None:
        """What the target has now beside the letter's record, field by field; None: it has nothing of the record.

        SorbusError where that can't be said.
        """
        return differences(self.loaded, self.book, self._open(id), hide=hide)

    def _send(self, letters: Sequence[Letter], progress: Progress | None) -> None:
        send_marked(self._sender, self._state, [letter.dead for letter in letters], progress)

    def _editable(self, id: str) -> Letter:
        """A letter that waits: a second edit would have the version of the first, and be taken for it."""
        found = self._open(id)
        if found.state != "open" and found.dead.flow:  # a source's can't be edited at all, and says why
            raise SorbusError(
                f"{id} is on its way back to its flow, so it can't be edited now: wait until it has landed or was"
                f" refused again; if its flow runs and neither comes, send it once more: sorbus dlq requeue {id}"
            )
        return found

    def _open(self, id: str) -> Letter:
        found = self.find(id)
        if found is None or not found.is_unsettled:
            raise closed_or_unknown(id, found)
        return found

    def _deed(
        self,
        action: str,
        chosen: Chosen,
        who: str,
        reason: str,
        step: Step,
        size: int,
        details: Mapping[str, JsonValue] | None = None,
        states: Sequence[LetterState] = UNSETTLED,
    ) -> Iterator[list[Letter]]:
        """The chosen letters, chunk by chunk, each noted and changed by `step` in one transaction."""
        self.index.catch_up()
        whole: int | None = None
        for connection, letters, count in self._chunks(chosen, size, states):
            if count == 1:
                self._note(connection, action, letters[0], who, reason, details)
            else:
                if whole is None:
                    words = chosen.words if isinstance(chosen, LetterFilter) else f"{count} letters"
                    told = {"count": count, **(details or {})}
                    whole = self._audit.note_in(connection, who, action, "letters", words, reason=reason, details=told)
                parts = [AuditPart(each.id, each.dead.data_type, each.record) for each in letters]
                self._audit.note_parts(connection, whole, "letter", parts)
            step(connection, letters)
            connection.commit()
            yield letters

    def _chunks(
        self, chosen: Chosen, size: int, states: Sequence[LetterState]
    ) -> Iterator[tuple[Connection, list[Letter], int]]:
        """Locked letters with the transaction that holds them, and how many there are in all."""
        if not isinstance(chosen, LetterFilter):
            ids = list(dict.fromkeys(chosen))
            known = {letter.id: letter for letter in self.letters.named(ids)}
            for id in ids:
                if id not in known or not known[id].is_unsettled:
                    raise closed_or_unknown(id, known.get(id))
            for at in range(0, len(ids), size):
                with self._state.connection() as connection:
                    found = select_named(connection, ids[at : at + size], lock=True)
                    if still := [letter for letter in found if letter.state in states]:
                        yield connection, still, len(ids)
            return
        chosen = chosen.unclosed()
        chosen = replace(chosen, until=self.letters.last(chosen))
        count = self.letters.count(chosen)
        after: Spot | None = None
        while count:
            with self._state.connection() as connection:
                page = select(connection, chosen, after, size, lock=True)
                if not page:
                    return
                yield connection, page, count
                after = page[-1].spot

    def _note(
        self,
        connection: Connection,
        action: str,
        letter: Letter,
        who: str,
        reason: str = "",
        details: Mapping[str, JsonValue] | None = None,
    ) -> None:
        self._audit.note_in(
            connection,
            who,
            action,
            "letter",
            letter.id,
            data_type=letter.dead.data_type,
            record=letter.record,
            reason=reason,
            details=details,
        )


def _nothing(connection: Connection, letters: Sequence[Letter]) -> None:
    """Of a deed that only Kafka is told of."""
    del connection, letters
