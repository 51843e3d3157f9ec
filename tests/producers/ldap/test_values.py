"""Values of every kind in a real slapd; Active Directory's in its schema, which OpenLDAP comes with."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from sorbus.producers.ldap.producer import LdapProducer
from sorbus.schema import AvroType, RecordSchema, parse_schema
from tests.ldap.slapd import AD_TOP, BASE, Slapd, ldif, person, replacing
from tests.producers.ldap.desk import Desk

PHOTO = bytes(range(256))


def schema(**fields: AvroType) -> RecordSchema:
    listed = [{"name": name, "type": kind, "default": None} for name, kind in fields.items()]
    return parse_schema({"type": "record", "name": "person", "fields": listed})


TEXT: AvroType = ["null", "string"]
MOMENT: AvroType = ["null", {"type": "long", "logicalType": "timestamp-micros"}]
LISTED: AvroType = ["null", {"type": "array", "items": "string"}]


def test_values_of_inet_org_person(server: Slapd) -> None:
    more = {
        "cn;lang-de": "Jörg",
        "postalAddress": "Street 1 $ 10115 Berlin $ \\245 per day",
        "jpegPhoto": PHOTO,
        "mail": ["b@x", "a@x"],
        "telephoneNumber": "+49 30 1",
    }
    server.modify(ldif(*person(1, **more)))
    desk = Desk(
        server,
        schema=schema(
            german=TEXT, address=TEXT, photo=TEXT, mails=TEXT, all_mails=LISTED, made=MOMENT, phone=TEXT, dn=TEXT
        ),
        mapping=[
            ("german", "inetOrgPerson.CN;lang-de", ""),
            ("address", "inetOrgPerson.postalAddress", ""),
            ("photo", "inetOrgPerson.jpegPhoto", ""),
            ("mails", "inetOrgPerson.mail", 'value | join(", ")'),
            ("all_mails", "inetOrgPerson.rfc822Mailbox", ""),
            ("made", "inetOrgPerson.createTimestamp", ""),
            ("phone", "inetOrgPerson.telephonenumber", ""),
            ("dn", "inetOrgPerson.dn", ""),
        ],
        references={},
        multi_valued=["MAIL"],
    )
    try:
        desk.until(lambda: desk.records or desk.rejects, "there")
        assert desk.rejects == {}
        [found] = desk.records.values()
        made = found.pop("made")
        assert (
            f"{made:%Y%m%d%H%M%SZ}".encode()
            == server.search("(uid=u1)", "createTimestamp")[str(found["dn"])]["createTimestamp"].pop()
        )
        assert found == {
            "german": "Jörg",
            "address": "Street 1\n10115 Berlin\n$5 per day",
            "photo": b64encode(PHOTO).decode(),
            "mails": "a@x, b@x",
            "all_mails": ["a@x", "b@x"],
            "phone": "+49 30 1",
            "dn": f"uid=u1,ou=people,{BASE}",
        }
    finally:
        desk.close()


@pytest.fixture
def active_directory(tmp_path: Path) -> Iterator[Slapd]:
    """Entries as Active Directory has them, in slapd."""
    made = Slapd(tmp_path / "slapd", schemas=("core", "cosine", "nis", "inetorgperson", "msuser"))
    made.start()
    made.organize()
    yield made
    made.stop()


def test_values_of_active_directory(active_directory: Slapd) -> None:
    server, guids = active_directory, [UUID(int=number << 64 | 7) for number in (1, 2)]
    for number, guid in enumerate(guids):
        entry = {
            "objectClass": "user",
            **AD_TOP,
            "cn": f"Müller, Anna {number}",
            "sn": "M",
            "objectGUID": guid.bytes_le,
            "userAccountControl": 0x200 | number << 1,
            "accountExpires": (0x7FFFFFFFFFFFFFFF, 116444736000000000)[number],
            **({"manager": f"cn=Müller\\, Anna 0,ou=people,{BASE}"} if number else {}),
        }
        server.modify(ldif(f"cn=Müller\\, Anna {number},ou=people,{BASE}", entry))
    desk = Desk(
        server,
        schema=schema(name=TEXT, enabled=["null", "boolean"], expires=MOMENT, manager_id=TEXT),
        mapping=[
            ("name", "user.cn", ""),
            ("enabled", "user.accountEnabled", ""),
            ("expires", "user.accountExpires", ""),
            ("manager_id", "user.manager", ""),
        ],
        resource="user",
        references={"manager": "objectGUID"},
    )
    given = {**server.connection, "active_directory": True, "modified": "modifyTimestamp"}
    desk.connect(LdapProducer.Connection.model_validate(given))
    try:
        desk.until(lambda: len(desk.records) == 2, "both")
        first, other = (desk.records[str(guid)] for guid in guids)
        assert first == {
            "name": "Müller, Anna 0", "enabled": True, "expires": None, "manager_id": None,
        }  # fmt: skip
        assert (other["enabled"], str(other["expires"])[:10]) == (False, "1970-01-01")
        assert other["manager_id"] == str(guids[0])
        server.modify(replacing(f"cn=Müller\\, Anna 1,ou=people,{BASE}", {"userAccountControl": 0x10200}))
        desk.until(lambda: desk.records[str(guids[1])]["enabled"], "enabled")
    finally:
        desk.close()
