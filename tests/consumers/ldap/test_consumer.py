"""A directory as a target, at a real slapd that OpenLDAP's tools read and change."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.errors import MapError, MustWait, PermanentError
from sorbus.ldap.distinguished_name import escape_value
from sorbus.state import State
from tests.consumers.ldap.conftest import MakeStaff
from tests.consumers.ldap.staff import PEOPLE, Staff, dn, someone, texts
from tests.ldap.slapd import AD_TOP, BASE, Slapd, ldif, person, replacing


def test_a_person_gets_an_entry_and_its_attributes_follow(staff: Staff) -> None:
    assert staff.put(a=someone("Anna Berg", phone="+49 30 1", title="Head, of (IT)")) == {}
    [entry] = staff.entries().values()
    assert texts(entry, "objectClass") == ["inetOrgPerson", "organizationalPerson", "person", "top"]
    assert {name: texts(entry, name) for name in ("uid", "cn", "sn", "mail", "title")} == {
        "uid": ["anna"], "cn": ["Anna Berg"], "sn": ["Anna Berg"], "mail": ["anna@example.test"],
        "title": ["Head, of (IT)"],
    }  # fmt: skip
    assert staff.put(a=someone("Anna Berg-Wolf", title=None)) == {}
    [entry] = staff.entries().values()
    assert (texts(entry, "cn"), texts(entry, "title"), texts(entry, "telephoneNumber")) == (["Anna Berg-Wolf"], [], [])


def test_who_is_there_already_is_linked_and_keeps_what_the_map_doesnt_name(staff: Staff, server: Slapd) -> None:
    name, entry = person(1, uid="ab", mail="ANNA@example.test", description="chess", userPassword="secret", title="Old")
    server.modify(ldif(name, entry))
    assert staff.put(a=someone("Anna Berg", user="ab", title="New")) == {}
    [(found, entry_now)] = staff.entries().items()
    assert found == name
    assert (texts(entry_now, "description"), texts(entry_now, "title")) == (["chess"], ["New"])
    assert entry_now["userPassword"] == [b"secret"]


def test_doubles_are_a_question(staff: Staff, server: Slapd) -> None:
    server.modify("".join(ldif(*person(n, mail="anna@example.test")) for n in (1, 2)))
    refused = staff.put(a=someone("Anna Berg"), b=someone("Bert"))
    assert refused["a"].reason == "duplicate"
    assert "sorbus duplicates list" in str(refused["a"])
    assert len(staff.entries()) == 3


def test_a_name_that_is_taken_is_a_dead_letter(staff: Staff, server: Slapd) -> None:
    server.modify(ldif(*person(1, uid="anna", mail="other@example.test", cn="Someone Else", sn="Else")))
    refused = staff.put(a=someone("Anna Berg"))
    assert refused["a"].reason == "duplicate"
    assert "entryAlreadyExists" in str(refused["a"])
    assert texts(staff.entries()[dn("anna")], "cn") == ["Someone Else"]


def test_a_name_that_another_record_gives_up_is_waited_for(staff: Staff) -> None:
    """In one batch: who has the name leaves, or gets another one; who comes gets it."""
    staff.put(a=someone("Anna Berg"), b=someone("Bert"))
    events = [
        staff.event("c", someone("Anna New", number="n-c", email="c@example.test")),
        staff.event("d", someone("Bert New", number="n-d", email="d@example.test")),
        staff.event("a", None),
        staff.event("b", someone("Bert", user="bert2")),
    ]
    refused = staff.deliver(*events)
    assert all(isinstance(error, MustWait) for error in refused.values())
    waited = [event for event in events if event.id.decode() in refused]
    assert staff.deliver(*waited) == {}
    assert {name: texts(entry, "employeeNumber") for name, entry in staff.entries().items()} == {
        dn("anna"): ["n-c"], dn("bert"): ["n-d"], dn("bert2"): ["n-bert"],
    }  # fmt: skip


def test_an_entry_is_renamed_and_keeps_its_identity(staff: Staff, server: Slapd) -> None:
    staff.put(a=someone("Anna Berg"))
    before = server.search("(uid=anna)", "entryUUID")[dn("anna")]
    staff.put(a={**someone("Anna Berg"), "user": "a.wolf", "title": "Head"})
    after = server.search("(uid=a.wolf)", "entryUUID", "uid", "title")[dn("a.wolf")]
    assert after["entryUUID"] == before["entryUUID"]
    assert (texts(after, "uid"), texts(after, "title")) == (["a.wolf"], ["Head"])
    assert len(staff.entries()) == 1


def test_an_entry_that_people_moved_stays_where_it_is(staff: Staff, server: Slapd) -> None:
    staff.put(a=someone("Anna Berg"))
    server.modify(f"dn: ou=board,{BASE}\nobjectClass: organizationalUnit\nou: board\n")
    server.modify(
        f"dn: {dn('anna')}\nchangetype: modrdn\nnewrdn: uid=anna\ndeleteoldrdn: 1\nnewsuperior: ou=board,{BASE}\n"
    )
    assert staff.put(a=someone("Anna Berg", user="anna2", title="Chair")) == {}
    assert list(staff.entries()) == [f"uid=anna2,ou=board,{BASE}"]


def test_an_entry_moves_where_its_place_is_made_of_its_values(make_staff: MakeStaff, server: Slapd) -> None:
    for name in ("Sales", "R&D, Berlin"):
        unit = {"objectClass": "organizationalUnit", "ou": name}
        server.modify(ldif(f"ou={escape_value(name)},ou=people,{BASE}", unit))
    staff = make_staff(target={"dn": "uid={uid},ou={title},ou=people,{base}"})
    staff.put(a=someone("Anna Berg", title="Sales"))
    assert list(staff.entries()) == [f"uid=anna,ou=Sales,ou=people,{BASE}"]
    assert staff.put(a=someone("Anna Berg", title="R&D, Berlin")) == {}
    assert list(staff.entries()) == [f"uid=anna,ou=R&D\\2C Berlin,ou=people,{BASE}"]
    refused = staff.put(a=someone("Anna Berg", title="Nowhere"))
    assert "the entry above isn't there, ou=Nowhere" in str(refused["a"])
    assert "the entry above isn't there, ou=Nowhere" in str(staff.put(b=someone("Bert", title="Nowhere"))["b"])
    assert len(staff.entries()) == 1


def test_a_manager_comes_first_and_is_named_by_the_entrys_name(staff: Staff) -> None:
    [error] = staff.put(b=someone("Bert", manager_id="a")).values()
    assert isinstance(error, MustWait)
    assert error.needs == (("person", "a", "inetOrgPerson"),)
    assert staff.put(a=someone("Anna, the +1")) == {}
    assert staff.put(b=someone("Bert", manager_id="a")) == {}
    assert texts(staff.entries()[dn("bert")], "manager") == [dn("anna\\2C")]
    assert staff.put(
        c=someone("Cleo", manager_id="c1"), d=someone("Dora", manager_id="a"), c1=someone("C One")
    ).keys() <= {"c"}
    staff.put(a=someone("Anna, the +1", user="boss"))
    assert {name: texts(staff.entries()[dn(name)], "manager") for name in ("bert", "dora")} == {
        "bert": [dn("boss")], "dora": [dn("boss")],
    }  # fmt: skip
    staff.put(b=someone("Bert", manager_id="a", title="x"))
    assert texts(staff.entries()[dn("bert")], "manager") == [dn("boss")]


def test_members_are_added_and_removed_one_by_one(make_staff: MakeStaff, server: Slapd) -> None:
    people, teams = make_staff(), make_staff(data_type="team", match=())
    people.put(**{f"p{n}": someone(f"P{n} X") for n in range(4)})
    assert teams.put(t={"name": "Team A", "members": ["p0", "p1", "p2"]}) == {}
    [entry] = teams.entries("groupOfNames").values()
    assert texts(entry, "member") == [dn("p0"), dn("p1"), dn("p2")]
    before = server.search("(cn=Team A)", "entryCSN")
    assert teams.put(t={"name": "Team A", "members": ["p2", "p1", "p0"]}) == {}
    assert server.search("(cn=Team A)", "entryCSN") == before  # another order is no change
    assert teams.put(t={"name": "Team A", "members": ["p3", "p1"]}) == {}
    assert texts(next(iter(teams.entries("groupOfNames").values())), "member") == [dn("p1"), dn("p3")]
    refused = teams.put(t={"name": "Team A", "members": []})
    assert refused["t"].field == "member"
    assert "objectClassViolation" in str(refused["t"])


@pytest.mark.parametrize(
    ("record", "words", "field"),
    [
        ({"email": "müller@example.test"}, "invalidAttributeSyntax", "mail"),
        ({"user": None}, "the entry has no name", "uid"),
        ({"family": " ", "name": " "}, "requires attribute 'sn'", "sn"),
    ],
)
def test_what_the_directory_refuses_names_the_attribute(
    record: dict[str, object], words: str, field: str | None, staff: Staff
) -> None:
    refused = staff.put(a={**someone("Anna Berg"), **record}, b=someone("Bert"))
    assert set(refused) == {"a"}
    assert words in str(refused["a"])
    assert field in (None, refused["a"].field)
    assert list(staff.entries()) == [dn("bert")]


def test_deletes_are_soft_or_hard_and_an_older_event_brings_nobody_back(make_staff: MakeStaff) -> None:
    soft = make_staff(deletes="soft", target={"deleted": {"employeeType": "left"}})
    old = soft.event("a", someone("Anna Berg", title="old"))
    soft.deliver(old)
    soft.put(a=None)
    assert texts(soft.entries()[dn("anna")], "employeeType") == ["left"]
    soft.deliver(old)
    assert texts(soft.entries()[dn("anna")], "employeeType") == ["left"]


def test_a_hard_delete_takes_the_entry_away_and_a_deleted_one_is_made_anew(staff: Staff, server: Slapd) -> None:
    staff.put(a=someone("Anna Berg"), b=someone("Bert"))
    staff.put(a=None)
    assert list(staff.entries()) == [dn("bert")]
    server.modify(f"dn: {dn('bert')}\nchangetype: delete\n")
    assert staff.put(b=someone("Bert", title="back")) == {}
    assert texts(staff.entries()[dn("bert")], "title") == ["back"]


def test_a_change_by_hand_in_between_is_never_lost(
    staff: Staff, server: Slapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone adds a title between reading and writing: the modification names what it removes, and is made anew."""
    staff.put(a=someone("Anna Berg", title="Clerk"))
    from sorbus.ldap.session import Directory

    real, changed = Directory.modify, list[str]()

    def modify(self: Directory, name: str, changes: object, *, doing: str) -> None:
        if not changed:
            changed.append(name)
            server.modify(replacing(name, {"title": "Chess champion"}))
        real(self, name, changes, doing=doing)  # type: ignore[arg-type]

    monkeypatch.setattr(Directory, "modify", modify)
    assert staff.put(a=someone("Anna Berg", title="Head")) == {}
    assert texts(staff.entries()[dn("anna")], "title") == ["Head"]
    assert len(changed) == 1


