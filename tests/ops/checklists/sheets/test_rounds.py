"""Rounds of manual sync against an independent ledger: every change is in exactly one confirmed row, or still open."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sorbus.ops.checklists.sheets.changes import OwnerRecord, TargetFields
from sorbus.ops.checklists.sheets.store import fields_of
from sorbus.state import State
from tests.conftest import Report
from tests.ops.checklists.sheets.person import COLUMNS, Rows, edited, opened_sync, save

IDS = st.sampled_from(["00042", "7", "=1+1", "ü/日", "MAR-1"])
NAMES = st.sampled_from(["Bolt", "  two\nlines ", "=HYPERLINK(1)", "00123", "_x0041_", "1e5", "2026-01-01", "TRUE"])
PRICES = st.one_of(st.none(), st.decimals(0, 10**6, places=2))
FIELDS = st.fixed_dictionaries({"name": NAMES, "price": PRICES})


@dataclass
class Saved:
    """A file that the person saved: its sheet, and row number -> (record, fields after, mark)."""

    sheet: int
    path: Path
    original: bytes = field(repr=False)
    rows: dict[int, tuple[str, TargetFields | None, str]]


class ManualRounds(RuleBasedStateMachine):
    """Whoever changes what when, the ledger and Sorbus agree."""

    state: ClassVar[State]
    finished: ClassVar[int] = 0
    overtaken: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        self.flow = f"f{uuid4().hex[:12]}"
        self.sync = opened_sync(self.state, self.flow)
        self.owner: dict[str, TargetFields | None] = {}
        self.ledger: dict[str, tuple[int, TargetFields | None]] = {}
        self.doubted: set[str] = set()
        self.answered: dict[tuple[int, int], str] = {}
        self.closed: set[int] = set()
        self.files: list[Saved] = []
        self.folder = Path(tempfile.mkdtemp())

    @rule(states=st.dictionaries(IDS, FIELDS, min_size=1))
    def change(self, states: dict[str, TargetFields]) -> None:
        self.owner |= states

    @rule(id=IDS)
    def delete(self, id: str) -> None:
        if id in self.owner:
            self.owner[id] = None

    def records(self) -> list[OwnerRecord]:
        """Old deletes are compacted away, as Kafka does."""
        return [OwnerRecord(id, fields) for id, fields in self.owner.items() if fields is not None or id > "A"]

    def open_changes(self) -> set[str]:
        known = {id: fields for id, (_, fields) in self.ledger.items()}
        ids = self.owner.keys() | known.keys()
        return {id for id in ids if self.owner.get(id) != known.get(id)} | self.doubted

    @rule(data=st.data(), seed=st.integers(0, 2**32))
    def prepare_and_mark(self, data: st.DataObject, seed: int) -> None:
        made = self.sync.prepare(self.records(), COLUMNS, "Larkspur", "ann")
        assert {row.id for row in made.rows} == self.open_changes()
        assert len(made.rows) == len({row.id for row in made.rows})
        if made.sheet is None:
            return
        rows = {number: (row.id, row.after, "") for number, row in enumerate(made.rows, 1)}
        self.save_marked(data, seed, Saved(made.sheet.sheet, self.folder / f"{made.sheet.code}.xlsx", made.file, rows))

    @precondition(lambda self: self.files)
    @rule(data=st.data(), seed=st.integers(0, 2**32))
    def mark_again(self, data: st.DataObject, seed: int) -> None:
        """The person thinks again, in a copy of an earlier file."""
        self.save_marked(data, seed, data.draw(st.sampled_from(self.files)))

    def save_marked(self, data: st.DataObject, seed: int, file: Saved) -> None:
        words = st.sampled_from(data.draw(st.sampled_from([("done",), ("done", "not done"), ("done", "not done", "")])))
        marks = {number: data.draw(words) for number in file.rows}

        def mark(rows: Rows) -> Rows:
            for row in rows:
                number = int(str(row["Row"]).rpartition("-")[2])
                row["Done?"] = marks[number] or None
                row["Reason if not done"] = "price is wrong" if marks[number] == "not done" else None
            random.Random(seed).shuffle(rows)
            answered = [row for row in rows if row["Done?"]]
            return answered if answered and seed % 3 == 0 else rows

        name = f"{len(self.files)}-{file.path.name.rpartition('-')[2]}"
        path = save(self.folder, edited(file.original, mark), name)
        rows = {number: (id, after, marks[number]) for number, (id, after, _) in file.rows.items()}
        self.files.append(Saved(file.sheet, path, file.original, rows))

    @precondition(lambda self: self.files)
    @rule(data=st.data(), is_right=st.booleans())
    def import_any(self, data: st.DataObject, *, is_right: bool) -> None:
        """The newest file, or one from long ago, once or again."""
        file = data.draw(st.sampled_from([*self.files, self.files[-1], self.files[-1]]))
        refused = 0
        for number, (id, after, mark) in file.rows.items():
            refused += self.expect(file.sheet, number, id, after, mark)
        live = sum(fields is not None for _, fields in self.ledger.values())
        found = self.sync.import_file(file.path, "ann", entered={"records": Decimal(live + (not is_right))})
        again = self.sync.import_file(file.path, "bob", entered={"records": Decimal(live + 1)})
        type(self).overtaken += len(found.overtaken)
        assert len(found.findings) == refused
        assert again.recorded == []
        assert [one.confirmed for one in found.figures] == [live]
        newest = max(each.sheet for each in self.files)
        newest_rows = next(each for each in self.files if each.sheet == newest).rows
        is_complete = all(
            (newest, number) in self.answered or (self.ledger.get(id, (0, "no"))[1] == after and id not in self.doubted)
            for number, (id, after, _) in newest_rows.items()
        )
        assert found.finished == (is_right and is_complete and not refused and newest not in self.closed)
        if found.finished:
            type(self).finished += 1
            self.closed |= {each.sheet for each in self.files}

    def expect(self, sheet: int, number: int, id: str, after: TargetFields | None, mark: str) -> bool:
        """What the ledger makes of a row; whether it is refused."""
        key, before = (sheet, number), self.answered.get((sheet, number))
        if not mark or before in (mark, "outdated"):
            return False
        if sheet in self.closed or before == "done":
            return True
        if mark == "done" and self.ledger.get(id, (0, None))[0] > sheet:
            self.answered[key] = "outdated"
            if self.ledger[id][1] is not None:
                self.doubted.add(id)
        else:
            self.answered[key] = mark
            if mark == "done":
                self.ledger[id] = sheet, after
                self.doubted.discard(id)
        return False

    @invariant()
    def every_change_is_confirmed_once_or_open(self) -> None:
        if not hasattr(self, "flow"):
            return
        stored = self.state.run(b"select id, fields from manual_record where flow = %s", [self.flow])
        assert {id: fields_of(fields) for id, fields in stored} == {id: told for id, (_, told) in self.ledger.items()}
        last = self.state.run(
            b"select distinct on (r.id) r.id, r.after from manual_sheet_row r join manual_sheet s using (sheet)"
            b" where s.flow = %s and r.outcome = 'done' order by r.id, r.sheet desc",
            [self.flow],
        )
        assert {id: fields_of(after) for id, after in last} == {id: told for id, (_, told) in self.ledger.items()}
        dry = self.sync.prepare(self.records(), COLUMNS, "Larkspur", "ann", dry_run=True)
        assert {row.id for row in dry.rows} == self.open_changes()


def explore(state: State, examples: int, steps: int) -> None:
    ManualRounds.state = state
    limits = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=[Phase.generate],  # each step asks PostgreSQL: shrinking would take minutes
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(ManualRounds, settings=limits)


def test_every_change_is_in_one_confirmed_round_or_still_open(state: State) -> None:
    explore(state, 6, 12)


@pytest.mark.slow
def test_every_change_is_in_one_confirmed_round_or_still_open_for_long(state: State, report: Report) -> None:
    explore(state, 120, 30)
    report(f"{ManualRounds.finished} rounds finished, {ManualRounds.overtaken} rows overtaken by a newer sheet")
    assert ManualRounds.finished > 3
    assert ManualRounds.overtaken > 0
