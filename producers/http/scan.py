"""Reading all records of a resource as they would be published, without publishing them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial

import stamina

from sorbus.connector import BoundSource, BoundSystem, Change, RejectedRecord
from sorbus.errors import AuthError, IncompleteRead, PermanentError, SorbusError, TransientError, Unfinished
from sorbus.http_api.connection import application
from sorbus.http_api.description import ApiResource
from sorbus.http_api.interface import Api, Page
from sorbus.http_api.records import open_api
from sorbus.http_api.transport import open_transport
from sorbus.http_api.whole_list import WholeList
from sorbus.producers.http.options import HttpSource
from sorbus.producers.http.reader import ListReader
from sorbus.producers.http.request_pool import Answer, answer_of
from sorbus.producers.http.rules import rules_of, updated_of
from sorbus.producers.http.shape import application_shape
from sorbus.producers.polling.change_detector import ChangeDetector
from sorbus.producers.polling.poll_state import UNREADABLE, AskRecord, PageResult, PollState
from sorbus.state.database import State

_TRIES = 4
_LONGEST = 120.0
"""Seconds that a page waits for the rate limit; a limit of a day ends the reading instead."""


def scan_records(
    system: BoundSystem, source: BoundSource, resource: ApiResource
) -> Iterator[Sequence[Change | RejectedRecord]]:
    """See `sorbus.abilities.SupportsScan`: a page at a time, each record once, within the owner's rate limits."""
    transport = open_transport(application(system), State.of(system.topic_prefix), flow=f"scan {source.name}")
    with closing(transport):
        yield from scan_api(open_api(transport), system, source, resource)


def scan_api(
    api: Api, system: BoundSystem, source: BoundSource, resource: ApiResource
) -> Iterator[Sequence[Change | RejectedRecord]]:
    """The same of any system with an `Api`; the source's options are an `HttpSource`."""
    options = source.options
    assert isinstance(options, HttpSource)
    rules = rules_of(options, resource, f"{options.resource} of {system.name}")
    shape = application_shape(source, system.name, resource)
    memory = ChangeDetector(source.name, shape.encode, updated_of(resource), can_look=rules.can_look)
    reader = ListReader(rules, memory, PollState(), lambda: time.time_ns() // 1000)
    whole, given = WholeList(), set[bytes]()
    steps = reader.everything()
    answer: Answer = None
    while True:
        try:
            asked = steps.send(answer)
        except StopIteration:
            break
        except TransientError as error:
            raise _ended(rules.name, len(given), error) from error
        answer = None
        if isinstance(asked, PageResult):
            changes = [one._replace(version=0) for one in asked.changes if one.id not in given]
            rejects = [one._replace(version=0) for one in asked.rejects if one.id not in given]
            found: list[Change | RejectedRecord] = [*changes, *rejects]
            if found:
                given.update(one.id for one in found)
                yield found
            continue
        try:
            answer = _patiently(partial(answer_of, api, options.resource, asked, by_changes=resource.list is None))
        except AuthError:
            raise
        except SorbusError as error:
            if isinstance(asked, AskRecord) and isinstance(error, PermanentError):
                answer = UNREADABLE
            elif given:
                raise _ended(rules.name, len(given), error) from error
            else:
                raise
        if isinstance(answer, Page):
            ids = []
            for record in answer.records:
                try:
                    ids.append(rules.id_of(record).decode())
                except PermanentError:  # a dead letter under a name of ours
                    continue
            whole.add(answer, ids)
    if whole.why_short:
        raise IncompleteRead(f"the list of {rules.name} was cut short: {whole.why_short}", len(given))


def _patiently(ask: Callable[[], Answer]) -> Answer:
    """Waits for the rate limit, and repeats what fails for the moment."""
    until = time.monotonic() + _LONGEST
    while True:
        try:
            for attempt in stamina.retry_context(on=TransientError, attempts=_TRIES, wait_initial=0.2, wait_max=5.0):
                with attempt:
                    return ask()
        except Unfinished as error:
            if time.monotonic() + error.retry_after > until:
                raise
            time.sleep(error.retry_after)


def _ended(what: str, read: int, error: SorbusError) -> IncompleteRead:
    return IncompleteRead(f"the list of {what} was cut short after {read:,} records: {error}", read)
