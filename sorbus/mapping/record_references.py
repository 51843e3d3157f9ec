"""Which other records a rule refers to."""

from __future__ import annotations

from sorbus.mapping.expression import Expression
from sorbus.mapping.rule import Rule


def referred(rule: Rule | None) -> list[tuple[str, str]]:
    """The data types whose ids a rule looks up, each with the resource that it names, or ""."""
    return [] if rule is None else _referred(rule.whole)


def _referred(part: Expression) -> list[tuple[str, str]]:
    inner = [name for each in part.parts for name in _referred(each)]
    if part.form == "filter" and part.name == "id_in":
        data_type, *resource = (str(each.constant) for each in part.parts[1:])
        return [(data_type, resource[0] if resource else ""), *inner]
    return inner
