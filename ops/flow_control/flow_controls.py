"""Pausing a flow, resuming it, letting it deliver now: for commands and the console."""

from __future__ import annotations

import logging
import time

from sorbus.audit import AuditTrail
from sorbus.bus.controls import ControlReader, FlowControl, FlowPause, pause_message, sync_message
from sorbus.bus.kafka import idempotent_producer
from sorbus.bus.names import Names
from sorbus.bus.sending import Single, send
from sorbus.bus.status import running_reports
from sorbus.errors import SorbusError, UsageError
from sorbus.mapfile.model import Map
from sorbus.settings import Settings
from sorbus.spelling import closest
from sorbus.state.database import State

_log = logging.getLogger(__name__)


class FlowControls:
    """A map's flows. Each method returns a sentence for whoever asked; UsageError, TransientError, AuthError."""

    def __init__(self, settings: Settings, company: Map, state: State | None) -> None:
        """`state`: where it is noted who told a flow what."""
        self._settings, self._company, self._names = settings, company, Names(company.topic_prefix)
        self._state = state

    def of(self, flow: str) -> FlowControl:
        """What the flow was told last. UsageError where the map has no such flow that runs."""
        running = [one.id for one in self._company.flows if one.runs]
        if flow not in running:
            raise UsageError(f"the map has no flow {flow!r} that runs; {closest(flow, running)}")
        reader = ControlReader(self._settings, self._names)
        try:
            return reader.of(flow)
        finally:
            reader.close()

    def pause(self, flow: str, who: str, reason: str) -> str:
        """Nothing is delivered until it is resumed."""
        pause = FlowPause(who, reason.strip() or "no reason given", time.time())
        self.of(flow)
        self._tell(flow, pause_message(self._names, flow, pause), who, "pause", reason)
        return f"{flow} is {pause.words}; sorbus resume {flow} resumes it"

    def resume(self, flow: str, who: str) -> str:
        """What has come meanwhile is delivered."""
        before = self.of(flow)
        if before.pause is None:
            return f"{flow} isn't paused"
        self._tell(flow, pause_message(self._names, flow, None), who, "resume", "")
        return f"{flow} is resumed"

    def sync(self, flow: str, who: str) -> str:
        """A flow with a timing, or in quiet hours, delivers now what has been published."""
        before = self.of(flow)
        if before.pause is not None:
            raise UsageError(f"{flow} is {before.pause.words}; sorbus resume {flow}")
        if self._company.times(self._company.flow(flow)).is_always:
            return f"{flow} is real-time: it delivers at once anyway"
        at = max(time.time(), before.sync_at + 1e-3)  # who asked before may have a clock that is ahead
        self._tell(flow, sync_message(self._names, flow, at), who, "sync", "")
        if not running_reports(self._settings, self._names, f"consume {flow}"):
            return (
                f"{flow} is asked to deliver now, but `sorbus consume {flow}` isn't running: it does if it is started"
                " within ten minutes"
            )
        return f"{flow} delivers now; see sorbus status"

    def _tell(self, flow: str, message: Single, who: str, action: str, reason: str) -> None:
        send(idempotent_producer(self._settings, f"control-{flow}"), [message], f"telling flow {flow}")
        if self._state is None:
            return
        try:
            trail = AuditTrail(self._state)
            trail.note(who, action, "flow", flow, data_type=self._company.flow(flow).data_type, reason=reason)
        except SorbusError as error:  # the flow is told already
            _log.warning("not noted in the audit trail: %s", error)
