"""Which entries of a directory are a data type's, and how they become records: attributes, lists, references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json, Record
from sorbus.ldap.active_directory import CONTROL, DISABLED, ENABLED
from sorbus.ldap.attribute_types import AttributeType, DirectorySchema
from sorbus.ldap.distinguished_name import escape_filter
from sorbus.ldap.search import Entry, Scope
from sorbus.ldap.syntaxes import UnusableValue, read_value, write_moment, write_value

NAME = "dn"
"""The key of a record that holds the entry's distinguished name."""
CLASSES = "objectClass"


@dataclass(frozen=True, slots=True)
class EntrySet:
    """`attributes` are spelled as the map does. `key` is the attribute with a record's id.

    `lists`: attributes that are lists whatever they hold, in lower case. `references`: attribute with DNs, in lower
    case -> the attribute of the entries named that is given in their place.
    """

    name: str
    base: str
    scope: Scope
    filter: str
    key: str
    identity: str
    modified: str
    attributes: tuple[str, ...]
    lists: frozenset[str] = frozenset()
    references: Mapping[str, str] = field(default_factory=dict)
    dangling: Literal["reject", "drop"] = "reject"

    @property
    def asked(self) -> list[str]:
        """The attributes to ask a directory for."""
        own = (self.key, self.identity, self.modified, CLASSES)
        names = [CONTROL if name == ENABLED else name for name in self.attributes if name != NAME]
        return list(dict.fromkeys([*own, *names]))

    def changed(self, since: datetime) -> str:
        """The filter for entries changed since then, to the second."""
        text = write_moment(since.replace(microsecond=0))
        return f"({self.modified}>={text.replace('Z', '.0Z') if self.modified.lower() == 'whenchanged' else text})"


class EntryRecord(dict[str, Json]):
    """A record with the entry that it was made of."""

    entry: Entry


def class_filter(name: str, more: str) -> str:
    """The filter for entries of an object class, and of another filter where there is one."""
    mine = f"(objectClass={name})"
    more = more.strip()
    if more and not more.startswith("("):
        more = f"({more})"
    return f"(&{mine}{more})" if more else mine


def equality(schema: DirectorySchema, attribute: str, value: Json) -> str | None:
    """The filter for entries with this value; None where none can have it."""
    kind = schema.type_of(attribute)
    try:
        data = write_value(value, kind)
    except PermanentError:
        return None
    is_bytes = kind.syntax in ("guid", "sid", "binary")
    return f"({attribute}={escape_filter(data if is_bytes else data.decode())})"


def record_of(entry: Entry, entries: EntrySet, schema: DirectorySchema) -> EntryRecord:
    """The record, DNs still in place of references."""
    made = EntryRecord({NAME: entry.dn})
    made.entry = entry
    for name in dict.fromkeys((entries.key, entries.identity, entries.modified, CLASSES, *entries.attributes)):
        if name == NAME:
            continue
        if name == ENABLED:
            made[name] = _enabled(entry, schema)
            continue
        kind = schema.type_of(name)
        values = [read_value(one, kind) for one in entry.values(schema.spellings(name))]
        is_list = name.lower() in entries.lists or name == CLASSES
        made[name] = as_list(values) if is_list else only(values, name)
    if made[entries.key] is None and made[entries.identity] is not None:
        why = f"is missing in {entry.dn}: give the entry one, or leave such entries out by `filter:`"
        made[entries.key] = UnusableValue("", why)
    return made


def only(values: Sequence[Json], name: str) -> Json:
    """The attribute's only value, None without one; with several, one that can't be used."""
    if len(values) < 2:
        return values[0] if values else None
    given = ", ".join(sorted(str(one) for one in values))
    return UnusableValue(
        given,
        f"are {len(values)} values of {name}, where one is needed: leave one in the entry, or name {name} in"
        " `multi_valued:` and choose by a rule",
    )


def as_list(values: Iterable[Json]) -> Json:
    """A list in one order: an attribute's values have none. One that can't be used makes the list unusable."""
    found = sorted(values, key=str)
    return next((one for one in found if isinstance(one, UnusableValue)), found)


def replace_references(record: Record, name: str, found: Mapping[str, Json | None], entries: EntrySet) -> None:
    """Puts what DNs stand for in their place; `found`: DN -> value, None for an entry that isn't there."""
    given = record.get(name)
    if given is None or isinstance(given, UnusableValue):
        return
    made: list[Json] = []
    for dn in given if isinstance(given, list) else [given]:
        value = found.get(dn)
        if value is None and entries.dangling == "drop":
            continue
        made.append(value if value is not None else _dangling(dn, name, entries.references[name.lower()]))
    is_list = isinstance(given, list)
    record[name] = as_list(made) if is_list else (made[0] if made else None)


def names_in(record: Record, name: str) -> list[str]:
    """The DNs that an attribute of a record holds."""
    given = record.get(name)
    return [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, str)]


def values_for(description: str, schema: DirectorySchema, entry: Entry) -> tuple[AttributeType, list[bytes]]:
    """An attribute's type, and its values in an entry."""
    return schema.type_of(description), list(entry.values(schema.spellings(description)))


def _dangling(dn: str, name: str, attribute: str) -> UnusableValue:
    return UnusableValue(
        dn,
        f"in {name} names no entry with {attribute} that bind_dn can read: correct {name}, or write `dangling: drop`"
        " to leave such references out",
    )


def _enabled(entry: Entry, schema: DirectorySchema) -> Json:
    kind, values = values_for(CONTROL, schema, entry)
    control = read_value(values[0], kind) if values else None
    return not control & DISABLED if isinstance(control, int) else None
