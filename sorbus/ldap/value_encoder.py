"""A record's values as an entry holds them: identities of other entries become their names."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json
from sorbus.ldap.attribute_types import AttributeType
from sorbus.ldap.entry_set import EntrySet, equality
from sorbus.ldap.session import Directory
from sorbus.ldap.syntaxes import read_value, write_value

_AT_ONCE = 50


class ValueEncoder:
    """One flow's."""

    def __init__(self, directory: Directory, entries: EntrySet) -> None:
        self._directory, self._entries = directory, entries

    def values(self, name: str, value: Json, kind: AttributeType) -> list[bytes]:
        """An attribute's values. PermanentError for one that it can't hold, or that names nobody."""
        if value is None or value == "":
            return []
        values = list(value) if isinstance(value, list | tuple) else [value]
        values = [one for one in values if one is not None and one != ""]
        if name.lower() in self._entries.references:
            return [one.encode() for one in self._names(name, [str(one) for one in values])]
        return list(dict.fromkeys(write_value(one, kind) for one in values))

    def _names(self, attribute: str, ids: Sequence[str]) -> list[str]:
        """The DNs of the entries with these identities. PermanentError for one that isn't there."""
        entries, schema = self._entries, self._directory.schema
        kind, spellings = schema.type_of(entries.identity), schema.spellings(entries.identity)
        found: dict[str, str] = {}
        for at in range(0, len(ids), _AT_ONCE):
            asked = [one for id in ids[at : at + _AT_ONCE] if (one := equality(schema, entries.identity, id))]
            if not asked:
                continue
            doing = f"looking for what {attribute} names in {self._directory.system}"
            base = self._directory.options.base
            for entry in self._directory.find(base, "subtree", f"(|{''.join(asked)})", [entries.identity], doing=doing):
                found |= {str(read_value(value, kind)): entry.dn for value in entry.values(spellings)}
        if lacking := [id for id in ids if id not in found]:
            raise PermanentError(
                f"{attribute} names {lacking[0]}, which isn't in {self._directory.system} any more: deliver that record"
                " again, then requeue this one",
                reason="reference",
                field=attribute,
                value=lacking[0],
            )
        return list(dict.fromkeys(found[id] for id in ids))
