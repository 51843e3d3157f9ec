"""How many of a rule's results are worth caching."""

from __future__ import annotations

from sorbus.mapping.expression import Expression
from sorbus.mapping.filters import FILTERS
from sorbus.mapping.filters.registry import Weight

_LIGHT_STEPS = 4
_ORDER: tuple[Weight, ...] = ("light", "middling", "heavy")


def weight_of(part: Expression) -> Weight:
    """The weight of a rule's heaviest step; many light steps together are middling."""
    weight, steps = _weigh(part)
    return "middling" if weight == "light" and steps > _LIGHT_STEPS else weight


def _weigh(part: Expression) -> tuple[Weight, int]:
    """The heaviest step, and the number of steps."""
    if part.written or part.form in ("value", "field"):
        return "light", 0
    below = [_weigh(each) for each in part.parts]
    steps = 1 + sum(count for _, count in below)
    match part.form:
        case "filter":
            own = FILTERS[part.name].weight
        case "if" | "and" | "or" | "not" | "none" | "compare" | "concat":
            own = "light"
        case "forgiving" if part.parts[0].form == "field":
            own = "light"
        case _:
            own = "middling"
    return max([own, *(weight for weight, _ in below)], key=_ORDER.index), steps
