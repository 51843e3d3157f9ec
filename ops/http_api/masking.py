"""A sample record with personal values masked."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from sorbus.http_api.interface import Record
from sorbus.http_api.values import dump_json
from sorbus.map.loaded import LoadedMap
from sorbus.ops.http_api.sample import Sample
from sorbus.privacy.errors import source_privacy
from sorbus.privacy.mask import masked, masked_record, personal_names
from sorbus.privacy.raw import RawRow


def masked_sample(loaded: LoadedMap, system: str, sample: Sample) -> Sample:
    """The sample as the map's mapping and schema say what in it is personal; all of it where neither is about it."""
    if not sample.data_type:
        return replace(sample, raw=cast("Record", masked(sample.raw)))
    source = loaded.source(sample.data_type)
    if not personal_names(source.schema.fields):
        return sample
    resources = loaded.producer(system).resources_of(source.options)
    raw = RawRow(source.schema, source.mapping, resources).masked(sample.raw)
    content = dump_json(sample.raw).encode()
    why_not = source_privacy(source, resources).words(sample.why_not, "", b"", content)
    canonical = None if sample.canonical is None else masked_record(sample.canonical, source.schema.fields)
    return replace(sample, raw=cast("Record", raw), canonical=canonical, why_not=why_not)
