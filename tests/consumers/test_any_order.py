"""Whatever comes in whatever order, each target holds what its events say: changes, refusals, dead letters sent back,
waiting records, maps and tables that change, people at work, lost messages, stops, faults, and deaths at any step.

The oracle is a ledger of what was published, and plain SQL.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from sorbus.bus import kafka
from sorbus.bus.letters import Letters
from sorbus.consumers import delivery, group_member, loop, read_positions, waiting
from sorbus.consumers.group_member import GroupMember
from sorbus.consumers.postgres.writing import Writing
from sorbus.consumers.read_positions import ReadPositions
from sorbus.consumers.rejections import Rejections
from sorbus.consumers.target import TargetWriter
from sorbus.consumers.waiting import FlowWaiting
from sorbus.dlq.store import LetterFilter
from sorbus.errors import SorbusError, TransientError
from sorbus.ops.embedded import Addresses
from sorbus.waiting import store
from tests.consumers.gadgets import TODAY, Record
from tests.consumers.house import ARCHIVE, BOOKS, PARTS, House, Life
from tests.topics import lose_first_half

_STEPS: tuple[tuple[object, str], ...] = (
    (GroupMember, "poll"),
    (GroupMember, "landed"),
    (GroupMember, "commit"),
    (delivery, "decode_batch"),
    (ReadPositions, "check"),
    (TargetWriter, "apply"),
    (TargetWriter, "newer"),
    (Writing, "write_committed"),
    (Letters, "write"),
    (Letters, "flush"),
    (Letters, "recall"),
    (Rejections, "file"),
    (FlowWaiting, "admit"),
    (FlowWaiting, "due"),
    (FlowWaiting, "settle"),
)
LIMITS = {
    "short": ("gadgets", "check (length(name) < 20) not valid"),
    "cheap": ("gadgets", "check (price is null or price < 500) not valid"),
    "noted": ("gadgets", "check (note is not null) not valid"),
    "brief": ("archived", "check (length(name) < 20) not valid"),
}
WHERES = ("", 'note is none or note != "out"', "note is not none", 'name != "Other" and price is not none')


class Died(BaseException):
    """The process is gone."""


class Fate:
    """What befalls a consumer at its step of a number: `died`, or a `fault`."""

    def __init__(self, steps: int, what: str) -> None:
        self.left, self.what, self.said = steps, what, ""

    def step(self, name: str) -> None:
        if not self.what:
            if self.said.startswith("died"):
                raise Died  # the dead do nothing more
            return
        self.left -= 1
        if self.left > 0:
            return
        self.said, what = f"{self.what} at {name}", self.what
        if what == "faults" and random.Random(self.left).random() < 0.7:
            self.left = 3
        else:
            self.what = ""
        raise Died if what == "died" else TransientError("a fault of the test", retry_after=0.01)


@contextmanager
def fated(fates: dict[int, Fate], patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Consumers meet their fates before or after the steps of delivering; the dead leave what they had begun."""

    def watched(of: object, name: str) -> None:
        real = getattr(of, name)

        def call(*given: object, **named: object) -> object:
            fate = fates.get(threading.get_ident())
            if fate is not None:
                fate.step(f"the beginning of {name}")
            found = real(*given, **named)
            if fate is not None:
                fate.step(f"the end of {name}")
            return found

        patch.setattr(of, name, call)

    for of, name in _STEPS:
        watched(of, name)

    of_members: dict[int, Fate] = {}  # a member leaves in a thread of its own

    def made(member: GroupMember, *given: object, **named: object) -> None:
        if fate := fates.get(threading.get_ident()):
            of_members[id(member)] = fate
        make(member, *given, **named)  # type: ignore[arg-type]

    def left(member: GroupMember) -> None:
        fate = of_members.get(id(member))
        if fate is not None and fate.said.startswith("died"):
            member._offsets = {}
        close(member)

    make, close = GroupMember.__init__, GroupMember._commit_and_close
    patch.setattr(GroupMember, "__init__", made)
    patch.setattr(GroupMember, "_commit_and_close", left)
    yield


