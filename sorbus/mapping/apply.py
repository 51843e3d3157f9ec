"""Applies a filter in a rule: checks its arguments against its declaration and shortens its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, get_args, get_origin

from sorbus.mapping.errors import RuleError, shown
from sorbus.mapping.expression import Expression, Run, constant, same_kind, value_itself
from sorbus.mapping.filters import FILTERS, Filter, FilterTable
from sorbus.mapping.types import NUMBER, TEXT, in_words, stands_for
from sorbus.schema import Kind
from sorbus.spelling import closest, near

EXPECTED = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError)
_NOT_GIVEN: Mapping[str, int] = {"nullif": 1, "when": 1}
"""Filters that return their input unchanged, by their leading arguments."""
_NAMES: Mapping[object, str] = {str: "text in quotes", int: "a whole number", bool: "true or false"}


def apply_filter(
    name: str,
    inner: Expression,
    args: Sequence[Expression],
    named: Mapping[str, Expression],
    lookups: Mapping[str, Mapping[str, str]],
) -> Expression:
    """`inner | name(args)`; RuleError for an unknown filter, wrong arguments, or an unsupported type."""
    found = FILTERS.get(name)
    if found is None:
        raise RuleError(f"there is no filter {name!r}", fix=closest(name, FILTERS))
    if found.takes and inner.kind is not None and inner.kind not in found.takes:
        raise RuleError(f"{name} takes {in_words(found.takes)}, not {in_words([inner.kind])}", fix=_cure(found))
    bound = _bind(found, args, named, lookups)
    kind: Kind | None
    if found.gives == "same":
        kind = same_kind([inner, *bound[_NOT_GIVEN.get(name, 0) :]])
    else:
        kind = None if found.gives == "any" else found.gives
    return Expression(_run(found, inner.run, bound), kind, form="filter", name=name, parts=(inner, *bound))


def _cure(found: Filter) -> str:
    if found.takes >= TEXT:
        return f"make it text first: … | text | {found.name}"
    if found.takes >= NUMBER:
        return f"make it a number first: … | decimal | {found.name}"
    return f"make it {in_words(found.takes)} first"


def _bind(
    found: Filter, args: Sequence[Expression], named: Mapping[str, Expression], lookups: Mapping[str, Mapping[str, str]]
) -> list[Expression]:
    """The arguments in the function's order, with defaults filled in."""
    try:
        bound = found.signature.bind(None, *args, **named)
    except TypeError as error:
        raise RuleError(f"{found.name}: {error}", fix=f"write {found.usage}") from error
    given = dict(bound.arguments)
    bound.apply_defaults()
    out = []
    for name, argument in [*bound.arguments.items()][1:]:
        if name not in given:
            out += [] if argument == () else [constant(argument)]
        elif isinstance(argument, tuple) and not isinstance(argument, Expression):
            out += argument
        else:
            assert isinstance(argument, Expression)
            out.append(_checked(found, name, argument, lookups))
    return out


def _checked(found: Filter, name: str, argument: Expression, lookups: Mapping[str, Mapping[str, str]]) -> Expression:
    hint = found.hints[name]
    kind, checks = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
    if kind is object and not argument.written:
        return argument
    value = argument.constant
    wanted = str if kind is FilterTable else kind
    if kind is not object and (not argument.written or type(value) is not wanted):
        raise RuleError(
            f"{found.name}: its argument {name} must be {_NAMES[wanted]}, written out", fix=f"write {found.usage}"
        )
    if kind is FilterTable:
        assert isinstance(value, str)
        if value not in lookups:
            new = f"write `lookups: {{{value}: {{VALUE: RESULT}}}}` in the map"
            fix = closest(value, lookups) if near(value, lookups) else new
            raise RuleError(f"there is no lookup table {value!r} in the map's `lookups:`", fix=fix)
        return argument._replace(constant=FilterTable(value, lookups[value]))
    for check in checks:
        try:
            check(value)
        except ValueError as error:
            raise RuleError(f"{found.name}: {error}", fix=f"write {found.usage}") from error
    return argument


def _run(found: Filter, inner: Run, arguments: Sequence[Expression]) -> Run:
    function, accepts, sees_null = found.run, found.accepts, found.sees_null
    fixed = [argument.constant for argument in arguments]
    moving = [] if all(argument.written for argument in arguments) else [argument.run for argument in arguments]

    def call(source: object, record: Mapping[str, object]) -> object:
        value = source if inner is value_itself else inner(source, record)
        if value is None and not sees_null:
            return None
        if accepts and value.__class__ not in accepts and value is not None and not stands_for(value, accepts):
            raise _refusal(found, f"it takes {in_words(found.takes)}, not {shown(value)}", value)
        # Arguments run outside the try, so that an error in them is not attributed to this filter.
        rest = [run(source, record) for run in moving] if moving else fixed
        try:
            return function(value, *rest)
        except RuleError:
            raise
        except ValueError as error:
            raise _refusal(found, str(error), value) from error
        except EXPECTED as error:
            raise _refusal(found, f"it can't take {shown(value)} ({type(error).__name__})", value) from error

    return call


def _refusal(found: Filter, why: str, value: object) -> RuleError:
    return RuleError(f"filter {found.name}: {why}", filter=found.name, value=value)
