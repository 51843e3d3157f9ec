"""The messages of content synchronization, as OpenLDAP and ldap3 encode them, and any bytes."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.ber import encoder
from pyasn1.type import namedtype, univ

from sorbus.ldap.sync_messages import (
    DONE,
    INFO,
    MOST_BYTES,
    STATE,
    EntryState,
    IdSet,
    NewCookie,
    PhaseEnd,
    SearchEnd,
    message_length,
    read_message,
    request_value,
)

IDS = st.uuids()
COOKIES = st.none() | st.binary(max_size=300)


def octets(value: bytes) -> univ.OctetString:
    return univ.OctetString(value)


def sequence(*parts: object) -> univ.Sequence:
    fields = [namedtype.NamedType(f"f{number}", type(part)()) for number, part in enumerate(parts)]
    made = univ.Sequence(componentType=namedtype.NamedTypes(*fields))
    for number, part in enumerate(parts):
        made[number] = part
    return made


def tagged(number: int, data: bytes, *, application: bool = False, is_constructed: bool = True) -> bytes:
    first = (0x40 if application else 0x80) | (0x20 if is_constructed else 0) | number
    head = encoder.encode(octets(data))  # the length is that of an octet string
    return bytes([first]) + head[1:]


def raw(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return b"\x30" + encoder.encode(octets(body))[1:]


def control(oid: str, value: bytes) -> bytes:
    return tagged(0, raw(encoder.encode(octets(oid.encode())), encoder.encode(octets(value))))


NUMBER = encoder.encode(univ.Integer(7))


@given(IDS, st.integers(0, 3), COOKIES)
def test_an_entry_says_its_state(id: UUID, state: int, cookie: bytes | None) -> None:
    parts = [univ.Enumerated(state), octets(id.bytes), *([octets(cookie)] if cookie is not None else [])]
    entry = tagged(4, encoder.encode(octets(b"cn=x")) + raw(), application=True)
    message = raw(NUMBER, entry, control(STATE, encoder.encode(sequence(*parts))))
    said = read_message(message)
    assert said == EntryState(("present", "add", "modify", "delete")[state], str(id), cookie)
    assert message_length(message) == len(message)


def intermediate(value: bytes) -> bytes:
    body = tagged(0, INFO.encode(), is_constructed=False) + tagged(1, value, is_constructed=False)
    return raw(NUMBER, tagged(25, body, application=True))


@given(st.lists(IDS), st.booleans(), COOKIES)
def test_a_set_of_entries_is_there_or_deleted(ids: list[UUID], is_deleted: bool, cookie: bytes | None) -> None:
    cookies = encoder.encode(octets(cookie)) if cookie is not None else b""
    flag = encoder.encode(univ.Boolean(True)) if is_deleted else b""
    body = b"".join(encoder.encode(octets(id.bytes)) for id in ids)
    value = tagged(3, cookies + flag + b"\x31" + encoder.encode(octets(body))[1:])
    assert read_message(intermediate(value)) == IdSet(tuple(map(str, ids)), is_deleted, cookie)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("flag", [None, True, False])
@given(COOKIES)
def test_a_phase_ends(number: int, flag: bool | None, cookie: bytes | None) -> None:
    cookies = encoder.encode(octets(cookie)) if cookie is not None else b""
    done = b"" if flag is None else encoder.encode(univ.Boolean(flag))
    found = read_message(intermediate(tagged(number, cookies + done)))
    assert found == PhaseEnd(number == 2, flag is not False, cookie)


def test_a_cookie_alone_and_the_end_of_a_search() -> None:
    assert read_message(intermediate(tagged(0, b"csn=1", is_constructed=False))) == NewCookie(b"csn=1")
    result = encoder.encode(univ.Enumerated(4096)) + encoder.encode(octets(b"")) + encoder.encode(octets(b"too old"))
    done = control(DONE, raw(encoder.encode(octets(b"c"))))
    message = raw(NUMBER, tagged(5, result, application=True), done)
    assert read_message(message) == SearchEnd(4096, "too old", b"c")


def test_other_messages_say_nothing() -> None:
    assert read_message(raw(NUMBER, tagged(19, encoder.encode(octets(b"ldap://x")), application=True))) is None


@given(COOKIES)
def test_the_request_is_what_pyasn1_makes(cookie: bytes | None) -> None:
    parts = [univ.Enumerated(3), *([octets(cookie)] if cookie is not None else [])]
    assert request_value(cookie) == encoder.encode(sequence(*parts))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_are_refused(data: bytes) -> None:
    try:
        message_length(data)
        read_message(data)
    except ValueError:
        pass


def test_a_message_has_a_largest_size() -> None:
    with pytest.raises(ValueError, match="at most"):
        message_length(b"\x30\x84" + (MOST_BYTES + 1).to_bytes(4, "big"))
