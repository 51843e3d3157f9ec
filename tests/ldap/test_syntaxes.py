"""Values of every syntax, both ways."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.errors import PermanentError
from sorbus.ldap.attribute_types import AttributeType, Syntax, is_secret, schema_of, usual_schema
from sorbus.ldap.syntaxes import UnusableValue, read_moment, read_value, write_value

MOMENTS = st.datetimes(datetime(1901, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC))
VALUES: dict[str, st.SearchStrategy[object]] = {
    "text": st.text(st.characters(blacklist_categories=["Cs"]), min_size=1),
    "name": st.just("cn=x,dc=y"),
    "boolean": st.booleans(),
    "integer": st.integers(-(10**30), 10**30),
    "moment": MOMENTS,
    "binary": st.binary(min_size=1).map(lambda data: b64encode(data).decode()),
    "postal": st.lists(st.text("ab$\\24C5ü", min_size=1), min_size=1).map("\n".join),
    "uuid": st.uuids().map(str),
    "guid": st.uuids().map(str),
    "filetime": MOMENTS,
}
BACK = sorted(VALUES)


def kind(syntax: str) -> AttributeType:
    return AttributeType("x", ("x",), syntax)  # type: ignore[arg-type]


def test_every_syntax_is_tried() -> None:
    assert set(BACK) == set(get_args(Syntax)) - {"sid", "secret"}


@pytest.mark.parametrize("syntax", BACK)
def test_a_value_comes_back_as_it_was(syntax: str) -> None:
    @given(VALUES[syntax])
    def check(value: object) -> None:
        assert read_value(write_value(value, kind(syntax)), kind(syntax)) == value

    check()


@pytest.mark.parametrize("syntax", get_args(Syntax))
@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_are_said_not_to_be_one(syntax: str, data: bytes) -> None:
    found = read_value(data, kind(syntax))
    if isinstance(found, UnusableValue):
        assert "correct the entry" in found.why


@pytest.mark.parametrize("syntax", get_args(Syntax))
@given(st.text(max_size=20) | st.integers() | st.booleans())
def test_any_value_is_written_or_is_a_dead_letter(syntax: str, value: object) -> None:
    with suppress(PermanentError):
        assert write_value(value, kind(syntax))


@pytest.mark.parametrize(
    ("written", "meant"),
    [  # RFC 4517, section 3.3.13, and what older servers write
        ("199412161032Z", datetime(1994, 12, 16, 10, 32, tzinfo=UTC)),
        ("199412160532-0500", datetime(1994, 12, 16, 10, 32, tzinfo=UTC)),
        ("20261129081530.123456789Z", datetime(2026, 11, 29, 8, 15, 30, 123456, tzinfo=UTC)),
        ("2026112908,5Z", datetime(2026, 11, 29, 8, 30, tzinfo=UTC)),
        ("20261129081530.0Z", datetime(2026, 11, 29, 8, 15, 30, tzinfo=UTC)),
        ("20161231235960Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("20261129081530+02", datetime(2026, 11, 29, 6, 15, 30, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_all_their_forms(written: str, meant: datetime) -> None:
    assert read_moment(written) == meant


def test_a_time_in_another_zone_is_written_in_utc() -> None:
    value = datetime(2026, 11, 29, 8, 15, 30, 500_000, tzinfo=timezone(timedelta(hours=1)))
    assert write_value(value, kind("moment")) == b"20261129071530.5Z"


@pytest.mark.parametrize(
    "name",
    [
        "userPassword", "UNICODEPWD", "userPassword;x", "sambaNTPassword", "krbPrincipalKey", "msLAPS-Password",
        "msLAPS-EncryptedPassword", "msLAPS-EncryptedPasswordHistory", "msLAPS-EncryptedDSRMPassword",
        "msDS-ManagedPassword", "msFVE-RecoveryPassword", "krbMKey", "nsds5ReplicaCredentials", "olcSyncrepl",
    ],
)  # fmt: skip
def test_passwords_are_known(name: str) -> None:
    assert is_secret(name)
    with pytest.raises(PermanentError, match="neither read nor written"):
        write_value("x", usual_schema().type_of("userPassword"))


@pytest.mark.parametrize("name", ["msLAPS-PasswordExpirationTime", "pwdLastSet", "shadowLastChange"])
def test_what_is_said_about_a_password_is_none(name: str) -> None:
    assert not is_secret(name)
    assert usual_schema().type_of(name).syntax != "secret"


def test_a_schema_is_read_as_a_server_writes_it() -> None:
    schema = schema_of(
        [
            "( 2.5.4.41 NAME 'name' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX"
            " 1.3.6.1.4.1.1466.115.121.1.15{32768} )",
            "( 2.5.4.4 NAME ( 'sn' 'surname' ) DESC 'RFC2256: last (family) name(s)' SUP name )",
            "( 2.5.4.31 NAME 'member' SUP distinguishedName )",
            "( 2.5.4.49 NAME 'distinguishedName' EQUALITY distinguishedNameMatch SYNTAX"
            " 1.3.6.1.4.1.1466.115.121.1.12 )",
            "not a definition (",
        ],
        ["( 2.5.6.6 NAME 'person' SUP top STRUCTURAL MUST ( sn $ cn ) MAY ( description ) )"],
    )
    assert schema.type_of("Surname").name == "sn"
    assert schema.type_of("sn").is_matched
    assert schema.type_of("member").syntax == "name"
    assert schema.spellings("surname;lang-de") == ("surname;lang-de", "sn;lang-de")
    assert not schema.knows("manager")
    assert schema.attributes(["person"]) == (["cn", "sn"], ["description"])