def test_a_change_by_hand_is_a_conflict_where_the_flow_asks(make_staff: MakeStaff, server: Slapd) -> None:
    staff = make_staff(on_conflict="ask")
    staff.put(a=someone("Anna Berg", title="Clerk"))
    server.modify(replacing(dn("anna"), {"title": "Chess champion"}))
    [error] = staff.put(a=someone("Anna Berg", title="Head")).values()
    assert (error.reason, error.field) == ("conflict", "title")
    assert texts(staff.entries()[dn("anna")], "title") == ["Chess champion"]


def test_lists_are_compared_without_their_order(make_staff: MakeStaff, server: Slapd) -> None:
    rows = [row for row in PEOPLE if row[0] != "email"] + [("emails", "inetOrgPerson.mail", "")]
    staff = make_staff(rows=rows, match=("number",))
    staff.put(a=someone("Anna", emails=["b@x", "a@x"]))
    before = server.search("(uid=anna)", "entryCSN", "mail")
    assert texts(before[dn("anna")], "mail") == ["a@x", "b@x"]
    staff.put(a=someone("Anna", emails=["a@x", "b@x"]))
    assert server.search("(uid=anna)", "entryCSN", "mail") == before
    staff.put(a=someone("Anna", emails=["c@x", "b@x"]))
    assert texts(staff.entries()[dn("anna")], "mail") == ["b@x", "c@x"]


