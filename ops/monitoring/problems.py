"""What doesn't work, since when and why: of systems, processes and what Sorbus itself needs; without I/O.

A process says how it is (`sorbus/bus/status.py`); one that says nothing any more was killed. What the watch finds when
it asks a source by itself counts too, since the producer may be dead.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sorbus.bus.inbox import with_inbox
from sorbus.bus.status import SILENT, ProcessReport
from sorbus.calendar_limits import moment_of
from sorbus.mapfile.model import Map

PASSING = 10.0
"""Seconds of trouble that are not reported yet: a restart, a reconnection."""
STARTING = 60.0
_ENDS, _WITHIN = 3, 600.0
"""A process that ended more often than this on one machine, within so many seconds, does not work between its ends."""

Kind = Literal["system", "producer", "consumer", "dependency"]
What = Literal["unreachable", "not readable", "waiting", "stopped", "not running"]
DEPENDENCIES: Mapping[str, str] = {
    "kafka": "Kafka (SORBUS_KAFKA)",
    "registry": "the schema registry (SORBUS_REGISTRY)",
    "state": "the state database (SORBUS_DATABASE)",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that doesn't work. `subject`: a system, a flow, or kafka, registry, state; `since`: seconds since 1970.

    unreachable: it gives no answer. not readable: it refuses what is asked for. waiting: it answers, and the work can't
    be done. stopped: a person has to act. not running: no process does it.
    """

    kind: Kind
    subject: str
    what: What
    since: float | None
    why: str

    @property
    def short(self) -> str:
        """For a small place: unreachable since 13:20."""
        return f"{self.what} since {clock(self.since)}" if self.since else self.what

    @property
    def words(self) -> str:
        """The whole of it: unreachable since 2026-11-28 13:20 UTC, because ..."""
        subject = {"producer": "its producer is ", "consumer": "its consumer is "}.get(self.kind, "")
        if self.what == "waiting":
            subject = ""
        since = f" since {moment_with_zone(self.since)}" if self.since else ""
        why = f", because {self.why}" if self.why else ""
        return f"{subject}{self.what}{since}{why}"

    @property
    def name(self) -> str:
        """What it is about, for people."""
        return DEPENDENCIES.get(self.subject, self.subject) if self.kind == "dependency" else self.subject


def moment_with_zone(at: float) -> str:
    """A moment by this machine's clock, to the minute, with its zone: 2026-11-28 13:20 UTC."""
    return moment_of(1e6 * at).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def clock(at: float) -> str:
    """The same for a small place: 13:20 UTC, with the day where it isn't today."""
    moment, today = moment_of(1e6 * at).astimezone(), datetime.now().astimezone().date()
    return moment.strftime("%H:%M %Z" if moment.date() == today else "%d %b, %H:%M %Z")


def problems_of(
    company: Map,
    reports: Sequence[ProcessReport],
    sources: Mapping[str, tuple[float, str]],
    now: float | None = None,
    missing: Collection[str] = (),
) -> list[Problem]:
    """Everything that doesn't work. `sources`: system -> since when, and why, the watch itself can't ask it.

    `missing`: dependencies whose own problem says why; what waits for them only names them.
    """
    now = time.time() if now is None else now
    reports = [
        replace(one, reason=f"{DEPENDENCIES[one.dependency]} is unreachable") if one.dependency in missing else one
        for one in reports
    ]
    found: list[Problem] = []
    for system in company.systems:
        found += _of_system(company, system, reports, sources.get(system), now)
    away = {one.subject for one in found if one.what == "unreachable"}
    for flow in company.flows:
        if not flow.runs or not (mine := _process(f"consume {flow.id}", "consumer", flow.id, reports, now)):
            continue
        if mine.what != "unreachable" or flow.to not in away:  # else the same thing is said of its target
            found.append(mine)
    return found


def dated(away: Sequence[Problem], reports: Sequence[ProcessReport], now: float) -> list[Problem]:
    """Dependencies that are away, since when any process that runs says so: who asks now has only just noticed."""
    found = []
    for one in away:
        said = [
            report.since
            for report in reports
            if report.dependency == one.subject and not report.ready and now - report.at <= SILENT
        ]
        found.append(replace(one, since=min([*said, one.since or now])))
    return found


def ended_consumers(reports: Sequence[ProcessReport], now: float) -> dict[str, str]:
    """Flows whose consumers ran and of which none runs now -> the command."""
    ran = {one.process for one in reports if one.process.startswith("consume ")}
    runs = {one.process for one in reports if one.exit_code is None and now - one.at <= SILENT}
    return {process.partition(" ")[2]: f"`sorbus {process}`" for process in sorted(ran - runs)}


def notes_of(reports: Sequence[ProcessReport], now: float) -> dict[tuple[str, str], str]:
    """What processes that run say that somebody should look at: (system or flow, kind) -> words."""
    running = [one for one in reports if one.exit_code is None and now - one.at <= SILENT]
    return {(one.process.partition(" ")[2], kind): words for one in running for kind, words in one.notes.items()}


