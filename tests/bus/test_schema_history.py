"""A schema id keeps its first meaning, whatever becomes of the registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

import pytest

from sorbus.bus import schema_history
from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.bus.registration import keep_local, register
from sorbus.bus.registry import Version
from sorbus.bus.schema_history import SchemaHistory
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.errors import PermanentError, SchemaError, TransientError
from sorbus.event import confluent_prefix, envelope_schema
from sorbus.ops.embedded import Addresses
from sorbus.ops.runtime.topics import Topic, plan_topics
from sorbus.schema import RecordSchema, parse_schema
from sorbus.settings import Settings

TEXT, NUMBER = {"name": "a", "type": "string"}, {"name": "b", "type": "string"}


class Forgetful:
    """A registry whose ids begin again at 1, as the real one's do in tests/acceptance/test_runbooks.py."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.subjects: dict[str, list[str]] = {}

    def register(self, subject: str, schema: str) -> int:
        versions = self.subjects.setdefault(subject, [])
        if schema not in versions:
            versions.append(schema)
        return self.ids.setdefault(schema, len(self.ids) + 1)

    def schema(self, number: int) -> str | None:
        return next((text for text, id in self.ids.items() if id == number), None)

    def knows(self, subject: str, schema: str) -> bool:
        return schema in self.subjects.get(subject, [])

    def latest(self, subject: str) -> tuple[int, str] | None:
        versions = self.subjects.get(subject)
        return (len(versions), versions[-1]) if versions else None

    def versions(self, subject: str) -> list[Version]:
        return [Version(n, self.ids[text], text) for n, text in enumerate(self.subjects.get(subject, []), 1)]

    def is_compatible(self, subject: str, schema: str) -> bool:
        return True

    def level(self, subject: str) -> str | None:
        return None

    def set_level(self, subject: str, level: str) -> None:
        """Nothing depends on it."""


def record(name: str, *fields: object) -> RecordSchema:
    return parse_schema({"type": "record", "name": name, "fields": list(fields)})  # type: ignore[arg-type]


SCHEMAS = {
    "part": [record("part", TEXT, NUMBER), record("part", NUMBER, TEXT), record("part", TEXT)],
    "order": [record("order", TEXT, NUMBER), record("order", NUMBER)],
}


@pytest.fixture
def settings(stack: Addresses) -> Settings:
    return Settings(kafka=stack.kafka, registry=stack.registry)


@pytest.fixture
def names(settings: Settings, unique: str) -> Names:
    found = Names(f"{unique}.")
    for step in plan_topics(admin(settings), [Topic(found.schemas, 1, {"cleanup.policy": "compact"})]):
        assert step.apply is not None
        step.apply()
    return found


@pytest.fixture
def fresh(settings: Settings, names: Names) -> Callable[[], SchemaHistory]:
    """What a process that has just started knows."""
    return lambda: SchemaHistory(settings, names)


@pytest.mark.parametrize("seed", [2, 5])  # more, to look for more: 1 to 20 were seen
def test_no_head_ever_stands_for_two_schemas(names: Names, fresh: Callable[[], SchemaHistory], seed: int) -> None:
    dice, registry, history, ledger = Random(seed), Forgetful(), fresh(), dict[bytes, str]()
    for _ in range(12):
        if dice.random() < 0.3:
            registry = Forgetful()
        if dice.random() < 0.2:
            history = fresh()
        data_type = dice.choice(list(SCHEMAS))
        schema = dice.choice(SCHEMAS[data_type])
        head = register(registry, history, names.subject(data_type), envelope_schema(schema).text)
        assert ledger.setdefault(head, schema.text) == schema.text, f"seed {seed}: {head.hex()} has two meanings"
    reader = fresh()
    for head, text in ledger.items():
        found = reader.schema(head)
        assert found is not None
        assert found.record.text == text
    assert len(ledger) > 2


