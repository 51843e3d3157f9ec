"""Distinguished names (RFC 4514): parsed, written, compared; and filters' values (RFC 4515)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+")
_SPECIAL = frozenset(',+"\\<>;=')
_HEX = frozenset("0123456789abcdefABCDEF")
_PLACEHOLDER = re.compile(r"\{([A-Za-z][A-Za-z0-9;-]*)\}")
_MARK = re.compile("\x00(\\d+)\x00")
Pair = tuple[str, str]
"""An attribute type and its value, unescaped."""


class DistinguishedName(NamedTuple):
    """A name as its RDNs, the entry's own first; each is one or more pairs."""

    rdns: tuple[tuple[Pair, ...], ...]

    @classmethod
    def parse(cls, text: str) -> DistinguishedName:
        """ValueError, which says what is wrong where. Blanks around `,`, `+` and `=` mean nothing."""
        return cls(tuple(_Parser(text).rdns())) if text.strip() else cls(())

    @classmethod
    def of(cls, rdn: Sequence[Pair], parent: DistinguishedName) -> DistinguishedName:
        """An entry below `parent`."""
        return cls((tuple(rdn), *parent.rdns))

    @property
    def rdn(self) -> tuple[Pair, ...]:
        """The entry's own part."""
        return self.rdns[0] if self.rdns else ()

    @property
    def parent(self) -> DistinguishedName:
        """The entry above."""
        return DistinguishedName(self.rdns[1:])

    def __str__(self) -> str:
        return ",".join(rdn_text(rdn) for rdn in self.rdns)

    def normal(self) -> str:
        """One form for names that differ only in case, blanks and escapes, as most attributes compare."""
        return ",".join(
            "+".join(sorted(f"{kind.lower()}={escape_value(_folded(value))}" for kind, value in rdn))
            for rdn in self.rdns
        )

    def is_below(self, other: DistinguishedName) -> bool:
        """Whether it is `other` or an entry under it."""
        mine, theirs = self.normal(), other.normal()
        return not theirs or mine == theirs or mine.endswith(f",{theirs}")


def rdn_text(rdn: Sequence[Pair]) -> str:
    """A relative name as text."""
    return "+".join(f"{kind}={escape_value(value)}" for kind, value in rdn)


def escape_value(value: str) -> str:
    """A value as it stands in a name (RFC 4514, section 2.4)."""
    found = [_escaped(one) for one in value]
    if value[:1] in (" ", "#"):
        found[0] = f"\\{value[0]}"
    if len(value) > 1 and value.endswith(" "):
        found[-1] = "\\ "
    return "".join(found)


def escape_filter(value: str | bytes) -> str:
    """A value as it stands in a filter (RFC 4515); bytes, and what isn't printable ASCII, as hexadecimal digits."""
    data = value.encode() if isinstance(value, str) else value
    return "".join(
        chr(one) if isinstance(value, str) and 0x20 <= one < 0x7F and one not in b"*()\\" else f"\\{one:02x}"
        for one in data
    )


def template_names(template: str) -> list[str]:
    """The attributes that a template of a name mentions: uid={uid},ou=people,{base}."""
    return [name for name in dict.fromkeys(_PLACEHOLDER.findall(template)) if name != "base"]


def fill_template(template: str, base: str, values: Mapping[str, str]) -> DistinguishedName:
    """The name; values are taken literally, whatever they hold. KeyError for one that isn't given; ValueError."""
    names = template_names(template)

    def mark(found: re.Match[str]) -> str:
        return base if found[1] == "base" else f"\x00{names.index(found[1])}\x00"

    parsed = DistinguishedName.parse(_PLACEHOLDER.sub(mark, template))
    given = [values[name] for name in names]
    return DistinguishedName(
        tuple(
            tuple((kind, _MARK.sub(lambda found: given[int(found[1])], value)) for kind, value in rdn)
            for rdn in parsed.rdns
        )
    )


def _escaped(one: str) -> str:
    if one in _SPECIAL:
        return f"\\{one}"
    return "".join(f"\\{byte:02x}" for byte in one.encode()) if one < " " or one == "\x7f" else one


def _folded(value: str) -> str:
    return " ".join(value.casefold().split())


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def rdns(self) -> list[tuple[Pair, ...]]:
        found: list[tuple[Pair, ...]] = []
        while True:
            pairs = [self._pair()]
            while self._takes("+"):
                pairs.append(self._pair())
            found.append(tuple(pairs))
            if not (self._takes(",") or self._takes(";")):
                break
        if self._at < len(self._text):
            raise self._error("a , is missing")
        return found

    def _pair(self) -> Pair:
        self._blanks()
        match = _TYPE.match(self._text, self._at)
        if match is None:
            raise self._error("an attribute's name is missing")
        self._at = match.end()
        self._blanks()
        if not self._takes("="):
            raise self._error("= is missing")
        self._blanks()
        return match[0], self._quoted() if self._text[self._at : self._at + 1] == '"' else self._plain()

    def _plain(self) -> str:
        found, kept = bytearray(), 0
        while self._at < len(self._text) and (one := self._text[self._at]) not in ",+;":
            if one == "\\":
                found += self._escape()
                kept = len(found)
                continue
            if one in '"<>':
                raise self._error(f"{one} has to be written as \\{one}")
            found += one.encode()
            self._at += 1
            if one != " ":
                kept = len(found)
        return self._decoded(bytes(found[:kept]))

    def _quoted(self) -> str:
        found = bytearray()
        self._at += 1
        while self._at < len(self._text):
            one = self._text[self._at]
            if one == '"':
                self._at += 1
                self._blanks()
                return self._decoded(bytes(found))
            if one == "\\":
                found += self._escape()
            else:
                found += one.encode()
                self._at += 1
        raise self._error('the closing " is missing')

    def _escape(self) -> bytes:
        following = self._text[self._at + 1 : self._at + 3]
        if len(following) == 2 and set(following) <= _HEX:
            self._at += 3
            return bytes.fromhex(following)
        if not following:
            raise self._error("nothing follows the \\")
        self._at += 2
        return following[0].encode()

    def _decoded(self, value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise self._error("the value isn't UTF-8") from error

    def _takes(self, sign: str) -> bool:
        self._blanks()
        if self._text[self._at : self._at + 1] != sign:
            return False
        self._at += 1
        return True

    def _blanks(self) -> None:
        while self._text[self._at : self._at + 1] == " ":
            self._at += 1

    def _error(self, why: str) -> ValueError:
        return ValueError(f"{self._text[:200]!r} isn't a distinguished name: {why} at character {self._at + 1}")


def is_same_name(one: str, other: str) -> bool:
    """Whether two DNs, as they are written, name one entry; what is no DN names none."""
    try:
        return DistinguishedName.parse(one).normal() == DistinguishedName.parse(other).normal()
    except ValueError:
        return False
