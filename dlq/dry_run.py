"""What would come of a letter: what its flow would do with it now, and how the target differs from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from pydantic import JsonValue

from sorbus.abilities import SupportsLookup, SupportsPreview
from sorbus.bus.deserialize import decode_batch
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import BoundFlow, Consumer, Delivery
from sorbus.dlq.store import Letter
from sorbus.errors import PermanentError, SorbusError
from sorbus.map.field_trace import explain_delivery
from sorbus.map.loaded import LoadedMap
from sorbus.mapping.field_refs import RECORD
from sorbus.privacy.mask import masked
from sorbus.privacy.preview import masked_fault, masked_preview
from sorbus.waiting.complete import consumer_of
from sorbus.waiting.events import message_of
from sorbus.waiting.store import WaitingEvent


class DryRunResult(NamedTuple):
    """What a requeue would do. `action` as in `sorbus.abilities.Preview`, or "reread", or "unknown"."""

    letter: Letter
    action: str
    why: str
    request: JsonValue = None


class Difference(NamedTuple):
    """One field of the target: what it has now, and what the letter would put there, or why it can't."""

    field: str
    now: object
    letter: object
    error: str
    differs: bool


def simulate(
    loaded: LoadedMap, book: SchemaResolver, letters: Sequence[Letter], *, hide: bool
) -> Iterator[DryRunResult]:
    """What sending each of `letters` back would do at this moment; nothing is changed. `hide`: personal values masked.

    A target out of reach makes its letters "unknown", with what it said.
    """
    with ExitStack() as opened:
        targets: dict[str, tuple[BoundFlow, Consumer] | SorbusError] = {}
        for letter in letters:
            flow = letter.dead.flow
            if not flow:
                yield DryRunResult(letter, "reread", f"{letter.dead.system} is asked for its row again")
                continue
            if flow not in targets:
                targets[flow] = _opened(loaded, flow, opened)
            found = targets[flow]
            if isinstance(found, SorbusError):
                yield DryRunResult(letter, "unknown", str(found))
            else:
                yield _foreseen(letter, *found, book, hide)


def differences(loaded: LoadedMap, book: SchemaResolver, letter: Letter, *, hide: bool) -> list[Difference] | None:
    """Field by field, what the target has of the record now beside what the letter would make of it.

    None: the target has nothing of the record. SorbusError where that can't be said; TransientError, AuthError.
    """
    if not letter.dead.flow:
        raise SorbusError(f"{letter.id} did not get as far as a target: it is a row of {letter.dead.system}")
    bound = loaded.flow(letter.dead.flow)
    target = loaded.consumer(bound.flow.to)(bound)
    if not isinstance(target, SupportsLookup):
        raise SorbusError(f"systems of kind {bound.system.system.kind} can't show what they have")
    try:
        target.open()
        now = target.look(letter.record)
    finally:
        target.close()
    try:
        delivery = _delivery(letter, book)
    except PermanentError as error:
        raise SorbusError(f"{letter.id} can't be compared: {error}") from error
    if delivery.deleted:
        return None if now is None else [Difference("", "a record", "a delete", "", differs=True)]
    if now is None:
        return None
    traces = [each for each in explain_delivery(loaded, bound, delivery) if each.place.part == RECORD]
    return [
        Difference(
            each.place.name,
            _shown(now.get(each.place.name), hide=hide and bool(each.personal)),
            _shown(each.value, hide=hide and bool(each.personal)),
            (each.masked() if hide else each).error,
            bool(each.error) or not _same(now.get(each.place.name), each.value),
        )
        for each in traces
    ]


def _opened(loaded: LoadedMap, flow: str, opened: ExitStack) -> tuple[BoundFlow, Consumer] | SorbusError:
    try:
        bound = loaded.flow(flow)
        target = consumer_of(loaded.consumer(bound.flow.to), bound)
        if not isinstance(target, SupportsPreview):
            return SorbusError(f"systems of kind {bound.system.system.kind} can't show what they would do")
        opened.callback(target.close)
        target.open()
    except SorbusError as error:
        return error
    return bound, target


def _foreseen(letter: Letter, flow: BoundFlow, target: Consumer, book: SchemaResolver, hide: bool) -> DryRunResult:
    assert isinstance(target, SupportsPreview)
    try:
        delivery = _delivery(letter, book)
    except PermanentError as error:  # of bytes that say nothing: it quotes none of them
        return DryRunResult(letter, "refuse", str(error))
    try:
        shown = target.preview(delivery)
    except SorbusError as error:
        told = masked_fault(error, flow, delivery) if hide else error
        return DryRunResult(letter, "refuse" if isinstance(error, PermanentError) else "unknown", str(told))
    return DryRunResult(letter, *(masked_preview(shown, flow, delivery) if hide else shown))


def _delivery(letter: Letter, book: SchemaResolver) -> Delivery:
    """The letter as its flow's consumer would get it. PermanentError when it can't be read."""
    dead = letter.dead
    place = dead.topic, max(0, dead.partition), max(0, dead.offset)
    message = message_of(WaitingEvent(dead.record_id, letter.version or 0, dead.value or None, dead.headers, *place))
    taken = decode_batch([message], book)
    if taken.refused:
        raise taken.refused[0][1]
    if not taken.deliveries:
        raise PermanentError("its bytes say nothing", reason="undecodable")
    return taken.deliveries[0]


def _shown(value: object, *, hide: bool) -> object:
    return masked(value) if hide else value


def _same(now: object, wanted: object) -> bool:
    """Whether the target's value, as JSON or text, is the one wanted: 12.50 is 12.5, and so on."""
    if now is None or wanted is None or isinstance(now, Mapping | list):
        return now == wanted
    if isinstance(wanted, bool) or isinstance(now, bool):
        return str(now).lower() in (str(wanted).lower(), {"true": "t", "false": "f"}.get(str(wanted).lower()))
    if isinstance(wanted, datetime):
        return _moment(now) == wanted
    if isinstance(wanted, int | float | Decimal):
        try:
            return Decimal(str(now)) == Decimal(str(wanted))
        except InvalidOperation:
            return False
    return str(now) == str(wanted)


def _moment(value: object) -> object:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return value
