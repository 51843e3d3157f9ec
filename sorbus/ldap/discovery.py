"""What a directory holds, for `sorbus discover` and `sorbus map suggest`: object classes that have entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from sorbus.abilities import CatalogField, Resource
from sorbus.connector import BoundSystem
from sorbus.diagnosis import Diagnosis
from sorbus.ldap.attribute_types import AttributeType, DirectorySchema, Syntax, is_secret
from sorbus.ldap.directory_of import connection_of, directory_of
from sorbus.ldap.entry_set import EntrySet, class_filter, record_of
from sorbus.ldap.search import Entry
from sorbus.ldap.session import Directory
from sorbus.ldap.sync_messages import REQUEST
from sorbus.schema import Kind

_MOST_READ = 20_000
_MOST_FIELDS = 120
_KINDS: dict[Syntax, Kind] = {"boolean": "boolean", "integer": "long", "moment": "timestamp", "filetime": "timestamp"}
_PAGED = "1.2.840.113556.1.4.319"


def discover_entries(system: BoundSystem) -> list[Resource]:
    """The structural object classes of the entries below base, with the attributes that they use. Reads no values."""
    directory = directory_of(system)
    try:
        options, schema = connection_of(system), directory.schema
        counts, used = _used(directory)
        found = []
        for name, count in sorted(counts.items()):
            required, allowed = schema.attributes([name])
            attributes = [*required, *(one for one in allowed if one.lower() in used.get(name, ()))]
            names = [options.identity_attribute, *(one for one in attributes if not is_secret(one))][:_MOST_FIELDS]
            fields = tuple(_field(schema.type_of(one), one in required, options.identity_attribute) for one in names)
            found.append(Resource(name, fields, (options.identity_attribute,), count))
        return found
    finally:
        directory.close()


def sample_entries(system: BoundSystem, resource: str, limit: int) -> list[dict[str, object]]:
    """A few entries of an object class, without passwords and binary values."""
    directory = directory_of(system)
    try:
        options, schema = connection_of(system), directory.schema
        required, allowed = schema.attributes([resource])
        names = [one for one in (*required, *allowed) if not is_secret(one) and schema.type_of(one).syntax != "binary"]
        entries = EntrySet(
            resource,
            options.base,
            "subtree",
            class_filter(resource, ""),
            options.identity_attribute,
            options.identity_attribute,
            options.modified_attribute,
            tuple(names),
        )
        doing = f"reading some {resource} of {system.name}"
        found = directory.find(options.base, "subtree", entries.filter, entries.asked, doing=doing, most=limit)
        return [
            {name: value for name, value in record_of(one, entries, schema).items() if value is not None}
            for one in found
        ]
    finally:
        directory.close()


def diagnose_directory(system: BoundSystem) -> Iterator[Diagnosis]:
    """Whether it can be reached and read, and what it can do. TransientError, AuthError."""
    directory = directory_of(system)
    try:
        options, controls, schema = connection_of(system), directory.controls, directory.schema
        yield Diagnosis(system.name, "bind", f"as {options.bind_dn or 'nobody (anonymously)'}")
        if not (options.is_tls or options.starts_tls or options.is_local):
            yield Diagnosis(
                system.name, "encryption", "the connection isn't encrypted", "warning", "write ldaps:// or start_tls"
            )
        if not schema.types:
            fix = "give bind_dn the right to read the subschema entry; until then every value is text"
            yield Diagnosis(system.name, "schema", "it can't be read", "warning", fix)
        if _PAGED not in controls:
            fix = "a list of more entries than the server's size limit can't be read"
            yield Diagnosis(system.name, "paged results", "the server has none", "warning", fix)
        has_sync = REQUEST in controls
        heard = (
            "changes are heard at once (RFC 4533)" if has_sync else "the server is polled; deletes are found by lists"
        )
        yield Diagnosis(system.name, "changes", heard)
        asked = [options.identity_attribute, options.modified_attribute]
        entry = directory.read(options.base, asked, doing=f"reading {options.base}")
        lacking = [name for name in asked if entry is None or not entry.values(schema.spellings(name))]
        if entry is None:
            fix = "correct base:, or give bind_dn the right to read it"
            yield Diagnosis(system.name, "base", f"{options.base} isn't there", "problem", fix)
        elif lacking:
            fix = "give bind_dn the right to read it, or name another one: identity:, modified:, active_directory: true"
            yield Diagnosis(system.name, "base", f"its entry shows no {' and no '.join(lacking)}", "problem", fix)
    finally:
        directory.close()


def _used(directory: Directory) -> tuple[Counter[str], dict[str, set[str]]]:
    """Structural class -> its entries, and the attributes that some of these have; no passwords, nothing binary."""
    counts: Counter[str] = Counter()
    used: dict[str, set[str]] = {}
    types = {one.name: one for one in directory.schema.types.values()}
    harmless = [name for name, one in types.items() if one.syntax not in ("secret", "binary") and not one.read_only]
    for one in _everything(directory, ["structuralObjectClass", "objectClass", *harmless]):
        name = _structural(one.attributes, directory.schema)
        counts[name] += 1
        used.setdefault(name, set()).update(key.partition(";")[0] for key in one.attributes)
    return counts, used


def _everything(directory: Directory, attributes: list[str]) -> Iterator[Entry]:
    """Entries below base, at most `_MOST_READ`."""
    made = directory.connect()
    try:
        cookie, read = b"", 0
        while True:
            page = directory.page(
                made,
                directory.options.base,
                "subtree",
                "(objectClass=*)",
                attributes,
                doing=f"looking at {directory.system}",
                cookie=cookie,
            )
            yield from page.entries
            cookie, read = page.cookie, read + len(page.entries)
            if not cookie or read >= _MOST_READ:
                return
    finally:
        made.unbind()


def _structural(attributes: Mapping[str, Sequence[bytes]], schema: DirectorySchema) -> str:
    named = attributes.get("structuralobjectclass") or attributes.get("objectclass") or [b"top"]
    names = [one.decode(errors="replace") for one in named]
    classes = [one for name in names if (one := schema.classes.get(name.lower())) and not one.is_auxiliary]
    above = {superior.lower() for one in classes for superior in schema.chain(one.superiors)}
    return next((one.name for one in classes if one.name.lower() not in above), names[-1])


def _field(kind: AttributeType, required: bool, identity: str) -> CatalogField:
    return CatalogField(
        kind.name,
        _KINDS.get(kind.syntax, "string"),
        kind.syntax,
        required or kind.name == identity,
        read_only=kind.read_only,
    )