def unmapped(company: Map, reports: Sequence[ProcessReport], now: float) -> dict[tuple[str, str], str]:
    """Processes that run though the map has nothing for them to do, as notes of kind `unmapped`: of an older map."""
    wanted = {f"consume {flow.id}" for flow in company.flows if flow.runs}
    wanted |= {f"produce {system}" for system in company.systems if company.owned_by(system)}
    return {
        (one.process.partition(" ")[2], "unmapped"): f"`sorbus {one.process}` runs ({one.instance}), though the map has"
        " nothing for it to do: it works by an older map; stop it"
        for one in reports
        if one.process.startswith(("consume ", "produce "))
        and one.process not in wanted
        and one.exit_code is None
        and now - one.at <= SILENT
    }


def _of_system(
    company: Map, system: str, reports: Sequence[ProcessReport], asked: tuple[float, str] | None, now: float
) -> Iterable[Problem]:
    own = company.owned_by(system)
    into = [f"consume {flow.id}" for flow in company.flows if flow.runs and flow.to == system]
    away = [
        (report.since, report.reason)
        for report in reports
        if report.process in (f"produce {system}", *into)
        and report.dependency == "system"
        and _is_trouble(report, now)
        and now - report.at <= SILENT
    ]
    if asked is not None and now - asked[0] >= PASSING:
        away.append(asked)
    if away:
        since, why = min(away)
        yield Problem("system", system, "unreachable", since, why)
    if own and reports and (producer := _process(f"produce {system}", "producer", system, reports, now)):
        yield from () if away and producer.what in ("waiting", "unreachable") else (producer,)
    elif own and reports and (receiver := _receiver(company, system, reports, now)):
        yield receiver


def _receiver(company: Map, system: str, reports: Sequence[ProcessReport], now: float) -> Problem | None:
    """Of a system that posts its records, or notices of changes, whose producer only reads what was received.

    An application's changes come without notices too, with its polls: there it is said once the service has ever run.
    """
    if system not in with_inbox(company):
        return None
    found = _process("webhooks", "producer", system, reports, now)
    if found is None:
        return None
    if company.systems[system].kind == "webhook":
        return replace(found, why=f"what it posts isn't received: {found.why}")
    if not any(report.process == "webhooks" for report in reports):
        return None
    return replace(found, what="waiting", why=f"its webhooks aren't received, only polls find its changes: {found.why}")


def _process(name: str, kind: Kind, subject: str, reports: Sequence[ProcessReport], now: float) -> Problem | None:
    """What is wrong with a process, if it has ever reported, or others have and it should."""
    mine = [report for report in reports if report.process == name]
    if not mine:
        return (
            Problem(kind, subject, "not running", None, "it has never run") if reports and kind == "producer" else None
        )
    alive = [report for report in mine if report.exit_code is None and now - report.at <= SILENT]
    if alive:
        troubled = [report for report in alive if _is_trouble(report, now)]
        if not troubled:
            return _ends_again_and_again(kind, subject, name, mine, now)
        worst = min(troubled, key=lambda report: (report.dependency != "refused", report.since))
        what: What = {"refused": "stopped", "system": "unreachable"}.get(worst.dependency, "waiting")  # type: ignore[assignment]
        return Problem(kind, subject, what, worst.since, worst.reason)
    last = max(mine, key=lambda report: report.at)
    if last.exit_code is None:
        why = f"it was killed or can't reach Kafka: nothing was heard of it since; start `sorbus {name}` again"
        return Problem(kind, subject, "not running", last.at, why)
    if last.exit_code == 0:
        return Problem(kind, subject, "not running", last.since, f"it was stopped; start it with `sorbus {name}`")
    return Problem(kind, subject, "stopped", last.since, last.reason)


def _ends_again_and_again(
    kind: Kind, subject: str, name: str, reports: Sequence[ProcessReport], now: float
) -> Problem | None:
    """Of a process that works for moments only: killed for its memory, say, at the same batch each time."""
    ended: dict[str, list[ProcessReport]] = {}
    for one in reports:
        killed = one.exit_code is None and now - one.at > SILENT
        if now - one.at <= _WITHIN and (killed or one.exit_code):
            ended.setdefault(one.instance.rpartition(":")[0], []).append(one)
    most = max(ended.values(), key=len, default=[])
    if len(most) <= _ENDS:
        return None
    why = (
        f"it was killed or crashed {len(most)} times within {_WITHIN / 60:.0f} minutes, and started again: read what"
        f" `sorbus {name}`, or `sorbus up`, printed before"
    )
    return Problem(kind, subject, "waiting", min(one.at for one in most), why)


def _is_trouble(report: ProcessReport, now: float) -> bool:
    if report.ready:
        return False
    if report.dependency == "refused":
        return True
    return now - report.since >= (STARTING if report.reason == "starting" else PASSING)
