"""Writing entries: added under a name made by a template, changed value by value, renamed where the name changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sorbus.errors import Contended, MustWait, PermanentError
from sorbus.http_api.interface import Call, Json, Record
from sorbus.ldap.active_directory import CONTROL, ENABLED, enabled
from sorbus.ldap.attribute_types import AttributeType, DirectorySchema
from sorbus.ldap.distinguished_name import DistinguishedName, is_same_name
from sorbus.ldap.entry_naming import EntryNaming, Renaming
from sorbus.ldap.entry_set import CLASSES, EntryRecord, EntrySet, equality, values_for
from sorbus.ldap.referrers import follow, referrers_of
from sorbus.ldap.results import ALREADY_EXISTS, NO_SUCH_OBJECT
from sorbus.ldap.search import Entry
from sorbus.ldap.session import Changes, Directory
from sorbus.ldap.syntaxes import read_value, write_value
from sorbus.ldap.value_encoder import ValueEncoder

_NAME_WAITS = 600.0
"""Seconds that a record waits for another one's name."""
_NORMAL_ACCOUNT = 0x200


class EntryWriter:
    """Writes one flow's entries. Only what differs is sent, and only what it was read as is removed: a change made
    meanwhile is a `Contended`, never lost.
    """

    def __init__(
        self,
        directory: Directory,
        entries: EntrySet,
        classes: Sequence[str],
        template: str,
        is_ours: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`is_ours`: whether the entry with this identity is a record's that Sorbus delivers."""
        self._directory, self._entries = directory, entries
        self._classes, self._is_ours = classes, is_ours
        self._encoder = ValueEncoder(directory, entries)
        self._naming = EntryNaming(directory, self._encoder, template)

    def add(self, resource: str, fields: Record) -> str:
        """A new entry; its name. PermanentError, reason "duplicate" where the name is taken."""
        dn, attributes = self._new(fields)
        doing = f"adding {resource} {dn} to {self._directory.system}"
        try:
            with self._name_may_be_taken(str(dn)):
                self._directory.add(str(dn), attributes, doing=doing)
        except PermanentError as error:
            if error.status != NO_SUCH_OBJECT:
                raise
            raise _no_place(doing, dn.parent, error) from error
        return str(dn)

    def adding(self, resource: str, fields: Record) -> Call:  # noqa: ARG002 - as the others
        """What `add` would send."""
        dn, attributes = self._new(fields)
        return Call("ADD", str(dn), json=_shown(attributes))

    def change(self, resource: str, id: str, fields: Record, current: EntryRecord) -> None:
        """Brings these attributes up to date."""
        entry = current.entry
        doing = f"changing {resource} {entry.dn} of {self._directory.system}"
        renaming = self._naming.renaming(fields, current)
        dn, unfinished = entry.dn, None
        if renaming is not None:
            said = f"renaming {resource} {dn} of {self._directory.system}"
            referrers = referrers_of(dn, self._directory, self._entries)
            with self._name_may_be_taken(str(renaming.dn)):
                self._unless_moved(
                    resource,
                    id,
                    dn,
                    lambda: self._directory.rename(entry.dn, renaming.rdn, renaming.superior, doing=said),
                    superior=renaming.superior,
                )
            unfinished = follow(referrers, dn := str(renaming.dn), self._directory)
        if changes := self._changes(fields, entry, renaming):
            self._unless_moved(resource, id, dn, lambda: self._directory.modify(dn, changes, doing=doing))
        if unfinished is not None:
            raise unfinished

    def changing(self, resource: str, fields: Record, current: EntryRecord) -> Call:  # noqa: ARG002
        """What `change` would send."""
        renaming = self._naming.renaming(fields, current)
        shown: Json = {
            name: {what: [_text(one) for one in values] for what, values in steps}
            for name, steps in self._changes(fields, current.entry, renaming).items()
        }
        if renaming is not None:
            superior = {"newSuperior": renaming.superior} if renaming.superior else {}
            shown = {"newRDN": renaming.rdn, **superior, **shown}
        return Call("MODIFY", current.entry.dn, json=shown)

    def remove(self, resource: str, id: str, current: EntryRecord) -> None:
        """The entry is deleted."""
        dn = current.entry.dn
        doing = f"deleting {resource} {dn} of {self._directory.system}"
        self._unless_moved(resource, id, dn, lambda: self._directory.delete(dn, doing=doing))

    def _new(self, fields: Record) -> tuple[DistinguishedName, dict[str, list[bytes]]]:
        schema = self._directory.schema
        given = {name: value for name, value in fields.items() if value not in (None, "", [])}
        dn = self._naming.of(given)
        attributes: dict[str, list[bytes]] = {CLASSES: [one.encode() for one in schema.chain(self._classes)]}
        for name, value in given.items():
            if name == ENABLED:
                attributes[CONTROL] = [str(enabled(_NORMAL_ACCOUNT, is_enabled=_is_true(value))).encode()]
            else:
                attributes[name] = self._encoder.values(name, value, schema.type_of(name))
        for kind, value in dn.rdn:
            of = schema.type_of(kind)
            held = next((name for name in attributes if schema.type_of(name).name == of.name and ";" not in name), kind)
            wanted = write_value(value, of)
            if not any(_same(wanted, one, of) for one in attributes.setdefault(held, [])):
                attributes[held].append(wanted)
        return dn, attributes

    def _changes(self, fields: Record, entry: Entry, renaming: Renaming | None) -> Changes:
        schema, made = self._directory.schema, dict[str, list[tuple[str, list[bytes]]]]()
        for name, value in fields.items():
            if name == ENABLED:
                if steps := self._control(entry, schema, is_enabled=_is_true(value)):
                    made[CONTROL] = steps
                continue
            kind, there = values_for(name, schema, entry)
            wanted = self._encoder.values(name, value, kind)
            if renaming is not None and ";" not in name and (pair := renaming.attributes.get(kind.name.lower())):
                there = [one for one in there if not _same(one, pair[0], kind)] + [pair[1]]
            gone = [one for one in there if not any(_same(one, other, kind) for other in wanted)]
            new = [one for one in wanted if not any(_same(one, other, kind) for other in there)]
            if not gone and not new:
                continue
            if kind.is_matched:
                made[name] = [("delete", gone)] * bool(gone) + [("add", new)] * bool(new)
            else:
                made[name] = [("replace", wanted)]
        if made and (lacking := self._lacking_classes(entry, schema)):
            made[CLASSES] = [("add", lacking)]
        return made  # type: ignore[return-value]

    def _control(self, entry: Entry, schema: DirectorySchema, *, is_enabled: bool) -> list[tuple[str, list[bytes]]]:
        kind, there = values_for(CONTROL, schema, entry)
        before = read_value(there[0], kind) if there else _NORMAL_ACCOUNT
        after = enabled(int(before), is_enabled=is_enabled) if isinstance(before, int) else before
        return [] if after == before else [("replace", [str(after).encode()])]

    def _lacking_classes(self, entry: Entry, schema: DirectorySchema) -> list[bytes]:
        has = {one.decode(errors="replace").lower() for one in entry.attributes.get(CLASSES.lower(), ())}
        known = {name.lower() for name in schema.chain(has)}
        return [
            name.encode()
            for name in schema.chain(self._classes)
            if name.lower() not in known and (found := schema.classes.get(name.lower())) and found.is_auxiliary
        ]

    @contextmanager
    def _name_may_be_taken(self, dn: str) -> Iterator[None]:
        """A name that another record of ours has will soon be free: its own change or delete is on the way."""
        try:
            yield
        except PermanentError as error:
            if error.status != ALREADY_EXISTS:
                raise
            kind = self._entries.identity
            holder = self._directory.read(dn, [kind], doing=f"reading {dn}, whose name is taken")
            if holder is None:
                raise Contended(f"{error}; it has gone meanwhile", status=ALREADY_EXISTS, words="gone") from error
            of = self._directory.schema.type_of(kind)
            ids = [str(read_value(one, of)) for one in holder.values(self._directory.schema.spellings(kind))]
            if not any(map(self._is_ours, ids)):
                raise
            raise MustWait(
                f"{error}. It is another record's, which may give its name up",
                why="reference",
                limit=_NAME_WAITS,
                refused=error,
            ) from error

    def _unless_moved(
        self, resource: str, id: str, dn: str, write: Callable[[], None], *, superior: str | None = None
    ) -> None:
        """An entry that was renamed meanwhile isn't gone: it is read again."""
        try:
            write()
        except PermanentError as error:
            if error.status != NO_SUCH_OBJECT:
                raise
            entries = self._entries
            wanted = equality(self._directory.schema, entries.identity, id)
            base = self._directory.options.base
            doing = f"looking for {resource} {id} in {self._directory.system}"
            found = self._directory.find(base, "subtree", wanted, ["1.1"], doing=doing, most=2) if wanted else []
            if not found:
                raise
            if superior is not None and is_same_name(found[0].dn, dn):
                doing = f"moving {resource} {dn} of {self._directory.system}"
                raise _no_place(doing, DistinguishedName.parse(superior), error) from error
            raise Contended(
                f"{resource} {dn} has been renamed to {found[0].dn}; it is read again",
                status=NO_SUCH_OBJECT,
                words="renamed meanwhile",
            ) from error


def _no_place(doing: str, superior: DistinguishedName, error: PermanentError) -> PermanentError:
    return PermanentError(
        f"{doing}: the entry above isn't there, {superior}: create it, or correct `dn:` in the flow's target",
        reason="refused",
        words=error.words,
        status=error.status,
    )


def _same(one: bytes, other: bytes, kind: AttributeType) -> bool:
    if one == other or kind.syntax != "name":
        return one == other
    return is_same_name(one.decode(errors="replace"), other.decode(errors="replace"))


def _is_true(value: Json) -> bool:
    return value is True or str(value).lower() == "true"


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"({len(value):,} bytes)"


def _shown(attributes: Mapping[str, Sequence[bytes]]) -> Json:
    return {
        name: _text(values[0]) if len(values) == 1 else [_text(one) for one in values]
        for name, values in attributes.items()
    }
