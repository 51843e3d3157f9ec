"""What a rule gives, made the canonical field's value and its Avro in one go."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from sorbus.avro.encode import LENGTHS, NULL, SOME, SOME_LENGTHS, encode_unscaled, encoder, unscaled
from sorbus.mapping.convert import converter
from sorbus.schema import FieldType


def avro_maker(to: FieldType) -> Callable[[object], bytes]:
    """A value of any kind to the field's Avro, as `convert` and `encoder` do it; ValueError or TypeError."""
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

    def decimal(made: object) -> bytes:
        if isinstance(made, Decimal):
            unit = unscaled(made, to.precision, to.scale)
            return SOME + encode_unscaled(unit) if to.nullable else encode_unscaled(unit)
        return slowly(made)

    return text if to.kind == "string" else decimal if to.kind == "decimal" else slowly
