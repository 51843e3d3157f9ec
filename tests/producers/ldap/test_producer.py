"""A directory as a system of record, at a real slapd that OpenLDAP's tools change."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorbus.errors import AuthError, MapError, TransientError
from sorbus.ldap.connection import LdapConnection
from sorbus.ldap.session import Directory
from sorbus.producers.ldap.producer import LdapProducer
from tests.ldap.slapd import ADMIN, BASE, PASSWORD, Slapd, ldif, people, person, replacing
from tests.producers.ldap.desk import GROUP, Desk, certificates


def dn(uid: str) -> str:
    return f"uid={uid},ou=people,{BASE}"


def test_entries_become_records_with_ids_in_place_of_names(desk: Desk, server: Slapd) -> None:
    server.modify(people([1], telephoneNumber=["2", "1"]))
    server.modify(people([2], manager="uid=U1, ou=People," + BASE.upper().replace("DC", "dc")))
    desk.until(lambda: len(desk.records) == 2, "two people")
    first, one = desk.by_name("Person 1")
    _, other = desk.by_name("Person 2")
    assert one == {"name": "Person 1", "email": "u1@example.test", "manager_id": None, "phones": ["1", "2"]}
    assert other["manager_id"] == first
    assert first == server.search("(uid=u1)", "entryUUID")[dn("u1")]["entryUUID"][0].decode()


def test_changes_and_deletes_are_heard_at_once(server: Slapd) -> None:
    server.modify(people(range(5)))
    desk = Desk(server, every="every 1h")
    try:
        desk.until(lambda: len(desk.records) == 5 and desk.position and "sorbus.sync" in desk.position, "listening")
        server.modify(replacing(dn("u1"), {"cn": "Renamed"}) + people([9]))
        server.modify(f"dn: {dn('u2')}\nchangetype: delete\n")
        desk.until(lambda: desk.names() == {"Person 0", "Renamed", "Person 3", "Person 4", "Person 9"}, "changed", 5)
        assert desk.events == 5 + 3
    finally:
        desk.close()


def test_an_entry_that_is_renamed_and_moved_keeps_its_id(desk: Desk, server: Slapd) -> None:
    server.modify(people([1]))
    desk.until(lambda: desk.records, "there")
    [id] = desk.records
    server.modify(f"dn: ou=left,ou=people,{BASE}\nobjectClass: organizationalUnit\nou: left\n")
    renamed = f"newrdn: uid=anna\ndeleteoldrdn: 1\nnewsuperior: ou=left,ou=people,{BASE}\n"
    server.modify(f"dn: {dn('u1')}\nchangetype: modrdn\n{renamed}")
    server.modify(replacing(f"uid=anna,ou=left,ou=people,{BASE}", {"cn": "Anna"}))
    desk.until(lambda: desk.names() == {"Anna"}, "renamed")
    assert list(desk.records) == [id]
    assert desk.deleted == []


def test_what_happened_while_it_was_away_is_found_by_its_cookie(server: Slapd) -> None:
    server.modify(people(range(6)))
    desk = Desk(server, every="every 1h")
    try:
        desk.until(lambda: len(desk.records) == 6 and desk.position and "sorbus.sync" in desk.position, "listening")
        desk.close()
        server.modify(f"dn: {dn('u2')}\nchangetype: delete\n")
        server.modify(replacing(dn("u3"), {"cn": "Changed"}))
        server.kill()
        server.start()
        desk.until(lambda: desk.names() == {"Person 0", "Person 1", "Changed", "Person 4", "Person 5"}, "caught up", 10)
        assert desk.events == 6 + 2
    finally:
        desk.close()


def test_a_cookie_that_the_server_cant_resume_costs_a_list_and_no_record(server: Slapd) -> None:
    server.modify(people(range(4)))
    desk = Desk(server, every="every 1h")
    try:
        desk.until(lambda: len(desk.records) == 4 and desk.position and "sorbus.sync" in desk.position, "listening")
        desk.close()
        assert desk.position is not None
        server.modify(f"dn: {dn('u2')}\nchangetype: delete\n")
        desk.position = {**desk.position, "sorbus.sync": {"person": "cmlkPTAwMCxjc249MTk5OTAxMDEwMDAwMDAuMDAwMDAwWiMwMDAwMDAjMDAwIzAwMDAwMA=="}}  # fmt: skip # noqa: E501
        desk.until(lambda: len(desk.records) == 3, "listed", 10)
        server.modify(replacing(dn("u3"), {"cn": "Changed"}))
        desk.until(lambda: "Changed" in desk.names(), "listening again", 10)
    finally:
        desk.close()


@pytest.mark.slow
def test_a_right_that_is_taken_away_deletes_nobody(tmp_path: Path) -> None:
    rules = (
        'access to dn.subtree="ou=people,dc=example,dc=test" by dn.exact="cn=reader,dc=example,dc=test" read by * none'
    )
    server = Slapd(tmp_path / "slapd", lines=f"{rules}\naccess to * by * read")
    server.start()
    server.organize()
    server.modify(ldif(f"cn=reader,{BASE}", {"objectClass": "organizationalRole", "cn": "reader"}))
    reader = {"objectClass": ["person"], "cn": "reader", "sn": "r", "userPassword": "pw"}
    server.modify(f"dn: cn=reader,{BASE}\nchangetype: delete\n")
    server.modify(ldif(f"cn=reader,{BASE}", reader) + people(range(30)))
    desk = Desk(server, every="every 1s", compare="every 1s")
    given = {**server.connection, "bind_dn": f"cn=reader,{BASE}", "password": "pw"}
    desk.connect(LdapProducer.Connection.model_validate(given))
    try:
        desk.until(lambda: len(desk.records) == 30, "all there")
        conf = server.folder / "slapd.conf"
        conf.write_text(conf.read_text().replace("by dn.exact", "filter=(uid=u1) by dn.exact", 1))
        server.stop()
        server.start()
        server.modify(replacing(dn("u1"), {"cn": "Still seen"}))
        desk.until(lambda: "Still seen" in desk.names(), "seen", 30)
        desk.settle(3)
        assert len(desk.records) == 30
        assert desk.deleted == []
    finally:
        desk.close()
        server.stop()


def test_a_list_that_a_limit_cuts_short_counts_for_nothing(tmp_path: Path) -> None:
    server = Slapd(tmp_path / "slapd", lines='limits dn.exact="cn=reader,dc=example,dc=test" size.prtotal=20')
    server.start()
    server.organize()
    reader = {"objectClass": ["person"], "cn": "reader", "sn": "r", "userPassword": "pw"}
    server.modify(ldif(f"cn=reader,{BASE}", reader) + people(range(10)))
    desk = Desk(server, changes="poll", compare="every 1s")
    given = {**server.connection, "bind_dn": f"cn=reader,{BASE}", "password": "pw", "page_size": 7}
    desk.connect(LdapProducer.Connection.model_validate(given))
    try:
        desk.until(lambda: len(desk.records) == 10, "all there")
        server.modify(people(range(10, 40)))
        desk.until(lambda: desk.producer and "size limit (4)" in (desk.producer.problem or ""), "said")
        assert "size.prtotal" in (desk.producer.problem or "") if desk.producer else False
        desk.settle()
        assert desk.deleted == []
    finally:
        desk.close()
        server.stop()


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"mail": ["a@x", "b@x"]}, "2 values of MAIL"),
        ({"manager": f"uid=nobody,ou=people,{BASE}"}, "names no entry with entryUUID"),
    ],
)
def test_what_cant_be_told_is_a_dead_letter(
    attributes: dict[str, object], said: str, desk: Desk, server: Slapd
) -> None:
    server.modify(people([1]) + people([2], **attributes))
    desk.until(lambda: len(desk.records) == 1 and desk.rejects, "one of two")
    [reject] = desk.rejects.values()
    assert said in str(reject.error)
    server.modify(replacing(dn("u2"), dict.fromkeys(attributes)))
    desk.until(lambda: len(desk.records) == 2 and not desk.rejects, "both")


def test_two_entries_with_one_key_are_dead_letters_until_one_is_left(server: Slapd) -> None:
    server.modify(people([1], employeeNumber="7") + people([2], employeeNumber="8") + people([3], employeeNumber="7"))
    desk = Desk(server, key="employeeNumber", references={"manager": "employeeNumber"})
    try:
        desk.until(lambda: set(desk.records) == {"8"} and len(desk.rejects) == 2, "two refused")
        assert all("is the employeeNumber of 2 entries" in str(one.error) for one in desk.rejects.values())
        server.modify(replacing(dn("u3"), {"employeeNumber": "9"}) + replacing(dn("u2"), {"manager": dn("u1")}))
        desk.until(lambda: set(desk.records) == {"7", "8", "9"}, "all three")
        desk.until(lambda: desk.records["8"]["manager_id"] == "7", "the manager's key")
        server.modify(f"dn: {dn('u3')}\nchangetype: delete\n")
        desk.until(lambda: "9" not in desk.records, "deleted by key", 10)
    finally:
        desk.close()


def test_members_of_a_group_are_ids_in_one_order(server: Slapd) -> None:
    server.modify(people(range(12)))
    group = {"objectClass": "groupOfNames", "cn": "Team, A", "member": [dn(f"u{number}") for number in range(12)]}
    server.modify(ldif(f"cn=Team\\, A,ou=groups,{BASE}", group))
    desk = Desk(
        server,
        schema=GROUP,
        mapping=[("name", "groupOfNames.cn", ""), ("members", "groupOfNames.member", "")],
        resource="groupOfNames",
        base="",
        references={"member": "uid"},
    )
    try:
        desk.until(lambda: desk.records, "the group")
        [team] = desk.records.values()
        assert team["members"] == sorted(f"u{number}" for number in range(12))
        change = f"dn: cn=Team\\, A,ou=groups,{BASE}\nchangetype: modify\ndelete: member\nmember: {dn('u3')}\n"
        server.modify(change)
        desk.until(lambda: "u3" not in next(iter(desk.records.values()))["members"], "one less")  # type: ignore[operator]
    finally:
        desk.close()


def test_awkward_names_and_keys_are_found_again(server: Slapd) -> None:
    awkward = ["Müller, Anna", "a+b=c", "#1", "x\\y", 'say "hi"', "(*)", "<x;y>", "日本 語"]
    text = ""
    for number, uid in enumerate(awkward):
        from sorbus.ldap.distinguished_name import escape_value

        text += ldif(f"uid={escape_value(uid)},ou=people,{BASE}", person(number, uid=uid, mail="x@y")[1])
    server.modify(text)
    desk = Desk(server, key="uid", compare="every 1s", max_deletes=10)
    try:
        desk.until(lambda: set(desk.records) == set(awkward), "all")
        for uid in awkward:
            server.modify(replacing(f"uid={escape_value(uid)},ou=people,{BASE}", {"cn": f"N {uid}"}))
        desk.until(lambda: desk.names() == {f"N {uid}" for uid in awkward}, "all changed")
    finally:
        desk.close()


def test_a_misspelt_attribute_is_a_mistake_in_the_map(server: Slapd) -> None:
    desk = Desk(server, mapping=[("name", "inetOrgPerson.cm", "")], references={})
    with pytest.raises(MapError, match="no attribute cm"):
        LdapProducer.plan(desk.system, [desk.source])
    with pytest.raises(MapError, match="no attribute cm"):
        desk.open()
    with pytest.raises(MapError, match="holds passwords"):
        Desk(server, mapping=[("name", "inetOrgPerson.userPassword", "")]).open()


def test_one_record_and_all_records_are_read_without_publishing(desk: Desk, server: Slapd) -> None:
    server.modify(people(range(3)))
    found = [one for batch in LdapProducer.scan(desk.system, desk.source) for one in batch]
    assert len(found) == 3
    assert LdapProducer.read_record(desk.system, desk.source, found[0].id.decode()) is not None
    assert LdapProducer.read_record(desk.system, desk.source, "nobody") is None
    classes = {one.name: one for one in LdapProducer.discover(desk.system)}
    assert classes["inetOrgPerson"].records == 3
    assert [one.name for one in classes["inetOrgPerson"].fields] == ["entryUUID", "cn", "sn", "mail", "uid"]
    assert all(one.level == "ok" for one in LdapProducer.diagnose(desk.system))
    assert len(LdapProducer.sample(desk.system, "inetOrgPerson", 2)) == 2


def test_certificates_are_verified(tmp_path: Path) -> None:
    certificate, key = certificates(tmp_path)
    lines = f"TLSCertificateFile {certificate}\nTLSCertificateKeyFile {key}"
    server = Slapd(tmp_path / "slapd", global_lines=lines, tls=True)
    server.start()
    server.organize()
    login = {"base": BASE, "bind_dn": ADMIN, "password": PASSWORD}
    try:
        for url in (f"ldaps://localhost:{server.tls_port}", f"ldap://localhost:{server.port}"):
            trusted = LdapConnection.model_validate(
                {**login, "url": url, "ca_file": str(certificate), "start_tls": not url.startswith("ldaps")}
            )
            assert Directory("dir", trusted, tmp_path).controls
            unknown = trusted.model_copy(update={"ca_file": ""})
            with pytest.raises(TransientError, match="certificate"):
                Directory("dir", unknown, tmp_path).connect()
        other = trusted.model_copy(update={"url": f"ldap://127.0.0.1:{server.port}"})
        with pytest.raises(TransientError, match="certificate"):  # another name than the certificate's
            Directory("dir", other, tmp_path).connect()
    finally:
        server.stop()


def test_a_password_never_crosses_a_network_in_clear_text(tmp_path: Path) -> None:
    given = {"base": BASE, "bind_dn": ADMIN, "password": PASSWORD, "url": "ldap://192.0.2.1", "start_tls": False}
    with pytest.raises(AuthError, match="clear text"):
        Directory("dir", LdapConnection.model_validate(given), tmp_path).connect()
    with pytest.raises(ValueError, match="anonymous"):
        LdapConnection.model_validate({**given, "password": ""})


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("manager", "uid=x,dc=other,dc=org"),  # a referral
        ("manager", f"uid=y,ou=secret,{BASE}"),  # may not be read
        ("description", "not a name"),
    ],
)
def test_a_reference_that_cant_be_followed_stops_only_its_own_record(
    attribute: str, value: str, tmp_path: Path
) -> None:
    rules = f'access to dn.subtree="ou=secret,{BASE}" by * disclose\naccess to * by * read'
    server = Slapd(tmp_path / "slapd", lines=rules, global_lines="referral ldap://127.0.0.1:1")
    server.start()
    server.organize()
    secret = {"objectClass": "organizationalUnit", "ou": "secret"}
    server.modify(people([1]) + people([2], **{attribute: value}) + ldif(f"ou=secret,{BASE}", secret))
    server.modify(ldif(f"uid=y,ou=secret,{BASE}", person(3, uid="y")[1]))
    rows = [("name", "inetOrgPerson.cn", ""), ("manager_id", f"inetOrgPerson.{attribute}", "")]
    desk = Desk(server, mapping=rows, references={attribute: "entryUUID"})
    desk.connect(LdapProducer.Connection.model_validate({"url": server.url, "base": BASE}))
    try:
        desk.until(lambda: desk.names() == {"Person 1"} and desk.rejects, "one of two", 10)
        [reject] = desk.rejects.values()
        assert "names no entry with entryUUID that bind_dn can read" in str(reject.error)
    finally:
        desk.close()
        server.stop()


def test_a_key_that_changes_only_its_case_is_another_record(server: Slapd) -> None:
    server.modify(people(range(4)) + people([9], uid="Anna"))
    desk = Desk(server, key="uid", references={}, every="every 1s", compare="every 1s", changes="poll")
    try:
        desk.until(lambda: len(desk.records) == 5, "there")
        renamed = f"dn: {dn('Anna')}\nchangetype: modrdn\nnewrdn: uid=bert\ndeleteoldrdn: 1\n\n"
        server.modify(f"{renamed}dn: {dn('bert')}\nchangetype: modrdn\nnewrdn: uid=anna\ndeleteoldrdn: 1\n")
        desk.until(lambda: {"Anna", "anna"} & set(desk.records) == {"anna"}, "renamed", 10)
    finally:
        desk.close()


def test_a_page_of_entries_without_the_key_holds_nobody_up(server: Slapd) -> None:
    server.modify(people(range(100, 106)) + people([1], employeeNumber="7"))
    desk = Desk(server, key="employeeNumber", references={}, every="every 1s")
    desk.connect(LdapProducer.Connection.model_validate({**server.connection, "page_size": 3}))
    try:
        desk.until(lambda: set(desk.records) == {"7"} and len(desk.rejects) == 6, "there")
        assert all("is missing in uid=u10" in str(one.error) for one in desk.rejects.values())
        server.modify(people([107]))
        desk.until(lambda: len(desk.rejects) == 7, "one more, alone on its page")
        assert desk.producer
        assert desk.producer.problem is None
        server.modify(replacing(dn("u107"), {"employeeNumber": "8"}))
        desk.until(lambda: set(desk.records) == {"7", "8"}, "mended")
    finally:
        desk.close()


def test_a_key_of_more_entries_than_one_answer_may_hold_stops_no_list(tmp_path: Path) -> None:
    limits = f'limits dn.exact="cn=reader,{BASE}" size.soft=20 size.hard=20 size.prtotal=unlimited'
    server = Slapd(tmp_path / "slapd", lines=limits)
    server.start()
    server.organize()
    reader = {"objectClass": "person", "cn": "reader", "sn": "r", "userPassword": "pw"}
    shared = people(range(100, 130), employeeNumber="0")
    server.modify(ldif(f"cn=reader,{BASE}", reader) + people([1], employeeNumber="7") + shared)
    desk = Desk(server, key="employeeNumber", references={})
    given = {**server.connection, "bind_dn": f"cn=reader,{BASE}", "password": "pw", "page_size": 15}
    desk.connect(LdapProducer.Connection.model_validate(given))
    try:
        desk.until(lambda: set(desk.records) == {"7"} and len(desk.rejects) == 30, "there", 10)
        assert all("is the employeeNumber of 30 entries" in str(one.error) for one in desk.rejects.values())
    finally:
        desk.close()
        server.stop()
