"""Running flows in a process: one in its main thread, or several, each in a thread of its own.

Where several share a process, what one of them raises ends that one alone, and it begins again after a pause; the
others notice nothing. What ends the process, such as a crash in a library, ends all: `sorbus up` then gives each of
them a process of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from sorbus.backoff import Backoff
from sorbus.bus.names import Names
from sorbus.bus.status import reporting
from sorbus.cli.context import Context
from sorbus.cli.refusal import REFUSED_FOR_GOOD, until_accepted
from sorbus.consumers.loop import ConsumeLoop
from sorbus.errors import SorbusError
from sorbus.history.recorder import HistoryRecorder
from sorbus.map.loaded import LoadedMap
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.telemetry.health import Health
from sorbus.telemetry.logs import name_this_thread
from sorbus.telemetry.metrics import ConsumerMetrics
from sorbus.telemetry.process import Process, collect_seldom, running
from sorbus.waiting.complete import consumer_of

_FIRST_PAUSE, _LONGEST_PAUSE, _HEALTHY_AFTER = 1.0, 60.0, 60.0
"""Seconds, as for the processes of `sorbus up`."""
STALE_AFTER = 120.0
_log = logging.getLogger(__name__)


class _BeginAnew(Exception):
    """The map or what it logs in with has changed: the flow begins again with what is there now."""


def process_name(flow: str) -> str:
    """What a flow's consumer is called where processes are listed."""
    return f"consume {flow}"


def run_one(context: Context, flow: str, port: int, host: str) -> None:
    """Delivers a flow until stopped. SorbusError."""
    loaded = context.load_sound()
    loaded.flow(flow)  # an unknown one is wrong use, before anything is served
    with running(process_name(flow), port, host, stale_after=STALE_AFTER) as process:
        collect_seldom()
        _deliver(loaded, flow, process)


def run_several(context: Context, flows: Sequence[str], port: int, host: str) -> None:
    """Delivers several flows until stopped; what one raises ends none of the others. SorbusError before they begin."""
    loaded = context.load_sound()
    for flow in flows:
        loaded.flow(flow)
    State.allow(len(flows))
    parts = {process_name(flow): Health(stale_after=STALE_AFTER) for flow in flows}
    with running(process_name(f"{flows[0]} +{len(flows) - 1}"), port, host, parts=parts) as process:
        collect_seldom()
        keepers = [_Keeper(context, flow, process, parts[process_name(flow)]) for flow in flows]
        threads = [threading.Thread(target=one.run, name=one.flow, daemon=True) for one in keepers]
        for thread in threads:
            thread.start()
        process.stop.wait()
        for thread in threads:  # interrupted if it takes too long, as a single flow is
            thread.join()


class _Keeper:
    """Keeps one flow going beside others: begins it again after a pause when it ends."""

    def __init__(self, context: Context, flow: str, process: Process, health: Health) -> None:
        self.flow = flow
        self._context, self._process, self._health = context, Process(process.stop, health, process.port), health
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)

    def run(self) -> None:
        """Until the process is to stop."""
        name_this_thread(process_name(self.flow))
        stop = self._process.stop
        while not stop.is_set():
            began = time.monotonic()
            try:
                _deliver(self._context.load_sound(), self.flow, self._process, begin_anew=_begin_anew)
            except _BeginAnew:
                _log.info("the credentials or the map have changed: beginning again")
            except BaseException as error:  # noqa: BLE001  # even an exit that a library asks for is this flow's alone
                if time.monotonic() - began >= _HEALTHY_AFTER:
                    self._backoff.reset()
                self._ended(error)
            else:
                return

    def _ended(self, error: BaseException) -> None:
        is_ours = isinstance(error, SorbusError)
        if isinstance(error, SorbusError) and error.exit_code in REFUSED_FOR_GOOD:
            _log.error("ended: %s; a person must act first: it is not started again", error)
            self._rest(f"ended: {error}")
            return
        pause = self._backoff.next()
        _log.error("ended: %s; starts again in %.1f s", error, pause, exc_info=None if is_ours else error)
        self._rest(f"ended: {error}", pause)

    def _rest(self, why: str, seconds: float | None = None) -> None:
        """Waits without being taken for stuck."""
        self._health.ready(why)
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            self._health.beat()
            if self._process.stop.wait(1.0 if end is None else min(1.0, max(0.0, end - time.monotonic()))):
                return


def _begin_anew() -> None:
    raise _BeginAnew


def _deliver(loaded: LoadedMap, flow: str, process: Process, *, begin_anew: Callable[[], None] | None = None) -> None:
    """Until stopped. SorbusError; what `begin_anew` raises once the map or what it logs in with has changed."""
    settings, bound = Settings(), loaded.flow(flow)
    connector = loaded.consumer(bound.flow.to)
    names = Names(bound.system.topic_prefix)
    with (
        reporting(settings, names, process_name(flow), process.health),
        HistoryRecorder.of("delivery", flow, bound.system.topic_prefix) as history,
    ):
        metrics = ConsumerMetrics(flow, bound.flow.data_type, bound.system.name)

        def run() -> None:
            ConsumeLoop(
                lambda: consumer_of(connector, bound),
                bound,
                settings,
                health=process.health,
                metrics=metrics,
                stop=process.stop,
                history=history,
            ).run()

        until_accepted(run, process, loaded, bound.flow.to, begin_anew=begin_anew)
