"""Duplicate candidates with personal values masked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sorbus.identity.candidates import DuplicateCandidate
from sorbus.map.loaded import LoadedMap
from sorbus.privacy.mask import masked_text, personal_names
from sorbus.privacy.words import without
from sorbus.schema import RecordSchema


def masked_candidate(loaded: LoadedMap, candidate: DuplicateCandidate) -> DuplicateCandidate:
    """The candidate with every field masked that its data type doesn't know as one that isn't personal."""
    if candidate.data_type not in loaded.map.data_types:
        return candidate
    schema = loaded.schema(candidate.data_type)
    personal = personal_names(schema.fields)
    if not personal:
        return candidate
    found = [candidate.fields, *(doubt.fields for doubt in candidate.doubts)]
    values = [text for fields in found for name, text in fields.items() if _is_hidden(schema, personal, name)]
    doubts = tuple(
        replace(
            doubt,
            reasons=tuple(without(reason, values) for reason in doubt.reasons),
            fields=_masked(schema, personal, doubt.fields),
        )
        for doubt in candidate.doubts
    )
    fields = _masked(schema, personal, candidate.fields)
    return replace(candidate, why=without(candidate.why, values), fields=fields, doubts=doubts)


def _masked(schema: RecordSchema, personal: frozenset[str], fields: Mapping[str, str]) -> dict[str, str]:
    return {name: masked_text(text) if _is_hidden(schema, personal, name) else text for name, text in fields.items()}


def _is_hidden(schema: RecordSchema, personal: frozenset[str], name: str) -> bool:
    return name in personal or name not in schema.by_name
