"""A mapping rule: one Jinja expression, compiled once into Python closures and called per value.

People know Jinja's expressions from Ansible and dbt, so Sorbus has no language of its own. Only the parser is Jinja's:
the compiler (`sorbus.mapping.compile`) walks its syntax tree over a list of allowed nodes and rejects all others, so a
rule can't reach Python, and no template engine runs per record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, TemplateSyntaxError
from jinja2.nodes import Expr
from jinja2.parser import Parser

from sorbus.mapping.apply import EXPECTED
from sorbus.mapping.compile import Compiler, Scope
from sorbus.mapping.errors import RuleError
from sorbus.mapping.expression import Expression
from sorbus.mapping.generate import by_fields, by_record
from sorbus.mapping.quotes import straightened
from sorbus.schema import Kind

__all__ = ["Rule", "RuleError", "compile_rule"]

LONGEST = 2000
_JINJA = Environment(autoescape=False)  # noqa: S701 - parses expressions, renders nothing


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled rule: `rule(value, record)` returns the new value or raises RuleError, nothing else.

    `uses` are the fields it reads through `record.NAME`, `uses_value` whether it reads `value`, `result` the type of
    its result if known, and `is_pure` whether the same values always give the same result. `whole` is the compiled
    expression, `fast` the function generated from it.
    """

    text: str
    uses: frozenset[str]
    uses_value: bool
    is_pure: bool
    result: Kind | None
    whole: Expression = field(repr=False, compare=False)
    fast: Callable[[object, Mapping[str, object]], object] = field(repr=False, compare=False)

    def __call__(self, value: object, record: Mapping[str, object]) -> object:
        try:
            return self.fast(value, record)
        except EXPECTED:
            return self.exactly(value, record)

    def of_fields(self, fields: Sequence[str]) -> Callable[..., object]:
        """The same rule as `run(value, *fields)`, for callers whose fields (all that it uses) are not a dict."""
        fast, names = by_fields(self.whole, fields), tuple(fields)

        def run(value: object, *given: object) -> object:
            try:
                return fast(value, *given)
            except EXPECTED:
                return self.exactly(value, dict(zip(names, given, strict=True)))

        return run

    def exactly(self, value: object, record: Mapping[str, object]) -> object:
        """Runs the rule step by step: slower, but knows which step failed."""
        try:
            return self.whole.run(value, record)
        except RuleError:
            raise
        except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
            raise RuleError(f"the rule {self.text!r} can't take the value: {error}", value=value) from error


def compile_rule(
    text: str,
    *,
    lookups: Mapping[str, Mapping[str, str]],
    value_type: Kind | None = None,
    fields: Mapping[str, Kind | None] | None = None,
) -> Rule:
    """Compiles a rule; RuleError says what is wrong with it and what to write instead.

    `value_type` and `fields` (the record's fields) are the input types; None if unknown.
    """
    return compile_parsed(text, parse_rule(text), lookups=lookups, value_type=value_type, fields=fields)


def compile_parsed(
    text: str,
    parsed: Expr,
    *,
    lookups: Mapping[str, Mapping[str, str]],
    value_type: Kind | None = None,
    fields: Mapping[str, Kind | None] | None = None,
) -> Rule:
    """`compile_rule` for what `parse_rule` has read."""
    compiler = Compiler(Scope(lookups, value_type, fields))
    made = compiler.compile(parsed)
    return Rule(
        text,
        frozenset(compiler.uses),
        compiler.uses_value,
        compiler.is_pure,
        made.kind,
        made,
        by_record(made),
    )


def parse_rule(text: str) -> Expr:
    """The rule's syntax tree; RuleError."""
    if len(text) > LONGEST:
        raise RuleError(f"the rule is {len(text)} characters long", fix=f"keep it under {LONGEST}; use a lookup table")
    text = straightened(text)
    try:
        parser = Parser(_JINJA, text, state="variable")
        parsed = parser.parse_expression()
        if not parser.stream.eos:
            raise RuleError(
                f"the rule {text!r} continues after its end, at {parser.stream.current.value!r}",
                fix="a rule is one expression, such as: value | trim",
            )
    except TemplateSyntaxError as error:
        raise RuleError(
            f"the rule {text!r} can't be read: {error.message}", fix="a rule is one expression, such as: value | trim"
        ) from error
    except RecursionError as error:
        raise RuleError(f"the rule {text[:40]!r}… is nested too deeply", fix="take it apart") from error
    assert isinstance(parsed, Expr)
    return parsed
