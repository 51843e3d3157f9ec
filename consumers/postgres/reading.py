"""One function for a whole record: over its bytes once, and out come the target's cells.

It is generated for the writer's fields and the mapping. A field isn't even decoded when the bytes that its rules take
have been seen before (`sorbus.mapping.known`); one that nothing takes is passed over.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, cast

from sorbus.avro.decode import AnyReader
from sorbus.avro.skip import skipper
from sorbus.mapping.assign import Assignment
from sorbus.mapping.generate import Names, by_fields, call, load
from sorbus.mapping.known import Known
from sorbus.schema import SchemaField

Cells = list[bytes]
Items = dict[str, list[Cells]]
Use = Literal["cell", "value", "items", "skip"]
CellMaker = Callable[[object], bytes]


class Read(NamedTuple):
    """A field of the writer's: how it is read and what for. `name` is the column's for a cell, else the field's."""

    field: SchemaField
    name: str
    read: AnyReader
    use: Use


def inputs(item: Assignment) -> set[str]:
    """The fields that an assignment reads."""
    names = {item.source} if item.source else set()
    return names | set(item.rule.uses if item.rule else ())


def reading(
    reads: Sequence[Read],
    computed: Sequence[Assignment],
    makers: Mapping[str, CellMaker],
    defaults: Mapping[str, object],
) -> Callable[[bytes, int, bytes], tuple[Cells, Items, int]]:
    """`read(data, at, id)` gives the cells (those read as such first), the lists' items, and where the record ends.

    It raises anything at all for what it can't take.
    """
    names = Names()
    places = {read.field.name: place for place, read in enumerate(reads) if read.use == "value"}
    pure = [item for item in computed if item.rule is None or item.rule.is_pure]
    pure = [item for item in pure if inputs(item) and inputs(item) <= places.keys()]
    decoded = {name for item in computed if item not in pure for name in inputs(item)}
    by_bytes = {name for item in pure for name in inputs(item)}
    body: list[ast.stmt] = []
    for place, read in enumerate(reads):
        body += _statements(names, place, read, read.name in decoded, read.name in by_bytes)
    cells = [load(f"found{place}") for place, read in enumerate(reads) if read.use == "cell"]
    for item in computed:
        if item in pure:
            wanted = sorted(inputs(item))
            known = Known(_of_bytes(item, {name: reads[places[name]].read for name in wanted}, makers[item.into]))
            keys = [load(f"bytes{places[name]}") for name in wanted]
            key = keys[0] if len(keys) == 1 else ast.Tuple(keys, ast.Load())
            cells.append(ast.Subscript(names.of(known), key, ast.Load()))
        else:
            cells.append(_computed(names, item, makers[item.into], places, defaults))
    lists = [(read.name, load(f"found{place}")) for place, read in enumerate(reads) if read.use == "items"]
    items = ast.Dict([ast.Constant(name) for name, _ in lists], [value for _, value in lists])
    result = ast.Tuple([ast.List(cells, ast.Load()), items, load("at")], ast.Load())
    made = names.function("read", ["data", "at", "id"], body, result)
    return cast("Callable[[bytes, int, bytes], tuple[Cells, Items, int]]", made)


def _statements(names: Names, place: int, read: Read, is_decoded: bool, is_by_bytes: bool) -> list[ast.stmt]:
    """What reads one field: `found` is its value, `bytes` its bytes, `at` where it ends."""
    data, at = load("data"), load("at")
    decoding = call(names.of(read.read), data, at)
    if read.use in ("cell", "items") or (is_decoded and not is_by_bytes):
        return [_set_both(f"found{place}", "at", decoding)]
    end = call(names.of(skipper(read.field.type)), data, at)
    if not is_by_bytes:
        return [_set("at", end)]
    more = [_set_both(f"found{place}", "end", decoding)] if is_decoded else []
    piece = ast.Subscript(data, ast.Slice(at, load("end")), ast.Load())
    return [*more, _set("end", end), _set(f"bytes{place}", piece), _set("at", load("end"))]


def _set(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def _set_both(first: str, second: str, value: ast.expr) -> ast.stmt:
    names: list[ast.expr] = [ast.Name(first, ast.Store()), ast.Name(second, ast.Store())]
    return ast.Assign([ast.Tuple(names, ast.Store())], value)


def _of_bytes(item: Assignment, readers: Mapping[str, AnyReader], make: CellMaker) -> Callable[..., bytes]:
    """The bytes of the fields that an assignment reads, in their names' order, to its cell."""
    run = by_fields(item.rule.whole, list(readers)) if item.rule else None
    source = list(readers).index(item.source) if item.source else None
    reads = list(readers.values())
    if len(reads) == 1 and run is not None:
        (read,) = reads
        has_source = source is not None

        def alone(piece: bytes) -> bytes:
            value, end = read(piece, 0)
            if end != len(piece):
                raise IndexError("the value is cut short")
            return make(run(value if has_source else None, value))

        return alone

    def cell(*data: bytes) -> bytes:
        values = []
        for read, piece in zip(reads, data, strict=True):
            value, end = read(piece, 0)
            if end != len(piece):
                raise IndexError("the value is cut short")
            values.append(value)
        value = None if source is None else values[source]
        return make(value if run is None else run(value, *values))

    return cell


def _computed(
    names: Names, item: Assignment, make: CellMaker, places: Mapping[str, int], defaults: Mapping[str, object]
) -> ast.expr:
    """The cell of an assignment that needs several fields, the record's id, or none."""

    def value(name: str) -> ast.expr | None:
        if name in places:
            return load(f"found{places[name]}")
        if name == "id":
            return call(names.of(_id_text), load("id"))
        return names.of(defaults[name]) if name in defaults else None

    source = (value(item.source) if item.source else None) or ast.Constant(None)
    if item.rule is None:
        return call(names.of(make), source)
    uses = sorted(item.rule.uses)
    given = [value(name) for name in uses]
    there = [(name, one) for name, one in zip(uses, given, strict=True) if one is not None]
    if len(there) == len(uses):
        return call(names.of(make), call(names.of(item.rule.of_fields(uses)), source, *(one for _, one in there)))
    record = ast.Dict([ast.Constant(name) for name, _ in there], [one for _, one in there])
    return call(names.of(make), call(names.of(item.rule), source, record))


def _id_text(id: bytes) -> str:
    return id.decode(errors="replace")
