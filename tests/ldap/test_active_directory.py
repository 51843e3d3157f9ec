"""Active Directory's own forms, after the examples in Microsoft's documents; no real one was at hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from sorbus.errors import TransientError
from sorbus.ldap import search
from sorbus.ldap.active_directory import enabled, guid, guid_bytes, moment, range_of, sid, ticks
from sorbus.ldap.attribute_types import usual_schema
from sorbus.ldap.entry_set import EntrySet, equality
from sorbus.ldap.results import Outcome
from sorbus.ldap.search import Entry, whole_entry


def test_a_guid_has_its_first_parts_turned_round() -> None:
    data = bytes.fromhex("95b4df4a4f1a8f45b0a35a5b8f6a7c11")
    assert guid(data) == "4adfb495-1a4f-458f-b0a3-5a5b8f6a7c11"
    assert guid_bytes(guid(data)) == data
    with pytest.raises(ValueError, match="16"):
        guid(b"short")


def test_a_guid_is_searched_by_its_bytes() -> None:
    found = equality(usual_schema(), "objectGUID", "4adfb495-1a4f-458f-b0a3-5a5b8f6a7c11")
    assert found == r"(objectGUID=\95\b4\df\4a\4f\1a\8f\45\b0\a3\5a\5b\8f\6a\7c\11)"


def test_a_sid_is_written_as_people_know_it() -> None:
    data = bytes.fromhex("010500000000000515000000a065cf7e784b9b5fe77c8770091c0100")
    assert sid(data) == "S-1-5-21-2127521184-1604012920-1887927527-72713"
    with pytest.raises(ValueError, match="security"):
        sid(data[:-1])


def test_a_filetime_counts_from_1601_and_may_be_never() -> None:
    assert moment(116444736000000000) == datetime(1970, 1, 1, tzinfo=UTC)
    assert moment(0) is None
    assert moment(0x7FFFFFFFFFFFFFFF) is None
    assert ticks(datetime(1970, 1, 1, tzinfo=UTC)) == 116444736000000000
    assert ticks(None) == 0


def test_an_account_is_disabled_by_one_bit() -> None:
    assert enabled(0x10200, is_enabled=False) == 0x10202
    assert enabled(0x10202, is_enabled=True) == 0x10200


def test_changes_are_asked_for_with_a_fraction() -> None:
    entries = EntrySet("user", "dc=x", "subtree", "(a=b)", "objectGUID", "objectGUID", "whenChanged", ())
    assert entries.changed(datetime(2026, 11, 29, 8, tzinfo=UTC)) == "(whenChanged>=20261129080000.0Z)"


@pytest.mark.parametrize(
    ("description", "found"),
    [
        ("member;range=0-1499", ("member", 0, 1499)),
        ("member;range=1500-*", ("member", 1500, None)),
        ("Member;Range=0-1", ("Member", 0, 1)),
        ("member", None),
        ("cn;lang-de", None),
    ],
)
def test_a_part_of_an_attribute_is_known(description: str, found: object) -> None:
    assert range_of(description) == found


class Ranges:
    """Answers as a domain controller does that gives 1,500 values at a time."""

    def __init__(self, values: Sequence[bytes], size: int) -> None:
        self.values, self.size, self.asked = values, size, list[str]()

    def part(self, first: int) -> dict[str, list[bytes]]:
        last = first + self.size - 1
        end = "*" if last >= len(self.values) - 1 else str(last)
        return {f"member;range={first}-{end}": list(self.values[first : last + 1])}

    def ask(self, _made: Any, _timeout: float, dn: str, *given: Any, **_: Any) -> tuple[Outcome, list[Entry], bytes]:
        [asked] = given[2]
        self.asked.append(asked)
        return Outcome(0), [Entry(dn, self.part(int(asked.partition("=")[2].partition("-")[0])))], b""


@pytest.mark.parametrize("count", [1500, 1501, 4000])
def test_an_attribute_in_parts_is_read_to_its_end(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Ranges([f"cn={number}".encode() for number in range(count)], 1500)
    monkeypatch.setattr(search, "ask", server.ask)
    entry = whole_entry(SimpleNamespace(), 1.0, Entry("cn=g", {**server.part(0), "member": []}), "reading")
    assert entry.attributes == {"member": list(server.values)}


def test_an_attribute_whose_parts_dont_follow_each_other_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "ask", lambda *_, **__: (Outcome(0), [Entry("cn=g", {"member": [b"x"]})], b""))
    with pytest.raises(TransientError, match="can't be read to its end"):
        whole_entry(SimpleNamespace(), 1.0, Entry("cn=g", {"member;range=0-1": [b"a", b"b"]}), "reading")