class Walk:
    """Random acts of owners, people, programs and machines."""

    def __init__(self, house: House, seed: int, fates: dict[int, Fate]) -> None:
        self.house, self.fates, self.chance = house, fates, random.Random(seed)
        self.lives: dict[str, Life] = {}
        self.fate_of: dict[str, Fate] = {}
        self.done: list[str] = []
        self.limits: set[str] = set()
        self.stale: set[str] = set()
        """Flows to be replayed before their rows are what the events say."""
        self.discarded: set[tuple[str, str, int | None]] = set()
        self.lost_junk = False
        self.edited: dict[tuple[str, str, int], Record] = {}
        self.kept = False
        """Whether rows outside were left as they were at some time."""
        self.was_soft = False
        self.by_hand = 0
        self.backup: tuple[dict[str, str], set[str], int] | None = None
        """Of each table its rows, what was to be replayed then or has been since, and rows that people had added."""
        for _ in range(self.chance.randrange(3)):
            self.limit()

    def act(self) -> None:
        acts: list[tuple[float, Callable[[], str]]] = [
            (14, self.change),
            (2, self.many),
            (2, self.repeat),
            (2, self.late),
            (1, self.junk),
            (12, self.live),
            (12, self.linger),
            (4, self.limit),
            (3, self.requeue),
            (1, self.discard),
            (2, self.replay),
            (3, self.reshape),
            (1, self.cut),
            (1, self.truncate),
            (2, self.back_up),
            (2, self.restore),
            (2, self.land_late),
            (2, self.hand),
            (1, self.pause),
            (1, self.lose_messages),
            (0.5, self.remake),
            (1, self.shadow),
            (1.5, self.edit),
            (1.5, self.trigger),
            (1, self.alter),
        ]
        act = self.chance.choices([each for _, each in acts], [weight for weight, _ in acts])[0]
        began = time.monotonic()
        said = act()
        self.done.append(f"{len(self.done)}. {said} [{time.monotonic() - began:.1f} s]")

    # Owners

    def change(self) -> str:
        count = self.chance.choice((1, 1, 2, 5, 30))
        told = []
        for _ in range(count):
            if self.chance.random() < 0.3:
                id = f"p{self.chance.randrange(12)}"
                told.append(self._publish("part", id, self._part()))
            else:
                id = f"g{self.chance.randrange(20)}"
                told.append(self._publish("gadget", id, self._gadget()))
        return ", ".join(told[:6])

    def many(self) -> str:
        ledger = self.house.ledgers["gadget"]
        count = self.chance.choice((100, 400))
        events = [(f"m{n}", ledger.last + 1 + n, self._gadget()) for n in range(count)]
        self.house.publish("gadget", events)
        return f"{count} gadgets"

    def repeat(self) -> str:
        """Events that come again."""
        data_type = self.chance.choice(("gadget", "part"))
        states = self.house.ledgers[data_type].states
        ids = self.chance.sample(sorted(states), min(3, len(states)))
        self.house.publish(data_type, [(id, *self.house.ledgers[data_type].newest(id)) for id in ids])
        return f"again: {ids}"

    def late(self) -> str:
        """An older version than one that was published, which nobody has seen before."""
        data_type = self.chance.choice(("gadget", "part"))
        ledger = self.house.ledgers[data_type]
        if not ledger.states:
            return "nothing"
        id = self.chance.choice(sorted(ledger.states))
        version = min(ledger.states[id]) - 1
        if version < 1:
            return "nothing"
        self.house.publish(data_type, [(id, version, self._part() if data_type == "part" else self._gadget())])
        return f"late: {id} {version}"

    def junk(self) -> str:
        data_type, key = "gadget", f"x{self.chance.randrange(3)}"
        if self.chance.random() < 0.3:
            return self._publish("gadget", key, self._gadget())
        self.house.junk(data_type, key, self.chance.choice((b"\7", b"", b"{}", b"\0\0\0\xff\xff1")))
        return f"junk {key}"

    def _publish(self, data_type: str, id: str, record: Record | None) -> str:
        version = self.house.ledgers[data_type].last + self.chance.choice((1, 1, 1, 100))
        self.house.publish(data_type, [(id, version, record)])
        return f"{id}@{version} {'gone' if record is None else record['name']}"

    def _gadget(self) -> Record | None:
        chance = self.chance
        if chance.random() < 0.2:
            return None
        name = chance.choice(
            (f"n{chance.randrange(10**6)}", f"n{chance.randrange(10**6)}", "Other", "a name that is too long")
        )
        lines = [{"sku": f"s{chance.randrange(4)}", "quantity": n} for n in range(chance.choice((0, 0, 1, 3)))]
        return {
            "name": name,
            "note": chance.choice((None, "out", "in", "cursed")),
            "price": chance.choice((None, Decimal("1.50"), Decimal("900.00"))),
            "made_on": chance.choice((None, TODAY)),
            "lines": lines,
            **(
                {"colour": chance.choice((None, "red"))}
                if self.house.shape.has_colour and chance.random() < 0.8
                else {}
            ),
        }

    def _part(self) -> Record | None:
        chance = self.chance
        if chance.random() < 0.15:
            return None
        gadget = chance.choice((None, f"g{chance.randrange(20)}", f"g{chance.randrange(20)}"))
        return {"name": f"n{chance.randrange(10**6)}", "gadget": gadget}

    # Consumers

    def live(self) -> str:
        idle = [flow for flow in self.house.flows if flow not in self.lives or not self.lives[flow].thread.is_alive()]
        flow = self.chance.choice(idle or self.house.flows)
        self.stop(flow)
        return self._start(flow)

    def _start(self, flow: str) -> str:
        what = self.chance.choice(("", "died", "died", "fault", "faults"))
        fate = Fate(self.chance.choice((5, 20, 60, 150)) + self.chance.randrange(20), what)
        life = self.house.start(flow, batch=self.chance.choice((1, 7, 10_000)))
        run = life.thread._target  # type: ignore[attr-defined]

        def fated_run() -> None:
            self.fates[threading.get_ident()] = fate
            run()
            del self.fates[threading.get_ident()]

        life.thread = threading.Thread(target=fated_run, daemon=True)
        self.lives[flow], self.fate_of[flow] = life, fate
        life.thread.start()
        return f"{flow} starts ({what or 'well'} after {fate.left} steps)"

    def stop(self, flow: str) -> None:
        life = self.lives.pop(flow, None)
        if life is None:
            return
        if self.chance.random() < 0.5:
            life.thread.join(self.chance.random() * 0.7)
        life.stop.set()
        life.thread.join(30)
        assert not life.thread.is_alive(), f"{flow} doesn't stop\n{self.done}"
        fate = self.fate_of.pop(flow)
        self.done.append(f"   ({flow}: {fate.said or 'stopped'})")
        is_fault = isinstance(life.error, TransientError) and bool(fate.said)
        if life.error is not None and not isinstance(life.error, Died) and not is_fault:
            raise life.error

    def linger(self) -> str:
        """Consumers go on for a moment."""
        if not self.lives:
            return self.live()
        flow = self.chance.choice(sorted(self.lives))
        self.lives[flow].thread.join(0.1 + self.chance.random() * 0.5)
        if not self.lives[flow].thread.is_alive():
            self.stop(flow)
            return self._start(flow)
        return f"{flow} lives"

    def stop_all(self) -> None:
        for flow in [*self.lives]:
            self.stop(flow)

    def cut(self) -> str:
        """The database ends all sessions but ours."""
        ended = self.house.rows(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        return f"{len(ended)} sessions cut"

    def lose_messages(self) -> str:
        """Somebody removes the first half of a topic; its owner publishes every record again."""
        data_type = self.chance.choice(("gadget", "part"))
        lose_first_half(self.house.settings, self.house.names.topic(data_type))
        self._publish_all(data_type)
        return f"the first half of {data_type} is gone"

    def remake(self) -> str:
        data_type = self.chance.choice(("gadget", "part"))
        self.house.remake(data_type)
        self._publish_all(data_type)
        return f"the topic of {data_type} is made again"

    def _publish_all(self, data_type: str) -> None:
        self.lost_junk = True
        ledger = self.house.ledgers[data_type]
        newest = {id: ledger.newest(id)[1] for id in ledger.states}
        first = ledger.last + 1
        self.house.publish(data_type, [(id, first + n, record) for n, (id, record) in enumerate(newest.items())])

    # People

    def limit(self) -> str:
        """The target's owner adds a constraint, or drops it."""
        name = self.chance.choice(sorted(LIMITS))
        table, rule = LIMITS[name]
        if name in self.limits:
            self.limits.discard(name)
            self.house.execute(f"alter table {table} drop constraint {name}")
            return f"limit {name} dropped"
        self.limits.add(name)
        self.house.execute(f"alter table {table} add constraint {name} {rule}")
        return f"limit {name}"

    def trigger(self) -> str:
        """Somebody's code refuses records."""
        if "cursed" in self.limits:
            self.limits.discard("cursed")
            self.house.execute("drop trigger cursed on gadgets")
            return "trigger dropped"
        self.limits.add("cursed")
        self.house.execute(
            "create or replace function cursed() returns trigger language plpgsql as $$ begin"
            " if new.note = 'cursed' then raise exception 'it is cursed'; end if; return new; end $$;"
            "create trigger cursed before insert or update on gadgets for each row execute function cursed()"
        )
        return "trigger"

    def requeue(self) -> str:
        flow = self.chance.choice(self.house.flows)
        done = self.house.service().requeue(LetterFilter(flow=flow), "Ada")
        return f"{len(done.ids)} letters of {flow} sent back"

    def discard(self) -> str:
        service, letters = self.house.service(), self.house.letters()
        ids = self.chance.sample(sorted(letters), min(2, len(letters)))
        service.index.catch_up()
        ids = [id for id in ids if (found := service.find(id)) is not None and found.state == "open"]
        if not ids:
            return "nothing"
        try:
            service.discard(ids, "Ada", "a test")
        except SorbusError as error:
            if "is closed" not in str(error):
                raise
        self.discarded |= {letters[id][:3] for id in ids}
        return f"discarded: {[letters[id] for id in ids]}"

    def edit(self) -> str:
        """A person corrects the record of a letter."""
        service, letters = self.house.service(), self.house.letters()
        ids = [id for id, letter in sorted(letters.items()) if letter[2] is not None and letter[0] != PARTS]
        if not ids:
            return "nothing"
        id = self.chance.choice(ids)
        flow, record_id, version, _ = letters[id]
        assert version is not None
        record = self.house.ledgers["gadget"].states[record_id][version]
        if record is None:
            return "nothing"
        try:
            errors = service.edit(id, {"name": "edited"}, "Ada")
        except SorbusError as error:
            return f"{id} not edited: {error}"
        assert not errors, errors
        self.edited[flow, record_id, version] = {**record, "name": "edited"}
        return f"{letters[id]} edited"

    def shadow(self) -> str:
        flow = self.chance.choice([flow for flow in self.house.flows if flow != PARTS])
        said = self.house.shadow(flow)
        self._outdated(flow)
        return f"shadow: {said}"

    def replay(self) -> str:
        flow = self.chance.choice(self.house.flows)
        if flow not in self.house.flows:
            return "nothing"
        return f"replayed: {self._replay(flow)}"

    def _replay(self, flow: str) -> str:
        said = self.house.replay(flow)
        self.stale.discard(flow)
        self._outdated(flow)
        self.discarded = {one for one in self.discarded if one[0] != flow}
        return said

    def reshape(self) -> str:
        """The map changes."""
        self.stop(ARCHIVE)
        shape, chance = self.house.shape, self.chance
        what = chance.choice(("where", "where", "deletes", "rule", "timing", "colour", "removed", "holds", "holds"))
        if what == "removed" or not shape.is_there:
            shape.is_there = not shape.is_there
        elif what == "where":
            shape.where, shape.on_leave = chance.choice(WHERES), chance.choice(("delete", "keep"))
        elif what == "deletes":
            shape.deletes = chance.choice(("hard", "soft"))
        elif what == "holds":
            shape.holds = not shape.holds
        elif what == "rule":
            shape.rule = chance.choice(("", "value | upper"))
        elif what == "timing":
            shape.timing = chance.choice(("real-time", "every 15m"))
        else:
            shape.has_colour = not shape.has_colour
        self.stop(BOOKS)  # the data type's schema is its too
        self.house.describe()
        self.kept |= bool(shape.where) and shape.on_leave == "keep"
        self.was_soft |= shape.deletes == "soft"
        self.stale |= {ARCHIVE, *([BOOKS] if what == "colour" else [])}
        return f"map: {shape}"

    def truncate(self) -> str:
        if self.chance.random() < 0.5:
            self.house.execute("truncate archived, archived_lines")
            self.stale.add(ARCHIVE)
            return "archived truncated"
        self.house.execute("truncate gadgets, gadget_lines, parts")
        self.by_hand = 0
        self.stale |= {BOOKS, PARTS}
        return "gadgets and parts truncated"

    def back_up(self) -> str:
        """All of the target, at one moment."""
        said = self.house.back_up()
        self.backup = said, {*self.stale}, self.by_hand
        return "backed up"

    def land_late(self) -> str:
        """What waits or was refused lands, and the target is put back to before it did."""
        chance, house = self.chance, self.house
        id, gadget = f"p{chance.randrange(12)}", f"g{20 + chance.randrange(5)}"
        told = [self._publish("gadget", gadget, None), self._publish("part", id, {"name": "a child", "gadget": gadget})]
        told += [self._start(flow) for flow in (PARTS, BOOKS) if flow not in self.lives]
        self._soon(lambda: any((PARTS, id) == one[:2] for one in house.waiting()))
        told.append(self.back_up())
        parent = {"name": "a parent", "note": "in", "price": None, "made_on": None, "lines": []}
        told += [self._publish("gadget", gadget, parent), self.requeue()]
        there = self._soon(lambda: bool(house.rows("select from parts where id = %s and gadget = %s", id, gadget)))
        return ", ".join([*told, "landed" if there else "not landed", self.restore()])

    def _soon(self, is_so: Callable[[], bool]) -> bool:
        """Whether it is within two seconds: a flow that would do it may be paused, or dead."""
        deadline = time.monotonic() + 2
        while not (found := is_so()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def restore(self) -> str:
        """The backup is put back: what flows had delivered since is theirs to bring again, what people did is gone."""
        if self.backup is None:
            return self.back_up()
        rows, stale, by_hand = self.backup
        try:
            self.house.restore(rows)
        except psycopg.Error as error:  # a limit that came later
            return f"not restored: {error}"
        self.stale |= stale
        self.by_hand = by_hand
        return "restored"

    def _outdated(self, flow: str) -> None:
        """What was done to a flow's rows that is no delivery of its consumer isn't done again after a restore."""
        if self.backup is not None:
            self.backup[1].add(flow)

    def hand(self) -> str:
        """People change rows, and add their own."""
        what = self.chance.choice(("update", "lines", "delete", "add", "remark"))
        if what == "add":
            self.by_hand += 1
            self.house.execute(
                f"insert into gadgets (id, name, note, sorbus_version) values ('hand{self.by_hand}', 'mine', 'in', 0)"
            )
        elif what == "remark":
            self.house.execute("update parts set remark = 'seen'")
        else:
            statement = {
                "update": "update gadgets set name = 'by hand' where id like 'g%' and id < 'g12' and length(name) < 20",
                "lines": "delete from gadget_lines where parent_id < 'g15'",
                "delete": "delete from archived where id < 'g12'; delete from archived_lines where parent_id < 'g12'",
            }[what]
            try:
                self.house.execute(statement)
            except psycopg.Error as error:
                return f"by hand: {what}: {error}"
            self.stale.add(ARCHIVE if what == "delete" else BOOKS)
        return f"by hand: {what}"

    def alter(self) -> str:
        return_to = self.chance.choice(
            (
                "alter table gadgets add column if not exists extra text default 'x'",
                "alter table gadgets drop column if exists extra",
                "alter table gadgets alter name type varchar(300)",
                "alter table gadgets alter name type text",
                "alter table parts add column if not exists extra text default 'x'",
                "alter table parts drop column if exists extra",
            )
        )
        self.house.execute(return_to)
        return return_to

    def pause(self) -> str:
        flow, is_paused = self.chance.choice(self.house.flows), self.chance.random() < 0.5
        self.house.pause(flow, is_paused=is_paused)
        return f"{flow} {'paused' if is_paused else 'resumed'}"

    # The end

    def end(self) -> None:
        """All goes well, once; what refers to records that aren't there is corrected."""
        self.stop_all()
        house, chance = self.house, self.chance
        if chance.random() < 0.6:
            for name in sorted(self.limits - {"cursed"}):
                house.execute(f"alter table {LIMITS[name][0]} drop constraint {name}")
            if "cursed" in self.limits:
                self.trigger()
            self.limits = set()
        self.done.append(f"the end, with {self.limits}")
        house.shape.is_there, house.shape.timing = True, "real-time"
        house.execute("alter table gadgets alter name type text")
        house.describe()
        for flow in house.flows:
            house.pause(flow, is_paused=False)
            house.start(flow)
        living = {
            id for id in house.ledgers["gadget"].states if self._fits(BOOKS, house.ledgers["gadget"].newest(id)[1])
        }
        parts = house.ledgers["part"]
        for id in sorted(parts.states):
            record = parts.newest(id)[1]
            if record is not None and record["gadget"] is not None and record["gadget"] not in living:
                house.publish("part", [(id, parts.last + 1, {**record, "gadget": None})])
        replays = sorted(self.stale) if chance.random() < 0.5 or self.backup is not None else list(house.flows)
        for flow in (PARTS, BOOKS, ARCHIVE):
            self.lives[flow] = house.start(flow)
            self.fate_of[flow] = Fate(0, "")
            self.lives[flow].thread.start()
        if not self.limits:
            self.done.append(self.requeue_all())
        for flow in sorted(replays, reverse=True):
            self.done.append(f"replayed: {self._replay(flow)}")
        if not self.limits:
            self.done.append(self.requeue_all())

    def requeue_all(self) -> str:
        return f"{len(self.house.service().requeue(LetterFilter(), 'Ada').ids)} letters sent back"

    def _fits(self, flow: str, record: Record | None) -> bool:
        """Whether the target takes a state."""
        if record is None:
            return True
        if flow == BOOKS:
            price = record["price"]
            return not (
                ("short" in self.limits and len(str(record["name"])) >= 20)
                or ("cheap" in self.limits and isinstance(price, Decimal) and price >= 500)
                or ("noted" in self.limits and record["note"] is None)
                or ("cursed" in self.limits and record["note"] == "cursed")
            )
        if flow == ARCHIVE:
            return not ("brief" in self.limits and len(str(record["name"])) >= 20)
        return True

    def differences(self) -> list[object]:
        """What isn't as the ledger says."""
        letters, waits = self.house.letters(), self.house.waiting()
        found: list[object] = []
        for flow in (BOOKS, ARCHIVE, PARTS):
            mine = {
                id: {letter[2] for letter in letters.values() if letter[:2] == (flow, id)}
                for _, id, *_ in [one for one in letters.values() if one[0] == flow]
            }
            found += self._differences(flow, mine, {(id, version) for f, id, version in waits if f == flow})
        return found

    def _differences(self, flow: str, letters: dict[str, set[int | None]], waits: set[tuple[str, int]]) -> list[object]:
        house, shape = self.house, self.house.shape
        data_type = "part" if flow == PARTS else "gadget"
        ledger = house.ledgers[data_type]
        table, columns = {
            BOOKS: ("gadgets", "name, note, price, made_on, sorbus_version"),
            ARCHIVE: ("archived", "name, note, price, made_on, sorbus_version"),
            PARTS: ("parts", "name, gadget, remark"),
        }[flow]
        rows = {str(id): rest for id, *rest in house.rows(f"select id, {columns} from {table}")}
        applied = dict(house.rows("select id, version from sorbus_applied where relation = %s", f"public.{table}"))
        lines: dict[str, list[object]] = {}
        if flow != PARTS:
            of = "archived_lines" if flow == ARCHIVE else "gadget_lines"
            for id, sku, quantity in house.rows(f"select parent_id, sku, quantity from {of} order by position"):
                lines.setdefault(str(id), []).append((sku, quantity))
        found: list[object] = []
        gone = set()
        if (flow == ARCHIVE and shape.deletes == "soft") or (self.was_soft and flow == ARCHIVE):
            gone = {str(id) for (id,) in house.rows("select id from archived where sorbus_deleted_at is not null")}
        own = {id for id in rows if id.startswith(("hand", "own-"))}
        if flow == BOOKS and len(own) != self.by_hand:
            found.append((flow, "rows of people", own))
        unknown = rows.keys() - own - ledger.states.keys()
        found += [(flow, id, "was never published", rows[id]) for id in unknown]
        found += [(flow, id, "lines without a row", lines[id]) for id in lines.keys() - rows.keys()]
        for id in sorted(ledger.states):
            version, record = ledger.newest(id)
            row = rows.get(id)
            there = int(str(row[-1])) if row is not None and flow != PARTS else 0
            landed = max(there, int(str(applied.get(id, 0))))
            wanted = self._wanted(flow, record)
            is_outside = record is not None and wanted is None
            is_kept = is_outside and shape.on_leave == "keep"
            got = None
            if row is not None and id not in gone:
                got = (*row[:2],) if flow == PARTS else (*row[:4], tuple(lines.get(id, ())))
            said = (flow, id, version, record, "has", got, landed, letters.get(id), (id, version) in waits)
            open_letters = letters.get(id, set()) - {None}
            if any(one < landed for one in open_letters):  # type: ignore[operator]
                found.append(("a letter of an older state than the target's", *said))
            if len(open_letters) > 1:
                found.append(("two letters", *said))
            if any(one != version for one in open_letters):
                found.append(("a letter of a state that isn't the newest", *said))
            if not is_outside and self._fits(flow, record) and open_letters and not self.limits:
                found.append(("a letter of what is accepted", *said))
            if None in letters.get(id, set()) and id not in ledger.junk:
                found.append(("a letter of junk that an event has followed", *said))
            if got == wanted and (landed == version or is_kept or got is None):
                # A replay has a record wait that has landed before, where the map or what it refers to is another now.
                if got is not None and (id, version) in waits and not self._may_wait(flow, id, record, rows):
                    found.append(("waits and is there", *said))
                continue
            edited = self.edited.get((flow, id, version))
            if is_kept or (edited is not None and got == self._wanted(flow, edited)):
                continue
            says_it = version in open_letters or (None in letters.get(id, set()) and id in ledger.junk)
            if says_it and not (self._fits(flow, record) and not self.limits):  # a record has one letter: its last
                continue
            if (id, version) in waits:
                if self._may_wait(flow, id, record, rows):
                    continue
                found.append(("waits for nothing", *said))
                continue
            if (flow, id, version) in self.discarded:
                continue
            found.append(("wrong", *said, wanted))
        for key in ledger.junk:
            has = None in letters.get(key, set())
            if not has and not self.lost_junk and (flow, key, None) not in self.discarded:
                found.append((flow, key, "junk without a letter"))
        return found

    def _may_wait(self, flow: str, id: str, record: Record | None, rows: dict[str, list[object]]) -> bool:
        if flow == PARTS:
            assert record is not None
            return not self.house.rows("select from gadgets where id = %s", record["gadget"])
        if flow == ARCHIVE:
            return self.house.shape.holds and record is not None and record["price"] is None
        return flow == BOOKS and record is None and bool(self.house.rows("select from parts where gadget = %s", id))

    def _wanted(self, flow: str, record: Record | None) -> tuple[object, ...] | None:
        if record is None:
            return None
        if flow == PARTS:
            return record["name"], record["gadget"]
        items = record["lines"]
        assert isinstance(items, list)
        whole = (
            record["name"],
            record["note"],
            record["price"],
            record["made_on"],
            tuple((one["sku"], one["quantity"]) for one in items),
        )
        if flow == BOOKS:
            return whole
        shape = self.house.shape
        inside = {
            WHERES[0]: True,
            WHERES[1]: record["note"] is None or record["note"] != "out",
            WHERES[2]: record["note"] is not None,
            WHERES[3]: record["name"] != "Other" and record["price"] is not None,
        }[shape.where]
        name = str(record["name"]).upper() if shape.rule else record["name"]
        return (name, *whole[1:]) if inside else None


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 43))])
def test_in_any_order_each_target_holds_what_its_events_say(
    tmp_path: Path,
    stack: Addresses,
    make_database: Callable[[], str],
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    monkeypatch.setattr(store, "MOST_PAUSE", 0.5)
    monkeypatch.setattr(waiting, "LOOK", 0.2)
    monkeypatch.setattr(group_member, "_IDLE", 0.1)
    monkeypatch.setattr(kafka, "_LEAVING", 0.3)
    monkeypatch.setattr(read_positions, "_COMPARE_EVERY", 0.5)
    if seed % 2:
        monkeypatch.setattr(loop, "WORTHWHILE", 1)
    monkeypatch.setenv("SORBUS_DATABASE", stack.env()["SORBUS_DATABASE"])
    monkeypatch.setenv("SORBUS_KAFKA", stack.env()["SORBUS_KAFKA"])
    monkeypatch.setenv("SORBUS_REGISTRY", stack.env()["SORBUS_REGISTRY"])
    fates: dict[int, Fate] = {}
    house = House(tmp_path, make_database(), stack.env(), unique)
    walk = Walk(house, seed, fates)
    try:
        with fated(fates, monkeypatch):
            for _ in range(25 if seed <= 2 else 60):
                walk.act()
            began = time.monotonic()
            walk.end()
            walk.done.append(f"ended in {time.monotonic() - began:.1f} s")
            deadline = time.monotonic() + 40
            while found := walk.differences():
                assert time.monotonic() < deadline, "\n".join(map(str, [*found[:8], *walk.done]))
                time.sleep(0.2)
            walk.done.append(f"agreed after {time.monotonic() - began:.1f} s")
            walk.stop_all()
            walk.done.append(f"stopped after {time.monotonic() - began:.1f} s")
    finally:
        for life in walk.lives.values():
            life.stop.set()
        for life in walk.lives.values():
            life.thread.join(20)
        house.close()
