"""The messages of content synchronization (RFC 4533), from and to BER; no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple
from uuid import UUID

REQUEST, STATE, DONE, INFO = (f"1.3.6.1.4.1.4203.1.9.1.{number}" for number in (1, 2, 3, 4))
_SEQUENCE, _OCTETS, _BOOLEAN, _INTEGER, _ENUMERATED, _SET = 0x30, 0x04, 0x01, 0x02, 0x0A, 0x31
_ENTRY, _RESULT, _REFERENCE, _INTERMEDIATE, _CONTROLS, _EXTENDED = 0x64, 0x65, 0x73, 0x79, 0xA0, 0x78
_STATES: tuple[Literal["present", "add", "modify", "delete"], ...] = ("present", "add", "modify", "delete")
MOST_BYTES = 16 * 1024 * 1024
"""Of one message: its entries come without attributes, and at most some thousand UUIDs."""


class EntryState(NamedTuple):
    """An entry was named."""

    state: Literal["present", "add", "modify", "delete"]
    id: str
    cookie: bytes | None


class IdSet(NamedTuple):
    """Entries that are there, or that were deleted."""

    ids: tuple[str, ...]
    are_deleted: bool
    cookie: bytes | None


class PhaseEnd(NamedTuple):
    """The end of a phase of the refresh. `by_presence`: what wasn't named is gone. `is_done`: changes follow."""

    by_presence: bool
    is_done: bool
    cookie: bytes | None


class NewCookie(NamedTuple):
    """Nothing but a cookie."""

    cookie: bytes


class SearchEnd(NamedTuple):
    """The search has ended, with this result code."""

    code: int
    words: str
    cookie: bytes | None


SyncMessage = EntryState | IdSet | PhaseEnd | NewCookie | SearchEnd


def request_value(cookie: bytes | None) -> bytes:
    """The control's value for a refresh since `cookie`, and then what changes."""
    mode = _wrapped(_ENUMERATED, b"\x03")
    return _wrapped(_SEQUENCE, mode + (b"" if cookie is None else _wrapped(_OCTETS, cookie)))


def message_length(data: bytes) -> int | None:
    """How many bytes the message has that `data` begins with; None until that can be told. ValueError."""
    if len(data) < 2:
        return None
    if data[0] != _SEQUENCE:
        raise ValueError("not an LDAP message")
    if data[1] < 0x80:
        return 2 + data[1]
    count = data[1] & 0x7F
    if count == 0 or count > 4:
        raise ValueError("an LDAP message of no definite length")
    if len(data) < 2 + count:
        return None
    length = 2 + count + int.from_bytes(data[2 : 2 + count], "big")
    if length > MOST_BYTES:
        raise ValueError(f"a message of {length:,} bytes, where at most {MOST_BYTES:,} are taken")
    return length


def read_message(data: bytes) -> SyncMessage | None:
    """What a whole message says; None for what isn't about the content (a reference). ValueError."""
    try:
        [(_, body)] = _elements(data)
        (_, _number), (kind, content), *rest = _elements(body)
        controls = dict(_controls(rest[0][1])) if rest and rest[0][0] == _CONTROLS else {}
        if kind == _ENTRY:
            return _entry(controls.get(STATE))
        if kind == _INTERMEDIATE:
            return _info(content)
        if kind == _RESULT:
            return _end(content, controls.get(DONE))
        if kind == _EXTENDED:
            code, words = _result(content)
            return SearchEnd(code or 52, words, None)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"a message that can't be read ({error})") from error
    return None


def _entry(value: bytes | None) -> EntryState | None:
    if value is None:
        return None
    [(_, body)] = _elements(value)
    (_, state), (_, id), *rest = _elements(body)
    number = int.from_bytes(state, "big")
    if number >= len(_STATES):
        raise ValueError(f"an entry in state {number}")
    return EntryState(_STATES[number], str(UUID(bytes=id)), rest[0][1] if rest else None)


def _info(content: bytes) -> SyncMessage | None:
    parts = dict(_elements(content))
    if parts.get(0x80, b"").decode("ascii") != INFO:
        return None
    [(tag, body)] = _elements(parts[0x81])
    if tag == 0x80:
        return NewCookie(body)
    fields = dict(_elements(body))
    cookie = fields.get(_OCTETS)
    flag = fields.get(_BOOLEAN)
    if tag in (0xA1, 0xA2):
        return PhaseEnd(tag == 0xA2, flag is None or flag != b"\0", cookie)
    if tag == 0xA3:
        ids = tuple(str(UUID(bytes=id)) for _, id in _elements(fields.get(_SET, b"")))
        return IdSet(ids, flag is not None and flag != b"\0", cookie)
    return None


def _end(content: bytes, done: bytes | None) -> SearchEnd:
    code, words = _result(content)
    cookie = None
    if done is not None:
        [(_, body)] = _elements(done)
        cookie = dict(_elements(body)).get(_OCTETS)
    return SearchEnd(code, words, cookie)


def _result(content: bytes) -> tuple[int, str]:
    (_, code), _, (_, words), *_ = _elements(content)
    return int.from_bytes(code, "big"), words.decode(errors="replace")


def _controls(data: bytes) -> Iterator[tuple[str, bytes]]:
    for _, control in _elements(data):
        parts = list(_elements(control))
        value = next((part for tag, part in parts[1:] if tag == _OCTETS), b"")
        yield parts[0][1].decode("ascii"), value


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """The elements that follow each other in `data`: tag and content. ValueError where one is cut short."""
    found, at = [], 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length >= 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[at : at + count], "big")
            at += count
        if at + length > len(data):
            raise ValueError("a message that is cut short")
        found.append((tag, data[at : at + length]))
        at += length
    return found


def _wrapped(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content
