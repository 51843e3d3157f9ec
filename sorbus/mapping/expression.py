"""A compiled piece of a rule: how to run it and what is known of it beforehand."""

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
"""What a part is, where something is done with that: explaining a rule, or making it faster."""


class Expression(NamedTuple):
    """`written` means that the value is a constant of the rule.

    `form`, `name` (a field's, a filter's, an operator's) and `parts` say how it was put together.
    """

    run: Run
    kind: Kind | None
    written: bool = False
    constant: object = None
    form: Form = ""
    name: str = ""
    parts: tuple[Expression, ...] = ()


def constant(value: object) -> Expression:
    """A value written out in the rule; numbers with a point become exact decimals."""
    if isinstance(value, float):
        exact = Decimal(repr(value))
        if not exact.is_finite() or len(exact.as_tuple().digits) > _DIGITS:
            raise RuleError(f"{value} has more digits than a number in a rule may have", fix='write "…" | decimal')
        return constant(exact)
    return Expression(lambda _value, _record: value, _KINDS.get(type(value)), True, value)


def value_itself(value: object, _record: Mapping[str, object]) -> object:
    """The run of `value`: known by identity, so that filters right behind it can do without a call."""
    return value


def same_kind(parts: Sequence[Expression]) -> Kind | None:
    """The kind that all parts have, leaving out written nulls; None if they differ or one isn't known."""
    kinds = {part.kind for part in parts if not (part.written and part.constant is None)}
    return kinds.pop() if len(kinds) == 1 else None
