"""Operators in rules: exact arithmetic, text, comparison. Arithmetic with null gives null, as in SQL."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Any

from sorbus.mapping.errors import RuleError, shown

Operator = Callable[[object, object], object]
Number = int | Decimal

_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_DIVIDING = Context(prec=50, traps=[InvalidOperation, DivisionByZero, Overflow])


def _arithmetic(sign: str, whole: Callable[[int, int], int], exact: Callable[[Number, Number], Decimal]) -> Operator:
    def apply(left: object, right: object) -> object:
        if left is None or right is None:
            return None
        a, b = _number(left, sign), _number(right, sign)
        try:
            return whole(a, b) if type(a) is type(b) is int else exact(a, b)
        except ArithmeticError as error:
            raise RuleError(f"{shown(left)} {sign} {shown(right)} has no exact result", value=left) from error

    return apply


def _number(value: object, sign: str) -> Number:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return value
    fix = "write (… | decimal)" if isinstance(value, str | float) else "take another field"
    raise RuleError(f"{sign} takes exact numbers, not {shown(value)}", fix=fix, value=value)


def divide(left: object, right: object) -> object:
    """A quotient to 50 digits: its receiver rounds it (`| round(2)`) or rejects it."""
    if left is None or right is None:
        return None
    a, b = _number(left, "/"), _number(right, "/")
    if not b:
        raise RuleError(f"{shown(left)} can't be divided by 0", fix="test for it: … if record.x else none", value=left)
    return _DIVIDING.divide(Decimal(a), Decimal(b))


def negative(value: object) -> object:
    """The negated number."""
    return None if value is None else ARITHMETIC["sub"](0, value)


ARITHMETIC: dict[str, Operator] = {
    "add": _arithmetic("+", operator.add, _EXACT.add),
    "sub": _arithmetic("-", operator.sub, _EXACT.subtract),
    "mul": _arithmetic("*", operator.mul, _EXACT.multiply),
    "div": divide,
}
SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


def _contains(item: object, many: object) -> bool:
    if isinstance(many, str):
        return isinstance(item, str) and item in many
    if isinstance(many, list | tuple | dict):
        return item in many
    raise RuleError(f"`in` looks into a list or a text, not into {shown(many)}", value=many)


def _ordered(name: str, compare: Callable[[Any, Any], object]) -> Operator:
    def apply(left: object, right: object) -> object:
        if left is None or right is None or _family(left) is not _family(right):
            raise RuleError(
                f"{shown(left)} and {shown(right)} have no order for {name}",
                fix="make both numbers, dates or text; test for nothing with `is none`",
                value=left,
            )
        return compare(left, right)

    return apply


def _family(value: object) -> type:
    for family in (bool, str, datetime, date, time):
        if isinstance(value, family):
            return family
    return int if isinstance(value, int | float | Decimal) else type(value)


COMPARISONS: dict[str, Operator] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": _ordered("<", operator.lt),
    "lteq": _ordered("<=", operator.le),
    "gt": _ordered(">", operator.gt),
    "gteq": _ordered(">=", operator.ge),
    "in": _contains,
    "notin": lambda item, many: not _contains(item, many),
}
