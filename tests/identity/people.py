"""A company's customers as two systems know them: the same ones spelt differently, and others that look like them."""

from __future__ import annotations

import random
from typing import NamedTuple

from sorbus.identity.match import Candidate

_WORDS = {
    "first": "Alder Birch Cedar Damson Elder Fennel Gorse Hazel Iris Juniper Kelp Larkspur Maple Nettle Oak Poplar",
    "second": "Foods Trading Logistics Design Motors Textiles Press Optics Systems Ceramics Dairy Timber Tools Media",
    "other second": "Harbour Quarry Vineyard Nursery Theatre",
    "given": "Ada Ben Cleo Dora Emil Fay Gus Hana Ivo Jana Kurt Lena Milo Nora Otto Pia Quin Rosa Sven Tara Uwe Vera",
    "other given": "Ali Bea Doris Egon Jan Ole Theo Wilma Yara Zeno",
    "family": "Ashby Brandt Castel Dunmore Eriksen Fallow Garside Hollin Ibbot Jessop Kellner Lindqvist Marsh Nyberg",
    "city": "Leeds Ghent Turin Malmo Porto Graz Lyon Cork Basel Brno",
}
_ALL = {name: words.split() for name, words in _WORDS.items()}
_FORMS = ["Ltd", "Limited", "GmbH", "Inc.", "S.A.", "BV", "", "LLC", "GmbH & Co. KG"]


class Pair(NamedTuple):
    """A record of ours and what the target should say to it: the external id, None if it isn't there."""

    record: dict[str, object]
    is_same_as: str | None


def make_customers(seed: int, count: int) -> tuple[list[Pair], list[Candidate]]:
    """`count` customers; about half are in the target under another spelling, none with a key that says so."""
    chance = random.Random(seed)
    names = chance.sample([f"{a} {b}" for a in _ALL["first"] for b in _ALL["second"]], count // 2)
    persons = chance.sample([f"{a} {b}" for a in _ALL["given"] for b in _ALL["family"]], count - len(names))
    pairs, there = [], []
    for number, name in enumerate([*names, *persons]):
        is_person = number >= len(names)
        record = _organisation(chance, name) if not is_person else _person(chance, name, names)
        if chance.random() < 0.5:
            external = f"X{number}"
            there.append(Candidate(external, _spelt(chance, record, is_person)))
            pairs.append(Pair(record, external))
        else:
            pairs.append(Pair(record, None))
        if chance.random() < 0.3:
            there.append(Candidate(f"L{number}", _lookalike(chance, record, is_person)))
    return pairs, there


def _organisation(chance: random.Random, name: str) -> dict[str, object]:
    domain = name.lower().replace(" ", "-") + ".example"
    return {
        "name": f"{name} {chance.choice(_FORMS)}".strip(),
        "kind": "ORGANISATION",
        "email": f"{chance.choice(['info', 'billing', 'office'])}@{domain}",
        "phone": f"+44 20 {chance.randrange(10**7, 10**8)}",
        "billing_address_city": chance.choice(_ALL["city"]),
        "billing_address_country": "GB",
    }


def _person(chance: random.Random, name: str, companies: list[str]) -> dict[str, object]:
    given, family = name.lower().split()
    domain = chance.choice(companies).lower().replace(" ", "-") + ".example"
    if chance.random() < 0.4:
        domain = "gmail.com"
    return {
        "name": name,
        "kind": "PERSON",
        "email": f"{given}.{family}@{domain}",
        "phone": f"+44 20 {chance.randrange(10**7, 10**8)}",
        "billing_address_city": chance.choice(_ALL["city"]),
        "billing_address_country": "GB",
    }


def _lookalike(chance: random.Random, record: dict[str, object], is_person: bool) -> dict[str, object]:
    """Another customer: a relative or colleague of the same family name, a neighbour, another branch."""
    other = {name: value for name, value in record.items() if name != "kind"}
    words = str(record["name"]).split()
    _, _, domain = str(record["email"]).partition("@")
    other["phone"] = f"+44 20 {chance.randrange(10**7, 10**8)}"
    if is_person:
        given = chance.choice(_ALL["other given"])
        return other | {"name": f"{given} {words[1]}", "email": f"{given.lower()}.{words[1].lower()}@{domain}"}
    if chance.random() < 0.5:
        second = chance.choice(_ALL["other second"])
        return other | {"name": f"{words[0]} {second}", "email": f"info@{words[0].lower()}-{second.lower()}.example"}
    return other | {"name": f"{' '.join(words[:2])} {chance.randrange(2, 9)}", "email": None, "phone": None}


def _spelt(chance: random.Random, record: dict[str, object], is_person: bool) -> dict[str, object]:
    """The same customer as somebody else typed it in: no kind, and not the e-mail address that would be a key."""
    other = {name: value for name, value in record.items() if name != "kind"}
    name = str(record["name"])
    change = chance.choice(["typo", "form", "typo", "case"])
    if change == "typo":
        name = _typo(chance, name)
    elif change == "case":
        name = name.upper()
    elif is_person:
        given, family = name.split()
        name = chance.choice([f"{given[0]} {family}", f"{given[0]}. {family}", f"{family}, {given}"])
    else:
        name = f"{' '.join(name.split()[:2])} {chance.choice(_FORMS)}".strip()
    other["name"] = name
    local, _, domain = str(record["email"]).partition("@")
    other["email"] = chance.choice([f"{local[0]}.{local[-3:]}@{domain}", f"accounts@{domain}", None])
    if chance.random() < 0.5:
        other["phone"] = None
    if chance.random() < 0.3:
        other["billing_address_city"] = None
    return other


def _typo(chance: random.Random, name: str) -> str:
    at = chance.randrange(1, len(name) - 2)
    kind = chance.choice("dsr")
    if kind == "d":
        return name[:at] + name[at + 1 :]
    if kind == "s":
        return name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    return name[:at] + chance.choice("aeiou") + name[at + 1 :]