def test_what_an_earlier_release_registered_is_taken_over(names: Names, fresh: Callable[[], SchemaHistory]) -> None:
    old, new = SCHEMAS["part"][:2]
    registry = Forgetful()
    registry.register(names.subject("part"), '{"type": "record", "name": "foreign", "fields": []}')
    before = confluent_prefix(registry.register(names.subject("part"), envelope_schema(old).text))
    register(registry, fresh(), names.subject("part"), envelope_schema(new).text)
    found = fresh().schema(before)
    assert found is not None
    assert found.record == old


def test_an_id_with_two_meanings_is_not_decoded(
    settings: Settings, names: Names, fresh: Callable[[], SchemaHistory]
) -> None:
    """As when the topic was lost together with the registry, and both were filled by different hands."""
    one, other = SCHEMAS["part"][:2]
    left, right = fresh(), fresh()
    heads = {register(Forgetful(), left, names.subject("part"), envelope_schema(one).text)}
    right.read = right.known = dict  # type: ignore[method-assign,assignment]  # it has seen nothing of the other
    heads.add(register(Forgetful(), right, names.subject("part"), envelope_schema(other).text))
    (head,) = heads
    with pytest.raises(SchemaError, match="written with different schemas"):
        SchemaResolver(settings, names).schema(head)


def test_what_an_older_schema_wrote_is_read_under_todays_names(
    settings: Settings, names: Names, fresh: Callable[[], SchemaHistory]
) -> None:
    older = record("part", TEXT)
    head = register(Forgetful(), fresh(), names.subject("part"), envelope_schema(older).text)
    today = record("part", {"name": "title", "type": "string", "aliases": ["a"]})
    assert list(SchemaResolver(settings, names, [today]).schema(head).by_name) == ["title"]
    assert list(SchemaResolver(settings, names, [older]).schema(head).by_name) == ["a"]


def test_a_scale_that_avros_fingerprint_ignores_is_refused_without_a_registry(
    names: Names, fresh: Callable[[], SchemaHistory]
) -> None:
    def amount(scale: int) -> RecordSchema:
        kind = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": scale}
        return envelope_schema(record("part", {"name": "amount", "type": kind}))

    assert amount(2).fingerprint == amount(4).fingerprint
    head = keep_local(fresh(), names.subject("part"), amount(2))
    assert keep_local(fresh(), names.subject("part"), amount(2)) == head
    with pytest.raises(SchemaError, match="amount changed"):
        keep_local(fresh(), names.subject("part"), amount(4))


def test_without_the_topic_nothing_is_published(settings: Settings, unique: str) -> None:
    history = SchemaHistory(settings, Names(f"{unique}."))
    assert history.schema(b"\0\0\0\0\1") is None
    with pytest.raises(TransientError, match="run `sorbus apply`"):
        register(Forgetful(), history, "x-value", envelope_schema(SCHEMAS["part"][0]).text)


def test_an_event_of_another_data_type_is_not_decoded(settings: Settings, names: Names) -> None:
    part, order = SCHEMAS["part"][0], SCHEMAS["order"][0]
    head = SchemaResolver(settings, names).prefix("part", part)
    schema_history._opened.clear()
    assert SchemaResolver(settings, names, [part]).schema(head).encoding == part.encoding
    with pytest.raises(PermanentError, match="says part, not order"):
        SchemaResolver(settings, names, [order]).schema(head)


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"doc": "another"}, True),
        ({"default": "x"}, True),
        ({"type": ["null", "string"]}, False),
        ({"type": {"type": "string", "logicalType": "uuid"}}, False),
        ({"name": "b"}, False),
        ({"type": {"type": "enum", "name": "e", "symbols": ["x", "y"]}}, False),
    ],
    ids=json.dumps,
)
def test_what_decides_the_bytes_and_their_meaning(change: dict[str, object], is_same: bool) -> None:
    assert (record("part", TEXT).encoding == record("part", {**TEXT, **change}).encoding) is is_same
