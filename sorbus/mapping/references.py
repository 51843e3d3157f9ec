"""What `id_in` finds: the ids that other records have in the target, while one of a consumer's records is mapped.

A rule knows no system. The consumer of a target that has ids of its own says for the length of a `with` how to find
them; elsewhere (a target that takes our ids as they are, an explained or tested rule) a reference is its own answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from sorbus.mapping.part import Part

if TYPE_CHECKING:  # rules know filters, and a filter asks here
    from sorbus.mapping.rule import Rule

Find = Callable[[str, str, str], str]
"""`find(data type, canonical id, resource)` gives the target's id, or raises MustWait.

Resource "": the only one that takes the data type."""
_find: ContextVar[Find | None] = ContextVar("find", default=None)


@contextmanager
def found_by(find: Find) -> Iterator[None]:
    """Inside, `id_in` asks `find`."""
    token = _find.set(find)
    try:
        yield
    finally:
        _find.reset(token)


def id_there(data_type: str, id: object, resource: str) -> object:
    """The id of the record `id` in the target's resource; `id` itself where nobody says otherwise. MustWait."""
    find = _find.get()
    return id if find is None else find(data_type, str(id), resource)


def referred(rule: Rule | None) -> list[tuple[str, str]]:
    """The data types whose ids a rule asks for, each with the resource that it names, or ""."""
    return [] if rule is None else _referred(rule.whole)


def _referred(part: Part) -> list[tuple[str, str]]:
    inner = [name for each in part.parts for name in _referred(each)]
    if part.form == "filter" and part.name == "id_in":
        data_type, *resource = (str(each.constant) for each in part.parts[1:])
        return [(data_type, resource[0] if resource else ""), *inner]
    return inner
