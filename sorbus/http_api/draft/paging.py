"""How a list seems to be paged, from the names of its parameters, of its answer's fields and of its headers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from sorbus.http_api.draft.notes import Draft
from sorbus.http_api.draft.words import (
    AROUND,
    CURSORS,
    LAST_IDS,
    MORES,
    NEXT_URLS,
    OFFSETS,
    PAGES,
    SIGNS,
    SIZES,
    TOKENS,
    TOTAL_HEADERS,
    TOTALS,
    first,
    plain,
)

_LARGEST = 10_000
_MOST = re.compile(r"\bmax(?:imum)?\b\D{0,40}?(\d{1,2},\d{3}|\d{2,5})\b", re.IGNORECASE)
"""A page's largest size, as a parameter's explanation says it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a list's request and answer."""

    parameters: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """The query parameters by name, with their schemas."""
    answer: Collection[str] = ()
    """Paths in the answer outside its records: meta.total, links.next."""
    headers: Collection[str] = ()
    """The answer's headers."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Values that parameters had in a real request."""


def guess_paging(seen: Seen) -> tuple[dict[str, JsonValue], str] | None:
    """A description's `pagination` and why; None if nothing looks like paging.

    A `parameter` or `style` of "" has to be found by a person: the answer says that there is more, and nothing how.
    """
    size = _size(seen)
    if "link" in {name.lower() for name in seen.headers}:
        return {"style": "link-header", **size}, "the answer has a Link header"
    if (url := _at(NEXT_URLS, seen.answer, names=("next",))) is not None and not _is_token(url, seen):
        return {"style": "next-url", "token": url, **size}, f"{url} looks like the next page's URL"
    token, cursor = _at(TOKENS, seen.answer), first(CURSORS, seen.parameters)
    if token is not None:
        made: dict[str, JsonValue] = {"style": "cursor", "parameter": cursor or "", **size, "token": token}
        why = f"the answer has a cursor at {token}" + (f', and "{cursor}" seems to take it' if cursor else "")
        return {**made, **_ends(seen, total=False)}, why
    last, more = first(LAST_IDS, seen.parameters), _at(MORES, seen.answer)
    if last is not None and more is not None:
        why = f'"{last}" seems to take the id of the last record, since the answer has {more} and no cursor'
        return {"style": "cursor", "parameter": last, "last_id": True, **size, "more": more}, why
    if (page := first(PAGES, seen.parameters)) is not None:
        return {"style": "page", "parameter": page, **size, **_ends(seen)}, f'"{page}" looks like the page\'s number'
    if (offset := first(OFFSETS, seen.parameters)) is not None:
        why = f'"{offset}" looks like the number of records to skip'
        return {"style": "offset", "parameter": offset, **size, **_ends(seen)}, why
    sign = more or _at(SIGNS, seen.answer)
    return ({"style": "", **size}, f"the answer has {sign}, and nothing says how to ask for more") if sign else None


def written_paging(draft: Draft, place: str, found: tuple[dict[str, JsonValue], str]) -> dict[str, JsonValue]:
    """The pagination as it is written, with TODO where a person has to find something, and its guess noted."""
    made, why = found
    for key, what in (("style", "how pages are asked for"), ("parameter", "the parameter that takes the cursor")):
        if made.get(key) == "":
            made = {**made, key: draft.todo(f"{place}.{key}", f"{what}: {why}")}
    draft.guess(place, made, f"{why}; check it, the largest size, and where the list ends")
    return made


def _size(seen: Seen) -> dict[str, JsonValue]:
    name = first(SIZES, seen.parameters)
    if name is None:
        return {}
    about = seen.parameters[name]
    said = _MOST.search(str(about.get("description") or ""))
    most = about.get("maximum") or (int(said[1].replace(",", "")) if said else about.get("default"))
    value = seen.sizes.get(name, most)
    number = int(value) if isinstance(value, int | float) and 1 <= value <= _LARGEST else 100
    return {"size_parameter": name, "size": number}


def _ends(seen: Seen, *, total: bool = True) -> dict[str, JsonValue]:
    if (more := _at(MORES, seen.answer)) is not None:
        return {"more": more}
    if total and (found := _at(TOTALS, seen.answer)) is not None:
        return {"total": found}
    header = next((name for name in seen.headers if name.lower() in TOTAL_HEADERS), None) if total else None
    return {"total_header": header} if header else {}


def _at(wanted: Collection[str], paths: Collection[str], names: Collection[str] = ()) -> str | None:
    """A path whose last name is wanted, at the top or inside one of the usual objects around."""
    around = {plain(name) for name in (*AROUND, *names)}
    fitting = [(path, steps) for path in paths if _is_around((steps := list(_steps(path)))[:-1], around)]
    for name in wanted:
        for path, steps in sorted(fitting, key=lambda one: len(one[1])):
            if plain(steps[-1]) == plain(name) and (name != "href" or "next" in map(plain, steps)):
                return path
    return None


def _is_around(steps: list[str], around: Collection[str]) -> bool:
    return all(plain(step) in around for step in steps)


def _steps(path: str) -> Iterator[str]:
    from sorbus.http_api.path import parse_path

    yield from (str(step) for step in parse_path(path))


def _is_token(path: str, seen: Seen) -> bool:
    """Whether what is called next is a cursor: a parameter takes it, and nothing says that it is a URL."""
    return path.rpartition(".")[2] == "next" and first(CURSORS, seen.parameters) is not None
