"""The demo from the first step to the last, as people see it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import psycopg
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sorbus.errors import SorbusError, TransientError
from sorbus.map.load import load_map
from sorbus.ops.demo.environment import Environment, Progress, environment
from sorbus.ops.monitoring.measure import Measurement, Watch
from sorbus.ops.monitoring.status import as_table, flows_table
from sorbus.settings import Settings
from sorbus.telemetry.stop import Stop

_REFRESH, _REFRESH_PLAIN = 1.0, 5.0
_SHOWN_DEEDS = 6
_ALL_UP_WITHIN = 30.0
"""Seconds in which a flow without a consumer is no news: they are started one after the other."""
_IN_STEP_WITHIN = 120.0
LAST_CHANGE = "update products set product_id = product_id where product_id = (select min(product_id) from products)"


def run(
    stage: Environment, stop: Stop, console: Console, *, began: float, rate: float, seconds: float | None, once: bool
) -> None:
    """Sets the stage, plays until `stop` or for `seconds`, and sums up; `once`: only until all is in step.

    `began` is when the command was given (time.monotonic), `rate` in changes a second.
    """
    say = _Steps(console, began)
    stage.say = say
    say("Kafka, registry and PostgreSQL are up")
    filled = stage.make_databases()
    say(f"databases {', '.join(stage.addresses)}{f' (made and filled: {_list(filled)})' if filled else ''}")
    before = stage.newest_version()
    steps = stage.apply()
    say(f"applied the map: {steps} things made (topics, schemas, tables, slots)" if steps else "all is as the map says")
    stage.start_work()
    feed = _Feeding(stage, rate)
    try:
        if not once:
            feed.start()
        if not once or before == 0:
            if not stage.wait_for_newer(before, stop):
                return
            say("the first record of this run has arrived")
            if not once:
                stage.prepare_next_start()
        with environment(stage.env()):
            watch = Watch(load_map(stage.company.map_file).map, Settings())
        try:
            if not once:
                _tell(stage, console)
                _play(stage, watch, feed, stop, console, seconds)
                feed.end()
            if (waited := _wait_in_step(stage, watch, stop)) is not None:
                say(f"all flows up to date with {stage.company.source}, {waited:.1f} s after the last change")
                console.print(as_table(watch.measure()))
        finally:
            watch.close()
    finally:
        feed.end()
    console.print("Stopping; the next run resumes here.")


class _Steps:
    """Prints what has been done, with the seconds since the command was given."""

    def __init__(self, console: Console, began: float) -> None:
        self._console, self._began = console, began

    def __call__(self, done: str) -> None:
        self._console.print(f"[dim]{time.monotonic() - self._began:6.1f} s[/]  {done}", highlight=False, soft_wrap=True)


class _Feeding:
    """The feed in a thread of its own."""

    def __init__(self, stage: Environment, rate: float) -> None:
        self._stage, self._rate = stage, rate
        self._stop = Event()
        self._thread: Thread | None = None
        self._error: Exception | None = None
        self.said: deque[str] = deque(maxlen=_SHOWN_DEEDS)
        self.deeds = 0

    def start(self) -> None:
        self._thread = Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises what ended the feed, if anything has."""
        if self._error is not None:
            raise SorbusError(f"the feed failed: {self._error}") from self._error

    def end(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        company = self._stage.company
        try:
            company.feed.run(
                self._stage.addresses[company.source],
                rate=self._rate,
                stop=self._stop,
                start=self._stage.deeds,
                reached=self._stage.remember,
                said=self._note,
            )
        except (psycopg.Error, LookupError) as error:
            self._error = error

    def _note(self, words: str) -> None:
        self.said.append(words)
        self.deeds += 1


def _play(
    stage: Environment, watch: Watch, feed: _Feeding, stop: Stop, console: Console, seconds: float | None
) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    quiet_until = time.monotonic() + _ALL_UP_WITHIN
    with _screen(console) as live:
        every = _REFRESH if live else _REFRESH_PLAIN
        while not stop.is_set() and (end is None or time.monotonic() < end):
            stage.check_work()
            feed.check()
            try:
                measured = watch.measure()
            except TransientError as error:  # a server is away for a while; the processes wait for it as well
                console.print(f"waiting: {error}", highlight=False, soft_wrap=True, markup=False)
                stop.wait(_REFRESH)
                continue
            if live:
                table = flows_table(measured) if time.monotonic() < quiet_until else as_table(measured)
                live.update(Group(table, Text(), *(Text(f"  {words}") for words in feed.said)), refresh=True)
            else:
                console.print(_line(measured, feed), highlight=False, soft_wrap=True)
            stop.wait(every if end is None else max(0.0, min(every, end - time.monotonic())))


def _line(measured: Measurement, feed: _Feeding) -> str:
    lag = sum(flow.lag_records for flow in measured.flows)
    said = f"; last: {feed.said[-1]}" if feed.said else ""
    return f"{feed.deeds} changes made, {lag} events in flight{said}"


@contextmanager
def _screen(console: Console) -> Iterator[Live | None]:
    if not console.is_terminal:
        yield None
        return
    with Live(console=console, auto_refresh=False) as live:
        yield live


def _tell(stage: Environment, console: Console) -> None:
    """What to look at, with commands that can be pasted."""
    folder, source = stage.folder, stage.company.source
    lines = [
        "",
        f"[bold]Look at it in a browser: http://127.0.0.1:{stage.console_port}[/]",
        "[bold]or from another terminal:[/]",
        f"  source {folder}/env",
        "  sorbus status --watch    [dim]every flow: lag, rate, dead letters[/]",
        "  sorbus map draw          [dim]who owns what, and where it goes[/]",
        f"  {stage.psql('reporting')} -c 'table customers limit 5'",
        f"  {stage.psql('accounting')} -c 'table sales_orders limit 5'",
        f"  {stage.psql(source)}    [dim]change something here, and look there again[/]",
        f"Metrics: {stage.targets_file} names each process's address, for Prometheus; logs: {folder}/up.log",
        "[bold]Ctrl-C[/] stops everything; the next run resumes where this one stopped.",
        "",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _wait_in_step(stage: Environment, watch: Watch, stop: Stop) -> float | None:
    """Seconds until every change of the source is in every target, None if stopped before; TransientError if late.

    Changes arrive in the order of their commits, so once a last one has come through, all others are on the bus.
    """
    began = time.monotonic()
    if not stage.wait_for_newer(_change_last(stage), stop, patience=_IN_STEP_WITHIN):
        return None
    progress, most = Progress(_IN_STEP_WITHIN), 0
    while (lag := _lag(watch)) != 0:
        stage.check_work()
        if stop.wait(0.2):
            return None
        most = max(most, lag or 0)
        if progress.is_over(most - (lag or most)):
            raise TransientError(f"not up to date, and no progress for {_IN_STEP_WITHIN:.0f} s; see `sorbus status`")
    return time.monotonic() - began


def _change_last(stage: Environment) -> int:
    """Makes one more change; returns a version below that change's, and not below any before it."""
    while True:
        stage.check_work()
        try:
            with psycopg.connect(stage.addresses[stage.company.source], autocommit=True) as source:
                found = source.execute("select pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
                assert found is not None
                source.execute(LAST_CHANGE)
                return int(str(found[0]))
        except psycopg.OperationalError:  # ended a moment ago; check_work starts it again
            time.sleep(_REFRESH)


def _lag(watch: Watch) -> int | None:
    """How many events are on their way; None while Kafka doesn't answer."""
    try:
        return sum(flow.lag_records for flow in watch.measure().flows)
    except TransientError:
        return None


def _list(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
