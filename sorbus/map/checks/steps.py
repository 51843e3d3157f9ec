"""Whether process steps can run: what they read and make, their conditions, and what they add up."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sorbus.errors import Finding
from sorbus.map.checks.bound import Bound
from sorbus.map.steps import Lookups, step_condition, step_sums
from sorbus.mapfile.model import ProcessStep
from sorbus.mapping.errors import RuleError
from sorbus.mapping.rule import Rule
from sorbus.mapping.types import EXACT, FLOAT
from sorbus.schema import RecordSchema
from sorbus.spelling import closest

_CURRENCY = "currency"
"""The field that says of what currency a record's amounts are, in every canonical schema."""
_MONEY = re.compile(r"(?:\w+_)?(?:amount|price|total|cost|fee|tax)")
_GROUPING = frozenset({"string", "enum", "uuid", "int", "long", "boolean", "date"})
"""Types whose values have one spelling only."""


def check_steps(bound: Bound) -> Iterator[Finding]:
    """Findings about `steps`; that they form no circle is part of `check_flows`, their mapping of `check_mapping`."""
    for place, step in enumerate(bound.loaded.map.steps):
        yield from _ends(bound, place, step)
        yield from _names(bound, place, step)
        yield from _grouping(bound, place, step)
        if (schema := bound.schemas.get(step.source)) is not None:
            yield from _condition(bound, place, step, schema)
            yield from _fields(bound, place, step, schema)


def _ends(bound: Bound, place: int, step: ProcessStep) -> Iterator[Finding]:
    types = bound.loaded.map.data_types
    for key, name in (("from", step.source), ("makes", step.makes)):
        if name not in types:
            message = f"{step.id}: no data type is called {name!r}"
            yield bound.loaded.finding(("steps", place, key), "unknown-data-type", message, closest(name, types))
    if step.source == step.makes:
        message = f"{step.id} makes what it reads"
        yield bound.loaded.finding(("steps", place, "makes"), "loop", message, "name another data type")
    written = types.get(step.makes)
    first = next(one for one in bound.loaded.map.steps if one.makes == step.makes)
    if written is None or step.source == step.makes:
        return
    if first is not step:
        message = f"{step.makes} is made by two steps, {first.id} and {step.id}"
        fix = f"give one of them a data type of its own, with the same `schema: {step.makes}`"
        yield bound.loaded.finding(("steps", place, "makes"), "two-owners", message, fix)
    elif written.system_of_record not in (None, step.id):
        message = f"{step.makes} is made by {step.id}, and {written.system_of_record} owns it"
        fix = "delete its system_of_record: what a step makes is owned by the step"
        yield bound.loaded.finding(("data_types", step.makes, "system_of_record"), "two-owners", message, fix)
    elif written.system_of_record is None:
        message = f"{step.makes} has a `source:`, and is made by {step.id}"
        yield bound.loaded.finding(("data_types", step.makes, "source"), "contradiction", message, "delete the source")


def _names(bound: Bound, place: int, step: ProcessStep) -> Iterator[Finding]:
    written = bound.loaded.map
    path = ("steps", place, "name") if step.name else ("steps", place)
    fix = f"give it a name of its own, such as name: make-{step.makes}"
    if ("systems", step.id) in bound.loaded.document.lines:
        yield bound.loaded.finding(path, "double-name", f"a system is called {step.id} too", fix)
    if any(flow.id == step.id for flow in written.flows):
        yield bound.loaded.finding(path, "double-name", f"a flow is called {step.id} too", fix)
    if next(one for one in written.steps if one.id == step.id) is not step:
        yield bound.loaded.finding(path, "double-name", f"two steps are called {step.id}", fix)


def _grouping(bound: Bound, place: int, step: ProcessStep) -> Iterator[Finding]:
    """What `per` needs, and what needs `per`."""
    path = ("steps", place)
    if not step.per:
        for key, value in (("sum", step.sum), ("count", step.count), ("list", step.lines)):
            if value:
                message = f"{step.id}: {key} needs to know of which records"
                yield bound.loaded.finding(
                    (*path, key), "no-per", message, "add per: [FIELD], one record for each value of it"
                )
        return
    if step.on_leave == "keep":
        message = f"{step.id}: a record that leaves must leave what was added up, too"
        yield bound.loaded.finding((*path, "on_leave"), "wrong-sum", message, "write on_leave: delete")
    if step.begin == "now":
        message = f"{step.id}: without the records of before, what is added up would be a part of it"
        yield bound.loaded.finding(
            (*path, "begin"), "wrong-sum", message, "write begin: beginning, or a date in `where`"
        )
    if not step.sum and not step.count and not step.lines:
        message = f"{step.id} puts records together, and nothing of them is kept"
        yield bound.loaded.finding((*path, "per"), "no-sum", message, "add sum, count or list; or leave out per")


