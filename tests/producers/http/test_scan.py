"""Reading an application's records before they are published: all of them, or how many and why not all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina

from sorbus.avro.decode import read_record
from sorbus.connector import RejectedRecord
from sorbus.errors import AuthError, IncompleteRead, TransientError
from sorbus.producers.http.producer import HttpProducer
from tests.commands import type_command
from tests.http_api.short_lists import CUTS, short_pages
from tests.producers.http.desk import Desk
from tests.producers.shop import Record

RECORDS = 25


def _scanned(desk: Desk) -> Iterator[tuple[str, Record | str]]:
    loaded = desk.loaded()
    source = loaded.source("contact")
    with stamina.set_testing(True, attempts=2):  # no pauses between tries
        for some in HttpProducer.scan(loaded.system("shop", "producer"), source):
            for one in some:
                assert one.version == 0
                if isinstance(one, RejectedRecord):
                    yield one.id.decode(), str(one.error)
                else:
                    yield one.id.decode(), read_record(source.schema, one.data or b"", 0)[0]


@pytest.mark.parametrize("resource", ["by_offset", "by_cursor", "unlooked"])
def test_every_record_comes_once_as_it_would_be_published(desk: Desk, resource: str) -> None:
    desk.poll(resource, description={"resources": short_pages()})
    desk.faulty.add_many([{"name": f"N {n}", "email": f"{n}@example.test", "amount": "1.50"} for n in range(RECORDS)])
    desk.faulty.records.archives = True
    desk.faulty.remove("3")
    wrong = desk.faulty.add(name="wrong", amount="a lot")
    found = list(_scanned(desk))
    expected = {id: one for id, one in desk.faulty.contacts().items() if id != wrong}
    assert len(found) == len({id for id, _ in found}) == RECORDS
    by_id = dict(found)
    assert "amount" in str(by_id.pop(wrong))
    assert {id: one["name"] for id, one in by_id.items() if isinstance(one, dict)} == {
        id: one["name"] for id, one in expected.items()
    }
    assert [one.method for one in desk.faulty.asked if one.method != "GET"] == []


@pytest.mark.parametrize("cut", CUTS)
def test_a_list_that_is_cut_short_says_so_after_what_it_gave(desk: Desk, cut: str) -> None:
    desk.poll("contacts", description={"resources": short_pages()})
    desk.faulty.add_many([{"name": f"N {n}"} for n in range(RECORDS)])
    CUTS[cut](desk.faulty)
    found = []
    with pytest.raises(IncompleteRead, match="was cut short") as raised:
        found.extend(_scanned(desk))
    assert raised.value.read == len(found) == len({id for id, _ in found})
    assert 10 <= len(found) <= RECORDS


def test_what_cannot_be_read_at_all_is_no_short_list(desk: Desk) -> None:
    desk.poll("contacts")
    desk.faulty.add(name="N")
    desk.faulty.faults = {"500": 1.0}
    with pytest.raises(TransientError):
        list(_scanned(desk))
    desk.faulty.faults, desk.faulty.auth, desk.faulty.api_key = {}, "key", "another"
    with pytest.raises(AuthError):
        list(_scanned(desk))


def _plan(desk: Desk, *words: str, status: int = 0) -> Record:
    env = {"SORBUS_KAFKA": desk.settings.kafka, "SORBUS_REGISTRY": "", "SORBUS_DATABASE": desk.dsn}
    done = type_command(
        "--map",
        str(desk.folder / "map.yaml"),
        "plan",
        "contact-to-books",
        "--json",
        *words,
        env={**env, "BOOKS": desk.dsn},
    )
    assert done.exit_code == status, f"{done.output}\n{done.exception!r}"
    found: Record = json.loads(done.stdout.splitlines()[0])
    return found


def _counts(plan: Record) -> Record:
    counts = plan["counts"]
    assert isinstance(counts, dict)
    return {action: count for action, count in counts.items() if count}


def test_a_flow_is_planned_before_its_owner_is_polled(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOKS", desk.dsn)
    desk.poll("contacts", description={"resources": short_pages()})
    written = json.loads((desk.folder / "map.yaml").read_text())
    written["systems"]["books"] = {"kind": "postgres", "connection": {"dsn": "${BOOKS}"}}
    written["flows"] = [{"data_type": "contact", "to": "books", "target": {"table": "contacts"}}]
    (desk.folder / "map.yaml").write_text(json.dumps(written))
    desk.apply()
    desk.faulty.add_many([{"name": f"N {n}"} for n in range(RECORDS)])
    desk.faulty.add(name="wrong", amount="a lot")
    file = str(tmp_path / "plan.csv")
    plan = _plan(desk, "--out", file, status=1)
    assert (plan["source"], plan["cut_short"], _counts(plan)) == ("owner", "", {"create": RECORDS, "refuse": 1})
    CUTS["the server has a maximum"](desk.faulty)
    plan = _plan(desk, status=1)
    assert _counts(plan) == {"create": 10}
    assert "says that it has 26 records, and shows 10" in str(plan["cut_short"])
    missing = [one for one in _plan(desk, "--compare", file, status=1)["differences"] if not one["now"]]  # type: ignore[attr-defined]
    assert len(missing) == RECORDS + 1 - 10
    assert all("isn't known" in one["why"] for one in missing)
    desk.faulty.raw = None
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(dict.fromkeys([str(n) for n in range(1, RECORDS + 1)]))
    plan = _plan(desk)
    assert (plan["source"], _counts(plan)) == ("topic", {"create": RECORDS})
