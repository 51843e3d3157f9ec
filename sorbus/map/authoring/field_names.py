"""Splits names of tables and columns into words, and scores which canonical field they could mean."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_PIECES = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NOISE = {"tbl", "table", "dim", "fact", "stg", "v", "vw", "view", "master", "data", "record", "header", "hdr"}
_SUFFIXES = ("on", "at", "amount", "id", "date", "time")

Words = tuple[str, ...]


class Synonyms(NamedTuple):
    """Other systems' names, from synonyms.toml: name -> what it is called elsewhere."""

    data_types: Mapping[str, frozenset[Words]]
    lists: Mapping[str, frozenset[Words]]
    address: Mapping[str, frozenset[Words]]
    address_prefixes: Mapping[str, frozenset[Words]]
    fields: Mapping[str, Mapping[str, frozenset[Words]]]


@cache
def synonyms() -> Synonyms:
    """The synonyms that come with Sorbus."""
    written = tomllib.loads((files("sorbus.map.authoring") / "synonyms.toml").read_text("utf-8"))

    def table(section: Mapping[str, list[str]]) -> dict[str, frozenset[Words]]:
        return {name: frozenset(tuple(phrase.split()) for phrase in phrases) for name, phrases in section.items()}

    return Synonyms(
        table(written["data_types"]),
        table(written["lists"]),
        table(written["address"]),
        table(written["address_prefixes"]),
        {data_type: table(section) for data_type, section in written["fields"].items()},
    )


def words(name: str) -> Words:
    """`CustomerAddress1`, `customer_address_1` and `customeraddress1` as ("customer", "address", "1")."""
    return tuple(word for piece in _PIECES.findall(name) for word in _segmented(piece.lower()))


@cache
def _vocabulary() -> frozenset[str]:
    known = synonyms()
    tables = (known.data_types, known.lists, known.address, known.address_prefixes, *known.fields.values())
    names = (word for table in tables for name in table for word in name.split("_"))
    phrases = (word for table in tables for found in table.values() for phrase in found for word in phrase)
    return frozenset(word for word in (*names, *phrases, *_NOISE, *_SUFFIXES) if len(word) > 1)


def _segmented(word: str) -> Words:
    """Splits an unknown word into the fewest known words; the word itself if that isn't possible."""
    if word in _vocabulary() or singular(word) in _vocabulary() or len(word) > 60:
        return (word,)
    best: list[Words | None] = [()]
    for end in range(1, len(word) + 1):
        found: Words | None = None
        for start in range(end):
            before, piece = best[start], word[start:end]
            known = piece in _vocabulary() or (len(piece) > 3 and singular(piece) in _vocabulary())
            if before is not None and known and (found is None or len(before) + 1 < len(found)):
                found = (*before, piece)
        best.append(found)
    return best[-1] or (word,)


def noun(name: str) -> Words:
    """A table's name in the singular, without its schema and without filler words: ("sale", "order")."""
    found = [singular(word) for word in words(name.rpartition(".")[2])]
    return tuple(word for word in found if word not in _NOISE) or tuple(found)


def singular(word: str) -> str:
    """An English word's singular, well enough for names of tables."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word


def means_data_type(table: str, data_type: str) -> float:
    """How well a table's name matches `data_type`, from 0 to 1."""
    name, own = noun(table), words(data_type)
    others = synonyms().data_types.get(data_type, frozenset())
    if name == own:
        return 1.0
    if name in others:
        return 0.9
    if name[-len(own) :] == own:
        return 0.75
    return 0.65 if any(len(name) > len(other) and name[-len(other) :] == other for other in others) else 0.0


def means_field(column: Words, data_type: str, field: str, table: Words) -> float:
    """How well a column's words match the canonical `field`, from 0 to 1.

    `table` are the words of the table's noun, which columns often repeat: `order_date` in `orders`.
    """
    own, forms = words(field), _spellings(column, table)
    if column == own:
        return 1.0
    if own in forms:
        return 0.95
    if any(_means_address(form, field) for form in forms):
        return 0.9
    if forms & synonyms().fields.get(data_type, {}).get(field, frozenset()):
        return 0.85
    if _stems(own) & frozenset().union(*map(_stems, forms)):
        return 0.8
    return 0.6 if forms & synonyms().fields["any"].get(field, frozenset()) else 0.0


def means_list(child: str, parent: str, field: str) -> bool:
    """Whether a child table's name says that its rows are the items of the parent's list `field`."""
    rest = _without(noun(child), noun(parent))
    return rest == (singular(field),) or rest in synonyms().lists.get(field, frozenset())


def _spellings(column: Words, table: Words) -> frozenset[Words]:
    """A column's name unchanged, and without its table's noun, each also in the singular."""
    found = {column, _without(column, table)}
    return frozenset(found | {(*each[:-1], singular(each[-1])) for each in found if each})


def _without(column: Words, table: Words) -> Words:
    """The column's words without a leading table noun, unless nothing would be left."""
    for size in range(min(len(table), len(column) - 1), 0, -1):
        if column[:size] in (table[:size], table[-size:]):
            return column[size:]
    return column


def _means_address(column: Words, field: str) -> bool:
    kind, _, part = field.rpartition("address_")
    phrases = synonyms().address.get(part)
    if phrases is None:
        return False
    for prefix in _prefixes(kind.removesuffix("_")):
        rest = column[len(prefix) :] if column[: len(prefix)] == prefix else ()
        if rest in phrases or (rest[:1] == ("address",) and rest[1:] in phrases):
            return True
    return False


def _prefixes(kind: str) -> Iterator[Words]:
    """Prefixes of address columns; without one it is the billing address if there are two."""
    if kind != "shipping":
        yield ()
    yield from synonyms().address_prefixes.get(kind, frozenset())


def _stems(name: Words) -> frozenset[Words]:
    """A name without type suffixes (`hired_on`, `hire_date`: hire); empty if nothing else is left."""
    if len(name) < 2 or name[-1] not in _SUFFIXES:
        return frozenset()
    return frozenset(_forms(name[:-1]))


def _forms(stem: Words) -> Iterable[Words]:
    yield stem
    last = stem[-1]
    if last.endswith("ed") and len(last) > 4:
        yield (*stem[:-1], last[:-1])
        yield (*stem[:-1], last[:-2])
        if last[-3] == last[-4]:
            yield (*stem[:-1], last[:-3])
