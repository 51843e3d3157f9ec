"""Converts a rule's result to the canonical field's type and encodes it in Avro, in one step."""

from __future__ import annotations

import ast
from collections.abc import Callable
from decimal import Decimal

from sorbus.avro.encode import LENGTHS, NULL, SOME, SOME_LENGTHS, encode_unscaled, encoder, unscaled
from sorbus.mapping.convert import converter
from sorbus.mapping.generate import GeneratedNames, call, text_with_length
from sorbus.schema import FieldType


def avro_maker(to: FieldType) -> Callable[[object], bytes]:
    """Converts a value of any type to the field's Avro, like `convert` and `encoder`; ValueError or TypeError."""
    canonical, avro = converter(to), encoder(to)
    head = SOME_LENGTHS if to.nullable else LENGTHS
    last = len(head)

    def slowly(made: object) -> bytes:
        return avro(None if made is None else canonical(made))

    def text(made: object) -> bytes:
        if made.__class__ is str:
            raw = made.encode()
            size = len(raw)
            if size < last:
                return head[size] + raw
        elif made is None and to.nullable:
            return NULL
        return slowly(made)

    precision, scale, front = to.precision, to.scale, SOME if to.nullable else b""

    def decimal(made: object) -> bytes:
        if isinstance(made, Decimal):
            return front + encode_unscaled(unscaled(made, precision, scale))
        return slowly(made)

    return text if to.kind == "string" else decimal if to.kind == "decimal" else slowly


def avro_expression(names: GeneratedNames, to: FieldType, made: ast.expr, prefix: str) -> ast.expr:
    """`avro_maker` for `made`, as an expression inside a generated function."""
    if to.kind != "string":
        return call(names.of(avro_maker(to)), made)
    return text_with_length(names, made, SOME_LENGTHS if to.nullable else LENGTHS, avro_maker(to), prefix)
