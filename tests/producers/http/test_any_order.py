"""Whatever an application, its people and machines do in whatever order, its topics end on what it holds.

Tape itself fails on a doubled event or a version that goes back; at the end the topics are what the application says.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest
from starlette.responses import Response

from sorbus.abilities import Notice
from sorbus.bus.inbox import InboxWriter
from sorbus.bus.kafka import idempotent_producer
from sorbus.bus.names import Names
from sorbus.bus.requests import backfill_message, reread_message
from sorbus.bus.sending import send
from sorbus.drift.store import DriftStore
from sorbus.errors import AuthError, SorbusError
from sorbus.http_api.limits import breaker
from sorbus.ops.runtime.planning import plan
from sorbus.producers import own_topics
from sorbus.producers.http import poll_run
from sorbus.producers.http.stream_poller import StreamPoller
from sorbus.state.database import State
from tests.http_api.faulty import DESCRIBED
from tests.http_api.faulty_http import Fault
from tests.producers.fate import Died, Fate, end_transaction, fated
from tests.producers.http.desk import CONTACT, Desk
from tests.producers.http.test_held_deletes import findings
from tests.producers.shop import Record, Running, Tape
from tests.topics import lose_first_half

KINDS = ("contact", "other")
RESOURCES = ("contacts", "ascending", "by_offset", "by_cursor", "by_link", "by_url", "listed", "unlooked")
FAULTS: tuple[Fault, ...] = (
    "429", "429-bare", "500", "502", "503", "timeout-before", "reset", "reset-after", "cut", "html", "renamed",
    "retyped", "empty",
)  # fmt: skip
_SIZE = 5
"""Records of a page."""
_IDS = 40


class Walk:
    """Random acts of people, of the application and of machines."""

    def __init__(self, desk: Desk, seed: int, fate: Fate) -> None:
        self.desk, self.faulty, self.fate = desk, desk.faulty, fate
        self.chance = random.Random(seed)
        self.mapped = ["contact"]
        self.owner = "shop"
        self.rule = ""
        self.source: dict[str, dict[str, object]] = {name: {"resource": "contacts"} for name in KINDS}
        self.done: list[str] = []
        self.running: Running | None = None
        self.is_locked_out = self.believes = self.has_moved = False
        self.off = 0.0
        self.asked: list[str] = []
        self.shifts = 0.0
        self.inbox: InboxWriter | None = None

    def describe(self) -> None:
        desk = self.desk
        (desk.folder / "schemas").mkdir(exist_ok=True)
        (desk.folder / "mappings").mkdir(exist_ok=True)
        resources = json.loads(json.dumps(DESCRIBED["resources"]))
        for resource in resources.values():
            for part in (resource["list"], resource["changes"]):
                if part:
                    part["pagination"]["size"] = _SIZE
        desk.faulty.describe(desk.folder, resources=resources, timeout=0.5)
        systems: dict[str, object] = {
            "shop": {
                "kind": "http",
                "connection": {
                    "api": "./faulty.yaml",
                    "base_url": desk.faulty.base_url,
                    "api_key": "${DESK_API_KEY}",
                    "webhook_secret": "${DESK_WEBHOOK_SECRET}",
                },
            },
            "house": {"kind": "postgres", "connection": {"dsn": desk.dsn}, "on_lost_slot": "resnapshot"},
        }
        data_types: dict[str, object] = {}
        lines = ["Source System;Source Field;Target System;Target Field;Rule"]
        for name in self.mapped:
            schema = {"type": "record", "name": name, "fields": CONTACT}
            (desk.folder / "schemas" / f"{name}.avsc").write_text(json.dumps(schema))
            source = {"every": "every 1s", "compare": "every 1s", **self.source[name]}
            owner = self.owner if name == "contact" else "shop"
            if owner == "house":
                source = {"table": "contacts"}
            data_types[name] = {"system_of_record": owner, "partitions": 2, "source": source}
            at = "contacts" if owner == "house" else source["resource"]
            rules = {"name": self.rule, "amount": "value | decimal" if owner == "house" else ""}
            fields = ("name", "email", "amount", "city")
            lines += [f"{owner};{at}.{each};canonical;{name}.{each};{rules.get(each, '')}" for each in fields]
        written = {
            "company": "Test", "topic_prefix": desk.prefix, "systems": systems, "data_types": data_types
        }  # fmt: skip
        (desk.folder / "map.yaml").write_text(json.dumps(written, indent=1))
        for system in ("shop", "house"):
            own = [line for line in lines[1:] if line.startswith(system)]
            (desk.folder / "mappings" / f"{system}.csv").write_text("\n".join([lines[0], *own]) + "\n")
        for step in plan(desk.loaded(), desk.settings):
            if step.apply is not None:
                step.apply()

    def act(self) -> None:
        acts: list[tuple[float, Callable[[], str]]] = [
            (10, self.change),
            (1, self.many),
            (6, self.live),
            (2, self.remap),
            (1, self.new_rule),
            (1.5, self.other_source),
            (1, self.move),
            (1, self.ask_for_records),
            (0.7, self.ask_for_all),
            (0.5, self.lose_messages),
            (2, self.fail),
            (0.5, self.lock_out),
            (1, self.hide),
            (1, self.show_otherwise),
            (1.5, self.clocks),
            (1, self.habits),
            (1, self.shift),
            (1, self.notice),
            (1, self.confirm),
            (0.3, self.move_key),
        ]
        act = self.chance.choices([each for _, each in acts], [weight for weight, _ in acts])[0]
        self.done.append(act())

    def change(self) -> str:
        count = self.chance.choice((1, 1, 2, 5, 30))
        for _ in range(count):
            self._change_one()
        return f"{count} changes"

    def many(self) -> str:
        for n in range(60):
            self._put(str(100 + n), {"name": f"many {self.chance.randrange(10**6)}"})
        return "many records"

    def _change_one(self) -> None:
        id, what, records = str(self.chance.randrange(1, _IDS)), self.chance.random(), self.faulty.records
        if what < 0.6:
            amount = self.chance.choice((f"{self.chance.randrange(100)}.50", *["1.00"] * 6, "many", None))
            self._put(id, {"name": f"n{self.chance.randrange(10**6)}", "amount": amount})
        elif what < 0.7 and (before := records.get(int(id))) is not None and not before["archived"]:
            self._put(id, {"name": before["name"]})  # touched, and as it was
        elif id in self.faulty.contacts():
            self.faulty.remove(id)
        else:
            self._put(id, {"name": "again"})
        if self.chance.random() < 0.5:
            self._in_the_house()

    def _put(self, id: str, fields: Record) -> None:
        """Makes, changes or brings back."""
        records = self.faulty.records
        with records.lock:
            before = records.get(int(id))
            blank: Record = {"email": None, "city": None, "amount": None, "lines": [], "status": "active"}
            kept = {"id": int(id), "our_id": None, "tax_number": None, **blank, **(before or {}), **fields}
            records._write("update" if before else "create", int(id), before, {**kept, "archived": False}, "hand")

    def _in_the_house(self) -> None:
        id = self.chance.randrange(1, _IDS)
        if self.chance.random() < 0.3:
            self.desk.execute(f"delete from contacts where id = {id}")
            return
        amount = self.chance.choice(("1.00", "1.00", "2.50", "many"))
        self.desk.execute(
            f"insert into contacts values ({id}, 'h{self.chance.randrange(10**6)}', null, '{amount}', null)"
            " on conflict (id) do update set name = excluded.name, amount = excluded.amount"
        )

    def live(self) -> str:
        """The producer lives, until it is stopped or meets its fate."""
        self.stop()
        what = self.chance.choice(("", "died", "died", "died", "failed"))
        self.fate.plan(self.chance.choice((5, 20, 60, 200)) + self.chance.randrange(20), what)
        system = self.owner if "contact" in self.mapped and self.chance.random() < 0.7 else "shop"
        if not any(data_type.system_of_record == system for data_type in self.desk.loaded().map.data_types.values()):
            system = "shop" if system == "house" else "house"
        self.running = self.start(system)
        return f"a producer of {system} starts ({what or 'well'} after {self.fate.left} steps)"

    def start(self, system: str) -> Running:
        running = Running(self.desk.loaded(), self.desk.settings, system)
        running.thread.start()
        return running

    def remap(self) -> str:
        """Data types join and leave."""
        self.stop()
        self.mapped = self.chance.sample(KINDS, self.chance.choice((1, 2)))
        self.describe()
        return f"mapped: {self.mapped}"

    def new_rule(self) -> str:
        self.stop()
        self.rule = self.chance.choice(("", "value | upper"))
        self.describe()
        return f"rule: {self.rule}"

    def other_source(self) -> str:
        """It is read in another way."""
        self.stop()
        name = self.chance.choice(KINDS)
        self.source[name] = {
            "resource": self.chance.choice(RESOURCES),
            "compare": self.chance.choice(("every 1s", "every 2s", "every 1d")),
            "max_deletes": self.chance.choice((None, None, 0, 5)),
            "may_vanish": self.chance.random() < 0.1,
        }
        self.believes = self.believes or bool(self.source[name]["may_vanish"])
        self.describe()
        return f"{name} is read as {self.source[name]}"

    def move(self) -> str:
        """Another system is the system of record from now on."""
        self.stop()
        end_transaction(self.desk.settings, self.desk.names, self.owner)
        self.owner = "house" if self.owner == "shop" else "shop"
        self.has_moved = True
        self.describe()
        return f"contact is {self.owner}'s"

    def ask_for_records(self) -> str:
        """As people do who requeue dead letters."""
        name = self.chance.choice(self.mapped)
        ids = [str(self.chance.randrange(1, _IDS)) for _ in range(self.chance.choice((1, 5)))]
        self.asked += ids
        owner = self.owner if name == "contact" else "shop"
        messages = [reread_message(Names(self.desk.prefix), owner, name, id.encode()) for id in ids]
        send(idempotent_producer(self.desk.settings, "test"), messages, "asking")
        return f"{name} asked for: {ids}"

    def ask_for_all(self) -> str:
        name = self.chance.choice(self.mapped)
        owner = self.owner if name == "contact" else "shop"
        message = backfill_message(Names(self.desk.prefix), owner, name, "start", "")
        send(idempotent_producer(self.desk.settings, "test"), [message], "asking")
        return f"all of {name} asked for"

    def lose_messages(self) -> str:
        """Somebody removes the first half of a topic."""
        topic = self.desk.names.topic(self.chance.choice(self.mapped))
        lose_first_half(self.desk.settings, topic)
        return f"the first half of {topic} is gone"

    def fail(self) -> str:
        """The next requests fail, or a share of all for a while."""
        faults = [self.chance.choice(FAULTS) for _ in range(self.chance.choice((1, 1, 3)))]
        if self.chance.random() < 0.7:
            self.faulty.script("GET", "/contacts" + self.chance.choice(("", "", "/")), *faults)
            return f"next: {faults}"
        self.faulty.faults = {} if self.faulty.faults else dict.fromkeys(faults, 0.1)
        return f"for a while: {dict(self.faulty.faults)}"

    def lock_out(self) -> str:
        """The credentials are worth nothing, or are again."""
        self.faulty.auth = "key"
        self.is_locked_out = not self.is_locked_out
        key = self.faulty.api_key.removesuffix("-not")
        self.faulty.api_key = key + "-not" if self.is_locked_out else key
        return "locked out" if self.is_locked_out else "let in"

    def hide(self) -> str:
        """A right is taken away, or given back: some records aren't shown, nor perhaps at their own addresses."""
        if self.faulty.raw is not None:
            self.faulty.raw = None
            return "all is shown"
        hidden = {str(id) for id in self.chance.sample(range(1, _IDS), self.chance.choice((1, 3, 20)))}
        also_alone = len(hidden) == 20 and self.chance.random() < 0.5

        def without(_method: str, path: str, asked: dict[str, str]) -> Response | None:
            if path == "/contacts" and not asked.get("since") and asked.get("page") == "1":
                shown = [one for id, one in self.faulty.contacts().items() if id not in hidden]
                return Response(json.dumps({"contacts": shown}), media_type="application/json")
            if also_alone and path.rpartition("/")[2] in hidden:
                return Response('{"message": "nothing here"}', 404, media_type="application/json")
            return None

        self.faulty.raw = without
        return f"hidden: {hidden} {'also alone' if also_alone else ''}"

    def show_otherwise(self) -> str:
        """A new version of the application, whose records look otherwise; or the old one again."""
        if self.faulty.shown is not None:
            self.faulty.shown = None
            return "records look as before"
        way = self.chance.choice(("no city", "number", "no id", "no time", "odd time", "future"))
        some = self.chance.choice((1, 3))

        def shown(one: Record) -> Record:
            if int(str(one["id"])) % some:
                return one
            if way == "no city":
                return {name: value for name, value in one.items() if name != "city"}
            return {**one, **{
                "number": {"city": 7}, "no id": {"id": None}, "no time": {"updated_at": None},
                "odd time": {"updated_at": "yesterday"}, "future": {"updated_at": "2090-01-01T00:00:00+00:00"},
            }[way]}  # fmt: skip

        self.faulty.shown = shown
        return f"records look otherwise: {way}"

    def clocks(self) -> str:
        records = self.faulty.records
        records.clock_is_off = timedelta(seconds=self.chance.choice((0, 0, -3600, -180, 180, 3600)))
        self.off = self.chance.choice((0.0, 0.0, -3600.0, 3600.0, 60.0))
        return f"its clock is off by {records.clock_is_off}, ours by {self.off}"

    def habits(self) -> str:
        faulty = self.faulty
        faulty.order = self.chance.choice(("id", "updated", "newest", "shuffled"))
        faulty.records.resolution = self.chance.choice((0.0, 1.0, 1.0, 60.0))
        faulty.records.archives = self.chance.random() < 0.3
        faulty.lists_lag = self.chance.choice((0.0, 0.0, 0.3))
        return f"by {faulty.order}, {faulty.records.resolution} s, {faulty.records.archives}, {faulty.lists_lag} s"

    def shift(self) -> str:
        """Records change while somebody reads pages."""
        self.shifts = 0.0 if self.shifts else 0.2
        own = random.Random(self.chance.random())

        def before(_method: str, path: str, _asked: dict[str, str]) -> None:
            if path.startswith("/contacts") and own.random() < self.shifts:
                id = str(own.randrange(1, _IDS))
                if own.random() < 0.7 or id not in self.faulty.contacts():
                    self._put(id, {"name": f"s{own.randrange(10**6)}"})
                else:
                    self.faulty.remove(id)

        self.faulty.before = before if self.shifts else None
        return "it changes while it is read" if self.shifts else "it is at rest"

    def notice(self) -> str:
        """Webhooks, some of which lie."""
        if self.inbox is None:
            self.inbox = InboxWriter(self.desk.settings, self.desk.names)
        notices = [
            Notice(self.chance.choice(RESOURCES[:2]), str(self.chance.randrange(1, _IDS)), False, 1) for _ in range(4)
        ]
        gone = [id for id in map(str, range(1, _IDS)) if id not in self.faulty.contacts()][:2]
        notices += [Notice("contacts", id, True, 1) for id in gone]
        self.inbox.put("shop", notices).result(10)
        return f"webhooks of {[(one.id, one.deleted) for one in notices]}"

    def confirm(self) -> str:
        """A person confirms deletes, if they are true."""
        if self.faulty.raw is not None:
            return "nothing confirmed"
        settle(self.desk)
        return "deletes confirmed"

    def move_key(self) -> str:
        """In the house."""
        a, b = self.chance.sample(range(1, _IDS), 2)
        self.desk.execute(f"delete from contacts where id = {b}; update contacts set id = {b} where id = {a}")
        return "a key moved in the house"

    def stop(self) -> None:
        """Its thread is over, however it ended."""
        running, self.running = self.running, None
        if running is None:
            return
        if self.chance.random() < 0.6:
            running.thread.join(self.chance.random())  # it goes on for a moment, or to its fate
        running.stop.set()
        running.thread.join(60)
        assert not running.thread.is_alive(), "it doesn't stop"
        self.done.append(self.fate.said or "stopped")
        self.fate.plan(0, "")
        if running.error is None or isinstance(running.error, Died):
            return
        if isinstance(running.error, AuthError) and self.faulty.auth == "key":
            self.done.append("refused")
            return
        raise running.error

    def end(self) -> None:
        """All is mapped, and goes well."""
        self.stop()
        end_transaction(self.desk.settings, self.desk.names, self.owner)
        faulty = self.faulty
        if self.is_locked_out:
            self.lock_out()
        faulty.unscript()
        faulty.faults, faulty.raw, faulty.shown, faulty.before, faulty.lists_lag = {}, None, None, None, 0.0
        self.mapped, self.rule, self.owner = list(KINDS), "", "shop"
        for source in self.source.values():
            source |= {"compare": "every 1s"}
        self.describe()


