"""Compiles Jinja's syntax tree into closures, and infers the type of each part.

A visitor over a list of allowed nodes: each returns an `Expression`: a closure over `(value, record)`, its result's
type if known, and its value if it is constant. Other nodes are rejected, with the fix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from jinja2 import nodes

from sorbus.mapping.apply import apply_filter
from sorbus.mapping.errors import RuleError, shown
from sorbus.mapping.expression import Expression, Run, constant, field_text, same_kind, value_itself
from sorbus.mapping.filters import FILTERS
from sorbus.mapping.filters.text import as_text, bounded
from sorbus.mapping.operators import ARITHMETIC, COMPARISONS, SIGNS, negative
from sorbus.mapping.types import EXACT, FLOAT, NUMBER, TEXT, in_words
from sorbus.schema import Kind
from sorbus.spelling import closest

Node = TypeVar("Node", bound=nodes.Node)

_DEEPEST = 60
_FORGIVING = frozenset({"default", "coalesce"})
_FIXES: Mapping[type[nodes.Node], str] = {
    nodes.Call: "rules call nothing; use a filter: value | trim",
    nodes.FloorDiv: 'write (a / b) | round(0, "floor")',
    nodes.Mod: "there is no remainder in rules; use a lookup table",
    nodes.Pow: "write the multiplication out",
    nodes.Slice: 'write value | truncate(10), or split and take one piece: (value | split(","))[0]',
    nodes.Dict: 'put value tables into the map\'s `lookups:` and write value | lookup("status")',
    nodes.TemplateData: "write text in quotes",
}


class Scope(NamedTuple):
    """What a rule may refer to: value tables, and the types, where known, of the value and of the record's fields."""

    lookups: Mapping[str, Mapping[str, str]]
    value: Kind | None
    fields: Mapping[str, Kind | None] | None


