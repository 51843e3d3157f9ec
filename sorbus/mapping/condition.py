"""Conditions over a canonical record, such as `country == "DE"`: the rules' language, fields by their plain names."""

from __future__ import annotations

from collections.abc import Mapping

from jinja2 import nodes

from sorbus.mapping.errors import RuleError
from sorbus.mapping.rule import Rule, compile_parsed, parse_rule
from sorbus.schema import Kind
from sorbus.spelling import closest


def compile_condition(
    text: str, *, lookups: Mapping[str, Mapping[str, str]], fields: Mapping[str, Kind | None]
) -> Rule:
    """A rule that gives true or false for a record. RuleError where it can't be read, names no field, or gives another
    type.

    `fields`: the record's, with their types. `country` means `record.country`; both may be written.
    """
    rule = compile_expression(text, lookups=lookups, fields=fields)
    if rule.uses_value:
        raise RuleError("a condition has no value", fix='compare a field: country == "DE"')
    if not rule.uses:
        raise RuleError(f"the condition {text!r} reads no field", fix=f"its fields: {', '.join(fields)}")
    if rule.result != "boolean":
        raise RuleError(f"the condition {text!r} isn't true or false", fix='compare it: country == "DE"')
    return rule


def compile_expression(
    text: str, *, lookups: Mapping[str, Mapping[str, str]], fields: Mapping[str, Kind | None]
) -> Rule:
    """A rule over a record's fields by their plain names, such as `quantity * price`. RuleError."""
    return compile_parsed(text, _with_fields(parse_rule(text), fields), lookups=lookups, fields=fields)


def _with_fields(parsed: nodes.Expr, fields: Mapping[str, Kind | None]) -> nodes.Expr:
    """The expression with `record.NAME` for each name of a field."""
    if isinstance(parsed, nodes.Name):
        return _field(parsed, fields)
    todo: list[nodes.Node] = [parsed]
    while todo:
        node = todo.pop()
        if isinstance(node, nodes.Getattr | nodes.Getitem) and _is_record(node.node):
            continue
        for key in node.fields:
            child = getattr(node, key, None)
            if isinstance(child, list):
                setattr(node, key, [_field(one, fields) if isinstance(one, nodes.Name) else one for one in child])
            elif isinstance(child, nodes.Name):
                setattr(node, key, _field(child, fields))
        todo += node.iter_child_nodes()
    return parsed


def _field(name: nodes.Name, fields: Mapping[str, Kind | None]) -> nodes.Expr:
    if name.name not in fields:
        raise RuleError(
            f"there is no field {name.name!r}", fix=f'{closest(name.name, fields)}; write text in quotes: "{name.name}"'
        )
    return nodes.Getattr(nodes.Name("record", "load"), name.name, "load")


def _is_record(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "record"
