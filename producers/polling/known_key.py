"""What identifies records, by the map: with another key each would have another id, and be there twice."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.errors import LostPosition


def require_known_key(data_type: str, before: object, key: Sequence[str], option: str) -> None:
    """LostPosition where records were published by another key. `before`: by the position, None if it doesn't say.

    `option`: with what under `source:` those that aren't read any more are deleted.
    """
    if not isinstance(before, list) or [str(one).casefold() for one in before] == [one.casefold() for one in key]:
        return
    raise LostPosition(
        f"the records of {data_type} were published by the key {', '.join(map(str, before))}. By {', '.join(key)} each"
        " has another id, and those with the former ids would stay in every target: put the key back, or write"
        f" `{option}: delete` under its `source:`; then they are deleted, many at once when a person confirms it"
        " (`sorbus drift list`)"
    )
