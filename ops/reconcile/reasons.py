"""Why records differ, as far as Sorbus knows: an open dead letter, a waiting record, a flow that isn't delivering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sorbus.bus.names import Names
from sorbus.connector import BoundFlow
from sorbus.dlq.index import LetterIndex
from sorbus.dlq.store import Letter, LetterFilter, LetterStore
from sorbus.ops.reconcile.finding import MOST_SHOWN, Cause, DifferenceKind, FieldDifference, RecordDifference
from sorbus.privacy.errors import target_names
from sorbus.privacy.mask import masked
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.waiting.store import Waiting, waiting, waiting_of

_UNEXPLAINED: Mapping[str, str] = {
    "missing": "nothing in Sorbus explains it: probably deleted in the target, by a person or a program there",
    "extra": "nothing in Sorbus explains it: probably added in the target, or restored there after its delete",
    "different": "nothing in Sorbus explains it: probably changed in the target, by a person or a program there",
}


_FOREIGN = "the target's own record: Sorbus never wrote it, as far as its topic and the target know"


class Reasons:
    """What is known of a flow's records. Made once for a reconciliation; TransientError, AuthError."""

    def __init__(self, flow: BoundFlow, owner: str, settings: Settings, state: State) -> None:
        names, data_type = Names(flow.system.topic_prefix), flow.flow.data_type
        index = LetterIndex(state, settings, names, [data_type])
        try:
            index.catch_up()
        finally:
            index.close()
        self._names = target_names(flow.schema, flow.mapping)
        self._flow, self._owner, self._data_type, self._state = flow.flow.id, owner, data_type, state
        self._open: dict[str, tuple[str, Cause]] = {}
        store, filter = LetterStore(state), LetterFilter(data_type=data_type)
        letters = store.page(filter, most=MOST_SHOWN)
        waits = waiting(state, flow=self._flow, most=MOST_SHOWN)
        self._note(letters, waits)
        self._is_all = store.count(filter) <= len(letters) and len(waits) < MOST_SHOWN

    def explain(self, found: RecordDifference, *, is_foreign: bool = False) -> RecordDifference:
        """The difference with its reason, personal values masked. `is_foreign`: Sorbus never wrote it."""
        fields = [self._masked(field) for field in found.fields]
        if found.kind == "unread":
            return found
        if not self._is_all and found.id not in self._open:
            self._look_up(found.id)
        if known := self._open.get(found.id):
            why, cause = known
            kind: DifferenceKind = "extra" if found.kind == "extra" else "stale"
            return found._replace(kind=kind, fields=fields, why=why, cause=cause)
        if is_foreign and found.kind == "extra":
            return found._replace(fields=fields, why=_FOREIGN, cause="foreign")
        return found._replace(fields=fields, why=found.why or _UNEXPLAINED.get(found.kind, ""))

    def _look_up(self, id: str) -> None:
        """One record, where there are too many letters or waiting records to know them all."""
        letters = LetterStore(self._state).of_record(self._data_type, id)
        waits = [one for one in waiting_of(self._state, self._data_type, id) if one.flow == self._flow]
        self._note([letter for letter in letters if letter.is_unsettled], waits)

    def _note(self, letters: Sequence[Letter], waits: Sequence[Waiting]) -> None:
        for letter in letters:
            if letter.dead.flow in ("", self._flow) or letter.dead.system == self._owner:
                self._open[letter.record] = f"dead letter {letter.id}: {letter.dead.message}", "dead_letter"
        for one in waits:
            self._open[one.id] = f"waiting record: {one.message}", "waiting"

    def _masked(self, field: FieldDifference) -> FieldDifference:
        name = field.field.rpartition(".")[2]
        if name.endswith("[]") or self._names.is_open(name):
            return FieldDifference(field.field, _printable(field.owner), _printable(field.target))
        return FieldDifference(field.field, _text(masked(field.owner)), _text(masked(field.target)))


def shown(fields: Sequence[FieldDifference], most: int = 3) -> str:
    """`price: 12.5 at the owner, 12 in the target` for the first few fields."""
    words = [f"{field.field}: {_quoted(field.owner)} at the owner, {_quoted(field.target)} here" for field in fields]
    return "; ".join(words[:most]) + (f"; {len(words) - most} more" if len(words) > most else "")


def _quoted(value: str | None) -> str:
    if value is None:
        return "nothing"
    return repr(value if len(value) <= 60 else f"{value[:57]}...")


def _printable(value: str | None) -> str | None:
    """Bytes that aren't text (surrogates) as \\xe9; what the database and JSON can't hold otherwise."""
    if value is None:
        return None
    return value.encode("utf-8", "surrogateescape").decode(errors="backslashreplace")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
