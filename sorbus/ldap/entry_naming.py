"""The names of a flow's entries: made by a template, and changed with the values in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json, Record
from sorbus.ldap.distinguished_name import DistinguishedName, Pair, fill_template, rdn_text, template_names
from sorbus.ldap.entry_set import EntryRecord
from sorbus.ldap.session import Directory
from sorbus.ldap.syntaxes import read_value, write_value
from sorbus.ldap.value_encoder import ValueEncoder


@dataclass(frozen=True, slots=True)
class Renaming:
    """What a modification of the name sends, and the name after it."""

    rdn: str
    superior: str | None
    attributes: Mapping[str, tuple[bytes, bytes]]
    """Attribute in lower case -> its old and new value in the name."""
    dn: DistinguishedName


class EntryNaming:
    """One flow's. `template` as the map writes it."""

    def __init__(self, directory: Directory, encoder: ValueEncoder, template: str) -> None:
        self._directory, self._encoder, self._template = directory, encoder, template

    def of(self, fields: Mapping[str, Json]) -> DistinguishedName:
        """The name that the template makes. PermanentError where a value is missing."""
        values: dict[str, str] = {}
        spelled = {name.lower(): value for name, value in fields.items()}
        for name in template_names(self._template):
            value = spelled.get(name.lower())
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if value is None or value == "" or isinstance(value, list):
                raise PermanentError(
                    f"the entry has no name: {name} is {'a list' if isinstance(value, list) else 'empty'}, and the"
                    f" flow's `dn:` is {self._template}; fill it by a rule",
                    reason="mapping",
                    field=name,
                )
            values[name] = str(value)
        return fill_template(self._template, self._directory.options.base, values)

    def renaming(self, fields: Record, current: EntryRecord) -> Renaming | None:
        """The entry's new name, where one of these attributes is a part of the one it has."""
        schema = self._directory.schema
        now = DistinguishedName.parse(current.entry.dn)
        new: list[Pair] = []
        changed: dict[str, tuple[bytes, bytes]] = {}
        for kind, value in now.rdn:
            of = schema.type_of(kind)
            name = next((one for one in fields if ";" not in one and schema.type_of(one).name == of.name), None)
            if name is None:
                new.append((kind, value))
                continue
            wanted = self._encoder.values(name, fields[name], of)
            if not wanted:
                raise PermanentError(
                    f"{name} is the name of {current.entry.dn} and can't be empty", reason="mapping", field=name
                )
            before = write_value(value, of)
            if before in wanted:
                new.append((kind, value))
                continue
            new.append((kind, str(read_value(wanted[0], of))))
            changed[of.name.lower()] = before, wanted[0]
        superior = self._superior(fields, current, now)
        if not changed and superior is None:
            return None
        dn = DistinguishedName.of(new, superior or now.parent)
        return Renaming(rdn_text(new), None if superior is None else str(superior), changed, dn)

    def _superior(self, fields: Record, current: EntryRecord, now: DistinguishedName) -> DistinguishedName | None:
        """Where the entry belongs now, if it is where the template put it; an entry that people moved stays."""
        try:
            before = self.of(current).parent
            wanted = self.of({**current, **fields}).parent
        except PermanentError:
            return None
        if before.normal() == wanted.normal() or before.normal() != now.parent.normal():
            return None
        return wanted
