"""How a filter of the rules is declared: what it takes, what it gives, and its docstring as its reference entry.

A filter is a plain function: the value first, then its arguments. It raises ValueError in plain words when a value
won't do. Arguments annotated `object` may be any expression; all others must be written out, so that a mistake in
them is found when the map is read. `Annotated[str, check]` has `check(text)` raise ValueError for a wrong one,
`Annotated[object, check]` too, where it is written out.
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
    """A value table of the map, as a filter with an argument of this type gets it."""

    name: str
    rows: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Filter:
    """A declared filter. `takes` empty: anything. `gives` "same": the kind it was given, "any": not known."""

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
    """What becomes of a value that a filter doesn't know: "fail" or "pass"."""
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
    """Declares a filter under its function's name. Unless it `sees_null`, a null passes through it untouched.

    `pure`: the same value and arguments always give the same, so that results may be remembered; False for one that
    looks into a database, at the clock or at the record before. What it gave is remembered, but
    for a `light` one, which takes no longer than looking that up (some 0.1 us); of a `middling` one (1 or 2 us) only
    as much as stays near at hand, of a `heavy` one all that there is room for.
    """

    def declare(function: FilterFunction) -> FilterFunction:
        name = function.__name__.rstrip("_")
        if name in FILTERS and FILTERS[name].run.__module__ != function.__module__:
            raise ValueError(f"there is a filter {name} already, of {FILTERS[name].run.__module__}: rename yours")
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
