"""A data type that leaves the map and comes back goes on above everything that its topic has held."""

from __future__ import annotations

import json
from datetime import timedelta

from tests.producers.http.desk import Desk
from tests.producers.http.test_one_broken_list import poll_two
from tests.producers.http.test_producer import polls_more


def test_a_record_that_is_restored_meanwhile_comes_above_its_delete(desk: Desk) -> None:
    """The topic forgot the record, and with its old update time it would get a version below that of its delete."""
    faulty = desk.faulty
    faulty.records.clock_is_off = timedelta(hours=-1)
    ids = faulty.add_many([{"name": f"Name {n}"} for n in range(3)])
    poll_two(desk)
    with_both = (desk.folder / "map.yaml").read_text()
    short = json.loads(with_both)
    for data_type in short["data_types"].values():
        data_type["source"] |= {"resource": "listed", "compare": "every 1s"}
    with_both = json.dumps(short)
    (desk.folder / "map.yaml").write_text(with_both)
    tape, other = desk.tape("contact"), desk.tape("other")
    with desk.producing():
        tape.wait_for(desk.there())
        faulty.remove(ids[0])
        tape.wait_for(desk.there())
    del short["data_types"]["contact"]
    (desk.folder / "map.yaml").write_text(json.dumps(short))
    with desk.producing():
        faulty.change(ids[1], city="Oulu")
        other.wait_for(desk.there())
        polls_more(desk, other)
    with faulty.records.lock:
        before = next(one for one in faulty.records.history_of(ids[0]) if one is not None)
        faulty.records._write("create", int(ids[0]), None, before, "hand")
    (desk.folder / "map.yaml").write_text(with_both)
    with desk.producing():
        tape.wait_for(desk.there())  # the tape fails where a record goes back to an older version
