"""Rules and conditions in words, for people who read none: "in capital letters, cut to at most 40 characters".

The words of filters are in `filters/plain_words.toml`; a filter of another package is told by its docstring. What a
rule does is never guessed: what can't be said in words is shown as written.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cache
from inspect import Parameter
from pathlib import Path

from jinja2 import nodes

from sorbus.mapping.errors import RuleError
from sorbus.mapping.filters import FILTERS
from sorbus.mapping.rule import parse_rule

Lookups = Mapping[str, Mapping[str, str]]
_FILE = Path(__file__).parent / "filters" / "plain_words.toml"
_OPTIONAL, _ARGUMENT = re.compile(r"\[([^\[\]]*)\]"), re.compile(r"\{(\w+)\}")
_MOST_ENTRIES = 6
_CONTINUING = ("or, ", "followed by", "together with")
"""Phrases that make sense only behind a name, without a comma."""
_COMPARED = {
    "eq": "is",
    "ne": "is not",
    "gt": "is more than",
    "gteq": "is at least",
    "lt": "is less than",
    "lteq": "is at most",
    "in": "is one of",
    "notin": "is none of",
}
_CALCULATED = {"Add": "plus", "Sub": "minus", "Mul": "times", "Div": "divided by"}


def rule_in_words(rule: str, value: str, lookups: Lookups) -> str:
    """What a rule makes of the value called `value`; "unchanged" for a rule that does nothing."""
    if rule.strip() in ("", "value"):
        return "unchanged"
    return _told(rule, lambda words, node: words.rule(node), value, lookups)


def condition_in_words(condition: str, lookups: Lookups) -> str:
    """A condition over a record's fields, as a flow's `where:` is."""
    return _told(condition, lambda words, node: words.condition(node), "value", lookups)


def field_in_words(name: str) -> str:
    """`billing_address_country` is billing address country; of a path, its last name."""
    return name.rpartition(".")[2].replace("[]", "").replace("_", " ").strip() or name


def filter_words() -> Mapping[str, str]:
    """Filter -> its phrase."""
    return _table()


@cache
def _table() -> dict[str, str]:
    return {name: str(words) for name, words in tomllib.loads(_FILE.read_text("utf-8")).items()}


def _told(text: str, tell: Callable[[_Words, nodes.Node], str], value: str, lookups: Lookups) -> str:
    try:
        return tell(_Words(value, lookups), parse_rule(text))
    except (RuleError, _Unsayable, RecursionError):
        return f"as the rule {text} says"


class _Unsayable(Exception):
    """A part of an expression that has no words here."""


class _Words:
    """Says one expression. `value`: what the value itself is called."""

    def __init__(self, value: str, lookups: Lookups) -> None:
        self._value, self._lookups = value, lookups

    def rule(self, node: nodes.Node) -> str:
        """A whole rule; the value's own name is left out where only it is changed."""
        inner, phrases = self._chain(node)
        if phrases and isinstance(inner, nodes.Name) and inner.name == "value":
            goes_on = phrases[0].startswith(_CONTINUING)
            return _joined(self._value, phrases) if goes_on else ", ".join(phrases)
        if isinstance(inner, nodes.And | nodes.Not | nodes.Compare | nodes.Test) and not phrases:
            return f"yes if {self.condition(inner)}, otherwise no"
        if isinstance(inner, nodes.Const) and not phrases:
            return f"always {self.operand(inner)}"
        return self.operand(node)

    def condition(self, node: nodes.Node) -> str:
        """Something that is true or not."""
        match node:
            case nodes.And():
                return f"{self._bracketed(node.left)} and {self._bracketed(node.right)}"
            case nodes.Or():
                return f"{self._bracketed(node.left)} or {self._bracketed(node.right)}"
            case nodes.Not() if isinstance(node.node, nodes.Test) and node.node.name == "none":
                return f"{self.operand(node.node.node)} is not empty"
            case nodes.Not() if isinstance(node.node, nodes.Name | nodes.Getattr):
                return self._truth(node.node, is_true=False)
            case nodes.Not():
                return f"it is not so that {self.condition(node.node)}"
            case nodes.Compare():
                return self._comparison(node)
            case nodes.Test() if node.name in ("none", "defined"):
                return f"{self.operand(node.node)} is {'empty' if node.name == 'none' else 'known'}"
            case nodes.Const():
                return self.operand(node)
            case _:
                return self._truth(node, is_true=True)

    def operand(self, node: nodes.Node) -> str:
        """A value."""
        match node:
            case nodes.Const():
                return _constant(node.value)
            case nodes.Name():
                return self._value if node.name == "value" else field_in_words(node.name)
            case nodes.Getattr():
                return field_in_words(node.attr)
            case nodes.Getitem() if isinstance(node.arg, nodes.Const):
                return self._entry(node.node, node.arg.value)
            case nodes.Filter():
                inner, phrases = self._chain(node)
                return _joined(self.operand(inner), phrases)
            case nodes.CondExpr():
                other = self.operand(node.expr2) if node.expr2 is not None else "nothing"
                return f"{self.operand(node.expr1)} if {self.condition(node.test)}, otherwise {other}"
            case nodes.Concat(nodes=[first, nodes.Const(value=str(between)), second]) if between.strip() == "":
                return f"{self.operand(first)} and {self.operand(second)}, with {_constant(between)} between"
            case nodes.Concat():
                return " followed by ".join(self.operand(each) for each in node.nodes)
            case nodes.List() | nodes.Tuple():
                return _listed(self.operand(each) for each in node.items)
            case nodes.Neg():
                return f"minus {self.operand(node.node)}"
            case nodes.BinExpr() if type(node).__name__ in _CALCULATED:
                calculated = _CALCULATED[type(node).__name__]
                return f"{self._group(node.left)} {calculated} {self._group(node.right)}"
            case nodes.Or():
                return f"{self.operand(node.left)} or, if that is empty or zero, {self.operand(node.right)}"
            case nodes.And() | nodes.Not() | nodes.Compare() | nodes.Test():
                return f"whether {self.condition(node)}"
            case _:
                raise _Unsayable

    def _truth(self, node: nodes.Node, *, is_true: bool) -> str:
        name = self.operand(node)
        if name.startswith("is "):
            return f"it is {'' if is_true else 'not '}{name.removeprefix('is ')}"
        return f"{name} is {'yes' if is_true else 'no'}"

    def _chain(self, node: nodes.Node) -> tuple[nodes.Node, list[str]]:
        phrases: list[str] = []
        while isinstance(node, nodes.Filter) and node.node is not None:
            phrases.insert(0, self._phrase(node))
            node = node.node
        return node, phrases

    def _phrase(self, node: nodes.Filter) -> str:
        known = FILTERS.get(node.name)
        if known is None:
            raise _Unsayable
        words = _table().get(node.name)
        if words is None:
            sentence = known.doc.partition(":")[0].partition(". ")[0].strip().rstrip(".")
            return f"{node.name} ({sentence})"
        names = list(known.signature.parameters)[1:]
        given: dict[str, str] = {}
        for name, argument in zip(names, node.args, strict=False):
            given[name] = self._argument(node.name, name, argument)
        takes_all = bool(names) and known.signature.parameters[names[-1]].kind is Parameter.VAR_POSITIONAL
        if takes_all:
            given[names[-1]] = _listed(self.operand(each) for each in node.args[len(names) - 1 :])
        given |= {str(pair.key): self._argument(node.name, str(pair.key), pair.value) for pair in node.kwargs}
        for name in names:
            default = known.signature.parameters[name].default
            if name not in given and isinstance(default, int) and not isinstance(default, bool):
                given[name] = str(default)
        return _filled(words, given)

    def _argument(self, filter: str, name: str, node: nodes.Node) -> str:
        if filter == "when" and name == "condition":
            return self.condition(node)
        if filter == "lookup" and name == "table" and isinstance(node, nodes.Const):
            return self._lookup(str(node.value))
        if isinstance(node, nodes.Const) and node.value in ("", None):
            return ""
        return self.operand(node)

    def _lookup(self, table: str) -> str:
        rows = list(self._lookups.get(table, {}).items())
        shown = [f"“{key}” becomes “{value}”" for key, value in rows[:_MOST_ENTRIES]]
        more = len(rows) - len(shown)
        told = ", ".join(shown) + (f" and {more} more" if more else "")
        return f"“{table}”" + (f" ({told})" if told else "")

    def _comparison(self, node: nodes.Compare) -> str:
        left, told = node.expr, []
        for operand in node.ops:
            is_empty = isinstance(operand.expr, nodes.Const) and operand.expr.value in (None, "")
            right = "empty" if is_empty and operand.op in ("eq", "ne") else self.operand(operand.expr)
            told.append(f"{self.operand(left)} {_COMPARED[operand.op]} {right}")
            left = operand.expr
        return " and ".join(told)

    def _bracketed(self, node: nodes.Node) -> str:
        return f"({self.condition(node)})" if isinstance(node, nodes.And | nodes.Or) else self.condition(node)

    def _group(self, node: nodes.Node) -> str:
        return f"({self.operand(node)})" if isinstance(node, nodes.BinExpr) else self.operand(node)

    def _entry(self, owner: nodes.Node, key: object) -> str:
        if isinstance(owner, nodes.Name) and owner.name == "record":
            return field_in_words(str(key))
        place = f"part {key + 1}" if isinstance(key, int) and key >= 0 else f"the entry {key}"
        return f"{place} of {self.operand(owner)}"


def _joined(subject: str, phrases: Iterable[str]) -> str:
    told = subject
    for phrase in phrases:
        told += f"{' ' if phrase.startswith(_CONTINUING) else ', '}{phrase}"
    return told


def _filled(words: str, given: Mapping[str, str]) -> str:
    def optional(found: re.Match[str]) -> str:
        return found[1] if all(given.get(name) for name in _ARGUMENT.findall(found[1])) else ""

    return _ARGUMENT.sub(lambda found: given.get(found[1]) or "nothing", _OPTIONAL.sub(optional, words))


def _constant(value: object) -> str:
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, list | tuple):
        return _listed(_constant(each) for each in value)
    return "a line break" if value == "\n" else "a blank" if value == " " else f"“{value}”"


def _listed(parts: Iterable[str]) -> str:
    found = list(parts)
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}" if found else "nothing"
