"""A flow as its page tells it: from where, which fields, whose change of each counts, what happens when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sorbus.map.loaded import LoadedMap
from sorbus.map.render.diagram import Arrow, arrows
from sorbus.map.render.lineage import paths_back, paths_of
from sorbus.map.render.pages.field_words import FieldWords, fields_in_words
from sorbus.map.render.pages.flow_words import failures
from sorbus.map.render.pages.shared_fields import whose_change_counts
from sorbus.mapfile.model import Flow
from sorbus.two_way.expand import TwoWay


@dataclass(frozen=True, slots=True)
class FlowDescription:
    """`sources`: the systems that it comes from; `back`: what a two-way flow brings back, told of its way back."""

    sources: tuple[str, ...]
    text: str
    fields: tuple[FieldWords, ...]
    failures: tuple[str, ...]
    two_way: TwoWay | None = None
    back: tuple[FieldWords, ...] = ()

    def whose(self, field: FieldWords) -> str:
        """Whose change of a field counts, in a two-way data type; "" elsewhere."""
        if self.two_way is None:
            return ""
        name = next((path.steps[1].rpartition(".")[2] for path in field.paths if path.steps[1]), "")
        first = self.two_way.system_of_record
        if name in ("", "id"):
            return ""
        alone = f"{first} decides; what is changed elsewhere is replaced by the value of {first}"
        return whose_change_counts(self.two_way, name) or alone


def source_in_words(loaded: LoadedMap, arrow: Arrow) -> str:
    """The system that a flow comes from, as people wrote it; of a way back all that it comes from."""
    return ", ".join(_sources(loaded, arrow))


def describe_flow(loaded: LoadedMap, flow: Flow) -> FlowDescription:
    """A flow of the map with its two-way parts, described."""
    written = loaded.as_written
    arrow = next(one for one in arrows(loaded.map) if one.flow == flow.id)
    two_way = loaded.two_way.get(flow.data_type) if flow.direction == "two-way" else None
    told = tuple(failures(written.map, flow)) if flow.none is None else ()
    if two_way is not None and flow.id == two_way.back:
        fields = tuple(_brought_back(loaded, two_way))
        return FlowDescription(_sources(loaded, arrow), arrow.text, fields, told, two_way)
    drawn = next(one for one in arrows(written.map) if one.flow == flow.id)
    fields = tuple(fields_in_words(paths_of(written, flow, drawn), written.map))
    back = tuple(fields_in_words(paths_back(written, flow, drawn), written.map)) if two_way is not None else ()
    return FlowDescription(_sources(loaded, arrow), arrow.text, fields, told, two_way, back)


def _sources(loaded: LoadedMap, arrow: Arrow) -> tuple[str, ...]:
    two_way = loaded.two_way.get(arrow.data_type)
    if two_way is None or arrow.source != two_way.merge:
        return (arrow.source,)
    return tuple(two_way.flows) if arrow.flow == two_way.back else (two_way.system_of_record,)


def _brought_back(loaded: LoadedMap, two_way: TwoWay) -> Iterator[FieldWords]:
    """The fields of the system of record that other systems change: one each, whichever system it comes from."""
    written = loaded.as_written
    found: dict[str, list[FieldWords]] = {}
    for drawn in arrows(written.map):
        if drawn.flow in {flow.id for flow in two_way.flows.values()}:
            paths = paths_back(written, written.map.flow(drawn.flow), drawn)
            for field in fields_in_words(paths, written.map):
                found.setdefault(field.target, []).append(field._replace(source=f"{drawn.target}: {field.source}"))
    for target, fields in found.items():
        words = list(dict.fromkeys(field.words for field in fields))
        if len(words) > 1:
            words = [f"{field.source.partition(':')[0]}: {field.words}" for field in fields]
        yield FieldWords(
            target,
            "; ".join(field.source for field in fields),
            "; ".join(words),
            "; ".join(dict.fromkeys(field.notes for field in fields if field.notes)),
            [path for field in fields for path in field.paths],
        )