def test_missing_auxiliary_classes_are_added_to_who_is_there(make_staff: MakeStaff, server: Slapd) -> None:
    server.modify(ldif(*person(1, uid="anna", mail="anna@example.test")))
    rows = [*PEOPLE, ("number", "inetOrgPerson.labeledURI", '"https://x"')]
    staff = make_staff(rows=rows, target={"object_classes": ["labeledURIObject"]})
    assert staff.put(a=someone("Anna Berg")) == {}
    [entry] = staff.entries().values()
    assert "labeledURIObject" in texts(entry, "objectClass")


def test_a_marker_finds_the_entry_again_after_the_state_is_lost(make_staff: MakeStaff, database: str) -> None:
    rows = [row for row in PEOPLE if row[0] != "number"]
    staff = make_staff(rows=rows, target={"marker": "employeeNumber"}, match=())
    staff.put(a=someone("Anna Berg"))
    assert texts(staff.entries()[dn("anna")], "employeeNumber") == ["a"]
    State(database, "").run("delete from crosswalk", {})
    staff.put(a=someone("Anna Berg", user="other"))
    assert list(staff.entries()) == [dn("other")]


def test_a_preview_says_what_would_be_sent(staff: Staff) -> None:
    made = staff.consumer.preview(staff.event("a", someone("Anna Berg")))
    assert made.action == "create"
    assert made.request["path"] == dn("anna")  # type: ignore[index,call-overload]
    assert staff.entries() == {}
    staff.put(a=someone("Anna Berg"))
    renamed = staff.consumer.preview(staff.event("a", someone("Anna Berg", user="x", title="T")))
    assert renamed.action == "update"
    assert renamed.request["json"] == {"newRDN": "uid=x", "title": {"add": ["T"]}}  # type: ignore[index,call-overload]
    assert staff.consumer.look("a") is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rows": [*PEOPLE, ("title", "inetOrgPerson.userPassword", "")]}, "never writes"),
        ({"rows": [*PEOPLE, ("title", "inetOrgPerson.titel", "")]}, "no attribute titel"),
        ({"target": {"dn": "uid={nobody},{base}"}}, "needs nobody"),
        ({"target": {"dn": "uid={uid},dc=elsewhere"}}, "isn't below"),
        ({"target": {"dn": "{uid}"}}, "isn't a distinguished name"),
        ({"target": {"object_classes": ["noSuchClass"]}}, "no object class noSuchClass"),
        ({"target": {"references": {"manager": "persn"}}}, "no flow delivers"),
        ({"rows": [row for row in PEOPLE if row[0] != "family"]}, "nothing fills inetOrgPerson.sn"),
    ],
)
def test_a_mistake_in_the_map_is_found_by_plan(given: dict[str, object], said: str, make_staff: MakeStaff) -> None:
    with pytest.raises(MapError, match=said):
        make_staff(**given)


