"""Keys and values of earlier releases that a map may still have: replaced by their current names, with a notice.

An entry is a path into map.yaml, `*` for any name or place in a list, with the old value and the new one.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from sorbus.mapfile.document import Document

Path = tuple[str | int, ...]
VALUES: tuple[tuple[tuple[str, ...], str, str], ...] = ((("systems", "*", "on_lost_slot"), "recopy", "resnapshot"),)


def as_called_now(document: Document) -> list[str]:
    """Changes the document's data in place; a notice for each change, with its line."""
    notices = []
    for pattern, old, new in VALUES:
        for path, holder in _found(document.data, pattern, ()):
            key = path[-1]
            if isinstance(holder, dict) and holder.get(str(key)) == old:
                holder[str(key)] = new
                notices.append(
                    f"map.yaml:{document.line(*path)}: `{key}: {old}` is now called `{key}: {new}`; write that"
                )
    return notices


def _found(data: JsonValue, pattern: tuple[str, ...], path: Path) -> Iterator[tuple[Path, JsonValue]]:
    """Each value that holds the last step of a pattern, with the whole path to that step."""
    step, rest = pattern[0], pattern[1:]
    if not rest:
        yield (*path, step), data
    elif isinstance(data, dict):
        for name in data if step == "*" else [step] if step in data else []:
            yield from _found(data[name], rest, (*path, name))
    elif isinstance(data, list) and step == "*":
        for place, item in enumerate(data):
            yield from _found(item, rest, (*path, place))
