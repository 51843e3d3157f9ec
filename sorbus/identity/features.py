"""The features that identify a record: computed once per record, from the canonical fields' names and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sorbus.identity.name_similarity import core, has_legal_form
from sorbus.identity.normalise import Form, folded, form_of, may_differ, normalise
from sorbus.schema import SchemaField

_COMPANY = frozenset({"company", "organisation", "organization", "employer"})
_PEOPLE = frozenset({"contact", "person", "given", "family", "requester", "recipient", "first", "last"})
_MAIL_PROVIDERS = """gmail googlemail outlook hotmail live msn yahoo ymail icloud me aol gmx web proton protonmail mail
    yandex qq 163 t-online orange free wanadoo btinternet comcast verizon libero bluewin posteo fastmail zoho"""
_PROVIDERS = frozenset(_MAIL_PROVIDERS.split())
_TAIL = 8
"""Last digits of a telephone number that suffice, whatever the country code or leading zero."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Which fields hold which feature."""

    forms: Mapping[str, Form]
    name: str
    given: str
    family: str
    contact: str
    company: str
    city: str
    postal_code: str
    country: str
    kind: str
    of_people: bool
    of_things: bool

    @classmethod
    def of(cls, fields: Sequence[SchemaField]) -> Roles:
        """The roles of a schema's fields, by their names; "" for roles without a field."""
        forms = {field.name: form_of(field) for field in fields if field.type.item is None}

        def first(*wanted: str, form: Form | None = None) -> str:
            for name in forms:
                if (form is None or forms[name] == form) and any(
                    name == each or name.endswith(f"_{each}") for each in wanted
                ):
                    return name
            return ""

        names = [name for name, form in forms.items() if form == "name"]
        plain = [name for name in names if not _words(name) & (_PEOPLE | _COMPANY)]
        exact = next((name for name in ("name", "full_name", "title") if name in forms), "")
        return cls(
            forms=forms,
            name=exact or (plain[0] if plain else ""),
            given=first("given_name", "first_name"),
            family=first("family_name", "last_name"),
            contact=next((name for name in ("contact_name", "contact") if name in forms), ""),
            company=next((name for name in forms if _words(name) & _COMPANY and forms[name] in ("name", "text")), ""),
            city=first("city", "town", form="text"),
            postal_code=first("postal_code", "postcode", "zip"),
            country=first("country"),
            kind="kind" if "kind" in forms else "",
            of_people=bool({"family_name", "last_name"} & forms.keys()),
            of_things="email" not in forms.values(),
        )


class Features:
    """One record as the matcher sees it; values by canonical field, as the target holds or would hold them."""

    def __init__(self, roles: Roles, fields: Mapping[str, object]) -> None:
        self._roles, self.fields = roles, fields

    def form(self, field: str) -> str | None:
        """The normalised value of `field`."""
        form = self._roles.forms.get(field)
        return normalise(form, self.fields.get(field)) if form else None

    def may_differ(self, field: str, other: Features) -> bool:
        """Whether the values of `field`, whose forms are the same, may be of two things all the same."""
        return may_differ(self._roles.forms[field], self.fields.get(field), other.fields.get(field))

    def text(self, field: str) -> str:
        """The value of `field` as shown to people."""
        value = self.fields.get(field) if field else None
        return " ".join(str(value).split()) if value is not None and self.form(field) is not None else ""

    @cached_property
    def name(self) -> str:
        """The record's name: its name, or given and family name."""
        return self.text(self._roles.name) or self.person

    @cached_property
    def person(self) -> str:
        """The person in it, if it has one besides the name."""
        parts = (self.text(self._roles.given), self.text(self._roles.family))
        return self.text(self._roles.contact) or " ".join(part for part in parts if part)

    @cached_property
    def is_organisation(self) -> bool | None:
        """Whether the record is an organisation or a thing; False for a person, None if unknown."""
        kind = folded(self.text(self._roles.kind))
        if kind in ("person", "individual") or self._roles.of_people:
            return False
        says_so = kind in ("organisation", "organization", "company") or has_legal_form(self.name)
        return True if says_so or self._roles.of_things else None

    @cached_property
    def core(self) -> str:
        return core(self.name)

    @cached_property
    def company(self) -> str:
        return core(self.text(self._roles.company))

    @cached_property
    def city(self) -> str:
        return folded(self.text(self._roles.city))

    @cached_property
    def postal_code(self) -> str:
        return folded(self.text(self._roles.postal_code)).replace(" ", "")

    @cached_property
    def country(self) -> str:
        return folded(self.text(self._roles.country))

    @cached_property
    def emails(self) -> frozenset[str]:
        return self._all("email")

    @cached_property
    def domains(self) -> frozenset[str]:
        """The record's own domains: of its e-mail addresses, except mail providers', and of its website."""
        found = {email.rpartition("@")[2] for email in self.emails} | {web.split("/")[0] for web in self._all("web")}
        return frozenset(domain for domain in found if not _is_providers(domain))

    @cached_property
    def phones(self) -> frozenset[str]:
        return frozenset(phone[-_TAIL:] for phone in self._all("phone") if len(phone) >= _TAIL)

    @cached_property
    def blocks(self) -> frozenset[str]:
        """Blocking keys; records that share none aren't compared: domain, phone, company, or place and prefix."""
        name = self.core.replace(" ", "")
        found = {f"domain {domain}" for domain in self.domains} | {f"phone {phone}" for phone in self.phones}
        found |= {f"email {email}" for email in self.emails}
        if self.company:
            found.add(f"company {self.company}")
        if name:
            words = self.core.split()
            found |= {f"name {name}", f"begins {name[:4]}", f"word {words[0]}", f"word {words[-1]}"}
            found |= {f"place {place} {name[:2]}" for place in (self.city, self.postal_code) if place}
        if self.person:
            found.add(f"person {core(self.person)}")
        return frozenset(found)

    def _all(self, form: Form) -> frozenset[str]:
        values = (self.form(field) for field, each in self._roles.forms.items() if each == form)
        return frozenset(value for value in values if value)


def _is_providers(domain: str) -> bool:
    labels = domain.split(".")
    return labels[0] in _PROVIDERS and (len(labels) == 2 or labels[1] in ("co", "com"))


def _words(name: str) -> set[str]:
    return set(name.casefold().split("_"))
