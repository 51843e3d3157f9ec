"""A flow's entries, from its `target:` and its mapping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sorbus.connector import BoundFlow
from sorbus.consumers.ldap.options import LdapTarget
from sorbus.errors import Finding
from sorbus.http_api.description import ApiField, Description
from sorbus.ldap.active_directory import ENABLED
from sorbus.ldap.attribute_types import DirectorySchema, is_secret, usual_schema
from sorbus.ldap.describe import described
from sorbus.ldap.directory_of import connection_of
from sorbus.ldap.distinguished_name import DistinguishedName, fill_template, template_names
from sorbus.ldap.entry_set import CLASSES, NAME, EntrySet, class_filter
from sorbus.mapping.assign import Assignment, read_target
from sorbus.spelling import closest


class FlowEntries:
    """What one flow writes. Reaches nothing."""

    def __init__(self, flow: BoundFlow) -> None:
        options = flow.options
        assert isinstance(options, LdapTarget)
        self._flow, self.options, self._connection = flow, options, connection_of(flow.system)
        reading = read_target(
            flow.mapping,
            flow.system.name,
            flow.flow.data_type,
            flow.schema,
            {"": options.resource},
            flow.lookups,
        )
        self._assigned: tuple[Assignment, ...] = reading.parts.get("", ())
        self.classes = (options.resource, *options.object_classes)
        self.fields = self._fields()

    @property
    def entries(self) -> EntrySet:
        """Which entries, and which of their attributes are read."""
        options, connection = self.options, self._connection
        lists = {name.lower() for name, field in self.fields.items() if field.kind == "set"}
        owned = [name for name in self._owned if name != NAME]
        return EntrySet(
            options.resource,
            options.base or connection.base,
            options.scope,
            class_filter(options.resource, options.filter),
            connection.identity_attribute,
            connection.identity_attribute,
            connection.modified_attribute,
            tuple(dict.fromkeys([*owned, *template_names(options.dn)])),
            frozenset(lists),
            {name.lower(): connection.identity_attribute for name in options.references},
            "reject",
        )

    @property
    def description(self) -> Description:
        """The same for what matches and delivers."""
        marker = self.options.marker
        return described(self._flow.system.name, self._connection, self.entries, self.fields, marker=marker)

    def findings(self, schema: DirectorySchema | None = None) -> Iterator[Finding]:
        """What can't work; with the directory's schema, also what it doesn't know."""
        options, flow = self.options, self._flow
        yield from self._template()
        for one in self._assigned:
            if one.row is not None and is_secret(one.into):
                message = f"{one.into} of {flow.system.name} holds passwords or keys, which Sorbus never writes"
                yield Finding(one.row.file, one.row.line, message, "delete the row", "secret")
        known_types = flow.resources
        for attribute, data_type in options.references.items():
            if known_types and data_type not in known_types:
                message = f"{attribute} refers to {data_type}, which no flow delivers to {flow.system.name}"
                yield flow.finding("unknown-data-type", message, closest(data_type, known_types))
        if schema is None or not schema.types:
            return
        for one in self._assigned:
            if one.row is not None and one.into not in (NAME, ENABLED) and not schema.knows(one.into):
                message = f"{flow.system.name}'s schema has no attribute {one.into}"
                fix = closest(one.into.lower(), list(schema.types))
                yield Finding(one.row.file, one.row.line, message, fix, "unknown-attribute")
        for name in self.classes:
            if name.lower() not in schema.classes:
                message = f"{flow.system.name}'s schema has no object class {name}"
                yield flow.finding("unknown-class", message, closest(name.lower(), list(schema.classes)))

    def _template(self) -> Iterator[Finding]:
        options, base = self.options, self._connection.base
        names = template_names(options.dn)
        mapped = {name.lower() for name in self._owned}
        for name in names:
            if name.lower() not in mapped:
                message = f"dn: {options.dn} needs {name}, which nothing fills"
                yield self._flow.finding("bad-dn", message, "add a row for it to the mapping sheet")
        if "${" in base:
            return
        try:
            made = fill_template(options.dn, base, dict.fromkeys(names, "x"))
            is_inside = made.is_below(DistinguishedName.parse(options.base or base))
        except ValueError as error:
            yield self._flow.finding("bad-dn", str(error), "write uid={uid},ou=people,{base}")
            return
        if not is_inside:
            message = f"dn: {options.dn} isn't below {options.base or base}, where entries are looked for"
            yield self._flow.finding("bad-dn", message, "end it with ,{base}")

    @property
    def _owned(self) -> list[str]:
        """The attributes that the flow writes, as the map spells them."""
        filled = [one.into for one in self._assigned if one.row is not None or one.into in self.fields]
        marker = [self.options.marker] if self.options.marker else []
        return list(dict.fromkeys([*filled, *marker, *self.options.deleted]))

    def _fields(self) -> dict[str, ApiField]:
        schema, found = usual_schema(), dict[str, ApiField]()
        required, allowed = schema.attributes(self.classes)
        lists = {name.lower() for name in self.options.multi_valued}
        lists |= {
            one.into.lower() for one in self._assigned if one.source and not one.rule and self._is_list(one.source)
        }
        rows = [one.into for one in self._assigned if one.row is not None]
        spelled = {name.lower(): name for name in (*rows, self.options.marker, *self.options.deleted) if name}
        musts = {name.lower() for name in required}
        for name in _once((*spelled.values(), *(name for name in (*required, *allowed) if not is_secret(name)))):
            kind = schema.type_of(name)
            found[name] = ApiField(
                kind="set" if name.lower() in lists else "text",
                required=bool(musts.intersection(schema.spellings(name))),
                read_only=kind.read_only or name in (NAME, CLASSES),
            )
        return found

    def _is_list(self, name: str) -> bool:
        field = self._flow.schema.by_name.get(name)
        return field is not None and field.type.item is not None


def _once(names: Iterable[str]) -> Iterator[str]:
    """Each name once, whatever its case and under whichever of its names."""
    seen: set[str] = set()
    schema: DirectorySchema = usual_schema()
    for name in names:
        spellings = set(schema.spellings(name))
        if not spellings & seen:
            yield name
        seen |= spellings


def by_type(references: Mapping[str, str]) -> dict[str, str]:
    """Attribute in lower case -> data type."""
    return {name.lower(): data_type for name, data_type in references.items()}
