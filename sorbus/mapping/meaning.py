"""Whether the map makes the same of a source's records as when they were published: else they are published again."""

from __future__ import annotations

import json
from collections.abc import Collection
from hashlib import blake2b

from sorbus.connector import BoundSource


def meaning_of(source: BoundSource, options: Collection[str]) -> str:
    """A digest of the rows, of the lookup tables that their rules name, and of these of the `source:` options.

    Without the schema: a new optional field in Sorbus would publish every company's records again.
    """
    rows = sorted((row.source_field, row.target_field, row.rule) for row in source.mapping)
    rules = " ".join(rule for _, _, rule in rows)
    lookups = {name: table for name, table in source.lookups.items() if name in rules}
    chosen = source.options.model_dump(mode="json", include=set(options))
    told = json.dumps([rows, lookups, chosen], sort_keys=True)
    return blake2b(told.encode(), digest_size=16).hexdigest()
