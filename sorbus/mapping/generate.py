"""Compiles rules to Python functions: built as a syntax tree from a checked rule's parts, never from text.

The closures of `sorbus.mapping.compile` define a rule's meaning and its errors. The function made here returns the same
value in a third of the time, or raises any exception; the caller then runs the closures.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from types import NoneType

from sorbus.mapping.expression import Expression
from sorbus.mapping.filters import FILTERS, Filter
from sorbus.mapping.filters.text import as_text, bounded
from sorbus.mapping.operators import ARITHMETIC, COMPARISONS, negative
from sorbus.mapping.types import python_types, stands_for

_NATIVE: Mapping[str, Callable[..., object]] = {"trim": str.strip, "upper": str.upper, "lower": str.lower}
"""Filters that are a single method of str."""


def by_record(part: Expression) -> Callable[[object, Mapping[str, object]], object]:
    """`run(value, record)`."""
    names = GeneratedNames()
    rule = _Expression(names, lambda field: ast.Subscript(load("record"), ast.Constant(field), ast.Load()))
    return names.function("rule", ["value", "record"], [], rule.of(part))


def by_fields(part: Expression, fields: Sequence[str]) -> Callable[..., object]:
    """`run(value, *fields)`, one argument for each name of `fields`, for callers without a dict of the record."""
    names = GeneratedNames()
    arguments = {field: f"field{place}" for place, field in enumerate(fields)}
    rule = _Expression(names, lambda field: load(arguments[field]), has_record=False)
    return names.function("rule", ["value", *arguments.values()], [], rule.of(part))


def within(
    names: GeneratedNames, part: Expression, value: ast.expr, fields: Mapping[str, ast.expr], prefix: str
) -> ast.expr:
    """A rule as an expression inside a larger function, reading `value` and `fields`.

    `prefix` separates its variables from those of the function's other rules.
    """
    return _Expression(names, lambda field: fields[field], value=value, has_record=False, prefix=prefix).of(part)


def text_with_length(
    names: GeneratedNames, made: ast.expr, lengths: Sequence[bytes], otherwise: Callable[[object], bytes], prefix: str
) -> ast.expr:
    """UTF-8 text with its length prefix; other types, and text that is too long, are left to `otherwise`."""
    text, raw, size = (f"{name}{prefix}" for name in ("made", "raw", "size"))
    is_text = ast.Compare(ast.Attribute(_kept(text, made), "__class__", ast.Load()), [ast.Is()], [names.of(str)])
    encoded = call(ast.Attribute(load(text), "encode", ast.Load()))
    is_short = ast.Compare(
        _kept(size, call(names.of(len), _kept(raw, encoded))), [ast.Lt()], [ast.Constant(len(lengths))]
    )
    head = ast.Subscript(names.of(lengths), load(size), ast.Load())
    return ast.IfExp(
        ast.BoolOp(ast.And(), [is_text, is_short]),
        ast.BinOp(head, ast.Add(), load(raw)),
        call(names.of(otherwise), load(text)),
    )


class GeneratedNames:
    """The objects that a generated function may refer to, each under its own name; it has no builtins."""

    def __init__(self) -> None:
        self._known: dict[str, object] = {"__builtins__": {}}

    def of(self, thing: object) -> ast.expr:
        """The expression for `thing`."""
        if thing is None or isinstance(thing, str | bool):
            return ast.Constant(thing)
        name = f"known{len(self._known)}"
        self._known[name] = thing
        return load(name)

    def function(
        self, name: str, arguments: Sequence[str], body: Sequence[ast.stmt], result: ast.expr
    ) -> Callable[..., object]:
        """The function that runs `body` and returns `result`."""
        taken = ast.arguments(posonlyargs=[ast.arg(argument) for argument in arguments], args=[], kwonlyargs=[],
                              kw_defaults=[], defaults=[])  # fmt: skip
        made = ast.FunctionDef(name, taken, [*body, ast.Return(result)], decorator_list=[])
        module = ast.fix_missing_locations(ast.Module([made], type_ignores=[]))
        exec(compile(module, f"<{name}>", "exec"), self._known)  # noqa: S102 - a tree of our own making
        found = self._known.pop(name)
        assert callable(found)
        return found


def load(name: str) -> ast.expr:
    """A variable's value."""
    return ast.Name(name, ast.Load())


def call(function: ast.expr, *arguments: ast.expr) -> ast.expr:
    """A call."""
    return ast.Call(function, list(arguments), [])


def assign(name: str, value: ast.expr) -> ast.stmt:
    """An assignment."""
    return ast.Assign([ast.Name(name, ast.Store())], value)


def unless_none(value: ast.expr, made: ast.expr) -> ast.expr:
    """`made`, or None if `value` is None."""
    return ast.IfExp(ast.Compare(value, [ast.Is()], [ast.Constant(None)]), ast.Constant(None), made)


