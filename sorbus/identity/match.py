"""Whether a record is already in the target: linked if a key proves it, otherwise a question to a person, or new.

A key is a field of the data type's `match:`, the strongest first. If no key matches, names are compared among records
that share a domain, a telephone number, a company, or a place and prefix. Pure: no search, no state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from rapidfuzz import fuzz

from sorbus.identity.features import Features, Roles
from sorbus.identity.name_similarity import organisations, people
from sorbus.mapfile.model import DataType
from sorbus.schema import RecordSchema

ASK_FROM = 78
"""From this score on a person is asked; tests/identity measures its precision on generated records."""

Fields = Mapping[str, object]


class Candidate(NamedTuple):
    """A record of the target, by canonical field name; values as the target holds them."""

    external_id: str
    fields: Fields


class Alike(NamedTuple):
    """A candidate that may be the record: score, 0 to 100, and the reasons in plain words."""

    external_id: str
    score: int
    reasons: tuple[str, ...]


class Verdict(NamedTuple):
    """What to do with a record; `candidates` are those to ask about, the likeliest first.

    `is_by_likeness`: they are only alike, so the question is over once they are linked to other records.
    """

    action: Literal["link", "ask", "create"]
    why: str
    external_id: str | None = None
    candidates: tuple[Alike, ...] = ()
    is_by_likeness: bool = False

    def under(self, on_duplicate: Literal["ask", "link", "create"]) -> Verdict:
        """Applies the flow's `on_duplicate` to a question: `link` takes the candidate if there is exactly one."""
        if self.action != "ask" or on_duplicate == "ask":
            return self
        if on_duplicate == "create":
            return Verdict("create", f"{self.why}; on_duplicate: create")
        scores = [alike.score for alike in self.candidates]
        if not scores or scores.count(scores[0]) > 1:
            return self
        return Verdict("link", f"{self.why}; on_duplicate: link", self.candidates[0].external_id)


class Matcher:
    """Matches the records of one data type."""

    def __init__(self, data_type: DataType, schema: RecordSchema) -> None:
        self._roles = Roles.of(schema.fields)
        self.keys = tuple(key for key in data_type.match if key in self._roles.forms)

    def normalise(self, field: str, value: object) -> str | None:
        """`value` as compared for `field`; None if it is empty."""
        return self.traits({field: value}).form(field)

    def traits(self, fields: Fields) -> Features:
        """A record's features."""
        return Features(self._roles, fields)

    @property
    def shown(self) -> tuple[str, ...]:
        """The fields that a person needs to distinguish two records: keys, names and places; no others."""
        roles = self._roles
        also = (roles.name, roles.given, roles.family, roles.contact, roles.company, roles.city, roles.country)
        return tuple(dict.fromkeys(field for field in (*also, *self.keys) if field))

    def queries(self, record: Fields) -> list[tuple[str, str]]:
        """What to search the target for, as (canonical field, value), the most reliable first.

        Keys as written and as normalised, then names, with and without legal form. A target that can't search by a
        field is listed instead, see `BlockingIndex`.
        """
        traits, found = self.traits(record), dict[tuple[str, str], None]()
        for key in self.keys:
            form = traits.form(key)
            if form is not None:
                found |= {(key, traits.text(key)): None, (key, form): None}
        roles = self._roles
        for field in (roles.name, roles.contact, roles.company):
            if text := traits.text(field):
                found[field, text] = None
        if roles.name and traits.core:
            found[roles.name, traits.core] = None
        if roles.family and (family := traits.text(roles.family)):
            found[roles.family, family] = None
        return list(found)

    def judge(self, record: Fields, candidates: Iterable[Candidate], taken: Mapping[str, str] | None = None) -> Verdict:
        """Whether one of `candidates` is `record`; `taken`: external ids already linked to another canonical record."""
        ours, others = self.traits(record), {each.external_id: self.traits(each.fields) for each in candidates}
        taken = taken or {}
        hits = {
            key: _surest(ours, {id: other for id, other in others.items() if other.form(key) == form}, key)
            for key in self.keys
            if (form := ours.form(key)) is not None
        }
        if any(hits.values()):
            return self._by_keys(ours, others, hits, taken)
        free = {id: other for id, other in others.items() if id not in taken}
        asked = [alike for id, other in free.items() if (alike := self.compare(ours, other, id)).score >= ASK_FROM]
        if not asked:
            same = f"the same {' or '.join(map(_said, self.keys))}, or " if self.keys else ""
            return Verdict("create", f"no record there has {same}a similar name")
        why = "no key matches, but the records are similar"
        return Verdict("ask", why, candidates=_likeliest(asked), is_by_likeness=True)

    def _by_keys(
        self,
        ours: Features,
        others: Mapping[str, Features],
        hits: Mapping[str, Sequence[str]],
        taken: Mapping[str, str],
    ) -> Verdict:
        found = list(dict.fromkeys(id for ids in hits.values() for id in ids))
        key = next(key for key, ids in hits.items() if ids)

        def ask(why: str) -> Verdict:
            asked = []
            for id in found:
                alike = self.compare(ours, others[id], id)
                note = (f"is {taken[id]} already",) if id in taken else ()
                asked.append(Alike(id, max(alike.score, 80), (*alike.reasons, *note)))
            return Verdict("ask", why, candidates=_likeliest(asked))

        if len(hits[key]) > 1:
            return ask(f"{len(hits[key])} records have the same {_said(key)}")
        if len(found) > 1:
            return ask("the keys point to different records")
        there = others[found[0]]
        if there.form(key) == ours.form(key) and ours.may_differ(key, there):
            return ask(f"the same {_said(key)} but for how it is written: {ours.text(key)} / {there.text(key)}")
        if found[0] in taken:
            return ask(f"the record with the same {_said(key)} is {taken[found[0]]} already")
        for other_key in self._stronger(key):
            if ours.form(other_key) and there.form(other_key):
                return ask(f"the same {_said(key)}, but another {_said(other_key)}")
        return Verdict("link", f"the same {_said(key)}", found[0])

    def _stronger(self, key: str) -> Sequence[str]:
        """Keys that must not contradict `key`: those before it; for a mere name match, all others."""
        if self._roles.forms[key] == "name":
            return [each for each in self.keys if each != key]
        return self.keys[: self.keys.index(key)]

    def compare(self, ours: Features, other: Features, external_id: str) -> Alike:
        """How similar two records are; 0 if they share nothing comparable."""
        if not ours.blocks & other.blocks and not any(
            ours.form(k) and ours.form(k) == other.form(k) for k in self.keys
        ):
            return Alike(external_id, 0, ())
        points, reasons = _names(ours, other)
        for weight, reason in (*self._key_signs(ours, other), *_signs(ours, other)):
            points += weight
            reasons.append(reason)
        return Alike(external_id, round(min(99.0, max(0.0, points))), tuple(reasons))

    def _key_signs(self, ours: Features, other: Features) -> Iterable[tuple[float, str]]:
        for key in self.keys:
            a, b = ours.form(key), other.form(key)
            if not a or not b or self._roles.forms[key] == "name":
                continue
            if a == b:
                yield 30, f"same {_said(key)}: {other.text(key)}"
            elif self._roles.forms[key] == "code":
                if a.endswith(b) or b.endswith(a) or fuzz.ratio(a, b) >= 90:
                    yield 8, f"{_said(key)} nearly the same: {ours.text(key)} / {other.text(key)}"
                else:
                    yield -15, f"another {_said(key)}: {ours.text(key)} / {other.text(key)}"