def settle(desk: Desk) -> None:
    """A person says of each finding about deletes that it is so."""
    for found in findings(desk):
        with suppress(SorbusError):  # the producer may have seen meanwhile that it no longer holds
            DriftStore(State.of(desk.prefix)).settle(found.number, "anna", "they are gone")


def expected(desk: Desk) -> dict[str, Record]:
    return {
        id: {
            "name": one["name"],
            "email": one["email"],
            "amount": None if one["amount"] is None else Decimal(str(one["amount"])),
            "city": one["city"],
        }
        for id, one in desk.faulty.contacts().items()
        if one["amount"] != "many"
    }


def agree(walk: Walk, name: str, tape: Tape) -> None:
    """The topic shows what the application has, and each record that can't be published has an open dead letter."""
    desk = walk.desk
    letters = desk.dead_letters(name)

    def differences() -> tuple[object, ...]:
        letters.read(0.05)
        settle(desk)
        wrong = {id for id, one in desk.faulty.contacts().items() if one["amount"] == "many"}
        live, wanted = tape.live(), expected(desk)
        for id in wrong:  # the last good state stays, if there was one
            live.pop(id, None)
        told = {each.record_id.decode() for each in letters.letters.values() if each.record_id is not None}
        other = {
            id: (live.get(id), wanted.get(id)) for id in live.keys() | wanted.keys() if live.get(id) != wanted.get(id)
        }
        return other, told ^ wrong

    tape.wait(lambda: not tape.read() and not any(differences()), lambda: f"{differences()}\n{walk.done}", 60)