def _kept(name: str, value: ast.expr) -> ast.expr:
    """`value`, assigned to a variable."""
    return ast.NamedExpr(ast.Name(name, ast.Store()), value)


class _Expression:
    """Turns parts into expressions over `value` and the record's fields."""

    def __init__(
        self,
        names: GeneratedNames,
        field: Callable[[str], ast.expr],
        *,
        value: ast.expr | None = None,
        has_record: bool = True,
        prefix: str = "",
    ) -> None:
        self._names, self._field, self._has_record = names, field, has_record
        self._value, self._prefix = value or load("value"), prefix
        self._count = 0

    def of(self, part: Expression) -> ast.expr:
        """The expression of a part and its children."""
        if part.written:
            return self._names.of(part.constant)
        inner = part.parts
        match part.form:
            case "value":
                return self._value
            case "field":
                return self._field(part.name)
            case "forgiving" if inner[0].form == "field":
                return self._optional(inner[0].name)
            case "filter":
                return self._filter(FILTERS[part.name], inner[0], inner[1:])
            case "if":
                return ast.IfExp(*map(self.of, inner))
            case "and" | "or":
                return ast.BoolOp(ast.And() if part.form == "and" else ast.Or(), [self.of(each) for each in inner])
            case "not":
                return ast.UnaryOp(ast.Not(), self.of(inner[0]))
            case "none" if inner[0].written:
                return ast.Constant(inner[0].constant is None)
            case "none":
                return ast.Compare(self.of(inner[0]), [ast.Is()], [ast.Constant(None)])
            case "compare":
                return call(self._names.of(COMPARISONS[part.name]), *map(self.of, inner))
            case "negative":
                return call(self._names.of(negative), self.of(inner[0]))
            case "arithmetic":
                return call(self._names.of(ARITHMETIC[part.name]), *map(self.of, inner))
            case "concat":
                pieces = ast.Tuple([self._text(each) for each in inner], ast.Load())
                return call(self._names.of(bounded), call(self._names.of("".join), pieces))
            case "list":
                return ast.List([self.of(each) for each in inner], ast.Load())
            case _:
                return call(self._names.of(part.run), self._value, self._record(part))

    def _optional(self, field: str) -> ast.expr:
        if not self._has_record:
            return self._field(field)
        return call(ast.Attribute(load("record"), "get", ast.Load()), ast.Constant(field))

    def _record(self, part: Expression) -> ast.expr:
        """The record for a closure; without one, a dict of the fields that it reads."""
        if self._has_record:
            return load("record")
        fields = sorted(_fields(part))
        return ast.Dict([ast.Constant(field) for field in fields], [self._field(field) for field in fields])

    def _filter(self, found: Filter, inner: Expression, arguments: Sequence[Expression]) -> ast.expr:
        """A direct call of the filter's function, with the same checks for null and type."""
        given = self.of(inner)
        variable = self._variable()
        kept = _kept(variable, given)
        value: ast.expr = load(variable) if not found.sees_null else kept
        if found.accepts and not _gives_it(inner, found):
            accepts = found.accepts | {NoneType} if found.sees_null else found.accepts
            its_class = ast.Attribute(value, "__class__", ast.Load())
            test = ast.Compare(its_class, [ast.In()], [self._names.of(accepts)])
            value = ast.IfExp(test, load(variable), call(self._names.of(_taker(found)), load(variable)))
        run = self._names.of(_NATIVE.get(found.name, found.run) if _is_ours(found) else found.run)
        made = call(run, value, *map(self.of, arguments))
        if found.sees_null:
            return made
        return unless_none(kept, made)

    def _text(self, part: Expression) -> ast.expr:
        if part.written:
            return self._names.of(as_text(part.constant))
        variable = self._variable()
        kept = _kept(variable, self.of(part))
        test = ast.Compare(ast.Attribute(kept, "__class__", ast.Load()), [ast.Is()], [self._names.of(str)])
        return ast.IfExp(test, load(variable), call(self._names.of(as_text), load(variable)))

    def _variable(self) -> str:
        self._count += 1
        return f"kept{self._prefix}_{self._count}"


def _fields(part: Expression) -> set[str]:
    own = {part.name} if part.form == "field" else set()
    return own.union(*map(_fields, part.parts))


def _is_ours(found: Filter) -> bool:
    return found.run.__module__.startswith("sorbus.mapping.filters.")


def _gives_it(inner: Expression, found: Filter) -> bool:
    """Whether `inner` is one of our filters whose results `found` always accepts."""
    if inner.form != "filter":
        return False
    before = FILTERS[inner.name]
    if not _is_ours(before) or before.gives in ("same", "any"):
        return False
    return python_types([before.gives]) <= found.accepts  # type: ignore[list-item]


def _taker(found: Filter) -> Callable[[object], object]:
    def taken(value: object) -> object:
        if stands_for(value, found.accepts):
            return value
        raise TypeError("refused; the closures say why")

    return taken