def test_an_account_of_active_directory_is_disabled_by_one_bit(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", database)
    server = Slapd(tmp_path / "ad", schemas=("core", "cosine", "nis", "inetorgperson", "msuser"))
    server.start()
    server.organize()
    given = {
        "objectClass": "user",
        "cn": "Anna",
        "sn": "B",
        "employeeNumber": "7",
        "userAccountControl": 0x10200,
        **AD_TOP,
    }
    server.modify(ldif(f"cn=Anna,ou=people,{BASE}", given))
    staff = Staff(
        server,
        rows=[("name", "user.cn", ""), ("number", "user.employeeNumber", ""), ("family", "user.sn", "record.name")],
        target={
            "resource": "user",
            "dn": "cn={cn},ou=people,{base}",
            "references": {},
            "deleted": {"accountEnabled": False},
        },
        match=("number",),
        deletes="soft",
    )
    object.__setattr__(staff.flow, "resources", {"person": ("user",)})
    try:
        staff.prepare()
        assert staff.put(a=someone("Anna", number="7")) == {}
        staff.put(a=None)
        [entry] = staff.entries("user").values()
        assert texts(entry, "userAccountControl") == [str(0x10202)]
        staff.put(a=someone("Anna", number="7"))
        [entry] = staff.entries("user").values()
        assert texts(entry, "sn") == ["Anna"]
    finally:
        staff.close()
        server.stop()


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=10))
def test_any_name_is_an_entry_or_a_dead_letter(staff: Staff, name: str) -> None:
    refused = staff.put(**{"a": {**someone("x"), "name": f"N {name}", "user": name, "number": "n"}})
    if not refused:
        assert [texts(one, "cn") for one in staff.entries().values()] == [[f"N {name}"]]
    else:
        assert isinstance(refused["a"], PermanentError)


def test_an_entry_that_people_moved_out_of_the_flows_base_is_changed_there(
    make_staff: MakeStaff, server: Slapd
) -> None:
    server.modify(f"dn: ou=alumni,{BASE}\nobjectClass: organizationalUnit\nou: alumni\n")
    staff = make_staff(target={"base": f"ou=people,{BASE}"})
    staff.put(a=someone("Anna Berg"))
    moved = f"newrdn: uid=anna\ndeleteoldrdn: 1\nnewsuperior: ou=alumni,{BASE}\n"
    server.modify(f"dn: {dn('anna')}\nchangetype: modrdn\n{moved}")
    assert staff.put(a=someone("Anna Berg", title="Chair")) == {}
    [(name, entry)] = staff.entries().items()
    assert (name, texts(entry, "title")) == (f"uid=anna,ou=alumni,{BASE}", ["Chair"])


def test_an_entry_that_a_soft_delete_took_out_of_the_flows_filter_comes_back(make_staff: MakeStaff) -> None:
    left = {"filter": "(!(employeeType=left))", "deleted": {"employeeType": "left"}}
    staff = make_staff(target=left, deletes="soft")
    staff.put(a=someone("Anna Berg"))
    assert staff.put(a=None) == {}
    assert staff.put(a=someone("Anna Berg", title="Back")) == {}
    [entry] = staff.entries().values()
    assert texts(entry, "title") == ["Back"]
