"""A data type's entries, from its `source:` and its mapping."""

from __future__ import annotations

from sorbus.connector import BoundSource, BoundSystem
from sorbus.errors import Finding, MapError
from sorbus.http_api.description import ApiResource
from sorbus.ldap.active_directory import ENABLED
from sorbus.ldap.attribute_types import DirectorySchema, is_secret
from sorbus.ldap.connection import LdapConnection
from sorbus.ldap.describe import described
from sorbus.ldap.directory_of import connection_of
from sorbus.ldap.distinguished_name import DistinguishedName
from sorbus.ldap.entry_set import NAME, EntrySet, class_filter
from sorbus.mapping.assign import Assignment, assign_source
from sorbus.producers.ldap.options import LdapSource
from sorbus.spelling import closest


def entries_of(system: BoundSystem, source: BoundSource) -> EntrySet:
    """Which entries, and which of their attributes. MapError."""
    options, connection = options_of(source), connection_of(system)
    assigned = _assigned(system, source)
    names = [name for one in assigned for name in (one.source, *(sorted(one.rule.uses) if one.rule else ())) if name]
    lists = {
        one.source.lower()
        for one in assigned
        if one.source and one.rule is None and source.schema.by_name[one.into].type.item is not None
    }
    findings = [*_secrets(system, source, assigned), *_base(system, source, options, connection)]
    if findings:
        raise MapError(findings)
    return EntrySet(
        options.resource,
        options.base or connection.base,
        options.scope,
        class_filter(options.resource, options.filter),
        options.key or connection.identity_attribute,
        connection.identity_attribute,
        connection.modified_attribute,
        tuple(dict.fromkeys(names)),
        frozenset(lists | {name.lower() for name in options.multi_valued}),
        {name.lower(): attribute for name, attribute in options.references.items()},
        options.dangling,
    )


def resource_of(system: BoundSystem, source: BoundSource, entries: EntrySet) -> ApiResource:
    """How they are polled."""
    made = described(system.name, connection_of(system), entries, {}, overlap=options_of(source).overlaps)
    return made.resources[entries.name]


def chosen_by(entries: EntrySet) -> str:
    """What decides which entries there are, and what they look like."""
    return repr((entries.base, entries.scope, entries.filter, entries.key, sorted(entries.lists), entries.dangling))


def require_attributes(system: BoundSystem, source: BoundSource, schema: DirectorySchema) -> None:
    """MapError for attributes that the directory's schema hasn't got: they would be empty for ever."""
    findings, known = [], list(schema.types)
    for one in _assigned(system, source):
        for name in (one.source, *(sorted(one.rule.uses) if one.rule else ())):
            if one.row is None or not name or name in (NAME, ENABLED) or schema.knows(name):
                continue
            message = f"{source.name}: {system.name}'s schema has no attribute {name}"
            findings.append(
                Finding(one.row.file, one.row.line, message, closest(name.lower(), known), "unknown-attribute")
            )
    options = options_of(source)
    for key, names in (
        ("key", [options.key]),
        ("multi_valued", options.multi_valued),
        ("references", [*options.references, *options.references.values()]),
    ):
        for name in names:
            if name and not schema.knows(name):
                message = f"{source.name}: {system.name}'s schema has no attribute {name} ({key}:)"
                findings.append(_finding(system, source, key, message, closest(name.lower(), known)))
    if schema.classes and options.resource.lower() not in schema.classes:
        message = f"{source.name}: {system.name}'s schema has no object class {options.resource}"
        findings.append(
            _finding(system, source, "resource", message, closest(options.resource.lower(), schema.classes))
        )
    if findings:
        raise MapError(findings)


def options_of(source: BoundSource) -> LdapSource:
    """The data type's `source:`."""
    assert isinstance(source.options, LdapSource)
    return source.options


def _assigned(system: BoundSystem, source: BoundSource) -> tuple[Assignment, ...]:
    resources = {"": options_of(source).resource}
    parts = assign_source(source.mapping, system.name, source.name, source.schema, resources, source.lookups)
    return parts.get("", ())


def _secrets(system: BoundSystem, source: BoundSource, assigned: tuple[Assignment, ...]) -> list[Finding]:
    found = []
    for one in assigned:
        for name in (one.source, *(one.rule.uses if one.rule else ())):
            if one.row is not None and name and is_secret(name):
                message = f"{source.name}: {name} of {system.name} holds passwords or keys, which Sorbus never reads"
                found.append(Finding(one.row.file, one.row.line, message, "delete the row", "secret"))
    return found


def _base(system: BoundSystem, source: BoundSource, options: LdapSource, connection: LdapConnection) -> list[Finding]:
    if not options.base or "${" in connection.base:
        return []
    try:
        is_inside = DistinguishedName.parse(options.base).is_below(DistinguishedName.parse(connection.base))
    except ValueError as error:
        return [_finding(system, source, "base", f"{source.name}: {error}", "write ou=people,dc=example,dc=com")]
    if is_inside:
        return []
    message = f"{source.name}: {options.base} isn't below the connection's base, {connection.base}"
    return [_finding(system, source, "base", message, f"write the whole name: ou=...,{connection.base}")]


def _finding(system: BoundSystem, source: BoundSource, key: str, message: str, fix: str) -> Finding:
    line = system.document.line("data_types", source.name, "source", key)
    return Finding(system.document.file, line, message, fix, "bad-source")
