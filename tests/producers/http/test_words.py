"""What is said of a value that can't be canonical, in words of the office."""

from __future__ import annotations

import json

import pytest

from sorbus.producers.polling.json_shape import _refusal
from sorbus.schema import parse_schema
from tests.producers.http.desk import CONTACT


@pytest.mark.parametrize("half", ["Happy \ud83d", "\ude00 first", "a\udc00b"])
def test_half_a_character_is_named_and_no_codec(half: str) -> None:
    name = parse_schema(json.dumps({"type": "record", "name": "contact", "fields": CONTACT})).fields[0]
    with pytest.raises(UnicodeEncodeError) as caught:
        half.encode()
    said = str(_refusal(name, None, None, {"name": half}, caught.value))
    assert said.startswith("field name: it holds half of a character")
    assert "codec" not in said
    said.encode()