def none_was_deleted_that_is_there(walk: Walk, tape: Tape) -> None:
    """Each record was deleted on its topic no more often than in the application, but for what people asked for."""
    if walk.believes or walk.has_moved:
        return
    for id in {event.id for event in tape.events}:
        told = sum(event.record is None for event in tape.events_of(id))
        history = walk.faulty.records.history_of(id) if id.isdigit() else []
        ends = sum(state is None or bool(state["archived"]) for state in history)
        assert not id.isdigit() or told <= ends + walk.asked.count(id), f"{id} deleted {told} times, not {ends}"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pauses are short."""
    monkeypatch.setattr(poll_run, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(poll_run, "LONGEST_PAUSE", 0.05)
    for name, seconds in (("SHORTEST", 0.05), ("LONGEST", 0.1), ("LEASE", 0.2)):
        monkeypatch.setattr(breaker, name, seconds)
    return


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 43))])
def test_in_any_order_the_topics_are_what_the_application_has(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    desk.owner = "house"  # whose slot is dropped at the end
    desk.execute("create table contacts (id int primary key, name text, email text, amount text, city text)")
    chance = random.Random(seed)
    monkeypatch.setattr(own_topics, "_COMPARE_EVERY", chance.choice((0.2, 1.0, 10.0)))
    fate = Fate(chance)
    walk = Walk(desk, seed, fate)
    monkeypatch.setitem(StreamPoller.__init__.__kwdefaults__, "clock", lambda: time.time() + walk.off)
    with fated(fate, monkeypatch):
        walk.describe()
        try:
            for _ in range(30):
                walk.act()
            walk.end()
            walk.running = walk.start("shop")
            for name in KINDS:
                tape = desk.tape(name)
                agree(walk, name, tape)
                none_was_deleted_that_is_there(walk, tape)
            walk.stop()
        finally:
            if walk.running is not None:
                walk.running.stop.set()
                walk.running.thread.join(30)
            if walk.inbox is not None:
                walk.inbox.close()
