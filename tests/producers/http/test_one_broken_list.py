"""A list that can't be read waits by itself: every other data type of its application is read as often as before."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from ruamel.yaml import YAML
from starlette.responses import Response

from sorbus.abilities import Notice
from sorbus.bus.inbox import InboxWriter
from sorbus.producers.http import poll_run
from tests.http_api.faulty import DESCRIPTION
from tests.producers.http.desk import CONTACT, Desk

BROKEN: dict[str, Callable[[], Response]] = {
    "HTML": lambda: Response("<html>We'll be right back</html>", 200, media_type="text/html"),
    "500": lambda: Response('{"message": "boom"}', 500, media_type="application/json"),
    "404": lambda: Response('{"message": "moved"}', 404, media_type="application/json"),
    "429": lambda: Response("{}", 503, {"retry-after": "600"}, media_type="application/json"),
    "not UTF-8": lambda: Response(b"\xff\xfe{contacts\xff", 200, media_type="application/json"),
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


SILENT = "no answer"
KINDS = [*BROKEN, SILENT]


def poll_each_kind(desk: Desk) -> dict[str, str]:
    """A data type for each way in which a list can be broken, and another that is well; kind -> data type."""
    written = YAML(typ="safe").load(DESCRIPTION)
    named = {kind: f"broken_{number}" for number, kind in enumerate(KINDS)}
    resources = {"contacts": written["resources"]["contacts"]}
    for name in named.values():
        listing = {**written["resources"]["by_url"]["list"], "parameters": {"kind": name}}
        resources[name] = {**written["resources"]["by_url"], "list": listing, "changes": None}
    desk.poll(
        "contacts",
        connection={"webhook_secret": "${DESK_WEBHOOK_SECRET}"},
        description={"resources": resources, "timeout": "2s"},
    )
    on_map = json.loads((desk.folder / "map.yaml").read_text())
    for name in named.values():
        schema = {"type": "record", "name": name, "fields": CONTACT}
        (desk.folder / "schemas" / f"{name}.avsc").write_text(json.dumps(schema))
        source = {"resource": name, "every": "every 1s"}
        on_map["data_types"][name] = {"system_of_record": "shop", "partitions": 1, "source": source}
    (desk.folder / "map.yaml").write_text(json.dumps(on_map))
    desk.apply()
    return named


def test_the_others_come_as_before_and_so_do_webhooks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """All kinds at once: what waits for one of them would wait for nine."""
    monkeypatch.setattr(poll_run, "LONGEST_PAUSE", 4.0)  # as long as all changes of the others
    faulty = desk.faulty
    faulty.add_many([{"name": f"Name {n}"} for n in range(3)])
    named = poll_each_kind(desk)
    kinds = {name: kind for kind, name in named.items()}
    tape, broken = desk.tape("contact"), {kind: desk.tape(name) for kind, name in named.items()}
    writer = InboxWriter(desk.settings, desk.names)

    def in_place_of(_method: str, _path: str, parameters: dict[str, str]) -> Response | None:
        kind = kinds.get(parameters.get("kind", ""))
        return BROKEN[kind]() if kind in BROKEN else None

    try:
        with desk.producing() as running:
            for each in (tape, *broken.values()):
                each.wait_for(desk.there())
            faulty.script("GET", f"/contacts/by-url?kind={named[SILENT]}", *["timeout-before"] * 1000)
            faulty.raw = in_place_of

            def unnamed() -> list[str]:
                problem = running.health.waiting() or ""
                return [kind for kind, name in named.items() if name not in problem]

            tape.wait(lambda: not unnamed(), lambda: f"readiness says nothing of {unnamed()}")
            for number in range(4):
                began = time.monotonic()
                faulty.change("1", city=f"City {number}")
                tape.wait_for(desk.there())
                assert time.monotonic() - began < 10, "a list every second came late"
            faulty.change("2", city="told")
            writer.put("shop", [Notice("contacts", "2", False, 1)]).result(10)
            tape.wait_for(desk.there(), 10)
            faulty.raw = None
            faulty.unscript()
            for each in broken.values():
                each.wait_for(desk.there())
            tape.wait(lambda: running.health.waiting() is None, lambda: running.health.waiting())
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
