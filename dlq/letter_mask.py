"""Dead letters as people may see them: what is personal is masked, in their bytes and in what was said of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.deadletter import DeadLetter
from sorbus.dlq.reader import Decoded
from sorbus.errors import MapError, UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.privacy.errors import Privacy, raw_privacy, rows_privacy
from sorbus.privacy.mask import masked, masked_record
from sorbus.privacy.raw import RawRow


class LetterMask:
    """Masks letters of one map."""

    def __init__(self, loaded: LoadedMap, book: SchemaResolver) -> None:
        self._loaded, self._book = loaded, book
        self._privacy: dict[tuple[str, str], Privacy] = {}

    def letter(self, letter: DeadLetter) -> DeadLetter:
        """The letter with its message and words masked; those of letters written by Sorbus are masked already."""
        if letter.data_type not in self._loaded.map.data_types:
            return letter
        privacy = self._of(letter)
        told = [privacy.words(text, letter.field, letter.record_id, letter.value) for text in _texts(letter)]
        return replace(letter, message=told[0], words=told[1])

    def content(self, letter: DeadLetter, decoded: Decoded) -> Decoded:
        """What the letter's bytes hold, with personal fields masked, and columns that no mapping says are not."""
        if decoded.record is None:
            return decoded
        schema = self._loaded.schema(letter.data_type)
        if letter.flow:
            return replace(decoded, record=masked_record(decoded.record, schema.fields))
        try:
            row: object = json.loads(letter.value or b"null")
        except ValueError:
            return replace(decoded, record={"row": masked((letter.value or b"").decode(errors="replace"))})
        rows = self._loaded.source_rows(letter.system, letter.data_type)
        shown = RawRow(schema, rows, self._resources(letter)).masked(row, letter.record_id.decode(errors="replace"))
        return replace(decoded, record={"row": json.dumps(shown, ensure_ascii=False)})

    def _of(self, letter: DeadLetter) -> Privacy:
        known = self._privacy.get((letter.data_type, letter.flow))
        return known or self._privacy.setdefault((letter.data_type, letter.flow), self._make(letter))

    def _make(self, letter: DeadLetter) -> Privacy:
        schema = self._loaded.schema(letter.data_type)
        if letter.flow:
            return rows_privacy(schema, self._loaded.target_rows(letter.system, letter.data_type), self._book.schema)
        rows = self._loaded.source_rows(letter.system, letter.data_type)
        return raw_privacy(schema, rows, self._resources(letter))

    def _resources(self, letter: DeadLetter) -> Mapping[str, str]:
        """Which part of the source holds what; nothing, and so all columns masked, where secrets aren't at hand, or the
        letter is of no system of the map: of one that was removed, or a foreign message.
        """
        try:
            options = self._loaded.source(letter.data_type).options
            return self._loaded.producer(letter.system).resources_of(options)
        except (MapError, UsageError):
            return {}


def _texts(letter: DeadLetter) -> tuple[str, str]:
    return letter.message, letter.words
