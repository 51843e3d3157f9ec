"""Whether an assignment's result fits the receiving field."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sorbus.errors import Finding
from sorbus.mapping.assign import Assignment
from sorbus.mapping.convert import can_convert, convert, rule_for
from sorbus.mapping.rule import RuleError
from sorbus.mapping.types import in_words
from sorbus.schema import FieldType, Kind

_CHAIN = re.compile(r"[\w.]+(\s*\|\s*\w+(\([^()]*\))?)*")
"""A name with filters after it, to which another can be added without brackets."""


def misfits(
    item: Assignment, given: FieldType | None, to: FieldType | None, where: str, line: Finding
) -> Iterator[Finding]:
    """The finding, if any, that `item` can't be converted to `to`; `given` is its source's type, None if unknown.

    `where` names the receiving field, `line` holds the file and line to report.
    """
    if to is None:
        return
    if item.rule is not None and not item.rule.uses and not item.rule.uses_value:
        yield from _constant(item, to, where, line)
        return
    kind = item.rule.result if item.rule is not None else given.kind if given is not None else None
    if kind is None or can_convert(kind, to.kind):
        return
    what = f"{'the rule gives' if item.rule is not None else f'{item.source} is'} {in_words([kind])}"
    message = f"{what}, and {where} is {_plain(to)}"
    yield Finding(line.file, line.line, message, _cure(item, kind, to.kind), "bad-type")


def _constant(item: Assignment, to: FieldType, where: str, line: Finding) -> Iterator[Finding]:
    """Tries a rule's constant value."""
    assert item.rule is not None
    try:
        convert(item.rule(None, {}), to)
    except RuleError as error:
        yield Finding(line.file, line.line, f"rule {item.rule.text}: {error.message}", error.fix, "bad-rule")
    except ValueError as error:
        what, _, fix = str(error).partition("; ")
        message = f"rule {item.rule.text}: {where} is {_plain(to)}, and {what}"
        yield Finding(line.file, line.line, message, fix or "write another value", "bad-value")


def _cure(item: Assignment, kind: Kind, to: Kind) -> str:
    rule = rule_for(kind, to)
    if not rule:
        return "take another field"
    if item.rule is None:
        return f"write the rule {rule}"
    before = item.rule.text if _CHAIN.fullmatch(item.rule.text) else f"({item.rule.text})"
    return f"write the rule {before} {rule.removeprefix('value ')}"


def _plain(to: FieldType) -> str:
    return str(to).removesuffix(" or null")
