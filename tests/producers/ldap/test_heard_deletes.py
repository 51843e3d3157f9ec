"""Deletes that a directory names: none is forgotten, and a right that was taken away is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorbus.producers.http import poll_run
from sorbus.producers.ldap.content_sync import ContentSync, SyncEvent
from sorbus.producers.ldap.producer import LdapProducer
from tests.ldap.slapd import BASE, Slapd, ldif, people, replacing
from tests.producers.ldap.desk import Desk


def dn(uid: str) -> str:
    return f"uid={uid},ou=people,{BASE}"


def listen(desk: Desk, count: int) -> None:
    desk.until(lambda: len(desk.records) == count and desk.position and "sorbus.sync" in desk.position, "listening")


@pytest.mark.parametrize("restarts", [False, True])
def test_a_delete_that_was_named_before_the_server_went_away_is_found(
    restarts: bool, server: Slapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll_run, "_FIRST_PAUSE", 0.01)
    taken: list[SyncEvent] = []
    take = ContentSync.take

    def taking(sync: ContentSync) -> list[SyncEvent]:
        """The server goes as soon as it has named something."""
        if (found := take(sync)) and started:
            taken.extend(found)
            server.stop()
        return found

    started = False
    server.modify(people(range(5)))
    desk = Desk(server, every="every 1s")
    try:
        listen(desk, 5)
        monkeypatch.setattr(ContentSync, "take", taking)
        started = True
        server.modify(f"dn: {dn('u2')}\nchangetype: delete\n")
        desk.until(lambda: taken, "named")
        started = False
        desk.until(lambda: desk.producer and not desk.producer.owes, "given up")
        if restarts:
            desk.settle(0.5)
            desk.close()
        server.start()
        desk.until(lambda: len(desk.records) == 4, "deleted", 10)
    finally:
        desk.close()


def test_entries_that_we_may_no_longer_see_are_not_deleted(tmp_path: Path) -> None:
    """Named one by one as they change, and then gone for whoever asks: it looks like a delete of each."""
    rules = f'access to dn.subtree="ou=people,{BASE}" filter=(description=hidden) by * none\naccess to * by * read'
    server = Slapd(tmp_path / "slapd", lines=rules)
    server.start()
    server.organize()
    reader = {"objectClass": "person", "cn": "reader", "sn": "r", "userPassword": "pw"}
    server.modify(ldif(f"cn=reader,{BASE}", reader) + people(range(30)))
    desk = Desk(server, every="every 1h")
    given = {**server.connection, "bind_dn": f"cn=reader,{BASE}", "password": "pw"}
    desk.connect(LdapProducer.Connection.model_validate(given))
    try:
        listen(desk, 30)
        for batch in (range(14), range(14, 28)):
            server.modify("".join(replacing(dn(f"u{n}"), {"description": "hidden"}) for n in batch))
            server.modify(replacing(dn("u29"), {"cn": f"After {batch.stop}"}))
            desk.until(lambda last=batch.stop: f"After {last}" in desk.names(), "heard")
            desk.until(lambda: desk.producer and desk.producer._tracks[0].holds_deletes, "a person is asked")
        desk.settle(0.5)
        assert len(desk.deleted) <= 3
    finally:
        desk.close()
        server.stop()