def _condition(bound: Bound, place: int, step: ProcessStep, schema: RecordSchema) -> Iterator[Finding]:
    try:
        step_condition(step, schema, bound.loaded.map.lookups)
    except RuleError as error:
        path = ("steps", place, "where")
        yield bound.loaded.finding(path, "bad-condition", f"{step.id}: {error.message}", error.fix)


def _fields(bound: Bound, place: int, step: ProcessStep, schema: RecordSchema) -> Iterator[Finding]:
    path, lookups = ("steps", place), bound.loaded.map.lookups
    for number, name in enumerate(step.per):
        per = (*path, "per", number)
        kind = schema.by_name[name].type.kind if name in schema.by_name else None
        if kind is None:
            message = f"{step.id}: {step.source} has no field {name!r}"
            yield bound.loaded.finding(per, "unknown-field", message, closest(name, schema.by_name))
        elif kind not in _GROUPING:
            message = f"{step.id}: {step.source}.{name} can't tell records apart: its values have no single spelling"
            yield bound.loaded.finding(per, "bad-type", message, "name a text, a whole number, a date or an id")
    for name, text in step.sum.items():
        where = (*path, "sum", name)
        if name in step.per:
            message = f"{step.id}: {name} is a field of `per` too"
            yield bound.loaded.finding(where, "filled-twice", message, "name another field of what it makes")
        try:
            (rule,) = step_sums(step.model_copy(update={"sum": {name: text}}), schema, lookups).values()
        except RuleError as error:
            yield bound.loaded.finding(where, "bad-rule", f"{step.id}: {error.message}", error.fix)
            continue
        if rule.uses_value or not rule.uses:
            message = f"{step.id}: {text} names no field of {step.source}"
            yield bound.loaded.finding(where, "bad-rule", message, f"its fields: {', '.join(schema.by_name)}")
        elif rule.result in FLOAT:
            message = f"{step.id}: {text} is a binary fraction, and its sum wouldn't be exact"
            yield bound.loaded.finding(where, "bad-type", message, f"write {text} | decimal")
        elif rule.result not in EXACT:
            message = f"{step.id}: {text} is no number"
            yield bound.loaded.finding(where, "bad-type", message, f"write {text} | decimal, or name a number")
        elif _mixes_currencies(step, rule, schema, lookups):
            message = f"{step.id}: {name} adds up amounts whatever their {_CURRENCY}"
            fix = f'add {_CURRENCY} to per, or name one in where, such as {_CURRENCY} == "EUR"'
            yield bound.loaded.finding(where, "wrong-sum", message, fix)
    made = bound.schemas.get(step.makes)
    if made is not None and step.lines and step.lines not in dict(_lists(made)):
        message = f"{step.id}: {step.makes} has no list of records called {step.lines!r}"
        fix = closest(step.lines, dict(_lists(made)))
        yield bound.loaded.finding((*path, "list"), "unknown-field", message, fix)


def _mixes_currencies(step: ProcessStep, rule: Rule, schema: RecordSchema, lookups: Lookups) -> bool:
    """Whether a sum adds amounts of money, and nothing says that their records have one currency."""
    money = [name for name in rule.uses if _MONEY.fullmatch(name) and name in schema.by_name]
    if not money or _CURRENCY not in schema.by_name:
        return False
    try:
        where = step_condition(step, schema, lookups)
    except RuleError:
        return False  # reported already
    return _CURRENCY not in {*step.per, *rule.uses, *(where.uses if where is not None else ())}


def _lists(schema: RecordSchema) -> Iterator[tuple[str, None]]:
    for field in schema.fields:
        if field.type.kind == "array" and field.type.item is not None and field.type.item.kind == "record":
            yield field.name, None