class Compiler:
    """Compiles one rule; then `uses` and `uses_value` say what it reads, `is_pure` whether it reads nothing else."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.uses: set[str] = set()
        self.uses_value = False
        self.is_pure = True
        self._depth = 0
        self._visitors: Mapping[type[nodes.Node], Callable[[nodes.Node], Expression]] = {
            **_visitor(nodes.Const, self._const),
            **_visitor(nodes.Name, self._name),
            **_visitor(nodes.Getattr, self._attribute),
            **_visitor(nodes.Getitem, self._item),
            **_visitor(nodes.Filter, self._filter),
            **_visitor(nodes.Test, self._test),
            **_visitor(nodes.CondExpr, self._conditional),
            **_visitor(nodes.And, self._and),
            **_visitor(nodes.Or, self._or),
            **_visitor(nodes.Not, self._not),
            **_visitor(nodes.Compare, self._compare),
            **_visitor(nodes.Concat, self._concat),
            **_visitor(nodes.List, self._list),
            **_visitor(nodes.Tuple, self._list),
            **_visitor(nodes.Neg, self._negative),
            **_visitor(nodes.Pos, lambda node: self.compile(node.node)),
            **_visitor(nodes.Add, self._arithmetic),
            **_visitor(nodes.Sub, self._arithmetic),
            **_visitor(nodes.Mul, self._arithmetic),
            **_visitor(nodes.Div, self._arithmetic),
        }

    def compile(self, node: nodes.Node) -> Expression:
        """The closure and type of a node and its children."""
        visit = self._visitors.get(type(node))
        if visit is None:
            name = type(node).__name__.lower()
            raise RuleError(f"{name} is not allowed in a rule", fix=_FIXES.get(type(node), "use a filter instead"))
        self._depth += 1
        if self._depth > _DEEPEST:
            raise RuleError("the rule is nested too deeply", fix="take it apart, or use a lookup table")
        made = visit(node)
        self._depth -= 1
        return made

    def _const(self, node: nodes.Const) -> Expression:
        return constant(node.value)

    def _name(self, node: nodes.Name) -> Expression:
        if node.name == "value":
            self.uses_value = True
            return Expression(value_itself, self.scope.value, form="value")
        if node.name == "record":
            raise RuleError("a rule can't give the whole record", fix="name one of its fields: record.name")
        raise RuleError(
            f"{node.name!r} is not known in a rule",
            fix=f'write value, record.{node.name} for another field, or "{node.name}" in quotes for text',
        )

    def _attribute(self, node: nodes.Getattr) -> Expression:
        return self._member(node.node, node.attr)

    def _item(self, node: nodes.Getitem) -> Expression:
        if isinstance(node.arg, nodes.Slice):
            return self.compile(node.arg)
        place = self.compile(node.arg)
        key = place.constant if place.written else None
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise RuleError("[…] takes a field's name in quotes or a place", fix='write record["a name"] or value[0]')
        return self._member(node.node, key)

    def _member(self, owner: nodes.Node, key: str | int) -> Expression:
        """A field of the record, or an entry of a map or list; a missing one is an error (see `_filter`)."""
        if isinstance(owner, nodes.Name) and owner.name == "record":
            if not isinstance(key, str):
                raise RuleError(f"record[{key}] names no field", fix="write record.NAME")
            fields = self.scope.fields
            if fields is not None and key not in fields:
                raise RuleError(f"there is no field {key!r} to read as record.{key}", fix=_meant(key, fields))
            self.uses.add(key)
            return Expression(_field(key), fields[key] if fields is not None else None, form="field", name=key)
        inner = self.compile(owner)
        if inner.kind is not None and inner.kind not in ("map", "record", "array"):
            raise RuleError(f"{in_words([inner.kind])} has nothing inside to take as {key!r}", fix="leave it out")
        return Expression(_entry(inner.run, key), None, form="entry", name=str(key), parts=(inner,))

    def _filter(self, node: nodes.Filter) -> Expression:
        if node.node is None or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise RuleError("* and ** are not allowed in a rule", fix="write the arguments out")
        args = [self.compile(arg) for arg in node.args]
        named = {str(pair.key): self.compile(pair.value) for pair in node.kwargs}
        inner = self.compile(node.node)
        if node.name in _FORGIVING:
            inner = _forgiving(inner)
            args = [_forgiving(arg) for arg in args]
        made = apply_filter(node.name, inner, args, named, self.scope.lookups)
        self.is_pure = self.is_pure and FILTERS[node.name].is_pure
        return made

    def _test(self, node: nodes.Test) -> Expression:
        part = _forgiving(self.compile(node.node))
        inner = part.run
        if node.args or node.kwargs or node.name not in ("none", "defined"):
            raise RuleError(f"`is {node.name}` is not a test", fix="write `is none`, `is not none`, or compare with ==")
        if node.name == "none":
            return Expression(lambda value, record: inner(value, record) is None, "boolean", form="none", parts=(part,))
        return Expression(lambda value, record: inner(value, record) is not None, "boolean")

    def _conditional(self, node: nodes.CondExpr) -> Expression:
        condition, then = self.compile(node.test), self.compile(node.expr1)
        other = constant(None) if node.expr2 is None else self.compile(node.expr2)
        test, yes, no = condition.run, then.run, other.run
        return Expression(
            lambda value, record: yes(value, record) if test(value, record) else no(value, record),
            same_kind([then, other]),
            form="if",
            parts=(condition, then, other),
        )

    def _and(self, node: nodes.And) -> Expression:
        left, right = self.compile(node.left), self.compile(node.right)
        first, second = left.run, right.run
        kind = same_kind([left, right])
        run: Run = lambda value, record: first(value, record) and second(value, record)  # noqa: E731
        return Expression(run, kind, form="and", parts=(left, right))

    def _or(self, node: nodes.Or) -> Expression:
        left, right = self.compile(node.left), self.compile(node.right)
        first, second = left.run, right.run
        kind = same_kind([left, right])
        run: Run = lambda value, record: first(value, record) or second(value, record)  # noqa: E731
        return Expression(run, kind, form="or", parts=(left, right))

    def _not(self, node: nodes.Not) -> Expression:
        part = self.compile(node.node)
        inner = part.run
        return Expression(lambda value, record: not inner(value, record), "boolean", form="not", parts=(part,))

    def _compare(self, node: nodes.Compare) -> Expression:
        parts = [self.compile(node.expr), *(self.compile(operand.expr) for operand in node.ops)]
        names = [operand.op for operand in node.ops]
        for left, name, right in zip(parts, names, parts[1:], strict=False):
            _comparable(left, name, right)
        if len(names) == 1:
            compare, (first, second) = COMPARISONS[names[0]], (parts[0].run, parts[1].run)
            run: Run = lambda value, record: compare(first(value, record), second(value, record))  # noqa: E731
            return Expression(run, "boolean", form="compare", name=names[0], parts=tuple(parts))
        steps = [(COMPARISONS[name], right.run) for name, right in zip(names, parts[1:], strict=True)]
        return Expression(_chain(parts[0].run, steps), "boolean", form="chain", parts=tuple(parts))

    def _concat(self, node: nodes.Concat) -> Expression:
        parts = tuple(self.compile(item) for item in node.nodes)
        if any(part.written and isinstance(part.constant, list) for part in parts):
            raise RuleError("~ joins single values, not a list", fix="write `| join` behind the list")
        runs = [part.run for part in parts]
        return Expression(
            lambda value, record: bounded("".join([as_text(run(value, record)) for run in runs])),
            "string",
            form="concat",
            parts=parts,
        )

    def _list(self, node: nodes.List | nodes.Tuple) -> Expression:
        items = [self.compile(item) for item in node.items]
        if all(item.written for item in items):
            return constant([item.constant for item in items])
        runs = [item.run for item in items]
        made: Run = lambda value, record: [run(value, record) for run in runs]  # noqa: E731
        return Expression(made, "array", form="list", parts=tuple(items))

    def _negative(self, node: nodes.Neg) -> Expression:
        inner = self.compile(node.node)
        _exact(inner, "-")
        if inner.written:
            return constant(negative(inner.constant))
        run = inner.run
        return Expression(
            lambda value, record: negative(run(value, record)), inner.kind, form="negative", parts=(inner,)
        )

    def _arithmetic(self, node: nodes.BinExpr) -> Expression:
        name = type(node).__name__.lower()
        if _filters_a_number(node.right):
            raise RuleError(
                "filters bind closer than arithmetic: the last one takes the number before it alone",
                fix="put brackets around the arithmetic: (value / 3) | round(2)",
            )
        left, right = self.compile(node.left), self.compile(node.right)
        _exact(left, SIGNS[name])
        _exact(right, SIGNS[name])
        operate, first, second = ARITHMETIC[name], left.run, right.run
        kind: Kind | None = None
        if name == "div" or "decimal" in (left.kind, right.kind):
            kind = "decimal"
        elif left.kind is not None and right.kind is not None:
            kind = "long"
        run: Run = lambda value, record: operate(first(value, record), second(value, record))  # noqa: E731
        return Expression(run, kind, form="arithmetic", name=name, parts=(left, right))


def _visitor(
    kind: type[Node], visit: Callable[[Node], Expression]
) -> dict[type[nodes.Node], Callable[[nodes.Node], Expression]]:
    def checked(node: nodes.Node) -> Expression:
        assert isinstance(node, kind)
        return visit(node)

    return {kind: checked}


class _MissingField(RuleError):
    """A missing field or entry: an error, unless `default` or `coalesce` follows directly."""


def _meant(key: str, fields: Iterable[str]) -> str:
    """How to write the field that was meant: one whose path begins so (of an HTTP API), or the closest name."""
    if inside := sorted(name for name in fields if name.startswith((f"{key}.", f"{key}["))):
        return f"a field inside another is written with its whole path: {' or '.join(map(field_text, inside[:4]))}"
    return closest(key, fields)


def _field(name: str) -> Run:
    def read(_value: object, record: Mapping[str, object]) -> object:
        try:
            return record[name]
        except KeyError:
            raise _MissingField(
                f"the record has no field {name!r}",
                fix=f"its fields: {', '.join(sorted(map(str, record))[:12])}; or write record.{name} | default(none)",
            ) from None

    return read


def _entry(inner: Run, key: str | int) -> Run:
    def read(value: object, record: Mapping[str, object]) -> object:
        owner = inner(value, record)
        if owner is None:
            return None
        try:
            if isinstance(owner, dict):
                return owner[key]
            if isinstance(owner, list | tuple) and isinstance(key, int):
                return owner[key]
        except LookupError:
            raise _MissingField(f"{shown(owner)} has no entry {key!r}", fix="write … | default(none)") from None
        raise RuleError(f"{shown(owner)} has nothing inside to take as {key!r}", value=owner)

    return read


def _forgiving(part: Expression) -> Expression:
    inner = part.run

    def run(value: object, record: Mapping[str, object]) -> object:
        try:
            return inner(value, record)
        except _MissingField:
            return None

    if part.written or inner is value_itself:
        return part
    return part._replace(run=run, form="forgiving", parts=(part,))


def _chain(first: Run, steps: Sequence[tuple[Callable[[object, object], object], Run]]) -> Run:
    def run(value: object, record: Mapping[str, object]) -> object:
        left = first(value, record)
        for compare, right_run in steps:
            right = right_run(value, record)
            if not compare(left, right):
                return False
            left = right
        return True

    return run


def _filters_a_number(node: nodes.Node) -> bool:
    inner: nodes.Node | None = node
    while isinstance(inner, nodes.Filter):
        inner = inner.node
    return inner is not node and isinstance(inner, nodes.Const) and isinstance(inner.value, int | float)


def _exact(part: Expression, sign: str) -> None:
    if part.kind is not None and part.kind not in EXACT:
        fix = "write (… | decimal)" if part.kind in TEXT | FLOAT else "take a number"
        raise RuleError(f"{sign} takes exact numbers, not {in_words([part.kind])}", fix=fix)


def _comparable(left: Expression, name: str, right: Expression) -> None:
    if left.kind is None or right.kind is None or name in ("in", "notin"):
        return
    families = [next((f for f in (TEXT, NUMBER) if kind in f), frozenset({kind})) for kind in (left.kind, right.kind)]
    if families[0] != families[1]:
        raise RuleError(
            f"{in_words([left.kind])} is never equal to {in_words([right.kind])}",
            fix="make both the same: … | text, … | decimal, … | date",
        )
