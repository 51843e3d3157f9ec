"""The fields of a flow's target in words: what each comes from, and what is changed on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from sorbus.map.render.lineage import KEY, FieldPath
from sorbus.mapfile.model import Map
from sorbus.mapping.plain_words import field_in_words, rule_in_words


class FieldWords(NamedTuple):
    """A target's field, what it comes from, and what is changed on the way. `paths`: the rules as written."""

    target: str
    source: str
    words: str
    notes: str
    paths: Sequence[FieldPath] = ()

    @property
    def is_notable(self) -> bool:
        return self.words != "unchanged" or bool(self.notes)

    @property
    def alone(self) -> str:
        return self.target if self.source == self.target else f"{self.target} (from {self.source})"


def fields_in_words(paths: Sequence[FieldPath], company: Map) -> Iterator[FieldWords]:
    """One for each field of the target; a rule that reads several fields has a path from each, its value's first."""
    for (target, after), found in groupby(paths, lambda path: (path.target_field, path.steps[2])):
        yield _field(target.rpartition(".")[2], after, list(found), company)


def _field(target: str, after: str, paths: Sequence[FieldPath], company: Map) -> FieldWords:
    first = paths[0]
    is_empty = not first.source_field and bool(first.steps[1])
    if is_empty and not after:
        return FieldWords(target, "(nothing)", f"always {first.default}" if first.default else "stays empty", "", paths)
    done, sources = [], []
    for path in paths:
        names = [name.strip().rpartition(".")[2] for name in path.source_field.split(",")]
        read = [f"the record's ID in {path.source_system}"] if path.source_field == KEY else names
        sources += [name for name in read if name and name not in sources]
        before = rule_in_words(path.steps[0], field_in_words(read[0] or path.steps[1]), company.lookups)
        if before != "unchanged":
            done.append(before if len(paths) == 1 else f"{', '.join(read)}: {before}")
    value = "the result" if done and len(paths) == 1 else field_in_words(first.steps[1])
    last = rule_in_words(after, value, company.lookups)
    done += [last] if last != "unchanged" else []
    notes = "; ".join(dict.fromkeys(note for path in paths for note in path.notes.split("; ") if note))
    return FieldWords(target, ", ".join(sources) or "(nothing)", "; then ".join(done) or "unchanged", notes, paths)
