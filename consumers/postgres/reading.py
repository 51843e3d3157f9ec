"""One function for a whole record: over its bytes once, and out come the target's cells.

It is generated for the writer's fields and the mapping. A field isn't even decoded when the bytes that its rules take
have been seen before (`sorbus.mapping.memo`); one that nothing takes is passed over.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, cast

from sorbus.avro.decode import AnyReader
from sorbus.avro.skip import skipper
from sorbus.consumers.postgres.cells import LENGTHS
from sorbus.consumers.postgres.text import CellMaker
from sorbus.mapping.assign import Assignment
from sorbus.mapping.cache_policy import weight_of
from sorbus.mapping.generate import GeneratedNames, assign, call, load, text_with_length, within
from sorbus.mapping.memo import MANY, SOME, Memo
from sorbus.schema import SchemaField

Cells = list[bytes]
Items = dict[str, list[Cells]]
Use = Literal["cell", "value", "items", "skip"]


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
    names = GeneratedNames()
    places = {read.field.name: place for place, read in enumerate(reads) if read.use == "value"}
    pure = [item for item in computed if item.rule is None or item.rule.is_pure]
    pure = [item for item in pure if inputs(item) and inputs(item) <= places.keys()]
    texts = {name for name, place in places.items() if reads[place].field.type.kind == "string"}
    weights = {item.into: weight_of(item.rule.whole) if item.rule else "middling" for item in pure}
    light = [item for item in pure if weights[item.into] == "light" and inputs(item) <= texts]
    decoded = {name for item in computed if item in light or item not in pure for name in inputs(item)}
    by_bytes = {name for item in pure if item not in light for name in inputs(item)}
    body: list[ast.stmt] = []
    for place, read in enumerate(reads):
        body += _statements(names, place, read, read.name in decoded, read.name in by_bytes)
    cells = [load(f"found{place}") for place, read in enumerate(reads) if read.use == "cell"]
    for item in computed:
        maker = makers[item.into]
        if item in light and item.rule:
            found = {name: load(f"found{places[name]}") for name in inputs(item)}
            value = found[item.source] if item.source else ast.Constant(None)
            cells.append(_cell(names, within(names, item.rule.whole, value, found, item.into), maker, item.into))
        elif item in pure:
            wanted = sorted(inputs(item))
            make = _of_bytes(item, {name: reads[places[name]].read for name in wanted}, maker)
            known = Memo(make, MANY if weights[item.into] == "heavy" else SOME)
            keys = [load(f"bytes{places[name]}") for name in wanted]
            key = keys[0] if len(keys) == 1 else ast.Tuple(keys, ast.Load())
            cells.append(ast.Subscript(names.of(known), key, ast.Load()))
        else:
            cells.append(_computed(names, item, maker.make, places, defaults))
    lists = [(read.name, load(f"found{place}")) for place, read in enumerate(reads) if read.use == "items"]
    items = ast.Dict([ast.Constant(name) for name, _ in lists], [value for _, value in lists])
    result = ast.Tuple([ast.List(cells, ast.Load()), items, load("at")], ast.Load())
    made = names.function("read", ["data", "at", "id"], body, result)
    return cast("Callable[[bytes, int, bytes], tuple[Cells, Items, int]]", made)


class ByBytes(NamedTuple):
    """What makes a cell of the bytes of the fields at `places`, alone or (`is_table`) as they were seen before."""

    make: Callable[..., bytes] | Memo
    is_table: bool
    places: tuple[int, ...]


def of_bytes(
    reads: Sequence[Read], computed: Sequence[Assignment], makers: Mapping[str, CellMaker]
) -> list[ByBytes] | None:
    """The computed cells, each made of its fields' bytes alone; None where that isn't so of all."""
    places = {read.field.name: place for place, read in enumerate(reads) if read.use == "value"}
    made = []
    for item in computed:
        wanted = sorted(inputs(item))
        if not wanted or not places.keys() >= set(wanted) or not (item.rule is None or item.rule.is_pure):
            return None
        make = _of_bytes(item, {name: reads[places[name]].read for name in wanted}, makers[item.into])
        weight = weight_of(item.rule.whole) if item.rule else "middling"
        at = tuple(places[name] for name in wanted)
        if weight == "light" and all(reads[place].field.type.kind == "string" for place in at):
            made.append(ByBytes(make, False, at))
        else:
            made.append(ByBytes(Memo(make, MANY if weight == "heavy" else SOME), True, at))
    return made


def _statements(names: GeneratedNames, place: int, read: Read, is_decoded: bool, is_by_bytes: bool) -> list[ast.stmt]:
    """What reads one field: `found` is its value, `bytes` its bytes, `at` where it ends."""
    data, at, end = load("data"), load("at"), load("end")
    decoding = call(names.of(read.read), data, at)
    if read.use in ("cell", "items"):
        return [_set_both(f"found{place}", "at", decoding)]
    slowly: ast.stmt = assign("end", call(names.of(skipper(read.field.type)), data, at))
    if is_decoded:
        slowly = _set_both(f"found{place}", "end", decoding)
    steps = [slowly]
    if read.field.type.kind == "string":
        text = _slice(_plus(at, 1 + read.field.type.nullable), end)
        decoded = [assign(f"found{place}", call(ast.Attribute(text, "decode", ast.Load())))] if is_decoded else []
        steps = [
            ast.If(_is_short(read.field.type.nullable), [_short_end(read.field.type.nullable), *decoded], [slowly])
        ]
    piece = [assign(f"bytes{place}", _slice(at, end))] if is_by_bytes else []
    return [*steps, *piece, assign("at", end)]


def _is_short(nullable: bool) -> ast.expr:
    """Whether a string is there, and its length takes a single byte, which is kept as `size`."""
    length = ast.NamedExpr(ast.Name("size", ast.Store()), _byte(_plus(load("at"), 1) if nullable else load("at")))
    is_even = ast.UnaryOp(ast.Not(), ast.BinOp(load("size"), ast.BitAnd(), ast.Constant(1)))
    tests = [ast.Compare(length, [ast.Lt()], [ast.Constant(128)]), is_even]
    is_there = [ast.Compare(_byte(load("at")), [ast.Eq()], [ast.Constant(2)])] if nullable else []
    return ast.BoolOp(ast.And(), [*is_there, *tests])


def _short_end(nullable: bool) -> ast.stmt:
    size = ast.BinOp(load("size"), ast.RShift(), ast.Constant(1))
    return assign("end", ast.BinOp(_plus(load("at"), 1 + nullable), ast.Add(), size))


def _byte(at: ast.expr) -> ast.expr:
    return ast.Subscript(load("data"), at, ast.Load())


def _slice(start: ast.expr, end: ast.expr) -> ast.expr:
    return ast.Subscript(load("data"), ast.Slice(start, end), ast.Load())


def _plus(at: ast.expr, more: int) -> ast.expr:
    return ast.BinOp(at, ast.Add(), ast.Constant(more))


def _set_both(first: str, second: str, value: ast.expr) -> ast.stmt:
    names: list[ast.expr] = [ast.Name(first, ast.Store()), ast.Name(second, ast.Store())]
    return ast.Assign([ast.Tuple(names, ast.Store())], value)


def _of_bytes(item: Assignment, readers: Mapping[str, AnyReader], maker: CellMaker) -> Callable[..., bytes]:
    """The bytes of the fields that an assignment reads, in their names' order, to its cell."""
    names = GeneratedNames()
    places = {name: place for place, name in enumerate(readers)}
    body: list[ast.stmt] = []
    for name, place in places.items():
        body.append(
            _set_both(f"found{place}", "end", call(names.of(readers[name]), load(f"bytes{place}"), ast.Constant(0)))
        )
        body.append(ast.Expr(call(names.of(_is_whole), load("end"), load(f"bytes{place}"))))
    found = {name: load(f"found{place}") for name, place in places.items()}
    value = found[item.source] if item.source else ast.Constant(None)
    made = within(names, item.rule.whole, value, found, "") if item.rule else value
    return cast(
        "Callable[..., bytes]",
        names.function("cell", [f"bytes{place}" for place in places.values()], body, _cell(names, made, maker, "")),
    )


def _is_whole(end: int, piece: bytes) -> None:
    if end != len(piece):
        raise IndexError("the value is cut short")


def _cell(names: GeneratedNames, made: ast.expr, maker: CellMaker, prefix: str) -> ast.expr:
    if maker.takes_text:
        return text_with_length(names, made, LENGTHS, maker.make, prefix)
    return call(names.of(maker.make), made)


def _computed(
    names: GeneratedNames,
    item: Assignment,
    make: Callable[[object], bytes],
    places: Mapping[str, int],
    defaults: Mapping[str, object],
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
