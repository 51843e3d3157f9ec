"""Runs a rule slowly, for inspection: every step with its value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sorbus.mapping.apply import EXPECTED
from sorbus.mapping.errors import RuleError, shown
from sorbus.mapping.expression import Expression, field_text
from sorbus.mapping.filters import FILTERS, FilterTable
from sorbus.mapping.operators import SIGNS
from sorbus.mapping.rule import Rule

_COMPARED = {"eq": "==", "ne": "!=", "lt": "<", "lteq": "<=", "gt": ">", "gteq": ">=", "in": "in", "notin": "not in"}


class RuleStep(NamedTuple):
    """One step of a rule: `value`, `record.first`, `truncate(60)`; its result, or why it failed.

    `notice` reports a loss, such as "11 characters cut".
    """

    name: str
    value: object
    error: str = ""
    notice: str = ""

    def __str__(self) -> str:
        """`truncate(4) "Kiln" (11 characters cut)`."""
        return f"{self.name} {self.error or shown(self.value)}{f' ({self.notice})' if self.notice else ''}"


class RuleTrace(NamedTuple):
    """A rule's steps in order of evaluation; the last one's value is the rule's."""

    steps: tuple[RuleStep, ...]

    @property
    def value(self) -> object:
        """The rule's result; None if it failed."""
        return self.steps[-1].value

    @property
    def error(self) -> str:
        """Why the rule failed; empty if it didn't."""
        return self.steps[-1].error

    def __str__(self) -> str:
        """`value "  a " -> trim "a" -> upper "A"`."""
        return " -> ".join(map(str, self.steps))


def trace(rule: Rule, value: object, record: Mapping[str, object]) -> RuleTrace:
    """Runs a rule step by step. It doesn't raise for a rejected value: the last step has the error."""
    steps: list[RuleStep] = []
    try:
        for name, part in _steps(rule.whole, value, record):
            try:
                made = part.run(value, record)
                steps.append(RuleStep(name, made, notice=_notice(part, made, value, record)))
            except RuleError as error:
                return RuleTrace((*steps, RuleStep(name, None, str(error))))
            except EXPECTED:
                break  # the whole rule reports it
        result = rule.exactly(value, record)
    except RuleError as error:
        return RuleTrace((*steps, RuleStep(steps[-1].name if steps else "rule", None, str(error))))
    return (
        RuleTrace((*steps, RuleStep("rule", result)))
        if not steps or steps[-1].value != result
        else RuleTrace(tuple(steps))
    )


def _notice(part: Expression, made: object, value: object, record: Mapping[str, object]) -> str:
    """What `truncate` has cut, so that the loss is visible."""
    if part.form != "filter" or part.name != "truncate" or not isinstance(made, str):
        return ""
    before, end = part.parts[0].run(value, record), part.parts[2].constant
    if not isinstance(before, str) or before == made:
        return ""
    lost = len(before) - len(made) + len(str(end))
    return f"{lost} character{'s' * (lost != 1)} cut"


def _steps(part: Expression, value: object, record: Mapping[str, object]) -> Iterator[tuple[str, Expression]]:
    """What is evaluated, innermost first; only the taken branch of a condition."""
    if part.written:
        yield written(part), part
        return
    if part.form == "if":
        test, then, other = part.parts
        yield from _steps(test, value, record)
        yield from _steps(then if test.run(value, record) else other, value, record)
        return
    # Parts that may not be evaluated (after `or`), or may fail (before `default`), are not steps.
    for each in () if part.form in ("and", "or", "chain", "forgiving") else part.parts:
        if not each.written:
            yield from _steps(each, value, record)
    yield (_filter(part) if part.form == "filter" else written(part)), part


def written(part: Expression) -> str:
    """A part as people would write it."""
    if part.written:
        return _constant(part.constant)
    inner = part.parts
    match part.form:
        case "value":
            return "value"
        case "field":
            return field_text(part.name)
        case "entry":
            return f"{written(inner[0])}.{part.name}"
        case "filter":
            return f"{written(inner[0])} | {_filter(part)}"
        case "if":
            return f"{written(inner[1])} if {written(inner[0])} else {written(inner[2])}"
        case "not" | "negative":
            return f"{'not ' if part.form == 'not' else '-'}{written(inner[0])}"
        case "none":
            return f"{written(inner[0])} is none"
        case "forgiving":
            return written(inner[0])
        case "list":
            return f"[{', '.join(map(written, inner))}]"
        case _:
            sign = {"concat": "~", "compare": _COMPARED.get(part.name, ""), "arithmetic": SIGNS.get(part.name, "")}
            return f" {sign.get(part.form, part.form)} ".join(map(written, inner))


def _filter(part: Expression) -> str:
    """A filter with the arguments that aren't its defaults."""
    arguments = list(part.parts[1:])
    defaults = [each.default for each in list(FILTERS[part.name].signature.parameters.values())[1:]]
    if len(arguments) <= len(defaults):
        while arguments and arguments[-1].written and arguments[-1].constant == defaults[len(arguments) - 1]:
            arguments.pop()
    return f"{part.name}({', '.join(map(written, arguments))})" if arguments else part.name


def _constant(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, FilterTable):
        return f'"{value.name}"'
    return f"[{', '.join(map(_constant, value))}]" if isinstance(value, list) else str(value)
