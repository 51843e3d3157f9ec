"""Rows of the binary log by the column names and types of their own moment, as the log itself gives them; no I/O.

A table's description carries its columns' names only with `binlog_row_metadata=FULL`. Without them nothing is read:
the columns of today may have another order than those of the row (`NamelessRows`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sorbus.producers.mysql.binary_values import (
    ENUM,
    GEOMETRY,
    NUMERIC,
    SET,
    TEXTS,
    UNREAD,
    Reader,
    UnknownColumn,
    metadata_size,
    real_type,
    text_codec,
    value_reader,
)
from sorbus.producers.mysql.log_events import BadEvent, LogRows, TableDescription, inflated

Image = dict[str, object]
"""A row's columns by name; those that the log left out are missing."""
_NO_END = frozenset({
    UNREAD, datetime(2038, 1, 19, 3, 14, 7, 999999, UTC), datetime(2106, 2, 7, 6, 28, 15, 999999, UTC), (1 << 64) - 1,
})  # fmt: skip
"""What a row that is valid still has: the last moment of a timestamp (another since MariaDB 11.5), no transaction."""
_BINARY = 63
"""The collation of BLOB and BINARY."""
_SIGNS, _DEFAULT_CHARSET, _CHARSETS, _NAMES, _SETS, _ENUMS, _LABEL_DEFAULT, _LABEL_CHARSETS = 1, 2, 3, 4, 5, 6, 10, 11


def of_now(row: Image | None, row_end: str) -> Image | None:
    """None for a row of the past, which the log has beside the newest (MariaDB's system versioning)."""
    return row if row is None or row.get(row_end, UNREAD) in _NO_END else None


class NamelessRows(ValueError):
    """Rows whose columns' names the log doesn't have."""


class ServerCharsets(NamedTuple):
    """`of_collation`: number -> character set; `letters`: what each byte means, of those of one byte."""

    of_collation: Mapping[int, str]
    letters: Mapping[str, Mapping[int, str]]


