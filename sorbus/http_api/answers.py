"""What a success answer to a read holds: its list of records, and which of a search's results fit; no I/O."""

from __future__ import annotations

import re
from unicodedata import normalize

from sorbus.errors import TransientError
from sorbus.http_api.description import Listing, Search
from sorbus.http_api.interface import Answer, Json, Record
from sorbus.http_api.path import parse_path, read_path

SHAPE = "the application may have changed, or base_url may be another's: see its description"
_UUID = re.compile("[0-9a-f]{32}")
_TELLING = 7
"""Digits at the end of a telephone number that distinguish it from others."""


def records_of(answer: Answer, asked: Listing | Search, doing: str) -> list[Record]:
    """The answer's list, unfiltered: some items may be no objects, but not all. TransientError if there is no list.

    Never returns an empty one instead, which would mean that all records were deleted. Some applications omit an
    empty list; an otherwise empty object around it, or a null, counts as one.
    """
    body, path = answer.body, asked.records
    if answer.status == 204 and asked.no_content:
        return []
    found = read_path(body, path)
    if isinstance(asked, Search) and asked.single and isinstance(found, dict):
        return [found]
    if found is None and path:
        *way, last = parse_path(path)
        around = read_path(body, path.rpartition(".")[0]) if way else body
        if isinstance(around, dict) and isinstance(last, str) and (last in around or (way and not around)):
            return []
    if not isinstance(found, list) or (found and not any(isinstance(item, dict) for item in found)):
        raise TransientError(f"{doing}: the answer holds no list of records at {path or 'its top'}; {SHAPE}")
    return found


def is_empty_list(body: Json, path: str) -> bool:
    """Whether the record that a path names would be an item of a list that is empty."""
    return path.endswith("]") and read_path(body, path.rpartition("[")[0]) == []


def same_id(one: str, other: str) -> bool:
    """Whether two ways to write an id mean the same record.

    In either case, a number with zeros before it, a UUID with or without dashes or braces, Salesforce's 15 letters
    or 18.
    """
    one, other = one.strip().casefold(), other.strip().casefold()
    if one == other:
        return True
    if all(id.isascii() and id.isdecimal() for id in (one, other)):
        return one.lstrip("0") == other.lstrip("0")
    if {len(one), len(other)} == {15, 18}:
        return one.isalnum() and other.isalnum() and one[:15] == other[:15]
    bare = one.strip("{}").replace("-", "")
    return _UUID.fullmatch(bare) is not None and bare == other.strip("{}").replace("-", "")


def may_hold(record: Record, field: str, value: str) -> bool:
    """Whether a result may have this value: letters and digits are equal.

    A telephone number may lack its first ones (+49, 0049, 0).
    """
    found = read_path(record, field)
    if found is None:
        return True
    one, other = _bare(str(found)), _bare(value)
    if not one or not other:
        return str(found).strip() == value.strip()
    short, long = sorted((one, other), key=len)
    return one == other or (len(short) >= _TELLING and one.isdecimal() and other.isdecimal() and long.endswith(short))


def _bare(text: str) -> str:
    return "".join(letter for letter in normalize("NFKC", text).casefold() if letter.isalnum())
