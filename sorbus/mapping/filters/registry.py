"""Declaration of rule filters: argument and result types; the docstring is the reference entry.

A filter is a plain function: the value first, then its arguments. It raises ValueError in plain words for an invalid
value. Arguments annotated `object` may be any expression; all others must be constants, so that errors in them are
found when the map is read. `Annotated[str, check]` makes `check(text)` validate the constant, `Annotated[object,
check]` too if it is one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar, get_type_hints

from sorbus.mapping.types import python_types
from sorbus.schema import Kind

FilterFunction = TypeVar("FilterFunction", bound=Callable[..., object])
Gives = Kind | Literal["same", "any"]
Weight = Literal["light", "middling", "heavy"]


class FilterTable(NamedTuple):
    """A value table of the map, as passed to a filter with an argument of this type."""

    name: str
    rows: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Filter:
    """A declared filter. `takes` empty: anything. `gives` "same": the input's type, "any": unknown."""

    name: str
    run: Callable[..., object]
    takes: frozenset[Kind]
    accepts: frozenset[type]
    gives: Gives
    sees_null: bool
    is_pure: bool
    weight: Weight
    signature: inspect.Signature
    hints: Mapping[str, object]

    @property
    def doc(self) -> str:
        """The reference entry: what it does, then an example."""
        return inspect.cleandoc(self.run.__doc__ or "")

    @property
    def usage(self) -> str:
        """`date(format="", tz="")`: its name and arguments."""
        arguments = [*self.signature.parameters.values()][1:]
        written = ", ".join(str(argument.replace(annotation=inspect.Parameter.empty)) for argument in arguments)
        return f"{self.name}({written})" if arguments else self.name


FILTERS: dict[str, Filter] = {}


def check_unknown(unknown: str) -> None:
    """Validates `unknown`, the handling of an unknown value: "fail" or "pass"."""
    if unknown not in ("fail", "pass"):
        raise ValueError(f'unknown="{unknown}" is neither "fail" nor "pass"')


def rule_filter(
    *,
    takes: Collection[Kind] = (),
    gives: Gives = "any",
    sees_null: bool = False,
    pure: bool = True,
    weight: Weight = "heavy",
) -> Callable[[FilterFunction], FilterFunction]:
    """Declares a filter under its function's name. Unless it `sees_null`, null passes through it unchanged.

    `pure`: the same value and arguments always give the same result, so that it may be cached; False for a filter that
    reads a database, the clock or the previous record. Results are cached, except those of a `light` filter, which
    takes no longer than the lookup (some 0.1 us); of a `middling` one (1 or 2 us) as many as fit into the CPU's cache,
    of a `heavy` one as many as there is memory for.
    """

    def declare(function: FilterFunction) -> FilterFunction:
        name = function.__name__.rstrip("_")
        if name in FILTERS and FILTERS[name].run.__module__ != function.__module__:
            raise ValueError(f"a filter {name} already exists, in {FILTERS[name].run.__module__}: rename yours")
        hints = get_type_hints(function, include_extras=True)
        FILTERS[name] = Filter(
            name,
            function,
            frozenset(takes),
            python_types(takes),
            gives,
            sees_null,
            pure,
            weight,
            inspect.signature(function),
            hints,
        )
        return function

    return declare
