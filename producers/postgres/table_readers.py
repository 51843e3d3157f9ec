"""Which data types read a streamed table: as their record's own, or as a list field's; from the relation messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sorbus.errors import PermanentError
from sorbus.producers.postgres.capture import Capture, Members
from sorbus.producers.postgres.layout import picker
from sorbus.producers.postgres.pgoutput import Relation
from sorbus.producers.postgres.row_shape import RowShape


@dataclass(slots=True)
class ItemTable:
    """A table that holds a list field's items: its rows name the record they belong to."""

    capture: Capture
    part: str
    key: Callable[[Sequence[object]], tuple[object, ...]]


@dataclass(slots=True)
class Readers:
    """Who reads one table.

    `own_blind`: data types of which its old rows don't name the record, `blind_partitions`: those of which a
    partition's don't, by its oid; `replaced`: those that have another table of its name.
    """

    name: str
    own_blind: set[str] = field(default_factory=set)
    blind_partitions: dict[int, set[str]] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    roots: list[RowShape] = field(default_factory=list)
    parents: list[ItemTable] = field(default_factory=list)

    @property
    def blind(self) -> set[str]:
        """Data types of which not all of its old rows name the record."""
        return self.own_blind.union(*self.blind_partitions.values()) if self.blind_partitions else self.own_blind

    @property
    def names(self) -> set[str]:
        """The data types whose records its rows are, or are items of."""
        return {shape.capture.name for shape in self.roots} | {each.capture.name for each in self.parents}


class TableReaders:
    """The tables of one stream so far, by oid."""

    def __init__(
        self, captures: Sequence[Capture], look: Callable[[Capture], None] | None, *, may_shorten: bool
    ) -> None:
        """`look` is called when a data type's tables may have changed: it refreshes the capture. `may_shorten`: values
        come in UTF-8, as they are kept.
        """
        self._captures, self._look, self._may_shorten = captures, look, may_shorten
        self._readers: dict[int, Readers] = {}
        self._relations: dict[int, Relation] = {}
        self._members = self._members_now()
        self.direct: dict[bytes, RowShape] = {}
        """The tables (oid in four bytes) of which each row is one record's new state, and nothing else."""

    def get(self, oid: int) -> Readers | None:
        """Who reads a table; None for nobody."""
        return self._readers.get(oid)

    def is_read(self, oid: int) -> bool:
        """Whether anybody reads a table."""
        found = self._readers.get(oid)
        return found is not None and bool(found.roots or found.parents)

    def looked(self) -> None:
        """The catalog was looked at. Where tables have come or gone, what is described already has other readers: the
        server describes no table twice.
        """
        if (now := self._members_now()) != self._members:
            self._members = now
            for relation in list(self._relations.values()):
                # Where it lacked columns then and has them now, the server describes it again.
                with suppress(PermanentError):
                    self.add(relation)

    def _members_now(self) -> list[dict[str, Members]]:
        return [dict(capture.members) for capture in self._captures]

    def add(self, relation: Relation) -> None:
        """A table as the rows to come are laid out. PermanentError where it lost what names its records."""
        self._relations[relation.oid] = relation
        name = f"{relation.schema}.{relation.name}"
        names = [column.name for column in relation.columns]
        oids = {column.name: column.oid for column in relation.columns}
        carried = {column.name for column in relation.columns if column.is_key}
        readers = Readers(name)
        if (former := self._readers.get(relation.oid)) is not None:
            readers.blind_partitions = former.blind_partitions
        self._partition(relation, carried)
        for capture in self._captures:
            if self._look is not None and capture.is_about(name, oids):
                self._look(capture)
            if relation.oid in capture.members_of(capture.table).oids:
                # By its identity of then: what keeps the key unique now need not have been there, nor the reverse.
                is_unique = relation.identity in "di" and bool(carried) and carried <= set(capture.key)
                readers.roots.append(RowShape(capture, oids, is_unique=is_unique))
                if not carried.issuperset(capture.key):
                    readers.own_blind.add(capture.name)
            elif capture.table.name == name:
                readers.replaced.add(capture.name)
            for child in capture.children:
                if relation.oid not in capture.members_of(child.table).oids:
                    if child.table.name == name:
                        readers.replaced.add(capture.name)
                else:
                    if not carried.issuperset(child.options.parent):
                        readers.own_blind.add(capture.name)
                    if gone := [column for column in child.options.parent if column not in oids]:
                        raise PermanentError(
                            f"{name} has lost its column {', '.join(gone)}; fix `children:` of {capture.name}",
                            reason="key gone",
                        )
                    places = [names.index(column) for column in child.options.parent]
                    readers.parents.append(ItemTable(capture, child.field.name, picker(places)))
        self._readers[relation.oid] = readers
        self.shorten(relation.oid, readers)

    def _partition(self, relation: Relation, carried: set[str]) -> None:
        """Rows come as those of the whole table, but old ones with what their own partition's identity carries."""
        blind: dict[int, set[str]] = {}
        for capture in self._captures:
            parts = [(capture.table, capture.key), *((child.table, child.options.parent) for child in capture.children)]
            for table, needed in parts:
                if relation.oid in capture.members_of(table).partitions:
                    names = blind.setdefault(table.oid, set())
                    names |= set() if carried.issuperset(needed) else {capture.name}
        for oid, names in blind.items():
            if (whole := self._readers.get(oid)) is not None:  # it comes before its partitions
                whole.blind_partitions.pop(relation.oid, None)
                if names:
                    whole.blind_partitions[relation.oid] = names
                self.shorten(oid, whole)

    def shorten(self, oid: int, readers: Readers) -> None:
        """Lets a table's rows go straight through where nothing is in the way."""
        self.direct.pop(oid.to_bytes(4, "big"), None)
        if (
            len(readers.roots) == 1
            and not (readers.parents or readers.blind or readers.replaced)
            and self._may_shorten
            and not readers.roots[0].capture.is_aggregate
            and not readers.roots[0].wants_examples
        ):
            self.direct[oid.to_bytes(4, "big")] = readers.roots[0]