def _surest(ours: Features, found: Mapping[str, Features], key: str) -> list[str]:
    """Of records with the same key those that are written alike, too, if there are any."""
    return [id for id, other in found.items() if not ours.may_differ(key, other)] or list(found)


def _names(ours: Features, other: Features) -> tuple[float, list[str]]:
    """Points for the names: 85 if they are equal."""
    kinds = (ours.is_organisation, other.is_organisation)
    alike = 0.0 if True in kinds else people(ours.name, other.name)
    if False not in kinds:
        alike = max(alike, organisations(ours.name, other.name))
    return alike * 0.85, [f"name {alike:.0f}% alike: {ours.name} / {other.name}"] if alike else []


def _signs(ours: Features, other: Features) -> Iterable[tuple[float, str]]:
    """Other evidence for or against, in points."""
    same_email = ours.emails & other.emails
    if same_email:
        yield 12, f"same e-mail address: {min(same_email)}"
    elif same := ours.domains & other.domains:
        yield 8, f"same e-mail domain: {min(same)}"
    if same := ours.phones & other.phones:
        yield 10, f"same telephone number, ending in {min(same)}"
    if ours.company and other.company:
        yield (10, f"same company: {other.company}") if ours.company == other.company else (-10, "another company")
    if ours.person and other.person and (ours.person, other.person) != (ours.name, other.name):
        alike = people(ours.person, other.person)
        if alike >= 85:
            yield 8, f"contact {alike:.0f}% alike: {ours.person} / {other.person}"
    if ours.postal_code and ours.postal_code == other.postal_code:
        yield 6, f"same postal code: {other.postal_code}"
    elif ours.city and other.city:
        yield (5, f"same city: {other.city}") if ours.city == other.city else (-4, f"another city: {other.city}")
    if ours.country and other.country and ours.country != other.country:
        yield -15, f"another country: {other.country}"
    if None not in (kinds := {ours.is_organisation, other.is_organisation}) and len(kinds) == 2:
        yield -15, "one is a person, the other an organisation"


def _likeliest(found: Iterable[Alike]) -> tuple[Alike, ...]:
    return tuple(sorted(found, key=lambda alike: (-alike.score, alike.external_id))[:10])


def _said(field: str) -> str:
    return field.replace("_", " ")
