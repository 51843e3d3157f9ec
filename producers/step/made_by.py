"""By which rules a step made its records: those made before the map changed stay until they are made again."""

from __future__ import annotations

import json
from hashlib import blake2b

from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.bus.positions import read_positions
from sorbus.bus.topic_facts import topic_facts
from sorbus.connector import BoundSource, BoundSystem, Position
from sorbus.producers.step.options import StepSource
from sorbus.settings import Settings

KEY = "made_by"
"""Where the position keeps the digest of the rules by which everything was made last."""
_RULES = {"source", "where", "per", "sum", "count", "lines", "lists"}


def made_by(source: BoundSource) -> str:
    """A digest of everything that decides what the step makes of a record."""
    step = source.options
    assert isinstance(step, StepSource)
    assert source.reads is not None
    rows = [(row.source_field, row.target_field, row.rule) for row in source.mapping]
    rules = step.model_dump(mode="json", include=_RULES)
    parts = [source.schema.text, source.reads.text, rows, source.lookups, rules]
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()


def is_outdated(source: BoundSource, stored: Position) -> bool:
    """Whether some was made by other rules. Sums are made again at each start."""
    step = source.options
    assert isinstance(step, StepSource)
    return not step.per and stored.get(KEY) not in (None, made_by(source))


def outdated_words(source: BoundSource) -> str:
    """What a person does about it."""
    step = source.options
    assert isinstance(step, StepSource)
    return (
        f"{step.id} has changed: each {step.makes} that it made before stays as it is until its {step.source} changes;"
        f" `sorbus plan {step.id}` counts what would differ, and `sorbus backfill {step.makes}` makes all again"
    )


def stored_position(system: BoundSystem, step: str) -> Position:
    """Where the step has got to; empty before it has begun. TransientError, AuthError."""
    settings, names = Settings(), Names(system.topic_prefix)
    if not topic_facts(admin(settings), [names.positions]):
        return {}
    return read_positions(settings, names).get(step, {})
