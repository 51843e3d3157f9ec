"""The year from the second of January to the last month's end, as people see it, and what is written down of it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from sorbus.errors import SorbusError, TransientError
from sorbus.ops.demo.year.business import Business
from sorbus.ops.demo.year.faults import KINDS, Fault, Outcome, schedule
from sorbus.ops.demo.year.ledger import Difference, Rows, differences
from sorbus.ops.demo.year.servers import wait
from sorbus.ops.demo.year.stage import Stage
from sorbus.ops.demo.year.workplace import WEEKS, YEAR
from sorbus.state.database import schema_of

_AGREE_WITHIN, _TELL_EVERY = 300.0, 30.0
_MOVED = """select subject, sum(created + updated + linked + written + deleted)::int from {}.flow_history
    where activity = 'delivery' group by 1"""


class Disagreement(SorbusError):
    """At a month's end a system shows something else than the ledger."""


@dataclass
class MonthEnd:
    """A month's end: how many relations and records were compared, and what had to be settled before they agreed.

    `unsettled` counts, by relation, what was on its way when the month's business was done; `settled` is the seconds
    until nothing was; `complaints` is what `sorbus status` still says then. `sold` and `owed` are the report, in euros,
    equal in each of `reported`.
    """

    month: int
    events: int
    relations: int = 0
    records: int = 0
    unsettled: dict[str, int] = field(default_factory=dict)
    settled: float = 0.0
    sold: str = "0.00"
    owed: str = "0.00"
    reported: list[str] = field(default_factory=list)
    faults: list[Outcome] = field(default_factory=list)
    moved: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)


