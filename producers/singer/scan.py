"""Single runs of a tap beside the capture: to list its streams, to show or read all records without publishing them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sorbus.abilities import Resource
from sorbus.connector import BoundSource, BoundSystem, Change, RejectedRecord
from sorbus.errors import TransientError, UsageError
from sorbus.producers.singer.catalog import TapCatalog, WantedStream
from sorbus.producers.singer.messages import RecordMessage, parse_line
from sorbus.producers.singer.options import SingerConnection, SingerSource
from sorbus.producers.singer.stream import TapStream
from sorbus.producers.singer.tap import Tap
from sorbus.producers.singer.tap_run import TapRun

_LONGEST_DISCOVERY = 600.0
_LONGEST_SAMPLE = 60.0


def discover_streams(system: BoundSystem) -> list[Resource]:
    """What the tap's `--discover` lists. TransientError; UsageError for a tap that can't."""
    with _tap(system) as tap:
        catalog = _catalog(tap)
    if catalog is None:
        raise UsageError(f"the tap of {system.name} can't list its streams (`catalog: none`): see its documentation")
    return catalog.resources()


def scan_stream(system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
    """Every record, versions 0, by a run without a state. A database's log is left alone: the table is read."""
    options = source.options
    assert isinstance(options, SingerSource)
    if options.replication == "LOG_BASED":
        source = _as_table(source, options)
    with _tap(system) as tap:
        stream = TapStream(source, system.name)
        catalog = _catalog(tap)
        if catalog is not None and catalog.entry(options.stream).replication(options) == "LOG_BASED":
            stream = TapStream(_as_table(source, options), system.name)
        run = TapRun(tap, catalog, [stream], None, system.name)
        while not run.is_over:
            found = run.read(1.0, time.monotonic() + 1.0)
            if found is not None:
                yield [
                    *(change._replace(version=0) for change in found.result.changes),
                    *(reject._replace(version=0) for reject in found.result.rejects),
                ]


def read_one(system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
    """The record with this id; None if the stream has none. PermanentError, TransientError."""
    wanted, found = id.encode(errors="replace"), None
    for batch in scan_stream(system, source):
        for one in batch:
            if one.id == wanted and isinstance(one, RejectedRecord):
                raise one.error
            if one.id == wanted and isinstance(one, Change):
                found = one.data
    return found


def sample_records(system: BoundSystem, resource: str, limit: int) -> list[dict[str, object]]:
    """The first records of a stream, within a minute."""
    found: list[dict[str, object]] = []
    with _tap(system) as tap:
        catalog = _catalog(tap)
        options = SingerSource(stream=resource, replication="FULL_TABLE")
        selected = None
        if catalog is not None:
            entry = catalog.entry(resource)
            fields = frozenset(map(str, entry.schema.get("properties") or ()))
            selected = catalog.selected({entry.id: WantedStream(options, fields)})
        tap.sync(selected, None)
        process, until = tap.process, time.monotonic() + _LONGEST_SAMPLE
        assert process is not None
        while len(found) < limit and process.exit_code is None and time.monotonic() < until:
            found += [m.record for line in process.read(1.0) if isinstance(m := parse_line(line), RecordMessage)]
            tap.check()
    return found[:limit]


def _as_table(source: BoundSource, options: SingerSource) -> BoundSource:
    changed = options.model_copy(update={"replication": "FULL_TABLE", "replication_key": ""})
    return BoundSource(source.name, source.data_type, source.schema, source.mapping, changed, source.lookups)


def _catalog(tap: Tap) -> TapCatalog | None:
    if tap.connection.catalog == "none":
        return None
    tap.discover()
    catalog = tap.discovered(_LONGEST_DISCOVERY)
    if catalog is None:
        raise TransientError(f"the tap hasn't listed its streams within {_LONGEST_DISCOVERY:.0f} s{tap.last_words()}")
    return catalog


@contextmanager
def _tap(system: BoundSystem) -> Iterator[Tap]:
    assert isinstance(system.connection, SingerConnection)
    tap = Tap(system, f"once {time.time_ns()}")
    try:
        tap.prepare()
        yield tap
    finally:
        tap.close()
