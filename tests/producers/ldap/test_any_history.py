"""Whatever people do in a directory, and whenever either side stops: what is published is what ldapsearch finds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ldap.slapd import BASE, Slapd, ldif, person, replacing
from tests.producers.ldap.desk import Desk

UIDS = ("a", "b", "c", "d", "e")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "change", "remove", "rename", "again", "restart", "outage", "read"]),
        st.integers(0, len(UIDS) - 1),
        st.integers(0, len(UIDS) - 1),
    ),
    min_size=4,
    max_size=16,
)


def dn(uid: str) -> str:
    return f"uid={uid},ou=people,{BASE}"


def play(server: Slapd, desk: Desk, steps: list[tuple[str, int, int]]) -> None:
    there: set[str] = set()
    for number, (what, one, other) in enumerate(steps):
        uid, new = UIDS[one], UIDS[other]
        if what == "put" and uid not in there:
            server.modify(ldif(*person(number, uid=uid, mail=f"{uid}{number}@x")))
            there.add(uid)
        elif what in ("put", "change") and uid in there:
            server.modify(replacing(dn(uid), {"cn": f"N{number}", "telephoneNumber": ["1", "2"][: number % 3]}))
        elif what == "remove" and uid in there:
            server.modify(f"dn: {dn(uid)}\nchangetype: delete\n")
            there.remove(uid)
        elif what == "again" and uid in there:  # gone and back within a second, as another entry
            server.modify(f"dn: {dn(uid)}\nchangetype: delete\n\n" + ldif(*person(number, uid=uid)))
        elif what == "rename" and uid in there and new not in there:
            server.modify(f"dn: {dn(uid)}\nchangetype: modrdn\nnewrdn: uid={new}\ndeleteoldrdn: 1\n")
            there.remove(uid)
            there.add(new)
        elif what == "restart":
            desk.close()
        elif what == "outage":
            server.kill()
            desk.step(0)
            server.start()
        else:
            desk.step(0.05)


def wanted(server: Slapd) -> dict[str, dict[str, object]]:
    found = server.search("(objectClass=inetOrgPerson)", "*", "entryUUID")
    return {
        entry["entryUUID"][0].decode(): {
            "name": entry["cn"][0].decode(),
            "email": entry["mail"][0].decode(),
            "manager_id": None,
            "phones": sorted(one.decode() for one in entry.get("telephoneNumber", [])),
        }
        for entry in found.values()
    }


@pytest.mark.parametrize("changes", ["auto", "poll"])
@pytest.mark.slow
def test_any_history_ends_in_what_is_there(changes: str, tmp_path: Path) -> None:
    server = Slapd(tmp_path / "slapd", sync="syncprov-sessionlog 5")
    server.start()
    server.organize()

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def check(steps: list[tuple[str, int, int]]) -> None:
        # Without synchronization, deletes and what a clock hides are found by the list.
        compare = "every 1h" if changes == "auto" else "every 1s"
        desk = Desk(server, changes=changes, every="every 1s", compare=compare, max_deletes=100)
        try:
            play(server, desk, steps)
            desk.until(lambda: desk.records == wanted(server), "equal")
        finally:
            desk.close()
            for name in server.search("(objectClass=inetOrgPerson)", "1.1"):
                server.modify(f"dn: {name}\nchangetype: delete\n")

    check()
    server.stop()