class RowReader:
    """Reads the rows of one table as it was at one moment."""

    def __init__(self, described: TableDescription, charsets: ServerCharsets, *, is_mariadb: bool) -> None:
        """NamelessRows, UnknownColumn, BadEvent."""
        self.name = described.database, described.table
        body = described.body
        count, at = _length(body, 0)
        types = body[at : at + count]
        size, at = _length(body, at + count)
        metadata, at = _metadata(types, body[at : at + size]), at + size
        extra = _extra_fields(body[at + (count + 7) // 8 :])
        if _NAMES not in extra:
            raise NamelessRows(f"{described.database}.{described.table}")
        self.columns = _names(extra[_NAMES])
        if len(self.columns) != count:
            raise BadEvent(f"{described.table} has {count} columns and {len(self.columns)} names")
        self._readers = _readers(types, metadata, extra, charsets, is_mariadb=is_mariadb)

    def images(self, rows: LogRows) -> Iterator[tuple[Image | None, Image | None]]:
        """(before, after) of each row. BadEvent."""
        data = rows.body
        count, at = _length(data, 0)
        if count != len(self.columns):
            raise BadEvent(f"rows of {count} columns for {self.name[1]} with {len(self.columns)}")
        width = (count + 7) // 8
        first, at = _places(data[at : at + width], count), at + width
        second = first
        if rows.kind == "update":
            second, at = _places(data[at : at + width], count), at + width
        if rows.is_compressed:
            data, at = inflated(data[at:]), 0
        end = len(data)
        try:
            while at < end:
                before: Image | None = None
                after: Image | None = None
                if rows.kind != "insert":
                    before, at = self._image(data, at, first)
                if rows.kind != "delete":
                    after, at = self._image(data, at, second)
                yield before, after
        except IndexError as error:
            raise BadEvent(f"a row of {self.name[1]} is cut short") from error
        if at != end:
            raise BadEvent(f"a row of {self.name[1]} isn't as its table's description says")

    def _image(self, data: bytes, at: int, places: Sequence[int]) -> tuple[Image, int]:
        width = (len(places) + 7) // 8
        nulls = int.from_bytes(data[at : at + width], "little")
        at += width
        found: Image = {}
        for bit, place in enumerate(places):
            if nulls >> bit & 1:
                found[self.columns[place]] = None
            else:
                found[self.columns[place]], at = self._readers[place](data, at)
        if at > len(data):
            raise IndexError
        return found, at


def _readers(
    types: bytes,
    metadata: Sequence[bytes],
    extra: Mapping[int, bytes],
    charsets: ServerCharsets,
    *,
    is_mariadb: bool,
) -> list[Reader]:
    kinds = [real_type(kind, meta)[0] if kind == 254 else kind for kind, meta in zip(types, metadata, strict=True)]
    numeric = [place for place, kind in enumerate(kinds) if kind in NUMERIC]
    texts = [place for place, kind in enumerate(kinds) if kind in TEXTS or (is_mariadb and kind == GEOMETRY)]
    labelled = [place for place, kind in enumerate(kinds) if kind in (ENUM, SET)]
    signs = extra.get(_SIGNS, b"")
    unsigned = {
        place for bit, place in enumerate(numeric) if bit // 8 < len(signs) and signs[bit // 8] << bit % 8 & 128
    }
    collations = {
        **_collations(texts, extra, _DEFAULT_CHARSET, _CHARSETS),
        **_collations(labelled, extra, _LABEL_DEFAULT, _LABEL_CHARSETS),
    }
    labels = {
        **dict(zip([place for place in labelled if kinds[place] == SET], _labels(extra.get(_SETS, b"")), strict=True)),
        **dict(
            zip([place for place in labelled if kinds[place] == ENUM], _labels(extra.get(_ENUMS, b"")), strict=True)
        ),
    }
    made = []
    for place, kind in enumerate(types):
        collation = collations.get(place, 0)
        codec = text_codec(charsets.of_collation.get(collation, ""), charsets.letters)
        known = labels.get(place, [])
        if known and codec is None:
            made.append(_unread(value_reader(kind, metadata[place], is_unsigned=False, codec=None, is_binary=False,
                                             labels=[])))  # fmt: skip
            continue
        made.append(
            value_reader(
                kind,
                metadata[place],
                is_unsigned=place in unsigned,
                codec=codec,
                is_binary=collation == _BINARY,
                labels=[codec(label) for label in known] if codec else [],
            )
        )
    return made


def _unread(read: Reader) -> Reader:
    return lambda data, at: (UNREAD, read(data, at)[1])


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes. BadEvent."""
    first = data[at]
    if first < 251:
        return first, at + 1
    size = {252: 2, 253: 3, 254: 8}.get(first)
    if size is None:
        raise BadEvent(f"a length that begins with {first}")
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def _metadata(types: bytes, block: bytes) -> list[bytes]:
    found, at = [], 0
    for kind in types:
        size = metadata_size(kind)
        found.append(block[at : at + size])
        at += size
    if at != len(block):
        raise UnknownColumn("a column's type isn't known")
    return found


def _extra_fields(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(data):
        kind = data[at]
        size, at = _length(data, at + 1)
        found[kind] = data[at : at + size]
        at += size
    return found


def _names(data: bytes) -> list[str]:
    found, at = [], 0
    while at < len(data):
        size, at = _length(data, at)
        found.append(data[at : at + size].decode())
        at += size
    return found


def _numbers(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        number, at = _length(data, at)
        found.append(number)
    return found


def _labels(data: bytes) -> list[list[bytes]]:
    found, at = [], 0
    while at < len(data):
        count, at = _length(data, at)
        labels = []
        for _ in range(count):
            size, at = _length(data, at)
            labels.append(data[at : at + size])
            at += size
        found.append(labels)
    return found


def _collations(places: Sequence[int], extra: Mapping[int, bytes], default: int, each: int) -> dict[int, int]:
    """Place -> collation: one for all with exceptions, or one for each."""
    if each in extra:
        return dict(zip(places, _numbers(extra[each]), strict=True))
    if default not in extra:
        return {}
    usual, *others = _numbers(extra[default])
    exceptions = dict(zip(others[::2], others[1::2], strict=True))
    return {place: exceptions.get(at, usual) for at, place in enumerate(places)}


def _places(bits: bytes, count: int) -> list[int]:
    """The places whose bit is set, lowest first."""
    value = int.from_bytes(bits, "little")
    return [place for place in range(count) if value >> place & 1]
