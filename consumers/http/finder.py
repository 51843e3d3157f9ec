"""Finding a record that the application has already, before making another one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock

from sorbus.consumers.http.compare import Fields, differing, same
from sorbus.consumers.http.local_match import Listed
from sorbus.consumers.http.options import HttpTarget
from sorbus.consumers.http.presence import Presence
from sorbus.consumers.http.search_folding import Spelling
from sorbus.consumers.http.shape import Shape, Wanted
from sorbus.http_api.interface import Api, CutShort, Json, Record
from sorbus.http_api.path import is_null, path_ending, read_path
from sorbus.identity.blocking_index import BlockingIndex
from sorbus.identity.crosswalk import Crosswalk
from sorbus.identity.match import Candidate, Matcher

_RECENT = 10_000
_STRIPES = 512
_NOTHING: tuple[Json, ...] = (None, "", [], {})


class Finder:
    """What of one resource could be a record of ours. Safe for threads."""

    def __init__(
        self, api: Api, presence: Presence, options: HttpTarget, shape: Shape, matcher: Matcher, crosswalk: Crosswalk
    ) -> None:
        self._api, self._presence, self._resource, self._shape = api, presence, options.resource, shape
        self._matcher, self._crosswalk = matcher, crosswalk
        self.keys = [key for key in matcher.keys if key in shape.into]
        """The match keys that the application has a field for."""
        self._recent = BlockingIndex(matcher)
        self._order: dict[str, None] = {}
        self._recent_lock = Lock()
        self._listed = Listed(api, options, shape, matcher, self.view)
        self._locks = [Lock() for _ in range(_STRIPES)]
        self._unsearchable: set[str] = set()
        self._unshown = {shape.into[key] for key in self.keys}
        self._elsewhere: dict[str, str] = {}
        self._spelling = Spelling(
            api, options.resource, shape.resource, matcher, lambda most: crosswalk.others("", most)
        )

    def marked(self, id: str) -> list[Candidate] | None:
        """Records that carry our id, as the application has them now; None if it can't be asked."""
        marker = self._shape.marker
        found = self._search(marker, id) if marker else None
        if found is None:
            return None
        marked = [self._candidate(one) for one in found if str(read_path(one, marker)) == id]
        # Another data type's record may have the same id, and so the same mark.
        owners, ours = self._crosswalk.owners_of([one.external_id for one in marked]), self._crosswalk.data_type
        return [one for one in marked if one.external_id not in owners or owners[one.external_id].data_type == ours]

    def is_borne_out(self, marked: Candidate, *states: Fields) -> bool:
        """Whether what carries our id also has a match key, or most of the values, of one of `states` of our record.

        The mark alone proves nothing: applications number such a field themselves (a party's code), and people fill it.
        """
        fields = self._shape.resource.fields
        telling = {
            field: into
            for field, into in self._shape.into.items()
            if into != self._shape.marker and not (into in fields and fields[into].write_only)
        }
        for state in states:
            ours = {field: state[into] for field, into in telling.items() if state.get(into) not in _NOTHING}
            if self._share_key(ours, [marked]):
                return True
            both = [field for field in ours if marked.fields.get(field) not in _NOTHING]
            equal = sum(same(ours[one], marked.fields[one], fields.get(telling[one])) for one in both)
            if not ours or 2 * equal > len(both):
                return True
        return False

    def candidates(self, wanted: Wanted, *, now: bool = False) -> list[Candidate] | None:
        """Records that may be this one; None if nothing the application can be asked would show them all.

        `now`: what is only remembered from the last reading is not enough. Where a search heeds how a key is written,
        or is cut short, the list is read besides.
        """
        ours = self.wanted_view(wanted)
        found: dict[str, Candidate] = {}
        asked: set[tuple[str, str]] = set()
        is_whole = True
        for field, value in self._matcher.queries(ours):
            into = self._shape.into.get(field)
            if into is None:
                continue
            is_key = field in self.keys
            is_heeded = is_key and into in self._shape.resource.search and self._spelling.is_heeded(field, into)
            is_whole &= is_heeded is not True
            for spelled in (value,) if is_heeded is False else dict.fromkeys((value, value.lower(), value.upper())):
                as_asked = into, spelled.casefold() if is_heeded is False else spelled
                if as_asked in asked:
                    continue
                asked.add(as_asked)
                records = self._search(into, spelled)
                found |= {self._id(one): self._candidate(one) for one in records or ()}
                is_whole &= not is_key or (records is not None and not isinstance(records, CutShort))
        if not is_whole:
            more = self._listed.like(ours, now=now)
            if more is None and not self._share_key(ours, found.values()):
                return None
            found |= {one.external_id: one for one in more or ()}
        with self._recent_lock:
            recent = self._recent.near(ours)
        for one in recent:
            found.setdefault(one.external_id, one)
        return list(found.values())

    def alike(self, sent: Fields) -> list[str] | None:
        """The external ids of those that have all of `sent` and are nobody's yet; None if all can't be read."""
        if self._shape.resource.list is None:
            return None
        given = {path: value for path, value in sent.items() if value not in _NOTHING}
        records = self._listed.read(
            lambda record: not differing(given, record, self._shape.resource.fields, self._shape.items)
        )
        if records is None:
            return None
        found = [self._id(record) for record in records]
        taken = self._crosswalk.owners_of(found)
        return [external_id for external_id in found if external_id not in taken]

    @property
    def why_unlisted(self) -> str:
        """What shows that the list isn't whole, as the end of "it can't be listed"; "" where nothing does."""
        return f" in whole ({self._listed.why_short})" if self._listed.why_short else ""

    def as_sent(self, candidates: Sequence[Candidate], sent: Fields) -> list[str]:
        """The external ids of those that have every value that was sent and can be read."""
        fields = self._shape.resource.fields
        given = [
            (field, into)
            for field, into in self._shape.into.items()
            if sent.get(into) not in (None, "") and not (into in fields and fields[into].write_only)
        ]
        return [
            one.external_id
            for one in candidates
            if all(same(sent[into], one.fields.get(field), fields.get(into)) for field, into in given)
        ]

    def made(self, external_id: str, wanted: Wanted) -> None:
        """We have just made it: a search may not know it yet."""
        with self._recent_lock:
            self._recent.add(Candidate(external_id, self.wanted_view(wanted)))
            self._order[external_id] = None
            if len(self._order) > _RECENT:
                oldest = next(iter(self._order))
                del self._order[oldest]
                self._recent.discard(oldest)

    def is_lost(self, external_id: str) -> bool:
        """Whether a record that we only remember is there no more; it is forgotten then."""
        with self._recent_lock:
            is_remembered = external_id in self._order or external_id in self._listed
        if not is_remembered or self._presence.own(external_id) is not None:
            return False
        with self._recent_lock:
            self._order.pop(external_id, None)
            self._recent.discard(external_id)
        self._listed.discard(external_id)
        return True

    def forms(self, wanted: Wanted) -> set[tuple[str, str]]:
        """The record's match keys, each with its value as values are compared."""
        traits = self._matcher.traits(self.wanted_view(wanted))
        return {(key, form) for key in self.keys if (form := traits.form(key)) is not None}

    @contextmanager
    def alone(self, wanted: Wanted) -> Iterator[None]:
        """Keeps two records with a match key in common from being looked for, and made, at the same time."""
        with ExitStack() as held:
            for stripe in sorted({hash(form) % _STRIPES for form in self.forms(wanted)}):
                held.enter_context(self._locks[stripe])
            yield

    def taken(self, candidates: Collection[Candidate], id: str) -> dict[str, str]:
        """Those linked to another record than `id`: external id -> which one, with its data type if another."""
        owners = self._crosswalk.owners_of([one.external_id for one in candidates])
        ours = self._crosswalk.data_type
        return {
            external_id: owner.id if owner.data_type == ours else f"{owner.data_type} {owner.id}"
            for external_id, owner in owners.items()
            if owner != (ours, id)
        }

    def wanted_view(self, wanted: Wanted) -> Mapping[str, object]:
        """Our record by canonical names, its values as the application would hold them."""
        mapped = {field: wanted.fields[into] for field, into in self._shape.into.items() if into in wanted.fields}
        return {**wanted.record, **mapped}

    def view(self, record: Record) -> Mapping[str, object]:
        """The application's record by canonical names."""
        for into in tuple(self._unshown):
            if read_path(record, into) is not None or is_null(record, into):
                self._unshown.discard(into)
            elif into not in self._elsewhere and (elsewhere := path_ending(record, into)) is not None:
                self._elsewhere[into] = elsewhere
        return {field: read_path(record, into) for field, into in self._shape.into.items()}

    def misplaced(self) -> Iterator[tuple[str, str]]:
        """The match fields that no record seen so far shows, each with where records show one of that name."""
        yield from ((into, self._elsewhere[into]) for into in sorted(self._unshown) if into in self._elsewhere)

    def _share_key(self, ours: Mapping[str, object], candidates: Collection[Candidate]) -> bool:
        keys = {(key, form) for key in self.keys if (form := self._matcher.normalise(key, ours.get(key))) is not None}
        return any(
            self._matcher.normalise(key, one.fields.get(key)) == form for one in candidates for key, form in keys
        )

    def _search(self, into: str, value: str) -> Sequence[Record] | None:
        if into in self._unsearchable:
            return None
        found = self._api.search(self._resource, into, value)
        if found is None:
            self._unsearchable.add(into)
        return found

    def _candidate(self, record: Record) -> Candidate:
        return Candidate(self._id(record), self.view(record))

    def _id(self, record: Record) -> str:
        return str(read_path(record, self._shape.resource.id))
