"""The whole way of odd answers and odd webhooks: nothing ends, nothing stops, and what is right arrives all the same.

`make fuzz SECONDS=600 SEED=7` does it for so long; the suite does a short slice.
"""

from __future__ import annotations

import json
import os
import random
import time

import pytest
from starlette.responses import Response

from sorbus.bus.names import Names
from sorbus.producers.http import poll_run, shared_ids
from sorbus.producers.http.poll_schedule import PollSchedule
from sorbus.settings import Settings
from tests.conftest import Report
from tests.producers.http.desk import Desk
from tests.producers.http.oddities import Odd
from tests.producers.http.test_one_broken_list import poll_two
from tests.producers.webhook.house import make_topic, serving
from tests.producers.webhook.signed import SCHEMES, address, headers

SECONDS = float(os.environ.get("SORBUS_FUZZ_SECONDS", "12"))
SEED = os.environ.get("SORBUS_FUZZ_SEED", "1")
_LONGEST_ANSWER = 15.0
_OURS = {"1", "2", "3"}


def test_no_answer_ends_or_stops_a_system(desk: Desk, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PollSchedule, "next_poll", lambda schedule: schedule.now())  # without a pause between polls
    monkeypatch.setattr(poll_run, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(poll_run, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(shared_ids, "_LIST_AGAIN", 1_000_000)
    faulty, odd, given = desk.faulty, Odd(SEED), 0
    faulty.add_many([{"name": f"Name {n}"} for n in range(3)])
    poll_two(desk)
    good, broken, letters = desk.tape("other"), desk.tape("contact"), desk.dead_letters("contact")

    def odd_answer(_method: str, path: str, parameters: dict[str, str]) -> Response | None:
        nonlocal given
        if path == "/contacts/by-url":
            given += 1
            return Response(odd.page(), 200, media_type="application/json")
        id = path.rpartition("/")[2]
        if path.startswith("/contacts/") and id not in _OURS and id.isdigit():
            given += 1
            return Response(odd.one(id), 200, media_type="application/json")
        return None

    with desk.producing():
        good.wait_for(desk.there())
        broken.wait_for(desk.there())
        faulty.raw = odd_answer
        until, number = time.monotonic() + SECONDS, 0
        while time.monotonic() < until:
            number += 1
            began = time.monotonic()
            faulty.change("1", city=f"City {number}")
            good.wait_for(desk.there(), 60)
            assert time.monotonic() - began < _LONGEST_ANSWER, f"held up after {given} odd answers of seed {SEED}"
            letters.read(0.01)
        assert given > 5, "hardly any odd answer was asked for"
        faulty.raw = None
        for id in _OURS:
            faulty.change(id, city="at last")

        def has_ours() -> bool:
            broken.read()
            live, there = broken.live(), desk.there()
            return all(live.get(id) == there[id] for id in _OURS)

        broken.wait(has_ours, lambda: f"after {given} odd answers of seed {SEED}: {broken.live()}", 120)
    report(f"{given} odd answers in {SECONDS:.0f} s, {len(letters.letters)} open dead letters")


def test_no_delivery_ends_the_service_or_gets_a_traceback(
    desk: Desk, unique: str, report: Report, caplog: pytest.LogCaptureFixture
) -> None:
    settings, names = Settings(kafka=desk.settings.kafka, database=desk.dsn), Names(f"{unique}.hooks.")
    chance, odd = random.Random(SEED), Odd(SEED)
    for scheme in SCHEMES:
        make_topic(settings, names, scheme)
    counts: dict[int, int] = {}
    with serving(settings, names) as house:
        until = time.monotonic() + SECONDS / 2
        while time.monotonic() < until:
            scheme, body = chance.choice(sorted(SCHEMES)), odd.delivery()
            at = chance.choice([int(time.time())] * 8 + [0, -1, 253402300800, 9999999999999])
            signed = headers(scheme, body, at) if 0 <= at < 10**11 else headers(scheme, body, int(time.time()))
            if chance.random() < 0.2 and signed:
                name = chance.choice(sorted(signed))
                signed[name] = chance.choice(
                    ["", "x", str(at), "v1,", "t=,v1=", "9" * 300, "é".encode().decode("latin-1")]
                )
            sent = {name: value.encode("latin-1", "replace") for name, value in signed.items()}
            status = house.client.post(address(scheme), content=body, headers=sent).status_code
            counts[status] = counts.get(status, 0) + 1
            assert status in (200, 400, 401, 413), f"{status} for {body[:300]!r} by {scheme}"
        assert house.post({"type": "contact.changed", "id": "anna"}, id="last") == 200
    assert "Traceback" not in caplog.text
    assert sum(counts.values()) > 20, json.dumps(counts)
    report(f"odd webhooks by status: {counts}")
