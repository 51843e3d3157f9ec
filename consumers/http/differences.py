"""What of a linked record differs from what its owner has, and whether people or we have made it so."""

from __future__ import annotations

from collections.abc import Iterator

from sorbus.conflict.store import KEPT, Conflicts, Contest, Standing
from sorbus.consumers.http.actions import Action, Hold, Note, UpdateRecord
from sorbus.consumers.http.compare import Fields, differing, same
from sorbus.consumers.http.shape import Shape
from sorbus.http_api.interface import FoundRecord, Json
from sorbus.http_api.path import read_path
from sorbus.identity.crosswalk import Link


class Differences:
    """Those of one flow's records."""

    def __init__(self, system: str, shape: Shape, conflicts: Conflicts, *, asks: bool) -> None:
        """`system`: the target's name. `asks`: a person decides on what people have changed there."""
        self._to, self._shape, self._conflicts, self._asks = system, shape, conflicts, asks

    def decide(self, id: str, link: Link, changes: Fields, wanted: Fields, current: FoundRecord) -> Action:
        """What to do about values that differ: ours to send, or changed there by people."""
        assert link.external_id is not None
        standing = self._conflicts.standing(id)
        kept = {
            path: read_path(current.record, path)
            for path in changes
            if (verdict := standing.verdicts.get(path)) is not None
            and verdict.state == "keep"
            and self._same(path, verdict.ours, wanted.get(path))
        }
        changes = {path: value for path, value in changes.items() if path not in kept}
        fields = {**wanted, **kept}
        if not changes:
            return Note(f"{KEPT} {', '.join(kept)}", fields)
        contests = tuple(self._contests(changes, link, current, standing))
        asked = tuple(one for one in contests if not self._is_decided(one, standing)) if self._asks else ()
        if asked:
            names = ", ".join(one.field for one in asked)
            return Hold(f"{names} was changed in {self._to} by hand", link.external_id, asked)
        why = "it differs from its owner's"
        return UpdateRecord(why, link.external_id, changes, fields, current, contests)

    def _contests(self, changes: Fields, link: Link, current: FoundRecord, standing: Standing) -> Iterator[Contest]:
        """Fields whose value is neither ours of last time nor ours of now, nor one that was under way."""
        sent = link.sent
        for path, ours in changes.items():
            if not isinstance(sent, dict) or path not in sent or path in standing.rewritten or self._is_hidden(path):
                continue
            theirs = read_path(current.record, path)
            if not any(self._same(path, value, theirs) for value in (sent[path], *link.sending.get(path, ()))):
                yield Contest(path, sent[path], theirs, ours)

    def _is_decided(self, contest: Contest, standing: Standing) -> bool:
        """Whether a person has seen what people made of it there: the owner's newer value goes over that, too."""
        verdict = standing.verdicts.get(contest.field)
        if verdict is None or verdict.state not in ("overwrite", "keep"):
            return False
        return self._same(contest.field, verdict.theirs, contest.theirs)

    def _same(self, path: str, ours: Json, theirs: Json) -> bool:
        return same(ours, theirs, self._shape.resource.fields.get(path), self._shape.items.get(path))

    def changes(self, id: str, fields: Fields, current: FoundRecord, sent: Json) -> Fields:
        """The fields to send. A record without our mark gets it, unless people use that field.

        What can't be read is compared with what was `sent` last, and goes along with a whole record.
        """
        resource = self._shape.resource
        changes = differing(fields, current.record, resource.fields, self._shape.items)
        hidden = {path: value for path, value in fields.items() if self._is_hidden(path) and not self._is_fixed(path)}
        is_whole = bool(changes) and resource.update is not None and not resource.update.partial
        was = sent if isinstance(sent, dict) else {}
        changes |= {path: value for path, value in hidden.items() if is_whole or path not in was or was[path] != value}
        marker = self._shape.marker
        if marker and marker not in fields and not self._is_fixed(marker) and not read_path(current.record, marker):
            changes = {**changes, marker: id}
        return changes

    def _is_hidden(self, path: str) -> bool:
        field = self._shape.resource.fields.get(path)
        return field is not None and field.write_only

    def _is_fixed(self, path: str) -> bool:
        field = self._shape.resource.fields.get(path)
        return field is not None and (field.once or field.read_only)
