"""How similar two names are, from 0 to 100: of organisations without legal forms, of people with initials.

Uses rapidfuzz: indel similarity relative to the longer text, and the same on sorted words.
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import combining, normalize

from rapidfuzz import fuzz

from sorbus.identity.normalise import folded, normalise

INITIAL = 91
"""The score of "J Smith" against "John Smith"."""

_LEGAL_FORMS = """ab ag aps as asa bv co company corp corporation cie doo eg ek ev eirl ges gbr gmbh inc incorporated
    jsc kft kg kgaa kk limited llc llp lp ltd ltda mbh nv ohg oy oyj partg pbc plc pte pty pvt sa sab sapi sarl sas sasu
    sc scs se sl sla slu spa spj spk spzoo srl sro ug zrt"""
_LEGAL = frozenset(_LEGAL_FORMS.split())
_JOINING = frozenset({"and", "und", "et", "y", "e", "i", "og", "och"})
_TITLES = frozenset(
    {"mr", "mrs", "ms", "miss", "dr", "prof", "herr", "frau", "sir", "madame", "mme", "sr", "sra", "jr"}
)


@lru_cache(1 << 16)
def core(name: str) -> str:
    """An organisation's name without accents, punctuation and legal form."""
    words = _words(name)
    while len(words) > 1:
        for count in (4, 3, 2, 1):
            if count < len(words) and "".join(words[-count:]) in _LEGAL:
                words = words[:-count]
                break
        else:
            if words[-1] not in _JOINING:
                break
            words = words[:-1]
    return " ".join(words)


def has_legal_form(name: str) -> bool:
    """Whether it must be an organisation's name."""
    return core(name) != " ".join(_words(name))


def organisations(one: str, other: str) -> float:
    """How similar two names of organisations or things are; numbers in them must be equal."""
    a, b = core(one), core(other)
    if not a or not b:
        return 0.0
    alike = max(fuzz.ratio(a, b), fuzz.token_sort_ratio(a, b), fuzz.ratio(a.replace(" ", ""), b.replace(" ", "")))
    if sorted(re.findall(r"\d+", a)) != sorted(re.findall(r"\d+", b)):
        return alike * 0.7
    return alike


def people(one: str, other: str) -> float:
    """How similar two persons' names are: an initial matches a name, and a family name alone is not enough."""
    (given_a, family_a), (given_b, family_b) = _person(one), _person(other)
    if (joined := "".join(given_a) + family_a) and joined == "".join(given_b) + family_b:
        return 100.0
    if not family_a or not family_b:
        return 0.0
    family = fuzz.ratio(family_a, family_b)
    if not given_a or not given_b:
        return family * 0.75
    if len(given_a[0]) == 1 or len(given_b[0]) == 1:
        given: float = 0.0 if given_a[0][0] != given_b[0][0] else 100.0 if given_a[0] == given_b[0] else INITIAL
        return min(given, family) if family < 85 else given * family / 100
    given = max(fuzz.ratio(given_a[0], given_b[0]), fuzz.ratio(" ".join(given_a), " ".join(given_b)))
    return min(given, family) * 0.6 + max(given, family) * 0.4


@lru_cache(1 << 16)
def _person(name: str) -> tuple[list[str], str]:
    family, comma, given = name.partition(",")
    words = _words(f"{given} {family}" if comma else name)
    words = [word for word in words if word not in _TITLES] or words
    return words[:-1], words[-1] if words else ""


def _words(name: str) -> list[str]:
    plain = "".join(letter for letter in normalize("NFKD", folded(name)) if not combining(letter))
    return (normalise("name", plain) or "").split()