class Year:
    """`say` hears what happens; `stopped` is asked between two steps whether to end. `years_end` keeps the months."""

    def __init__(
        self,
        stage: Stage,
        business: Business,
        say: Callable[[str], None],
        *,
        kinds: tuple[type[Fault], ...] = tuple(KINDS),
        stopped: Callable[[], bool] = lambda: False,
        patience: float = _AGREE_WITHIN,
    ) -> None:
        """`patience`: seconds within which all systems have to agree."""
        self.stage, self.business, self._say, self._kinds, self._stopped = stage, business, say, kinds, stopped
        self._patience = patience
        self.months: list[MonthEnd] = []
        self._moved: Counter[str] = Counter()

    def open(self) -> None:
        """Fills the systems, applies the map, starts Sorbus, and waits until all of them agree."""
        self.business.open()
        self._say(f"all systems are filled: {self.business.ledger.events} records of their owners")
        self.stage.sorbus("map", "check")
        self.stage.sorbus("apply", "--yes", status=(0, 1))
        self._say("the map is applied: topics, schemas, tables, slots")
        self.stage.start_work()
        _, seconds = self.settle()
        self._say(f"all systems agree {seconds:.0f} s after the start of `sorbus up`")

    def run(self, months: int) -> list[MonthEnd]:
        """So many months; Disagreement at the first month's end at which something is lost, doubled or different."""
        planned = schedule(months, self._kinds)
        for month in range(1, months + 1):
            began, before = time.monotonic(), self.business.ledger.events
            end = MonthEnd(month, 0)
            for week in range(1, WEEKS + 1):
                if self._stopped():
                    return self.months
                end.faults += self._week(
                    month, week, [kind(self.stage, self.business) for kind in planned.get((month, week), [])]
                )
            self._close(end)
            end.events, end.seconds = self.business.ledger.events - before, time.monotonic() - began
            self.months.append(end)
            self._say(
                f"month {month:2}: {end.events:,} events; {end.records:,} records in {end.relations} relations agree,"
                f" {sum(end.unsettled.values()):,} were on their way for {end.settled:.0f} s; sold {end.sold},"
                f" owed {end.owed} in {', '.join(end.reported)}"
            )
        return self.months

    def differences(self) -> list[Difference]:
        """What systems show otherwise than the ledger just now; a system that doesn't answer shows nothing."""
        systems = self.stage.systems
        wanted = {name: systems.compared(name, rows) for name, rows in self.business.ledger.expected().items()}

        def read(relation: str) -> Rows:
            try:
                return systems.read(relation)
            except (psycopg.Error, sqlite3.Error, SorbusError, OSError) as error:
                return {"(no answer)": (str(error)[:200],)}

        return differences(wanted, read)

    def settle(self) -> tuple[list[Difference], float]:
        """Waits until all systems agree and nothing is on its way; what differed at first, and the seconds it took."""
        began = told = time.monotonic()
        first: list[Difference] | None = None
        while True:
            self.stage.check_work()
            found = self.differences()
            first = found if first is None else first
            if not found and self.stage.lag() == 0 and not self.differences():
                return first, time.monotonic() - began
            if time.monotonic() - began > self._patience:
                shown = "\n".join(map(str, found[:12]))
                raise Disagreement(
                    f"{len(found)} differences after {self._patience:.0f} s, the first:\n{shown}\n{self._told()}"
                )
            if self._stopped():
                raise TransientError("stopped while systems did not agree yet")
            if time.monotonic() > told + _TELL_EVERY:
                told = time.monotonic()
                self._say(f"    {len(found)} differences are on their way, the first: {found[0] if found else 'lag'}")
                self._tell_apart()
            wait(1)

    def _tell_apart(self) -> None:
        """Sorbus asks whether somebody is who a system has already: people know that a namesake is somebody else."""
        for line in self.stage.sorbus("duplicates", "list", "--json").splitlines():
            if line.startswith("{"):
                asked = json.loads(line)
                words = ["--reason", "a namesake", "--by", "hr", "--yes"]
                self.stage.sorbus("duplicates", "create", str(asked["number"]), *words)
                self.business.at.counts[f"people: {asked['data_type']} told apart from a namesake"] += 1
                self._say(f"    {asked['data_type']} {asked['id']} is a namesake: sorbus duplicates create")

    def _week(self, month: int, week: int, faults: list[Fault]) -> list[Outcome]:
        for fault in faults:
            self._say(f"month {month:2}, week {week}: {fault.title}")
            fault.begin()
        self.business.week(month, week)
        outcomes = []
        for fault in sorted(
            faults, key=lambda one: bool(one.sign)
        ):  # what was killed runs again before anything is seen
            fault.strike()
            one = Outcome(fault.title, month, week, fault.runbook)
            if fault.sign:
                one.command, one.words = f"sorbus {' '.join(fault.look)}", fault.seen()
                self._say(f"    {one.command}: {one.words[:300]}")
            one.steps = fault.fix()
            if one.steps:
                self._say(f"    fixed as docs/runbooks/{fault.runbook}.md says: {one.steps[0]}{_more(one.steps)}")
            outcomes.append(one)
        return outcomes

    def _close(self, end: MonthEnd) -> None:
        first, _ = self.settle()
        waiting = self.business.closing(end.month)
        if waiting:
            raise Disagreement(f"{waiting} deliveries that are due are not in the ERP\n{self._told()}")
        end.unsettled = dict(Counter(one.relation for one in [*first, *self.differences()]))
        _, end.settled = self.settle()
        end.complaints = [str(one) for one in json.loads(self.stage.sorbus("status", "--json"))["complaints"]]
        if self.stage.sorbus("dlq", "list", "--json", status=(0, 1)).strip() not in ("", "[]"):
            raise Disagreement(f"dead letters are open at the month's end:\n{self._told()}")
        expected = self.business.ledger.expected()
        end.relations, end.records = len(expected), sum(map(len, expected.values()))
        reports = {name: rows for name, rows in expected.items() if name.endswith(".month_end") and "owed" in rows}
        end.reported = [name.partition(".")[0] for name in reports]
        report = next(iter(reports.values()))
        end.sold, end.owed = report.get(f"sold {_name(end.month)}", ("", "", "", "0.00"))[3], report["owed"][0]
        moved = self._delivered()
        end.moved = {flow: count - self._moved[flow] for flow, count in moved.items()}
        self._moved = Counter(moved)

    def _delivered(self) -> dict[str, int]:
        """Records that each flow wrote so far, by Sorbus's own history (a kill loses its last minute there)."""
        schema = sql.Identifier(schema_of(self.stage.prefix))
        with psycopg.connect(self.stage.env()["SORBUS_DATABASE"]) as connection:
            rows = connection.execute(sql.SQL(_MOVED).format(schema)).fetchall()
        return {str(flow): int(count) for flow, count in rows}

    def _told(self) -> str:
        words = [self.stage.sorbus(*command, status=(0, 1, 3, 4)) for command in (["status"], ["dlq", "groups"])]
        return "\n".join([*words, self.stage.last_words()])


def written(months: list[MonthEnd], counts: Mapping[str, int], file: Path) -> None:
    """The run as JSON: its months, and how often people did what."""
    text = json.dumps({"months": [asdict(one) for one in months], "done": dict(counts)}, indent=1, ensure_ascii=False)
    file.write_text(f"{text}\n", "utf-8")


def _name(month: int) -> str:
    return f"{YEAR}-{month:02}"


def _more(steps: list[str]) -> str:
    return f" (and {len(steps) - 1} more)" if len(steps) > 1 else ""
