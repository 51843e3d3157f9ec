"""A compiled part of a rule: how to run it and what is known about it beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from sorbus.mapping.errors import RuleError
from sorbus.schema import Kind

Run = Callable[[object, Mapping[str, object]], object]

_DIGITS = 15
_KINDS: Mapping[type, Kind] = {str: "string", bool: "boolean", int: "long", Decimal: "decimal", list: "array"}


Form = Literal[
    "", "value", "field", "entry", "filter", "if", "and", "or", "not", "none", "compare", "chain", "concat", "list",
    "negative", "arithmetic", "forgiving",
]  # fmt: skip
"""The kind of a part, for explaining or optimising a rule."""


class Expression(NamedTuple):
    """`written` means that the value is a constant of the rule.

    `form`, `name` (a field's, a filter's, an operator's) and `parts` describe its structure.
    """

    run: Run
    kind: Kind | None
    written: bool = False
    constant: object = None
    form: Form = ""
    name: str = ""
    parts: tuple[Expression, ...] = ()


def constant(value: object) -> Expression:
    """A constant of the rule; numbers with a decimal point become exact decimals."""
    if isinstance(value, float):
        exact = Decimal(repr(value))
        if not exact.is_finite() or len(exact.as_tuple().digits) > _DIGITS:
            raise RuleError(f"{value} has more digits than a number in a rule may have", fix='write "…" | decimal')
        return constant(exact)
    return Expression(lambda _value, _record: value, _KINDS.get(type(value)), True, value)


def value_itself(value: object, _record: Mapping[str, object]) -> object:
    """The run of `value`: compared by identity, so that a filter applied to it directly saves a call."""
    return value


def same_kind(parts: Sequence[Expression]) -> Kind | None:
    """The type that all parts have, ignoring constant nulls; None if they differ or one is unknown."""
    kinds = {part.kind for part in parts if not (part.written and part.constant is None)}
    return kinds.pop() if len(kinds) == 1 else None


def field_text(name: str) -> str:
    """How a rule names a field of the record."""
    return f"record.{name}" if name.isidentifier() else f'record["{name}"]'
