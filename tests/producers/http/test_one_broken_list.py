"""A list that can't be read waits by itself: every other data type of its application is read as often as before."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from starlette.responses import Response

from sorbus.bus.inbox import InboxWriter
from sorbus.connector import Notice
from tests.producers.http.desk import CONTACT, Desk

BROKEN: dict[str, Callable[[], Response]] = {
    "HTML": lambda: Response("<html>We'll be right back</html>", 200, media_type="text/html"),
    "500": lambda: Response('{"message": "boom"}', 500, media_type="application/json"),
    "404": lambda: Response('{"message": "moved"}', 404, media_type="application/json"),
    "429": lambda: Response("{}", 503, {"retry-after": "600"}, media_type="application/json"),
    "not UTF-8": lambda: Response(b'{"contacts": [{"id": 1, "name": "\xff"}]}', 200, media_type="application/json"),
    "no list": lambda: Response('{"contacts": {"id": 1}}', 200, media_type="application/json"),
    "no ids": lambda: Response('{"contacts": [{"ident": 1}], "total": 1}', 200, media_type="application/json"),
    "next page elsewhere": lambda: Response(
        '{"contacts": [{"id": 1}], "next_url": "https://evil.example/2"}', 200, media_type="application/json"
    ),
}


def poll_two(desk: Desk, **connection: object) -> None:
    """The broken list's data type, contact, and another that is well."""
    desk.poll("by_url", connection=connection, description={"timeout": "3s"})
    (desk.folder / "schemas" / "other.avsc").write_text(
        json.dumps({"type": "record", "name": "other", "fields": CONTACT})
    )
    written = json.loads((desk.folder / "map.yaml").read_text())
    written["data_types"]["other"] = {
        "system_of_record": "shop",
        "partitions": 1,
        "source": {"resource": "contacts", "every": "every 1s"},
    }
    (desk.folder / "map.yaml").write_text(json.dumps(written))
    desk.apply()


@pytest.mark.parametrize("kind", [*BROKEN, pytest.param("no answer", marks=pytest.mark.slow)])
def test_the_others_come_as_before_and_so_do_webhooks(desk: Desk, kind: str) -> None:
    faulty = desk.faulty
    faulty.add_many([{"name": f"Name {n}"} for n in range(3)])
    poll_two(desk, webhook_secret="${DESK_WEBHOOK_SECRET}")
    tape, broken = desk.tape("other"), desk.tape("contact")
    writer = InboxWriter(desk.settings, desk.names)

    def in_place_of(_method: str, path: str, _parameters: dict[str, str]) -> Response | None:
        return BROKEN[kind]() if path == "/contacts/by-url" else None

    try:
        with desk.producing() as running:
            tape.wait_for(desk.there())
            broken.wait_for(desk.there())
            if kind == "no answer":
                faulty.script("GET", "/contacts/by-url", *["timeout-before"] * 8)
            else:
                faulty.raw = in_place_of
            tape.wait(lambda: running.health.waiting() is not None, "readiness says nothing of the broken list", 30)
            for number in range(4):
                began = time.monotonic()
                faulty.change("1", city=f"City {number}")
                tape.wait_for(desk.there())
                assert time.monotonic() - began < 10, "a list every second came late"
            faulty.change("2", city="told")
            writer.put("shop", [Notice("contacts", "2", False, 1)]).result(10)
            tape.wait_for(desk.there(), 10)
            faulty.raw = None
            broken.wait_for(desk.there(), 120)
            broken.wait(lambda: running.health.waiting() is None, lambda: running.health.waiting(), 70)
    finally:
        writer.close()


def test_webhooks_switched_on_without_apply_dont_stop_the_polls(desk: Desk) -> None:
    desk.faulty.add_many([{"name": f"Name {n}"} for n in range(3)])
    desk.poll()
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())
    written = json.loads((desk.folder / "map.yaml").read_text())
    written["systems"]["shop"]["connection"]["webhook_secret"] = "${DESK_WEBHOOK_SECRET}"
    (desk.folder / "map.yaml").write_text(json.dumps(written))
    with desk.producing() as running:
        desk.faulty.change("1", city="Oulu")
        tape.wait_for(desk.there())
        tape.wait(lambda: "sorbus apply" in (running.health.waiting() or ""), lambda: running.health.waiting())
